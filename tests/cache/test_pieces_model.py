"""The whole cache on a real directory, against a model of what it has to hold."""

import os
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from seeder.cache.memory import Key
from tests.cache.fakes import (
    FakeTorrent,
    Loop,
    Stand,
    Where,
    bytes_in,
    drop,
    keep,
    peek,
    piece_file,
    pieces_on_disk,
)

SIZE = 64
TORRENTS = [FakeTorrent(name, size=5 * SIZE, piece_length=SIZE) for name in "ab"]
wheres = st.tuples(st.sampled_from(TORRENTS), st.integers(0, 4))


async def get(stand: Stand, torrent: FakeTorrent, index: int) -> bytes:
    return bytes(await stand.get(torrent, index))


class CacheAgainstAModel(RuleBasedStateMachine):
    """Equal pieces, and a disk that holds more than memory: exactly the latest used stay.

    `resident` is in memory and on disk, `cold` on disk only, each with the latest use last.
    """

    @initialize(memory=st.integers(1, 3), more=st.integers(1, 4))
    def start(self, memory: int, more: int) -> None:
        # Closed in teardown(), which hypothesis calls after each example.
        self.temporary = tempfile.TemporaryDirectory()
        self.directory = Path(self.temporary.name)
        self.memory, self.disk = memory, memory + more
        self.resident: list[Where] = []
        self.cold: list[Where] = []
        self.spoilt: set[Key] = set()
        self.open()

    def open(self) -> None:
        # Half a piece of slack, to see that it isn't filled.
        slack = SIZE // 2
        self.loop = Loop(self.directory, self.memory * SIZE + slack, self.disk * SIZE + slack)
        self.seen = 0

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.stop()
            self.temporary.cleanup()

    def age(self) -> None:
        """Make the files as old as the model says."""
        for age, where in enumerate(self.cold):
            os.utime(piece_file(self.directory, *where), (age, age))

    def new_reads(self) -> int:
        before, self.seen = self.seen, len(self.loop.stand.source.reads)
        return self.seen - before

    def use(self, where: Where) -> None:
        for held in (self.resident, self.cold):
            if where in held:
                held.remove(where)
        self.resident.append(where)
        if len(self.resident) > self.memory:
            self.cold.append(self.resident.pop(0))
        if len(self.resident) + len(self.cold) > self.disk:
            self.cold.pop(0)

    @rule(where=wheres)
    def get(self, where: Where) -> None:
        held = where in self.resident or where in self.cold
        torrent, index = where
        assert self.loop.call(get, torrent, index) == torrent.piece(index)
        key = (torrent.cache_id, index)
        assert self.new_reads() == (0 if held and key not in self.spoilt else 1)
        self.spoilt.discard(key)
        self.use(where)

    @rule(where=wheres)
    def peek(self, where: Where) -> None:
        torrent, index = where
        expected = torrent.piece(index) if where in self.resident else None
        assert self.loop.call(peek, torrent, index) == expected
        if expected is not None:
            self.use(where)

    @rule(where=wheres)
    def keep(self, where: Where) -> None:
        held = where in self.resident or where in self.cold
        room = len(self.resident) + len(self.cold) < self.disk
        assert self.loop.call(keep, *where) == (held or room)
        if not held and room:
            self.cold.append(where)
            self.spoilt.discard((where[0].cache_id, where[1]))

    @rule(torrent=st.sampled_from(TORRENTS))
    def drop(self, torrent: FakeTorrent) -> None:
        self.loop.call(drop, torrent)
        self.resident = [where for where in self.resident if where[0] is not torrent]
        self.cold = [where for where in self.cold if where[0] is not torrent]
        self.spoilt = {key for key in self.spoilt if key[0] != torrent.cache_id}

    @rule(data=st.data(), spoil=st.frozensets(wheres, max_size=3))
    def restart(self, data: st.DataObject, spoil: frozenset[Where]) -> None:
        order = data.draw(st.permutations(self.resident + self.cold))
        self.loop.stop()
        self.resident, self.cold = [], order
        (self.directory / "writing.tmp").write_bytes(bytes(SIZE))
        for torrent, index in spoil.intersection(self.cold):
            piece_file(self.directory, torrent, index).write_bytes(bytes(SIZE))
            self.spoilt.add((torrent.cache_id, index))
        self.age()
        self.open()

    @rule(by=st.integers(1, 2))
    def shrink(self, by: int) -> None:
        if self.disk - by <= self.memory:
            return
        self.loop.stop()
        self.disk -= by
        self.cold = self.resident + self.cold if by == 1 else self.cold + self.resident
        self.resident = []
        self.age()
        for torrent, index in self.cold[: -self.disk]:
            self.spoilt.discard((torrent.cache_id, index))
        self.cold = self.cold[-self.disk :]
        self.open()

    @invariant()
    def holds_what_it_has_to(self) -> None:
        if not hasattr(self, "loop"):
            return
        cache = self.loop.stand.cache
        held = {(torrent.cache_id, index) for torrent, index in self.resident + self.cold}
        on_disk = {
            (torrent.cache_id, index)
            for torrent in TORRENTS
            for index in pieces_on_disk(cache, torrent.cache_id)
        }
        assert on_disk == held
        statistics = cache.statistics()
        assert statistics.memory_bytes == len(self.resident) * SIZE
        assert statistics.disk_bytes == bytes_in(self.directory) == len(held) * SIZE
        assert statistics.disk_ok
        assert statistics.queued_writes == statistics.fetching == statistics.dropped_writes == 0
        assert self.loop.stand.faults == []


TestCacheAgainstAModel = CacheAgainstAModel.TestCase
TestCacheAgainstAModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

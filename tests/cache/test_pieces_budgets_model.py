"""Both tiers' budgets under pieces of any size, several at a time: never a byte too many."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from seeder.cache import files
from tests.cache.fakes import (
    FakeTorrent,
    Loop,
    Stand,
    Where,
    bytes_in,
    drop,
    evictions,
    keep,
    peek,
    pieces_on_disk,
)

# Of several lengths, and with short last pieces.
TORRENTS = [
    FakeTorrent("a", size=330, piece_length=64),
    FakeTorrent("b", size=250, piece_length=100),
    FakeTorrent("c", size=70, piece_length=30),
]
wheres = st.sampled_from(
    [(torrent, index) for torrent in TORRENTS for index in range(torrent.layout.piece_count)]
)
memories, disks = st.integers(0, 300), st.integers(0, 500)


async def get_together(stand: Stand, wanted: list[Where]) -> list[bytes]:
    """Ask for pieces at once, and return them in the order in which they were asked for."""
    found: dict[Where, bytes] = {}

    async def get(where: Where) -> None:
        found[where] = bytes(await stand.get(*where))

    async with trio.open_nursery() as nursery:
        for where in wanted:
            nursery.start_soon(get, where)
    return [found[where] for where in wanted]


class BudgetMachine(RuleBasedStateMachine):
    """Whatever is asked for: the right bytes, no budget exceeded, and no read too many."""

    @initialize(memory=memories, disk=disks)
    def start(self, memory: int, disk: int) -> None:
        # Closed in teardown(), which hypothesis calls after each example.
        self.temporary = tempfile.TemporaryDirectory()
        self.directory = Path(self.temporary.name)
        self.patch = pytest.MonkeyPatch()
        self.peak = 0
        change = files.change

        def watched(*args: Any) -> Any:
            result = change(*args)
            self.peak = max(self.peak, bytes_in(self.directory))
            return result

        self.patch.setattr(files, "change", watched)
        self.open(memory, disk)

    def open(self, memory: int, disk: int) -> None:
        self.memory, self.disk, self.peak = memory, disk, 0
        self.loop = Loop(self.directory, memory, disk)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.stop()
            self.patch.undo()
            self.temporary.cleanup()

    def holds(self, where: Where) -> bool:
        torrent, index = where
        cache = self.loop.stand.cache
        return index in pieces_on_disk(cache, torrent.cache_id) or self.in_memory(where)

    def in_memory(self, where: Where) -> bool:
        return (where[0].cache_id, where[1]) in self.loop.stand.cache._memory

    @rule(wanted=st.lists(wheres, min_size=1, max_size=5, unique=True))
    def get(self, wanted: list[Where]) -> None:
        cold = [where for where in wanted if not self.holds(where)]
        before = len(self.loop.stand.source.reads)
        found = self.loop.call(get_together, wanted)
        assert found == [torrent.piece(index) for torrent, index in wanted]
        reads = len(self.loop.stand.source.reads) - before
        # One that others drive out before its turn is read again, and none twice.
        assert len(cold) <= reads <= len(wanted)
        if len(wanted) == 1:
            assert reads == len(cold)
            assert self.in_memory(wanted[0]) == (len(found[0]) <= self.memory)

    @rule(where=wheres)
    def peek(self, where: Where) -> None:
        torrent, index = where
        expected = torrent.piece(index) if self.in_memory(where) else None
        assert self.loop.call(peek, torrent, index) == expected

    @rule(where=wheres)
    def keep(self, where: Where) -> None:
        before = evictions(self.loop.stand.cache)
        kept = self.loop.call(keep, *where)
        torrent, index = where
        assert kept == (index in self.loop.stand.on_disk(torrent.cache_id))
        assert evictions(self.loop.stand.cache) == before

    @rule(torrent=st.sampled_from(TORRENTS))
    def drop(self, torrent: FakeTorrent) -> None:
        self.loop.call(drop, torrent)
        assert not any(self.holds((torrent, i)) for i in range(torrent.layout.piece_count))

    @rule(memory=memories, disk=disks)
    def restart(self, memory: int, disk: int) -> None:
        before = {where for torrent in TORRENTS for where in self.files_of(torrent)}
        self.loop.stop()
        self.open(memory, disk)
        after = {where for torrent in TORRENTS for where in self.files_of(torrent)}
        assert after <= before
        if sum(torrent.layout.piece_size(index) for torrent, index in before) <= disk:
            assert after == before

    def files_of(self, torrent: FakeTorrent) -> list[Where]:
        return [(torrent, index) for index in self.loop.stand.on_disk(torrent.cache_id)]

    @invariant()
    def no_budget_is_exceeded(self) -> None:
        if not hasattr(self, "loop"):
            return
        statistics = self.loop.stand.cache.statistics()
        held = [where for torrent in TORRENTS for where in self.files_of(torrent)]
        resident = [
            (torrent, index)
            for torrent in TORRENTS
            for index in range(torrent.layout.piece_count)
            if self.in_memory((torrent, index))
        ]
        sizes = [
            sum(torrent.layout.piece_size(index) for torrent, index in group)
            for group in (held, resident)
        ]
        assert [statistics.disk_bytes, statistics.memory_bytes] == sizes
        assert bytes_in(self.directory) == statistics.disk_bytes <= self.disk
        assert self.peak <= self.disk
        assert statistics.memory_bytes <= self.memory
        assert (statistics.disk_pieces, statistics.memory_pieces) == (len(held), len(resident))
        assert statistics.queued_writes == statistics.fetching == 0
        assert self.loop.stand.faults == []


TestBudgets = BudgetMachine.TestCase
TestBudgets.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

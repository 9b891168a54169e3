"""Torrents that have pieces in common, each under an index of its own."""

from pathlib import Path

import trio

from seeder.cache.fetches import Waiter
from seeder.cache.memory import Piece
from seeder.errors import SeederError
from tests.cache.fakes import FakeTorrent, Run, running


class Joined(FakeTorrent):
    """A torrent made of whole others, one behind the other, as a bundle is."""

    def __init__(self, name: str, *parts: FakeTorrent) -> None:
        super().__init__(name, sum(part.layout.size for part in parts))
        self.parts = parts
        first = 0
        runs: list[Run] = []
        for part in parts:
            runs.append(Run(part.cache_id, first, part.layout.piece_count))
            first += part.layout.piece_count
        self.sections = tuple(runs)

    def _place(self, index: int) -> tuple[FakeTorrent, int]:
        for part, run in zip(self.parts, self.sections, strict=True):
            if run.first <= index < run.first + run.count:
                return part, index - run.first
        raise IndexError(index)

    def piece(self, index: int) -> bytes:
        part, within = self._place(index)
        return part.piece(within)

    def piece_key(self, index: int) -> tuple[str, int]:
        part, within = self._place(index)
        return part.cache_id, within

    def question_of(self, _: int) -> None:
        return None

    def run_stop(self, index: int) -> int:
        return next(run.first + run.count for run in self.sections if index < run.first + run.count)


A, B, C = (FakeTorrent(name, 300) for name in "abc")
AB, BC = Joined("ab", A, B), Joined("bc", B, C)


async def test_a_piece_on_its_way_for_one_torrent_is_given_to_another_by_its_own_index(
    tmp_path: Path,
) -> None:
    told: list[tuple[str, int, Piece | None]] = []

    def waiter(name: str, done: trio.Event) -> Waiter:
        def tell(index: int, piece: Piece | None, _: SeederError | None) -> None:
            told.append((name, index, piece))
            done.set()

        return tell

    async with running(tmp_path) as stand:
        stand.source.gate = trio.Event()
        one, two, never = trio.Event(), trio.Event(), trio.Event()
        forgotten = waiter("forgotten", never)
        assert stand.cache.request(AB, 4, waiter("ab", one))
        assert not stand.cache.request(BC, 1, waiter("bc", two))
        assert not stand.cache.request(BC, 1, forgotten)
        stand.cache.forget(BC, 1, forgotten)
        stand.source.gate.set()
        await one.wait()
        await two.wait()
        assert told == [("ab", 4, B.piece(1)), ("bc", 1, B.piece(1))]
        assert stand.source.reads == [4]


async def test_what_one_torrent_has_brought_another_has_too(tmp_path: Path) -> None:
    async with running(tmp_path) as stand:
        for index in (2, 3, 5):
            await stand.get(AB, index)
        assert stand.cache.held(AB) == {2, 3, 5}
        assert stand.cache.held(BC) == {0, 2}
        assert not stand.cache.is_cold(BC, 0)
        assert stand.cache.is_cold(BC, 1)
        assert stand.cache.peek(BC, 2) == B.piece(2)
        await stand.idle()
        assert stand.cache.is_on_disk(BC, 2)
        await stand.drop(B.cache_id)
        assert stand.cache.held(AB) == {2}
        assert stand.cache.held(BC) == frozenset()


async def test_no_get_reaches_from_one_object_into_the_next(tmp_path: Path) -> None:
    async with running(tmp_path) as stand:
        async with trio.open_nursery() as nursery:
            for index in range(1, 6):
                nursery.start_soon(stand.get, AB, index)
        assert sorted(stand.source.gets) == [(1, 2), (3, 3)]

"""Metainfo that is on disk until somebody asks for it, and in memory as long as there is room."""

import errno
from pathlib import Path

import pytest
import trio

from seeder.errors import MetainfoError, SeederError, StorageError
from seeder.metainfo.library import Library
from seeder.metainfo.records import Record
from seeder.metainfo.store import MetainfoStore, file_stem
from seeder.torrent.info import Info, InfoHash, Outline, build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.torrent import Torrent
from tests.support.disks import failing_disk

PIECES = 500
SIZE = PIECES * 16384
ONE = 2 * PIECES * 20 + 1500
"""Bytes that one info here takes, at most; two don't fit into less than twice 20,000."""


class CountingStore(MetainfoStore):
    """Counts what is read, and waits at a gate."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.reads = 0

    def load(self, ref: ObjectRef) -> Record | None:
        self.reads += 1
        return super().load(ref)


class Shelf:
    """A library of a few torrents, and what it heard of as lost."""

    def __init__(self, directory: Path, *, budget: int = 2 * ONE) -> None:
        self.directory = directory
        self.lost: list[tuple[Torrent, SeederError]] = []
        self.store = CountingStore(directory)
        self.library = Library(self.store, lost=lambda *lost: self.lost.append(lost), budget=budget)

    def torrent(self, name: str) -> Torrent:
        """Save the metainfo of an object, and return its torrent without it."""
        ref = ObjectRef("default", "bucket", name)
        layout = Layout(SIZE, 16384)
        info = parse_info(build_info(name=name, layout=layout, pieces=name[:1].encode() * 20 * 500))
        record = Record(PinnedObject(ref, '"e"', SIZE), info, info.outline, "build")
        self.store.save(record)
        return Torrent(info.outline, record.pinned, "build", infos=self.library)

    def path(self, torrent: Torrent) -> Path:
        return self.directory / f"{file_stem(torrent.pinned.ref)}.info"


def a_former(torrent: Torrent) -> Outline:
    """Return the outline of what may have been an object's info before."""
    return Outline(InfoHash(bytes(20)), torrent.layout, torrent.private)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


async def test_metainfo_is_read_when_it_is_asked_for_and_once(shelf: Shelf) -> None:
    torrent = shelf.torrent("a")
    assert not torrent.at_hand
    found: list[Info] = []

    async def ask() -> None:
        found.append(await torrent.fetch_info())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert shelf.store.reads == 1
    assert torrent.at_hand
    assert all(info is torrent.info for info in found)
    assert torrent.info.info_hash == torrent.info_hash
    assert torrent.piece_hash(3) == b"a" * 20


def test_what_needs_it_at_once_reads_it_itself(shelf: Shelf) -> None:
    torrent = shelf.torrent("a")
    assert torrent.piece_hash(0) == b"a" * 20
    assert torrent.raw_info.startswith(b"d6:length")
    assert shelf.store.reads == 1


async def test_the_least_recently_used_is_let_go_beyond_the_budget(shelf: Shelf) -> None:
    a, b, c = map(shelf.torrent, "abc")
    for torrent in (a, b, a, c):
        await torrent.fetch_info()
    assert (a.at_hand, b.at_hand, c.at_hand) == (True, False, True)
    assert 0 < shelf.library._recent.used <= 2 * ONE
    assert shelf.store.reads == 3


async def test_what_somebody_holds_stays_at_hand_however_long_unused(shelf: Shelf) -> None:
    a, b, c = map(shelf.torrent, "abc")
    held = await a.fetch_info()
    for torrent in (b, c):
        await torrent.fetch_info()
    assert a.at_hand
    assert await a.fetch_info() is held
    assert shelf.store.reads == 3
    del held
    for torrent in (b, c):
        await torrent.fetch_info()
    assert not a.at_hand


async def test_what_is_larger_than_the_budget_lives_with_who_holds_it(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, budget=1000)
    torrent = shelf.torrent("a")
    held = await torrent.fetch_info()
    assert torrent.info is held
    assert (shelf.library._recent.used, shelf.store.reads) == (0, 1)
    del held
    await trio.to_thread.run_sync(int)  # a thread may hold what it returned until its next task
    assert not torrent.at_hand


async def test_what_was_put_is_not_read_again_and_what_was_dropped_is(shelf: Shelf) -> None:
    torrent = shelf.torrent("a")
    shelf.library.put(torrent.info)
    shelf.store.reads = 0
    await torrent.fetch_info()
    assert shelf.store.reads == 0
    shelf.library.drop(torrent)
    assert not torrent.at_hand


async def test_metainfo_that_is_gone_or_another_s_is_told_of_and_never_believed(
    shelf: Shelf,
) -> None:
    a, b, c = map(shelf.torrent, "abc")
    shelf.path(a).unlink()
    with pytest.raises(MetainfoError, match="gone or damaged"):
        await a.fetch_info()
    shelf.path(b).write_bytes(b"{}\n")
    with pytest.raises(MetainfoError, match="gone or damaged"):
        b.piece_hash(0)
    # What is there is of another state of the object.
    former = Torrent(a_former(c), c.pinned, "build", infos=shelf.library)
    with pytest.raises(MetainfoError, match="gone or damaged"):
        await former.fetch_info()
    assert [torrent for torrent, _ in shelf.lost] == [a, b, former]


async def test_a_disk_that_fails_is_another_matter(shelf: Shelf) -> None:
    torrent = shelf.torrent("a")
    with (
        failing_disk(errno.EIO, shelf.path(torrent).parent),
        pytest.raises(StorageError, match="can't be read"),
    ):
        await torrent.fetch_info()
    [(lost, error)] = shelf.lost
    assert lost is torrent
    assert isinstance(error, StorageError)
    assert (await torrent.fetch_info()).info_hash == torrent.info_hash


async def test_who_waits_may_go_and_the_others_get_it(shelf: Shelf) -> None:
    torrent = shelf.torrent("a")
    with trio.CancelScope() as gone:
        gone.cancel()
        await torrent.fetch_info()
    assert (await torrent.fetch_info()).info_hash == torrent.info_hash

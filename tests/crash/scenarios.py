"""Programs that write our files, and what must hold of them after a crash at any moment.

`python -m tests.crash.scenarios NAME DIRECTORY` runs one. Each promise that has been kept for good
is marked; `check` looks at what a crash has left, with the code that a start runs.
"""

import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from seeder.cache import files
from seeder.config.added import AddedFile, Addition, EntryName, read_addition
from seeder.config.fields import SourceFile
from seeder.daemon.swarm_file import SwarmFile
from seeder.ledger.counters import AccountKey, Ledger
from seeder.ledger.file import LedgerFile
from seeder.ledger.opening import open_ledger
from seeder.ledger.records import Entry
from seeder.metainfo.journal import HashJournal
from seeder.metainfo.records import Record
from seeder.metainfo.store import MetainfoStore
from seeder.metainfo.trees import TreeBuilder, TreeFile
from seeder.publish.listings import ListingStore
from seeder.s3.listing import Listed
from seeder.torrent.info import InfoHash, build_info, parse_info
from seeder.torrent.layout import Layout, sha1
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.tracker.announce import AnnounceRequest
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from seeder.units import KIB
from tests.crash.recording import MARKS


@dataclass(frozen=True, slots=True)
class Scenario:
    """A program, and the check of what it leaves: given the directory, and the marks so far."""

    run: Callable[[Path], None]
    check: Callable[[Path, int], None]


def mark(root: Path) -> None:
    """Say that what has been done until now is promised."""
    descriptor = os.open(root / MARKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, b"kept\n")
    os.close(descriptor)


# -- the store of metainfo

PIECE = 16 * KIB
REF = ObjectRef("default", "bucket", "key")
BODIES = [random.Random(seed).randbytes(5 * PIECE + 7) for seed in range(3)]


def _record(number: int, tree: TreeFile | None) -> Record:
    body = BODIES[number]
    layout = Layout(len(body), PIECE)
    hashes = b"".join(sha1(body[at : at + PIECE]) for at in range(0, len(body), PIECE))
    root = tree.root if tree else None
    info = parse_info(build_info(name="key", layout=layout, pieces=hashes, root=root))
    pinned = PinnedObject(REF, f'"etag {number}"', len(body))
    return Record(pinned, info, info.outline, "build", "as it is", tree=tree)


def _tree(path: Path, number: int) -> TreeFile:
    body = BODIES[number]
    builder = TreeBuilder(path, Shape(Layout(len(body), PIECE)))
    builder.start()
    builder.add(0, [body[at : at + PIECE] for at in range(0, len(body), PIECE)])
    return builder.finish()


def _run_store(root: Path) -> None:
    """Save a hybrid, a torrent of v1 in its place, and another hybrid."""
    store = MetainfoStore(root / "metainfo")
    for number in range(3):
        tree = _tree(root / "builds" / "key.tree", number) if number != 1 else None
        store.save(_record(number, tree))
        mark(root)


def _check_store(root: Path, promised: int) -> None:
    store = MetainfoStore(root / "metainfo")
    found, recalled = store.load(REF), store.recall(REF)
    if found is None or found.info is None:
        # A hybrid's tree and its record are two files: between them, the record is made anew.
        assert promised < 3
        assert recalled is None or recalled.outline is not None
        return
    assert recalled is not None
    assert recalled.outline == found.info.outline
    number = [f'"etag {number}"' for number in range(3)].index(found.pinned.etag)
    assert number >= promised - 1
    body = BODIES[number]
    assert [found.info.piece_hash(index) for index in range(6)] == [
        sha1(body[at : at + PIECE]) for at in range(0, len(body), PIECE)
    ]
    if found.tree is not None:
        fresh = root / "fresh.tree"
        right = _tree(fresh, number)
        assert found.tree.piece_layers() == right.piece_layers()
        assert found.tree.read(0, 0, 6) == right.read(0, 0, 6)
    store.save(_record(0, None))
    assert store.load(REF) is not None


# -- the journal of a build

DIGESTS = {number: sha1(b"%d" % number) for number in range(8)}


def _run_journal(root: Path) -> None:
    """Begin, append, begin again with what is known, append."""
    path = root / "builds" / "key.journal"
    HashJournal(path, "an object").start({})
    for first in (0, 2):
        HashJournal(path, "an object").append(first, [DIGESTS[first], DIGESTS[first + 1]])
    journal = HashJournal(path, "an object")
    journal.start(journal.load())
    mark(root)
    for first in (4, 6):
        journal.append(first, [DIGESTS[first], DIGESTS[first + 1]])


def _check_journal(root: Path, promised: int) -> None:
    journal = HashJournal(root / "builds" / "key.journal", "an object")
    known = journal.load()
    assert known.items() <= DIGESTS.items()
    if promised:
        assert known.keys() >= {0, 1, 2, 3}
    journal.start(known)
    journal.append(6, [DIGESTS[6], DIGESTS[7]])
    assert journal.load() == known | {6: DIGESTS[6], 7: DIGESTS[7]}


# -- listings

PREFIX = ObjectRef("default", "bucket", "prefix/")
LISTINGS = [
    {f"prefix/{number}-{key}": Listed('"etag"', key) for key in range(20)} for number in range(3)
]


def _run_listings(root: Path) -> None:
    store = ListingStore(root / "listings")
    for listing in LISTINGS:
        store.save(PREFIX, listing)
        mark(root)


def _check_listings(root: Path, promised: int) -> None:
    store = ListingStore(root / "listings")
    found = store.load(PREFIX, 100)
    if found is None:
        assert not promised
    else:
        assert found in LISTINGS[max(0, promised - 1) :]
    store.save(PREFIX, LISTINGS[0])
    assert store.load(PREFIX, 100) == LISTINGS[0]


# -- what is added at run time

ADDED_KEYS = "abcd"
SOURCE = SourceFile(Path("/"), frozenset({"default"}))


def _added(root: Path) -> tuple[AddedFile, dict[EntryName, Addition]]:
    file = AddedFile(root / "added.jsonl")
    return file, file.load(SOURCE)


def _say(root: Path, key: str) -> None:
    file, found = _added(root)
    said = read_addition({"at": 1, "entry": {"bucket": "b", "key": key}}, SOURCE)
    file.append([said], found | {said.name: said})


def _run_added(root: Path) -> None:
    for key in ADDED_KEYS:
        _say(root, key)
        mark(root)


def _check_added(root: Path, promised: int) -> None:
    _, found = _added(root)
    keys = "".join(name.ref.key for name in found)
    assert ADDED_KEYS.startswith(keys)
    assert len(keys) >= promised
    _say(root, "more")
    assert len(_added(root)[1]) == len(keys) + 1


# -- the ledger

NELSON = AccountKey("default", "quotes", "Nelson", "etag")
AT = 20_000 * 86_400.0


def _run_ledger(root: Path) -> None:
    """Flush a byte at a time, with a clean stop and a start in the middle."""
    for _ in range(2):
        file, ledger = LedgerFile(root / "ledger.sqlite"), Ledger()
        for entry in file.load():
            entry.add_to(ledger)
        for _ in range(3):
            ledger.account(NELSON).uploaded(1)
            file.write([Entry.of(ledger.account(NELSON))], AT)
            mark(root)
        file.close()


def _check_ledger(root: Path, promised: int) -> None:
    for more in range(2):
        file, ledger = open_ledger(root / "ledger.sqlite", 5.0), Ledger()
        for entry in file.load():
            entry.add_to(ledger)
        found = ledger.account(NELSON).counters.uploaded_bytes - more
        # What was flushed is there; the flush under way may be.
        assert found in (promised, promised + 1)
        ledger.account(NELSON).uploaded(1)
        file.write([Entry.of(ledger.account(NELSON))], AT)
        file.close()
    # Before the first flush there may be zeros in the place of a file, which are set aside.
    assert not promised or not [path for path in root.iterdir() if ".aside-" in path.name]


# -- the swarms

HASH = InfoHash(b"h" * 20)


class _Nobody:
    """An account that nothing is counted on."""

    def delivered_claimed(self, count: int) -> None:
        pass

    def completed(self) -> None:
        pass


def _swarms() -> Swarms:
    return Swarms(SwarmPolicy(), OwnSeeder(6881), rng=random.Random(1))


def _run_swarms(root: Path) -> None:
    """Save one peer, two, three."""

    async def run() -> None:
        swarms = _swarms()
        swarms.open(HASH, size=1000, claims=_Nobody())
        file = SwarmFile(swarms, root / "swarms.json", clock=lambda: AT)
        for number in range(3):
            request = AnnounceRequest(HASH, b"-XX0000-%012d" % number, 6881, left=1, key=b"key")
            swarms.announce(request, bytes([10, number, 0, 1]), None, 0.0)
            await file.save()
            mark(root)

    trio.run(run)


def _check_swarms(root: Path, promised: int) -> None:
    async def check() -> None:
        swarms = _swarms()
        async with SwarmFile(swarms, root / "swarms.json", clock=lambda: AT).remembered():
            swarms.open(HASH, size=1000, claims=_Nobody())
            assert promised <= swarms.statistics(HASH).peers <= promised + 1

    trio.run(check)


# -- the cache

CACHE_ID = "0123456789abcdef" * 2 + "-1000"
PIECES = [random.Random(seed).randbytes(1000) for seed in range(5)]


def _run_cache(root: Path) -> None:
    """Write pieces, evict one, write it again."""
    directory = os.fspath(root / "cache")
    os.mkdir(directory)
    for index in range(3):
        files.write_piece(directory, (CACHE_ID, index), PIECES[index])
    files.change(directory, [(CACHE_ID, 1)], [((CACHE_ID, 3), PIECES[3])])
    files.change(directory, [], [((CACHE_ID, 1), PIECES[1]), ((CACHE_ID, 300), PIECES[4])])


def _check_cache(root: Path, promised: int) -> None:
    directory = os.fspath(root / "cache")
    if not os.path.isdir(directory):
        return
    files.remove_leftover(directory)
    right = dict(zip((0, 1, 2, 3, 300), PIECES, strict=True))
    for key, size in files.scan(directory).pieces:
        path = files.piece_path(directory, key)
        # As the first read after a start: what hasn't its hash isn't served.
        found = files.read_piece(path, size, sha1(right[key[1]]))
        assert found is None or found[0] == right[key[1]]
    for index, piece in right.items():
        files.write_piece(directory, (CACHE_ID, index), piece)
    assert len(files.scan(directory).pieces) == 5


SCENARIOS = {
    "store": Scenario(_run_store, _check_store),
    "journal": Scenario(_run_journal, _check_journal),
    "listings": Scenario(_run_listings, _check_listings),
    "added": Scenario(_run_added, _check_added),
    "ledger": Scenario(_run_ledger, _check_ledger),
    "swarms": Scenario(_run_swarms, _check_swarms),
    "cache": Scenario(_run_cache, _check_cache),
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]].run(Path(sys.argv[2]))

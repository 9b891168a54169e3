"""Whatever lies in the state and cache directories: read as what was written, or set aside."""

import atexit
import contextlib
import json
import random
import re
import shutil
import tempfile
from pathlib import Path

from seeder.cache.files import scan
from seeder.errors import MetainfoError, StorageError
from seeder.files import dump_json, parse_json
from seeder.ledger.counters import Ledger
from seeder.ledger.file import LedgerFile
from seeder.metainfo.journal import HashJournal
from seeder.metainfo.store import MetainfoStore, Record, file_stem
from seeder.metainfo.trees import TreeFile
from seeder.publish.listings import ListingStore
from seeder.s3.listing import Listed
from seeder.torrent.info import parse_info
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject
from seeder.tracker.announce import AnnounceEvent
from tests.fuzz.inputs import Choices, target
from tests.fuzz.targets.torrents import BUNDLE, HYBRID, LAYOUT, PLAIN
from tests.tracker.announcing import HASH, Tracker

_DIRECTORY = Path(
    tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
)
atexit.register(shutil.rmtree, _DIRECTORY, ignore_errors=True)

_SEAL = re.compile(rb', "[a-z0-9_]+": [0-9]+}(?=\n|\Z)')


def _unsealed(data: bytes) -> bytes:
    """Return a document as older versions wrote it: a change in it isn't noticed at once."""
    return _SEAL.sub(b"}", data)


@target(
    dump_json({"a": [1, 2.5, "\u00e9", None, True], "b": {}}),
    _unsealed(dump_json({"a": [1, "\U0001f600"]})),
    b'{"a": 1e999}',
    b'["\\ud800"]',
    b"[" * 3000,
    b"1" * 5000,
)
def state_json(data: bytes) -> None:
    """A document of ours has plain values, which are written and read the same."""
    try:
        value = parse_json(data)
    except ValueError:
        return
    assert parse_json(dump_json({"value": value}))["value"] == value
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


_REF = ObjectRef("default", "bucket", "key")
_PREFIX = ObjectRef("default", "bucket", "some/")
_STORE = MetainfoStore(_DIRECTORY / "metainfo")


def _saved(record: Record) -> bytes:
    _STORE.save(record)
    return (_DIRECTORY / "metainfo" / f"{file_stem(record.pinned.ref)}.info").read_bytes()


_PINNED = PinnedObject(_REF, '"e"', LAYOUT.size)
_PLAIN_RECORD = _saved(
    Record(_PINNED, parse_info(PLAIN), rung="build", wanted="w", refused={"origin": "no"})
)
_MEMBERS = [PinnedObject(ObjectRef("default", "bucket", "some/a"), '"a"', 5)]


@target(
    _PLAIN_RECORD,
    _unsealed(_PLAIN_RECORD),
    _unsealed(_saved(Record(_PINNED, parse_info(HYBRID), rung="sidecar", wanted="w"))),
    _unsealed(_saved(Record(_PINNED, rung="", wanted=""))),
    _unsealed(_saved(Record(PinnedBundle.of(_PREFIX, _MEMBERS), rung="", wanted="w"))).replace(
        b"some/", b"key", 1
    ),
    b'{"object": ' + b"[" * 2000,
    BUNDLE,
)
def metainfo_record(data: bytes) -> None:
    """A record is an object's own, and can be written again; else there is none."""
    path = _DIRECTORY / "metainfo" / f"{file_stem(_REF)}.info"
    path.write_bytes(data)
    for found in (_STORE.load(_REF), _STORE.recall(_REF)):
        if found is None:
            continue
        assert found.pinned.ref == _REF
        assert found.pinned.size >= 0
        if found.info is not None:
            assert found.info.raw in data
            assert found.outline is not None
        for text in (found.pinned.etag, found.rung, found.wanted, *found.refused):
            text.encode()
        found.tree = None
        _STORE.save(found)
        again = _STORE.load(_REF)
        assert again is not None
        assert again.pinned == found.pinned
        path.write_bytes(data)


def _journal() -> HashJournal:
    return HashJournal(_DIRECTORY / "journal", "name")


def _noted(hashes: dict[int, bytes]) -> bytes:
    _journal().start(hashes)
    return (_DIRECTORY / "journal").read_bytes()


@target(_noted({}), _noted({0: bytes(20), 5: bytes(range(20))}), _noted({1: bytes(20)})[:-3])
def hash_journal(data: bytes) -> None:
    """A journal says what was noted, up to a torn tail."""
    path = _DIRECTORY / "journal"
    path.write_bytes(data)
    known = _journal().load()
    assert all(len(digest) == 20 and 0 <= number < 2**32 for number, digest in known.items())
    _journal().start(known)
    assert _journal().load() == known


_LISTINGS = ListingStore(_DIRECTORY / "listings")


def _listed() -> bytes:
    _LISTINGS.save(_PREFIX, {"some/a": Listed('"e"', 5), "some/é": Listed('"f"', 0)})
    return (_DIRECTORY / "listings" / f"{file_stem(_PREFIX)}.json").read_bytes()


@target(
    _listed(),
    _unsealed(_listed()),
    _unsealed(_listed()).replace(b"5", b"1e999"),
    _unsealed(_listed()).replace(b"some/a", b"\\ud800"),
    b"[" * 3000,
    b"null",
)
def saved_listing(data: bytes) -> None:
    """A listing has keys that S3 can be asked for, and sizes; else there is none."""
    path = _DIRECTORY / "listings" / f"{file_stem(_PREFIX)}.json"
    path.write_bytes(data)
    found = _LISTINGS.load(_PREFIX)
    if found is None:
        return
    for key, listed in found.items():
        key.encode()
        assert listed.size >= 0
    _LISTINGS.save(_PREFIX, found)
    assert _LISTINGS.load(_PREFIX) == found


def _swarms() -> bytes:
    tracker = Tracker()
    tracker.announce("a", left=0, event=AnnounceEvent.COMPLETED, key=b"k")
    tracker.announce("b", "2001:db8::1", left=5, downloaded=3)
    return json.dumps(list(tracker.swarms.export(tracker.now))).encode()


@target(_swarms(), _swarms().replace(b"0", b"NaN"), b"[]", b"[" * 3000, b'[{"info_hash": 1}]')
def saved_swarms(data: bytes) -> None:
    """Swarms of the last run are taken back whole, or not at all (ValueError)."""
    try:
        rows = parse_json(data)
    except ValueError:
        return
    tracker = Tracker(opened=False)
    try:
        if not isinstance(rows, list):
            raise ValueError
        tracker.swarms.restore(rows, tracker.now)
    except ValueError:
        assert not list(tracker.swarms.export(tracker.now))
        return
    tracker.open()
    tracker.swarms.expire(tracker.now)
    tracker.announce("c")
    json.dumps(list(tracker.swarms.export(tracker.now)), allow_nan=False)
    assert tracker.swarms.statistics(HASH).peers >= 1


_TREE_SHAPE = Shape(LAYOUT)


def _tree() -> bytes:
    TreeFile.write(_DIRECTORY / "tree", _TREE_SHAPE, bytes(32 * LAYOUT.piece_count))
    return (_DIRECTORY / "tree").read_bytes()


_TREE = _tree()
_ROOT = _TREE_SHAPE.root(bytes(32 * LAYOUT.piece_count))


@target(_TREE, _TREE[:-1], _TREE[:70])
def tree_file(data: bytes) -> None:
    """A Merkle tree is of the file that is asked for, or isn't there."""
    path = _DIRECTORY / "tree"
    path.write_bytes(data)
    found = TreeFile.open(path, _TREE_SHAPE, _ROOT)
    if found is not None:
        with contextlib.suppress(StorageError, MetainfoError):
            layers = found.piece_layers()
            assert all(len(layer) == 32 * LAYOUT.piece_count for layer in layers.values())


@target(
    b"0123456789abcdef0123456789abcdef-16384/0/5\n0123456789abcdef0123456789abcdef-16384/1/256",
    b"0123456789abcdef0123456789abcdef-99999999999999999999/0/00",
    b"0123456789abcdef0123456789abcdef-16384/99999999999999999999/25599999999999999999990",
    b"writing.tmp\nlock",
    blown_up=8 * 1024,
)
def cache_names(data: bytes) -> None:
    """Names in the cache directory, a line each; `scan` takes those of pieces alone."""
    root = _DIRECTORY / "cache"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for line in data.split(b"\n")[:20]:
        parts = [part for part in line.split(b"/") if part not in (b"", b".", b"..")][:4]
        path = root.joinpath(*(part.decode("latin-1").replace("\0", "0") for part in parts))
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * (len(line) % 3))
    found = scan(str(root))
    assert found.bad >= 0
    for (cache_id, index), size in found.pieces:
        assert 0 < size <= int(cache_id.rpartition("-")[2])
        assert (root / cache_id / str(index // 256) / str(index)).is_file()


def _ledger() -> bytes:
    path = _DIRECTORY / "ledger.sqlite"
    file = LedgerFile(path)
    file.close()
    return path.read_bytes()


_LEDGER = _ledger()


@target(b"\0\0\0\1\2", b"\x10\0\0\1\2\x20\0\0\1\3", b"\xff")
def ledger_file(data: bytes) -> None:
    """A ledger with some bytes changed, or cut off: it is read, or a StorageError."""
    damaged = bytearray(_LEDGER)
    choices = Choices(data)
    while choices:
        place = choices.number(2)
        if place == 0xFFFF:
            del damaged[choices.number(2) :]
        elif damaged:
            damaged[place % len(damaged)] = choices.number()
    path = _DIRECTORY / "damaged.sqlite"
    for leftover in _DIRECTORY.glob("damaged.sqlite*"):
        leftover.unlink()
    path.write_bytes(damaged)
    with contextlib.suppress(StorageError):
        file = LedgerFile(path)
        try:
            ledger = Ledger()
            for entry in file.load():
                entry.add_to(ledger)
            file.spent(1_800_000_000.0)
            file.write([], 1_800_000_000.0 + random.Random(len(data)).random())
        finally:
            file.close()

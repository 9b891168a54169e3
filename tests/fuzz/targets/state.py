"""Whatever lies in the state and cache directories: read as what was written, or set aside."""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trio
from trio.testing import MockClock

from seeder.cache.files import (
    change,
    check_piece,
    piece_path,
    read_cached,
    read_piece,
    remove_leftover,
    scan,
)
from seeder.cache.memory import Key
from seeder.daemon.swarm_file import SwarmFile
from seeder.metainfo.records import Record
from seeder.metainfo.store import MetainfoStore, file_stem
from seeder.metainfo.trees import TreeFile
from seeder.plain_json import dump_json, parse_json
from seeder.publish.listings import ListingStore
from seeder.s3.listing import Listed
from seeder.torrent.bundle import parse_bundle_info
from seeder.torrent.info import build_info, parse_info
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject
from seeder.tracker.announce import AnnounceEvent
from seeder.tracker.saved import SwarmRow
from tests.fuzz.inputs import scratch, target
from tests.fuzz.targets.torrents import BUNDLE, HYBRID, LAYOUT, PIECES, PLAIN
from tests.tracker.announcing import HASH, Tracker

_DIRECTORY = scratch()

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
_BUNDLE = PinnedBundle.of(_REF, [replace(_PINNED, ref=replace(_REF, key="key/a"), size=5)])
_LAYERS = bytes(range(32)) * LAYOUT.piece_count
_TREE = _DIRECTORY / "metainfo" / f"{file_stem(_REF)}.tree"
_SHAPE = Shape(LAYOUT)
_ROOTED = build_info(name="a.tar.gz", layout=LAYOUT, pieces=PIECES, root=_SHAPE.root(_LAYERS))
_WITH_TREE = _saved(
    Record(
        _PINNED,
        parse_info(_ROOTED),
        rung="build",
        wanted="w",
        tree=TreeFile.write(_DIRECTORY / "metainfo" / "made", _SHAPE, _LAYERS),
    )
)
_TREE_BYTES = _TREE.read_bytes()


@target(
    _PLAIN_RECORD,
    _unsealed(_PLAIN_RECORD),
    _unsealed(_saved(Record(_PINNED, parse_info(HYBRID), rung="sidecar", wanted="w"))),
    _unsealed(_saved(Record(_PINNED, rung="", wanted=""))),
    _unsealed(_saved(Record(PinnedBundle.of(_PREFIX, _MEMBERS), rung="", wanted="w"))).replace(
        b"some/", b"key", 1
    ),
    _WITH_TREE,
    _unsealed(_WITH_TREE),
    _unsealed(_saved(Record(_BUNDLE, parse_bundle_info(BUNDLE)[0], rung="", wanted="w"))),
    b'{"object": ' + b"[" * 2000,
    BUNDLE,
)
def metainfo_record(data: bytes) -> None:
    """A record is an object's own, and can be written again; else there is none."""
    path = _DIRECTORY / "metainfo" / f"{file_stem(_REF)}.info"
    path.write_bytes(data)
    _TREE.write_bytes(_TREE_BYTES)
    for found in (_STORE.load(_REF), _STORE.recall(_REF)):
        if found is None:
            continue
        if found.tree is not None:
            assert found.outline is not None
            assert found.outline.v2 is not None
            assert found.tree.root == found.outline.v2.root
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
    found = _LISTINGS.load(_PREFIX, 100)
    if found is None:
        return
    for key, listed in found.items():
        key.encode()
        assert listed.size >= 0
    _LISTINGS.save(_PREFIX, found)
    assert _LISTINGS.load(_PREFIX, 100) == found


_HOUR = 3600.0
_SAVED_AT = 1_800_000_000.0


def _swarms() -> Tracker:
    tracker = Tracker()
    tracker.announce("a", left=0, event=AnnounceEvent.COMPLETED, key=b"k")
    tracker.announce("b", "2001:db8::1", left=5, downloaded=3)
    tracker.announce("c", port=2001, event=AnnounceEvent.STOPPED, key=b"l")
    return tracker


def _rows(tracker: Tracker) -> list[SwarmRow]:
    return list(tracker.swarms.export(tracker.now))


def _swarm_lines(rows: Sequence[SwarmRow], at: object = _SAVED_AT) -> bytes:
    header = {"swarms": 2, "at": at}
    return b"".join(dump_json(each) + b"\n" for each in (header, *rows))


_ROWS = json.dumps(_rows(_swarms())).encode()


@target(_ROWS, _ROWS.replace(b"0", b"NaN"), b"[]", b"[" * 3000, b'[{"info_hash": 1}]')
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
        assert not _rows(tracker)
        return
    _go_on(tracker)


def _go_on(tracker: Tracker) -> None:
    """Let the tracker work with what it took back."""
    tracker.open()
    tracker.announce("a", key=b"k", event=AnnounceEvent.STOPPED)
    for name in ("a", "b", "c"):
        tracker.announce(name, key=b"k", left=0, downloaded=2000, event=AnnounceEvent.COMPLETED)
    json.dumps(_rows(tracker), allow_nan=False)
    assert tracker.swarms.statistics(HASH).peers >= 1
    tracker.now += 1000 * _HOUR
    sum(tracker.swarms.expire(tracker.now))
    assert tracker.swarms.statistics(HASH).peers == 0


@target(
    _swarm_lines(_rows(_swarms())),
    _unsealed(_swarm_lines(_rows(_swarms()))),
    _unsealed(_swarm_lines(_rows(_swarms()) * 2, at=1e308)),
    _unsealed(_swarm_lines([], at="then")),
    _unsealed(_swarm_lines(_rows(_swarms()), at=_SAVED_AT - 2 * _HOUR)) + b'{"info_hash": ',
    b'{"swarms": 3, "at": 1}\n',
    b"[]\n",
    _ROWS,
    blown_up=64 * 1024,
)
def swarm_file(data: bytes) -> None:
    """The tracker's file is read line by line; what was taken back is saved and read the same."""
    path = _DIRECTORY / "swarms.json"
    path.write_bytes(data)
    os.utime(path, (_SAVED_AT, _SAVED_AT))
    first, second = Tracker(opened=False), Tracker(opened=False)
    for tracker in (first, second):
        trio.run(_remember, tracker, path, clock=MockClock())
    assert _rows(first) == _rows(second)
    _go_on(first)


async def _remember(tracker: Tracker, path: Path) -> None:
    """Restore the swarms, and save them again at once; the trackers' clock is trio's."""
    file = SwarmFile(tracker.swarms, path, clock=lambda: _SAVED_AT + 60)
    async with file.remembered():
        tracker.now = trio.current_time()


@target(
    b"0123456789abcdef0123456789abcdef-16384/0/5\n0123456789abcdef0123456789abcdef-16384/1/256",
    b"0123456789abcdef0123456789abcdef-99999999999999999999/0/00",
    b"0123456789abcdef0123456789abcdef-16384/99999999999999999999/25599999999999999999990",
    b"writing.tmp\nlock",
    b"writing.tmp/a\n0123456789abcdef0123456789abcdef-16384/0/0",
    b"0123456789abcdef0123456789abcdef-16384",
    b"0123456789abcdef0123456789abcdef-16384/0\n0123456789abcdef0123456789abcdef-16384/1/256/a",
    b"0123456789abcdef0123456789abcdef-16384/0/0/a\n0123456789abcdef0123456789abcdef-16384/0/1",
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
    remove_leftover(str(root))
    found = scan(str(root))
    assert found.bad >= 0
    for (cache_id, index), size in found.pieces:
        assert 0 < size <= int(cache_id.rpartition("-")[2])
        assert (root / cache_id / str(index // 256) / str(index)).is_file()
    _change(str(root), [key for key, _ in found.pieces])


_CACHE_ID = "0123456789abcdef0123456789abcdef-16384"


def _change(root: str, keys: list[Key]) -> None:
    """Unlink a piece and write some, in whose place there may be anything."""
    pieces = [((_CACHE_ID, index), b"%d" % index) for index in (0, 1, 255, 256)]
    changed = change(root, keys[:1], pieces)
    refused = [key for key, _ in changed.refused]
    assert changed.error is None
    assert sorted([*changed.written, *refused]) == sorted(key for key, _ in pieces)
    for key, piece in pieces:
        if key in changed.written:
            digest = hashlib.sha1(piece, usedforsecurity=False).digest()
            path = piece_path(root, key)
            assert check_piece(path, len(piece), digest) == changed.written[key]
            assert check_piece(path, len(piece), bytes(20)) is None
            assert read_piece(path, len(piece), bytes(20)) is None
            found = read_piece(path, len(piece), digest)
            assert found is not None
            assert found[0] == piece
            _read_at_once(path, piece, found[1])
    there = {key for key, _ in scan(root).pieces}
    assert there == set(keys) - set(changed.unlinked) | set(changed.written)


def _read_at_once(path: str, piece: bytes, mtime: int) -> None:
    buffer = bytearray(len(piece))
    with contextlib.suppress(OSError):  # some file systems can't tell what is cached
        if read_cached(path, [(0, [memoryview(buffer)])], mtime):
            assert buffer == piece
        assert not read_cached(path, [(0, [memoryview(buffer)])], mtime + 1)

"""BEP 38 with a real client: what it takes of a bundle's next version when it has the last one."""

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import libtorrent as lt
import pytest

from seeder.torrent import bencode
from seeder.torrent.bundle import build_bundle_info, padded
from seeder.torrent.info import InfoHash, torrent_file
from seeder.torrent.layout import sha1
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject
from seeder.units import KIB
from tests.support.libtorrent_client import local_settings
from tests.support.processes import poll_until

PIECE = 16 * KIB
LARGEST = 200_000
RNG = random.Random(38)
FIRST = {f"file {number:02}": RNG.randbytes(RNG.randrange(1, LARGEST)) for number in range(50)}
CHANGED = RNG.randbytes(50_000)
SECOND = {**FIRST, "file 17": CHANGED}


def info_of(files: dict[str, bytes]) -> bytes:
    members = [
        PinnedObject(ObjectRef("default", "bucket", f"data/{name}"), '"e"', len(body))
        for name, body in files.items()
    ]
    pieces = bytearray()
    for body in files.values():
        for at in range(0, len(body), PIECE):
            pieces += sha1(padded(bytearray(body[at : at + PIECE]), PIECE))
    bundle = PinnedBundle.of(ObjectRef("default", "bucket", "data/"), members)
    return build_bundle_info(bundle, piece_length=PIECE, pieces=bytes(pieces))


def file_of(
    info: bytes, similar: Sequence[InfoHash] = (), collections: Sequence[str] = ()
) -> bytes:
    return torrent_file(
        info,
        trackers=[["http://127.0.0.1:1/announce"]],
        created_by="test",
        similar=similar,
        collections=collections,
    )


@contextmanager
def session() -> Iterator[lt.session]:
    yield lt.session(local_settings("127.0.0.1", 0) | {"stop_tracker_timeout": 0})


def add(to: lt.session, file: bytes, where: Path) -> lt.torrent_handle:
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(file)
    parameters.save_path = str(where)
    return to.add_torrent(parameters)


def taken(seed: lt.session, client: lt.session, file: bytes, where: Path) -> int:
    """Return how many bytes a client takes of a seed until it has all of a torrent."""
    handle = add(client, file, where)

    def has_all() -> bool:
        handle.connect_peer(("127.0.0.1", seed.listen_port()))
        return handle.status().is_seeding

    poll_until(has_all, timeout=60, what="the whole torrent")
    return int(handle.status().total_payload_download)


def holds(folder: Path, files: dict[str, bytes]) -> bool:
    """Say whether a client's files are on its disk: it says that it has all a moment before."""
    paths = {name: folder / name for name in files}
    return all(path.is_file() and path.read_bytes() == files[name] for name, path in paths.items())


def test_the_hints_stand_outside_info_and_leave_its_hash_alone() -> None:
    info = info_of(SECOND)
    first = InfoHash.of(info_of(FIRST))
    told = bencode.decode(file_of(info, [first]))
    assert isinstance(told, dict)
    assert told[b"similar"] == [first]
    assert lt.torrent_info(file_of(info, [first])).info_hash().to_bytes() == InfoHash.of(info)
    named = bencode.decode(file_of(info, collections=["bucket/data/"]))
    assert isinstance(named, dict)
    assert named[b"collections"] == [b"bucket/data/"]
    assert named[b"info"] == told[b"info"]
    assert b"similar" not in file_of(info)
    assert b"collections" not in file_of(info)


@pytest.mark.parametrize("hint", ["similar", "collections", None])
def test_a_client_with_the_last_version_takes_what_has_changed(
    tmp_path: Path, hint: str | None
) -> None:
    first, second = info_of(FIRST), info_of(SECOND)
    similar = [InfoHash.of(first)] if hint == "similar" else []
    collections = ["bucket/data/"] if hint == "collections" else []
    for name, files in (("first", FIRST), ("second", SECOND)):
        (tmp_path / name / "data").mkdir(parents=True)
        for file, body in files.items():
            (tmp_path / name / "data" / file).write_bytes(body)
    with ExitStack() as stack:
        seed, client = stack.enter_context(session()), stack.enter_context(session())
        add(seed, file_of(first, [], collections), tmp_path / "first")
        add(seed, file_of(second, similar, collections), tmp_path / "second")
        has = Path(stack.enter_context(TemporaryDirectory(dir=tmp_path)))
        whole = taken(seed, client, file_of(first, [], collections), has / "first")
        assert whole >= sum(map(len, FIRST.values()))
        took = taken(seed, client, file_of(second, similar, collections), has / "second")
        poll_until(lambda: holds(has / "second" / "data", SECOND), timeout=60, what="files on disk")
    # Whole pieces, and what came twice at the end.
    most_of_it = sum(map(len, SECOND.values())) // 2
    assert (took <= len(CHANGED) + 4 * PIECE) if hint else (took > most_of_it)

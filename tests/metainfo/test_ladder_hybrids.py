"""Hybrid torrents from the ladder (BEP 52): built, believed, or served as v1 only."""

import logging
from pathlib import Path

import libtorrent as lt
import pytest

from seeder.config.objects import ObjectSettings
from seeder.errors import MetainfoError
from seeder.gateway.links import Links
from seeder.metainfo.ladder import describe_wanted
from seeder.metainfo.store import MetainfoStore
from seeder.torrent import bencode
from seeder.torrent.info import parse_torrent
from seeder.torrent.torrent import Torrent
from seeder.units import KIB
from tests.metainfo.support import BODY, PIECE, Climber, make_hybrid, make_torrent
from tests.torrent.trees import WholeTree, sha1s

TREE = WholeTree(BODY, PIECE)
LAYERS = TREE.piece_layers()


def spoilt_layers(index: int) -> tuple[dict[bytes, bytes], bytes]:
    """Return consistent piece layers in which one piece is another, and their root."""
    layer = bytearray(LAYERS[TREE.root])
    layer[index * 32] ^= 1
    root = TREE.shape.root(bytes(layer))
    return {root: bytes(layer)}, root


def trees_in(directory: Path) -> list[Path]:
    return list(directory.glob("*.tree"))


def info_hashes(torrent: Torrent) -> lt.info_hash_t:
    """Return the hashes of the torrent file that is served, as libtorrent reads it."""
    links = Links("http://tracker.example/announce", "http://tracker.example")
    file = links.torrent_file(torrent, public=True)
    assert file == links.torrent_file(torrent, public=True)
    return lt.load_torrent_buffer(file).info_hashes


@pytest.mark.parametrize("size", [0, 1, 16 * KIB, PIECE, PIECE + 1, len(BODY)])
async def test_a_hybrid_is_built_of_one_reading(climber: Climber, size: int) -> None:
    body = BODY[:size]
    climber.aim("key", body)
    torrent = await climber.climb(format="hybrid", metainfo=("build",), piece_length=PIECE)
    assert climber.server.body_bytes["key"] == size
    assert torrent.hashes is not None
    assert torrent.info.v2 is not None
    assert torrent.info.pieces == sha1s(body, PIECE)
    if not size:
        assert (torrent.info.v2.root, torrent.hashes.piece_layers()) == (b"", {})
        return
    whole = WholeTree(body, PIECE)
    assert torrent.info.v2.root == whole.root
    assert torrent.hashes.piece_layers() == whole.piece_layers()
    assert torrent.hashes.read(0, 0, 1) == whole.read(0, 0, 1)
    found = info_hashes(torrent)
    assert found.v1.to_bytes() == torrent.info_hash
    assert found.v2.to_bytes() == torrent.v2_hash


async def test_v1_stays_what_it_was(climber: Climber) -> None:
    torrent = await climber.climb(metainfo=("build",), piece_length=PIECE)
    assert (torrent.hashes, torrent.v2_hash, torrent.short_v2_hash) == (None, None, None)
    assert b"meta version" not in torrent.raw_info
    plain = ObjectSettings(bucket="bucket", key="key")
    # A restart with a newer version must not take its records for another wish's.
    assert describe_wanted(plain) == "origin sidecar checksums build None None False"
    assert describe_wanted(plain.model_copy(update={"format": "hybrid"})) != describe_wanted(plain)


async def test_a_hybrid_comes_back_after_a_restart(climber: Climber, tmp_path: Path) -> None:
    torrent = await climber.climb(format="hybrid", metainfo=("build",))
    store = MetainfoStore(tmp_path / "metainfo")
    store.save(climber.record)
    again = store.load(climber.record.pinned.ref)
    assert again is not None
    assert again.info == torrent.info
    assert again.tree is not None
    assert torrent.hashes is not None
    # What is served already is read from where the tree lies now.
    assert again.tree.piece_layers() == torrent.hashes.piece_layers()
    [path] = trees_in(tmp_path / "metainfo")
    path.write_bytes(path.read_bytes()[:-1])
    assert store.load(climber.record.pinned.ref) is None
    # Another format later: nothing is left of the tree.
    climber.aim("key")
    await climber.climb(metainfo=("build",))
    store.save(climber.record)
    assert not path.exists()
    found = store.load(climber.record.pinned.ref)
    assert found is not None
    assert found.tree is None


# -- from outside


async def test_a_true_hybrid_is_kept_with_its_piece_layers(climber: Climber) -> None:
    climber.server.torrents["key"] = make_hybrid()
    torrent = await climber.climb()
    assert torrent.rung == "origin"
    assert torrent.hashes is not None
    assert not torrent.hashes.has_leaves
    assert torrent.hashes.piece_layers() == LAYERS
    assert climber.server.body_bytes["key"] == 9 * PIECE + 9
    assert info_hashes(torrent).v2.to_bytes() == torrent.v2_hash


async def test_a_hybrid_of_one_piece_needs_no_piece_layers(climber: Climber) -> None:
    climber.aim("key", BODY[:PIECE])
    climber.server.torrents["key"] = make_hybrid(BODY[:PIECE])
    torrent = await climber.climb()
    assert torrent.hashes is not None
    assert torrent.hashes.root == WholeTree(BODY[:PIECE], PIECE).root


async def test_what_is_read_as_a_whole_gets_its_leaves_too(climber: Climber) -> None:
    climber.server.torrents["key"] = make_hybrid(layers={})
    torrent = await climber.climb(verify="all")
    assert (torrent.rung, climber.server.body_bytes["key"]) == ("origin", len(BODY))
    assert torrent.hashes is not None
    assert torrent.hashes.has_leaves
    assert torrent.hashes.piece_layers() == LAYERS


_LAST, _LAST_ROOT = spoilt_layers(40)
_SEVENTH, _SEVENTH_ROOT = spoilt_layers(7)


@pytest.mark.parametrize(
    ("file", "verify", "reason"),
    [
        (make_hybrid(layers={}), "sample", "piece layers are missing"),
        (make_hybrid(layers=_LAST), "sample", "piece layers are missing"),
        (
            make_hybrid(layers={TREE.root: LAYERS[TREE.root][:-32]}),
            "sample",
            "piece layers don't fit",
        ),
        (make_hybrid(layers={TREE.root: _LAST[_LAST_ROOT]}), "sample", "piece layers don't fit"),
        (make_hybrid(layers=_LAST, root=_LAST_ROOT), "sample", "v2 hash of its piece 40"),
        (make_hybrid(layers=_SEVENTH, root=_SEVENTH_ROOT), "all", "pieces root is not"),
    ],
)
async def test_a_wrong_v2_part_is_passed_over_and_the_log_says_so(
    climber: Climber,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    *,
    file: bytes,
    verify: str,
    reason: str,
) -> None:
    climber.server.torrents["key"] = file
    torrent = await climber.climb(verify=verify)
    assert (torrent.rung, torrent.hashes) == ("origin", None)
    assert torrent.short_v2_hash is None
    [line] = [entry.message for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert not trees_in(tmp_path)
    assert "bucket/key: its torrent is served as v1 only" in line
    assert reason in line


async def test_a_v1_torrent_is_no_reason_to_warn(
    climber: Climber, caplog: pytest.LogCaptureFixture
) -> None:
    climber.server.torrents["key"] = make_torrent()
    await climber.climb()
    assert not caplog.records


@pytest.mark.parametrize(
    "file", [make_torrent(), make_hybrid(layers={}), make_hybrid(layers=_LAST, root=_LAST_ROOT)]
)
async def test_where_a_hybrid_is_wished_for_less_falls_to_the_next_rung(
    climber: Climber, caplog: pytest.LogCaptureFixture, file: bytes
) -> None:
    climber.server.torrents["key"] = file
    torrent = await climber.climb(format="hybrid")
    assert torrent.rung == "build"
    assert torrent.hashes is not None
    assert "metainfo from origin refused" in caplog.text
    assert 'format = "hybrid"' in caplog.text


async def test_a_lying_v1_part_is_refused_whatever_v2_says(climber: Climber) -> None:
    body = bytearray(BODY)
    body[-1] ^= 1
    climber.server.torrents["key"] = make_hybrid(bytes(body), layers=LAYERS, root=TREE.root)
    with pytest.raises(MetainfoError):
        await climber.climb(metainfo=("origin",))


async def test_the_operators_own_torrent_may_be_v1(climber: Climber, tmp_path: Path) -> None:
    path = tmp_path / "own.torrent"
    path.write_bytes(make_torrent())
    torrent = await climber.climb(torrent_file=path, format="hybrid")
    assert (torrent.rung, torrent.hashes) == ("torrent_file", None)


def test_piece_layers_of_another_kind_are_no_piece_layers() -> None:
    outside = bencode.decode(make_hybrid(), canonical=False)
    assert isinstance(outside, dict)
    odd: list[bencode.Value] = [1, [], {b"x": 1}]
    for layers in odd:
        file = bencode.encode(outside | {b"piece layers": layers})
        assert parse_torrent(file).piece_layers == {}

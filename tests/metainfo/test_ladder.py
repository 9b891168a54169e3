"""The metainfo ladder: what is believed, what falls to the next rung, and why."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from seeder.errors import AccessDenied, MetainfoError
from seeder.units import KIB
from tests.metainfo.support import BODY, PIECE, Climber, make_torrent
from tests.torrent.trees import sha1s


async def test_a_true_torrent_of_s3_is_taken_after_a_sample(climber: Climber) -> None:
    climber.server.torrents["key"] = make_torrent()
    torrent = await climber.climb()
    assert (torrent.rung, torrent.layout.piece_length) == ("origin", PIECE)
    assert climber.server.body_bytes["key"] == 9 * PIECE + 9
    assert {index for _, index in climber.shelf.pieces} >= {0, 40}
    assert climber.meter.received["hashing"] == 0


@pytest.mark.parametrize("spoil", [0, 40])
async def test_a_lying_torrent_of_s3_falls_to_the_next_rung(
    climber: Climber, caplog: pytest.LogCaptureFixture, spoil: int
) -> None:
    climber.server.torrents["key"] = make_torrent(spoil=spoil)
    torrent = await climber.climb()
    assert torrent.rung == "build"
    assert torrent.info.pieces == sha1s(BODY, torrent.layout.piece_length)
    assert f"the hash of its piece {spoil} is not the object's" in caplog.text
    assert "bucket/key" in caplog.text
    assert "origin" in climber.record.refused


@pytest.mark.parametrize("verify", ["sample", "all"])
@pytest.mark.parametrize("offset", [0, 40 * PIECE])
async def test_a_bit_that_flips_on_the_way_refutes_no_torrent(
    climber: Climber, verify: str, offset: int
) -> None:
    if verify == "all":
        # Its ETag says nothing of its bytes.
        etag = climber.server.etags["key"] = '"some-etag"'
        climber.record.pinned = replace(climber.record.pinned, etag=etag)
    climber.server.torrents["key"] = make_torrent()
    climber.server.flips["key", offset] = 1
    torrent = await climber.climb(verify=verify, metainfo=("origin",))
    assert torrent.rung == "origin"
    for (_, index), piece in climber.shelf.pieces.items():
        assert piece == BODY[index * PIECE : (index + 1) * PIECE]


@pytest.mark.parametrize(
    ("torrent", "reason"),
    [
        (b"d4:infoe", "not a torrent file"),
        (make_torrent(BODY[:-1]), f"the object has {len(BODY)}"),
        (make_torrent(name="../../etc/passwd"), "unsafe"),
        (BODY[:100], "no torrent"),
    ],
)
async def test_a_torrent_that_does_not_fit_is_refused_without_reading_the_object(
    climber: Climber, caplog: pytest.LogCaptureFixture, torrent: bytes, reason: str
) -> None:
    climber.server.torrents["key"] = torrent
    with pytest.raises(MetainfoError, match="no metainfo from origin"):
        await climber.climb(metainfo=("origin",))
    assert reason in caplog.text
    assert climber.server.body_bytes["key"] == 0


async def test_verify_all_finds_what_a_sample_would_miss(climber: Climber) -> None:
    # Nothing can be sampled of a lie about one piece in 41 but by luck; all is all.
    climber.server.torrents["key"] = make_torrent(spoil=17)
    torrent = await climber.climb(verify="all")
    assert torrent.rung == "build"
    assert climber.server.body_bytes["key"] <= 2 * len(BODY)


async def test_verify_all_of_a_true_torrent_reads_each_byte_once_and_keeps_it(
    climber: Climber,
) -> None:
    climber.server.torrents["key"] = make_torrent()
    torrent = await climber.climb(verify="all")
    assert torrent.rung == "origin"
    assert climber.server.body_bytes["key"] == len(BODY)
    assert len(climber.shelf.pieces) == 41


async def test_an_origin_without_torrents_is_asked_once(climber: Climber) -> None:
    for key in ("one", "two", "three"):
        climber.aim(key, key.encode())
        assert (await climber.climb()).rung == "build"
    asked = [name for name in climber.server.requests if name.endswith("?torrent")]
    assert asked == ["GET one?torrent"]


async def test_a_sidecar_is_taken_where_s3_has_no_torrent(climber: Climber) -> None:
    climber.server.objects["key.torrent"] = make_torrent(name="my name")
    torrent = await climber.climb()
    assert (torrent.rung, torrent.info.name) == ("sidecar", "my name")


async def test_a_sidecar_that_may_not_be_read_counts_as_none(climber: Climber) -> None:
    climber.server.refuse.add("key.torrent")
    assert (await climber.climb()).rung == "build"


async def test_metainfo_that_is_not_private_falls_where_private_is_wanted(climber: Climber) -> None:
    climber.server.torrents["key"] = make_torrent()
    climber.server.objects["key.torrent"] = make_torrent(private=True)
    torrent = await climber.climb(private=True)
    assert (torrent.rung, torrent.info.private) == ("sidecar", True)


async def test_metainfo_with_another_piece_length_falls(climber: Climber) -> None:
    climber.server.torrents["key"] = make_torrent()
    torrent = await climber.climb(piece_length=32 * KIB)
    assert (torrent.rung, torrent.layout.piece_length) == ("build", 32 * KIB)


async def test_the_operators_own_torrent_comes_first(climber: Climber, tmp_path: Path) -> None:
    path = tmp_path / "own.torrent"
    path.write_bytes(make_torrent(name="own"))
    torrent = await climber.climb(torrent_file=path)
    assert (torrent.rung, torrent.info.name) == ("torrent_file", "own")
    assert not climber.server.requests["GET key?torrent"]


async def test_an_own_torrent_that_does_not_fit_is_an_error_and_nothing_else_is_tried(
    climber: Climber, tmp_path: Path
) -> None:
    path = tmp_path / "own.torrent"
    path.write_bytes(make_torrent(spoil=40))
    with pytest.raises(MetainfoError, match=r"bucket/key.*own\.torrent.*piece 40"):
        await climber.climb(torrent_file=path)


async def test_a_refused_rung_is_not_tried_again(climber: Climber) -> None:
    climber.server.torrents["key"] = make_torrent()
    climber.record.refused["origin"] = "piece 7 came wrong"
    assert (await climber.climb()).rung == "build"
    assert not climber.server.requests["GET key?torrent"]


async def test_an_object_that_may_not_be_read_is_the_origins_error(climber: Climber) -> None:
    climber.server.refuse.add("key")
    with pytest.raises(AccessDenied, match="bucket/key"):
        await climber.climb(metainfo=("build",))


async def test_an_empty_object_has_a_torrent(climber: Climber) -> None:
    climber.aim("empty", b"")
    torrent = await climber.climb()
    assert (torrent.layout.piece_count, torrent.info.pieces) == (0, b"")


async def test_building_twice_gives_the_same_torrent(climber: Climber) -> None:
    first = await climber.climb()
    climber.aim("key")
    assert (await climber.climb()).info_hash == first.info_hash
    assert hashlib.sha1(first.raw_info).digest() == first.info_hash

"""The same bytes have the same info hash, wherever the last metainfo came from."""

import base64
from collections.abc import Sequence
from pathlib import Path

import pytest

from seeder.metainfo import questions
from seeder.publish.serving import REPLACED, WITHDRAWN
from seeder.torrent.publications import State
from seeder.torrent.torrent import Torrent
from seeder.units import KIB
from tests.metainfo.support import BODY, PIECE, make_hybrid, make_torrent
from tests.publish.support import SOON, World, moved, read_all, served, settings
from tests.s3.dialects import DIALECTS
from tests.torrent.trees import sha1s

OTHER_LENGTH = PIECE // 2
"""A build chooses PIECE by itself."""
SAMPLE = 10
ALL = ("origin", "sidecar", "checksums", "build")


def copy_in_place(world: World, *, part: int | None = None, body: bytes = BODY) -> None:
    """Give the object another ETag, and SHA-1 checksums of parts of a size."""
    etag = '"0123456789abcdef0123456789abcdef-2"'
    world.server.objects["key"], world.server.etags["key"] = body, etag
    if part is None:
        return
    hashes = sha1s(body, part)
    parts = "".join(
        f"<Part><PartNumber>{number + 1}</PartNumber>"
        f"<Size>{min(part, len(body) - number * part)}</Size><ChecksumSHA1>"
        f"{base64.b64encode(hashes[20 * number : 20 * number + 20]).decode()}</ChecksumSHA1></Part>"
        for number in range(len(hashes) // 20)
    )
    world.server.attributes["key"] = (
        f"<GetObjectAttributesResponse><ETag>{etag[1:-1]}</ETag>"
        f"<ObjectParts><PartsCount>{len(hashes) // 20}</PartsCount>"
        f"<IsTruncated>false</IsTruncated>{parts}</ObjectParts>"
        f"<ObjectSize>{len(body)}</ObjectSize></GetObjectAttributesResponse>"
    ).encode()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for the parts of small objects, too."""
    monkeypatch.setattr(questions, "SMALLEST_PART_LENGTH", 4 * KIB)


async def begin(world: World, *, metainfo: Sequence[str] = ALL, refresh: float = SOON) -> Torrent:
    """Publish the object of a server that tells of parts, and return its torrent."""
    [world.server.dialect] = (
        each for each in DIALECTS if each.name == "AWS S3, uploaded without checksums"
    )
    return await served(world, metainfo=metainfo, refresh=refresh)


def sidecar(world: World, file: bytes) -> None:
    world.server.objects["key.torrent"] = file


async def test_a_sidecar_that_is_gone_leaves_its_torrent(world: World) -> None:
    # Its pieces and its name aren't what a build would choose.
    sidecar(world, make_torrent(name="another name", piece_length=OTHER_LENGTH))
    torrent = await begin(world)
    assert torrent.rung == "sidecar"
    del world.server.objects["key.torrent"]
    copy_in_place(world)
    await moved(world, torrent)
    assert torrent.rung == "build"
    assert (await torrent.fetch_info()).name == "another name"
    assert await read_all(world, torrent) == BODY
    assert world.server.body_bytes["key"] == len(BODY)


async def test_a_hybrid_from_outside_is_built_as_one(world: World) -> None:
    sidecar(world, make_hybrid(piece_length=OTHER_LENGTH))
    torrent = await begin(world)
    assert torrent.hashes is not None
    del world.server.objects["key.torrent"]
    copy_in_place(world, part=PIECE)
    await moved(world, torrent)
    assert torrent.short_v2_hash is not None
    assert world.catalog.by_hash(torrent.short_v2_hash) is torrent
    assert world.server.body_bytes["key"] == len(BODY)


async def test_a_copy_for_checksums_in_the_same_parts_takes_the_sample(world: World) -> None:
    torrent = await begin(world)
    assert torrent.rung == "build"
    copy_in_place(world, part=PIECE)
    await moved(world, torrent)
    assert torrent.rung == "checksums"
    assert await read_all(world, torrent) == BODY
    assert world.server.body_bytes["key"] <= SAMPLE * PIECE


async def test_a_copy_for_checksums_in_other_parts_is_read_once(world: World) -> None:
    torrent = await begin(world)
    copy_in_place(world, part=OTHER_LENGTH)
    await moved(world, torrent)
    assert torrent.rung == "build"
    assert await read_all(world, torrent) == BODY
    assert world.server.body_bytes["key"] <= len(BODY) + SAMPLE * PIECE


async def other_torrent(world: World, torrent: Torrent) -> Torrent:
    """Wait until an object's torrent has ended, and return its new one."""
    await world.until_all(lambda: bool(world.audience.gone))
    assert world.audience.gone == [(torrent, REPLACED)]
    new = (await world.until("key", State.SERVING)).torrent
    assert new is not None
    return new


@pytest.mark.parametrize("part", [OTHER_LENGTH, PIECE])
async def test_other_bytes_with_checksums_are_not_read(world: World, part: int) -> None:
    torrent = await begin(world)
    copy_in_place(world, part=part, body=BODY[::-1])
    new = await other_torrent(world, torrent)
    assert (new.rung, new.layout.piece_length) == ("checksums", part)
    assert world.server.body_bytes["key"] <= 2 * SAMPLE * PIECE


async def test_where_nothing_is_read_other_parts_are_another_torrent(world: World) -> None:
    sidecar(world, make_torrent())
    torrent = await begin(world, metainfo=["sidecar", "checksums"])
    del world.server.objects["key.torrent"]
    copy_in_place(world, part=OTHER_LENGTH)
    new = await other_torrent(world, torrent)
    assert new.layout.piece_length == OTHER_LENGTH


async def test_a_sidecar_that_changes_with_the_object_is_believed(world: World) -> None:
    torrent = await begin(world)
    sidecar(world, make_torrent(piece_length=OTHER_LENGTH))
    copy_in_place(world)
    new = await other_torrent(world, torrent)
    assert (new.rung, new.layout.piece_length) == ("sidecar", OTHER_LENGTH)


async def test_a_piece_length_that_is_set_makes_another_torrent(world: World) -> None:
    torrent = await begin(world, refresh=600.0)
    copy_in_place(world)
    await world.publisher.apply([settings("key", metainfo=ALL, piece_length=OTHER_LENGTH)])
    assert world.audience.gone == [(torrent, WITHDRAWN)]
    new = (await world.until("key", State.SERVING)).torrent
    assert new is not None
    assert new.layout.piece_length == OTHER_LENGTH


async def test_metainfo_that_is_lost_is_built_with_the_pieces_that_it_had(
    world: World, tmp_path: Path
) -> None:
    sidecar(world, make_torrent(piece_length=OTHER_LENGTH))
    torrent = await begin(world)
    del world.server.objects["key.torrent"]
    world.library.drop(torrent)
    [path] = (tmp_path / "metainfo").iterdir()
    path.write_bytes(b"damaged")
    world.library._alive.clear()
    with pytest.raises(Exception, match="gone or damaged"):
        await torrent.fetch_info()
    await world.until_all(lambda: len(world.audience.live) == 2)
    new = world.publication("key").torrent
    assert new is not None
    assert (new.rung, new.info_hash) == ("build", torrent.info_hash)
    assert world.audience.gone == []


async def test_an_object_that_comes_back_has_the_pieces_that_it_had(world: World) -> None:
    sidecar(world, make_torrent(name="another name", piece_length=OTHER_LENGTH))
    torrent = await begin(world)
    del world.server.objects["key"], world.server.objects["key.torrent"]
    await world.until_all(lambda: bool(world.audience.away))
    copy_in_place(world)
    await world.until_all(lambda: len(world.audience.live) == 2)
    new = world.publication("key").torrent
    assert new is not None
    assert (new.rung, new.info_hash) == ("build", torrent.info_hash)
    assert world.audience.gone == []

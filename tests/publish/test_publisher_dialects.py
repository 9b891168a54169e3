"""Each dialect of S3: a prefix is listed, its objects published, and their bytes are right."""

import hashlib
from pathlib import Path

import pytest

from seeder.config.sections import ObjectSettings
from seeder.publish.prefixes import Prefix, PrefixState
from seeder.torrent.catalog import State
from tests.cache.fakes import drop_pieces, get_piece
from tests.publish.support import World
from tests.s3.dialects import DIALECTS, Dialect
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer

NAMES = ("a b", "c+d", "e%20f", "g&h", "\xe9")


def below(**more: object) -> ObjectSettings:
    return ObjectSettings.model_validate(
        {"bucket": "bucket", "prefix": "d/", "refresh": 600.0, **more}
    )


def body(name: str) -> bytes:
    return name.encode() * 20_000


@pytest.fixture
def server(faults: FaultServer) -> ObjectsServer:
    server = ObjectsServer({f"d/{name}": body(name) for name in NAMES} | {"else": b"x"}, page=2)
    faults.default = server.serve
    return server


def followed(world: World) -> Prefix:
    [prefix] = world.publisher.prefixes
    return prefix


def served(world: World) -> set[str]:
    return {each.ref.key for each in world.catalog if each.state is State.SERVING}


async def until_served(world: World, *names: str) -> None:
    wanted = {f"d/{name}" for name in names}
    await world.until_all(lambda: served(world) == wanted)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_what_is_below_a_prefix_is_published_and_right(
    world: World, dialect: Dialect
) -> None:
    world.server.dialect = dialect
    await world.publisher.apply([below()])
    await until_served(world, *NAMES)
    assert followed(world).state is PrefixState.FOLLOWED
    for name in NAMES:
        torrent = world.publication(f"d/{name}").torrent
        assert torrent is not None
        info = await torrent.fetch_info()
        whole = body(name)
        assert info.piece_hash(0) == hashlib.sha1(whole[: info.layout.piece_length]).digest()
        await drop_pieces(world.cache, torrent.cache_id)
        piece = await get_piece(world.cache, torrent, 0)
        assert bytes(piece) == whole[: info.layout.piece_length]


BAD = {
    "without an ETag": "<Key>d/c%2Bd</Key><Size>60000</Size>",
    "without a size": "<Key>d/c%2Bd</Key><ETag>e</ETag>",
    "a size that is no number": "<Key>d/c%2Bd</Key><ETag>e</ETag><Size>6e4</Size>",
    "an ETag of nothing": "<Key>d/c%2Bd</Key><ETag>&quot;&quot;</ETag><Size>60000</Size>",
    "no key": "<ETag>e</ETag><Size>60000</Size>",
    "a date that is none": "<Key>d/c%2Bd</Key><LastModified>x</LastModified><ETag/><Size/>",
}


@pytest.mark.parametrize("bad", BAD)
async def test_a_bad_entry_costs_no_other_object_anything(world: World, bad: str) -> None:
    world.server.entries["d/c+d"] = BAD[bad]
    await world.publisher.apply([below()])
    if bad != "no key":
        await until_served(world, *NAMES)
        assert followed(world).left_out == {}
        return
    await until_served(world, *(name for name in NAMES if name != "c+d"))
    assert followed(world).document()["left_out"] == [
        {"key": "an entry", "reason": "it has no key"}
    ]


async def test_an_entry_that_head_does_not_clear_up_is_left_out_and_named(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.server.entries["d/c+d"] = BAD["without an ETag"]
    world.server.refuse.add("d/c+d")
    await world.publisher.apply([below()])
    await until_served(world, *(name for name in NAMES if name != "c+d"))
    await world.until_all(lambda: followed(world).reason is not None)
    prefix = followed(world)
    assert prefix.state is PrefixState.FOLLOWED
    reason = prefix.left_out["d/c+d"]
    assert reason.startswith("in the listing, its ETag is missing; bucket/d/c+d: S3 answers 403")
    assert prefix.reason == f"1 object is left out: d/c+d: {reason}"
    assert prefix.reason in caplog.text
    assert prefix.document()["left_out"] == [{"key": "d/c+d", "reason": reason}]


async def test_what_was_published_stays_while_its_entry_lacks_something(world: World) -> None:
    await world.publisher.apply([below(refresh=0.01)])
    await until_served(world, *NAMES)
    torrent = world.publication("d/c+d").torrent
    world.server.entries["d/c+d"] = BAD["without an ETag"]
    world.server.refuse.add("d/c+d")
    await world.until_all(lambda: bool(followed(world).left_out))
    assert world.publication("d/c+d").torrent is torrent
    assert world.audience.gone == []
    # What isn't there any more ends all the same.
    world.server.refuse.clear()
    del world.server.objects["d/c+d"]
    await world.until_all(lambda: len(world.audience.gone) == 1)


async def test_a_bundle_lacks_none_of_its_files(world: World) -> None:
    world.server.entries["d/c+d"] = BAD["without an ETag"]
    world.server.refuse.add("d/c+d")
    await world.publisher.apply([below(bundle=True, refresh=0.01)])
    [bundle] = world.catalog
    await world.until_all(lambda: bundle.reason is not None)
    assert "its torrent lacks d/c+d: in the listing, its ETag is missing" in str(bundle.reason)
    world.server.refuse.clear()
    await world.until_all(lambda: bundle.state is State.SERVING)


@pytest.mark.parametrize(
    ("keys", "name", "said"),
    [
        ("twice", "a b", "maybe this server encodes keys twice (bucket/d/a b is meant)"),
        ("claimed", "c+d", "maybe this server doesn't encode keys although it says so"),
    ],
)
async def test_keys_that_are_written_wrongly_are_suspected_where_they_are_not_found(
    world: World, keys: str, name: str, said: str
) -> None:
    world.server.dialect = Dialect("wrong keys", keys=keys)  # type: ignore[arg-type]
    world.server.objects = {f"d/{name}": body(name), "d/fine": body("x")}
    await world.publisher.apply([below()])
    await world.until_all(lambda: len(tuple(world.catalog)) == 2)
    [wrong] = [each for each in world.catalog if each.ref.key != "d/fine"]
    await world.until_all(lambda: wrong.reason is not None)
    assert said.replace("bucket/", "") in str(wrong.reason)
    await world.until("d/fine", State.SERVING)


def test_the_document_has_the_dialects_that_are_tried_here() -> None:
    text = (Path(__file__).parents[2] / "config" / "README.md").read_text(encoding="utf-8")
    table = text.partition("| By script | Listed by |\n|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == [
        f"| {each.name} | {'ListObjectsV2' if each.v2 else 'ListObjects V1'} |" for each in DIALECTS
    ]

"""Each dialect of S3: a prefix is listed, its objects published, and their bytes are right."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seeder.config.objects import ObjectSettings
from seeder.publish.prefix import Prefix, PrefixState
from seeder.s3.client import S3Origin
from seeder.torrent.publications import State
from tests.compatibility import REAL_SERVERS, documented, note, real_row
from tests.publish.servers import NAMES, Trial
from tests.publish.support import World, make_world
from tests.s3.dialects import DIALECTS, Dialect
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import MakeOrigin
from tests.support.objects import content


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


@dataclass
class Scripted:
    """The bucket of a scripted server."""

    server: ObjectsServer
    bucket: str = "bucket"

    def put(self, key: str, body: bytes) -> None:
        self.server.objects[key] = body

    def put_in_parts(self, key: str) -> bytes:
        self.server.objects[key] = content(5 * self.server.part + 9)
        return self.server.objects[key]

    def delete(self, key: str) -> None:
        del self.server.objects[key]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_each_dialect_is_published_and_read_as_the_document_says(
    faults: FaultServer, make_origin: MakeOrigin, tmp_path: Path, dialect: Dialect
) -> None:
    server = ObjectsServer(page=2, dialect=dialect)
    faults.default = server.serve
    made: list[S3Origin] = []

    async def make(**settings: Any) -> S3Origin:
        made.append(await make_origin(**settings))
        return made[0]

    async with make_world(server, make, tmp_path) as world:
        trial = Trial(world, Scripted(server), made[0])
        found = {"listed by": await trial.find_out_listing(), **await trial.find_out_metainfo()}
        for rung, told in (("origin", dialect.torrent), ("checksums", dialect.attributes)):
            tells = rung == "checksums" and dialect.parts != "whole"
            if told is None and not tells and not dialect.unfit:
                assert found[f"`{rung}`"] == "no"
                found[f"`{rung}`"] = "not known"
        if dialect.unfit:
            assert dialect.unfit in str(world.publication("build").reason)
        found["403, 503"] = await _find_out_refusals(trial, server)
        found["replaced, gone"] = await trial.find_out_replacing()
    note(dialect.name, found)


async def _find_out_refusals(trial: Trial, server: ObjectsServer) -> str:
    """Refuse a served object, then have S3 away, then give it again."""
    if trial.state("build") is not State.SERVING:
        return "no"
    publication = trial.world.publication("build")
    for number, error in enumerate((b"AccessDenied", b"ServiceUnavailable")):
        body = b"<Error><Code>%s</Code><Message>as told</Message></Error>" % error
        server.down = (403, body) if not number else (503, body)
        await trial.until(lambda: publication.state is State.FAULTY)
        server.down = None
        await trial.until(lambda: publication.state is State.SERVING)
    return "yes"


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
    assert world.audience.gone == world.audience.away == []
    # What isn't there any more ends all the same.
    world.server.refuse.clear()
    del world.server.objects["d/c+d"]
    await world.until_all(lambda: len(world.audience.away) == 1)


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


@pytest.mark.parametrize("liar", ["listing", "head"])
async def test_no_torrent_has_a_wrong_size_whoever_tells_it(
    world: World, liar: str, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = world.server.listed_sizes if liar == "listing" else world.server.head_sizes
    sizes["d/c+d"] = 5
    await world.publisher.apply([below()])
    await until_served(world, *NAMES)
    torrent = world.publication("d/c+d").torrent
    assert torrent is not None
    assert torrent.layout.size == len(body("c+d"))
    assert ("S3 lists it with 5 bytes" in caplog.text) is (liar == "listing")


async def test_a_head_that_lies_of_the_size_alone_is_found_out_by_a_read(world: World) -> None:
    world.server.head_sizes["d/c+d"] = 5
    key = ObjectSettings.model_validate({"bucket": "bucket", "key": "d/c+d"})
    await world.publisher.apply([key])
    await world.until("d/c+d", State.SERVING)
    torrent = world.publication("d/c+d").torrent
    assert torrent is not None
    assert torrent.layout.size == len(body("c+d"))


@pytest.mark.parametrize("size", [0, 5])
async def test_no_bundle_has_a_file_of_a_wrong_size(world: World, size: int) -> None:
    world.server.listed_sizes["d/c+d"] = size
    world.server.objects["d/empty"] = b""
    await world.publisher.apply([below(bundle=True)])
    [bundle] = world.catalog
    await world.until_all(lambda: bundle.state is State.SERVING)
    assert bundle.torrent is not None
    assert bundle.torrent.pinned.size == sum(len(body(name)) for name in NAMES)
    # Of an empty object the ETag says so: it costs no request.
    assert world.server.requests["HEAD d/empty"] == 0


async def test_a_web_servers_404_ends_no_torrent(world: World) -> None:
    key = ObjectSettings.model_validate({"bucket": "bucket", "key": "d/c+d", "refresh": 0.05})
    await world.publisher.apply([key])
    publication = await world.until("d/c+d", State.SERVING)
    torrent = publication.torrent
    world.server.dialect = Dialect("a proxy", pages=True)
    world.server.down = (404, b"")
    await world.until("d/c+d", State.FAULTY)
    assert publication.torrent is torrent
    assert "404 with a page of HTML" in str(publication.reason)
    world.server.down = None
    await world.until("d/c+d", State.SERVING)
    assert world.audience.gone == []


def test_the_document_has_a_row_of_each_server() -> None:
    rows = {each.name for each in DIALECTS} | {real_row(name) for name in REAL_SERVERS}
    assert documented().keys() == rows

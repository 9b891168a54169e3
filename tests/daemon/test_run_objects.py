"""The resources /objects and /prefixes of the control API, asked of a running node."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio

from seeder.config.added import ADDED as ADDED_FILE
from seeder.config.added import Addition, EntryName
from seeder.config.objects import ObjectSettings
from seeder.config.sections import Config
from seeder.control import objects as resource
from seeder.daemon.node import Node
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import SHOWN_STATES
from tests.daemon.support import BODY, serving, until
from tests.s3.fault_server import FaultServer, error
from tests.s3.objects_server import ObjectsServer

ADDED = {"bucket": "quotes", "key": "sea/Hardy", "metainfo": ["build"]}
SEA = {"bucket": "quotes", "prefix": "sea/", "metainfo": ["build"]}


@pytest.fixture
def store(faults: FaultServer) -> ObjectsServer:
    more = {f"sea/{name}": name.encode() * 9000 for name in ("Hardy", "Jervis", "a:b")}
    made = ObjectsServer(objects={"Nelson": BODY, **more})
    faults.default = made.serve
    return made


@pytest.fixture
async def node(config: Config) -> AsyncIterator[Node]:
    async with serving(config) as node:
        yield node


@pytest.fixture
async def api(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    path = node.config.control_socket
    assert path is not None
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    base = "http://localhost/api/v1"
    async with httpx.AsyncClient(transport=transport, base_url=base, timeout=20) as client:
        yield client


async def until_states(api: httpx.AsyncClient, wanted: dict[str, str]) -> list[dict[str, Any]]:
    """Return the objects once all are in these states."""
    found: list[list[dict[str, Any]]] = [[]]

    while {each["key"]: each["state"] for each in found[0]} != wanted:
        found[0] = (await api.get("/objects")).json()["objects"]
    return found[0]


def refused(answer: httpx.Response, status: int, text: str) -> None:
    assert answer.status_code == status, answer.text
    assert text in answer.json()["detail"]


async def test_an_object_is_added_shown_changed_and_removed(api: httpx.AsyncClient) -> None:
    made = await api.post("/objects", json=ADDED)
    assert made.status_code == 201
    assert made.headers["location"] == "/api/v1/objects/quotes/sea/Hardy"
    assert (await api.post("/objects", json=ADDED)).status_code == 200
    rows = await until_states(api, {"Nelson": "serving", "sea/Hardy": "serving"})
    assert [(each["source"], each["settings"]) for each in rows] == [
        ("file", None),
        ("added", None),
    ]
    one = (await api.get("/objects/quotes/sea/Hardy")).json()
    assert one["settings"] == {"metainfo": ["build"]}
    assert one["magnet"].startswith(f"magnet:?xt=urn:btih:{one['info_hash']}&dn=Hardy")
    assert one["torrent_url"].endswith("/quotes/sea/Hardy?torrent")
    assert (one["size"], one["cached_bytes"], one["pieces"]) == (45_000, 45_000, 1)
    assert one["origin_bytes"] >= 45_000
    patch = {"refresh": "1h", "publish_at": None, "warm": True}
    changed = await api.patch("/objects/quotes/sea/Hardy", json=patch)
    assert changed.json()["settings"] == {"metainfo": ["build"], "refresh": "3600s", "warm": True}
    gone = await api.delete("/objects/quotes/sea/Hardy")
    assert (gone.status_code, gone.content) == (204, b"")
    refused(await api.get("/objects/quotes/sea/Hardy"), 404, "nothing of that name is published")
    refused(await api.delete("/objects/quotes/sea/Hardy"), 404, "nothing of that name")


async def test_what_the_configuration_has_is_changed_there(api: httpx.AsyncClient) -> None:
    for answer in (
        await api.post("/objects", json={"bucket": "quotes", "key": "Nelson"}),
        await api.patch("/objects/quotes/Nelson", json={"warm": True}),
        await api.delete("/objects/quotes/Nelson"),
    ):
        refused(answer, 409, "is in the environment; change it there")
    same = {**ADDED, "refresh": "1h"}
    assert (await api.post("/objects", json=ADDED)).status_code == 201
    refused(await api.post("/objects", json=same), 409, "with other settings")


@pytest.mark.parametrize(
    ("entry", "detail"),
    [
        ({"bucket": "quotes"}, "objects[0].key: want a key here"),
        ({"bucket": "quotes", "prefix": "a"}, "one with a prefix goes to /api/v1/prefixes"),
        ({"key": "a"}, "objects[0].bucket: missing"),
        ({"bucket": "quotes", "key": "a", "refresh": "x"}, 'objects[0].refresh = "x": want a time'),
        ({"bucket": "quotes", "key": "a", "kex": 1}, "objects[0].kex: unknown key"),
        ({"bucket": "quotes", "key": "a", "kex": None}, 'kex: unknown key; did you mean "key"?'),
        ({"bucket": "quotes", "key": "a", "origin": "b"}, "objects[0].origin"),
    ],
)
async def test_mistakes_are_told_as_those_of_the_file(
    api: httpx.AsyncClient, entry: dict[str, object], detail: str
) -> None:
    refused(await api.post("/objects", json=entry), 422, detail)


async def test_every_mistake_is_told_at_once(api: httpx.AsyncClient) -> None:
    entry = {"bucket": "quotes", "key": "a", "refresh": "x", "format": "v9"}
    answer = (await api.post("/objects", json=entry)).json()
    assert len(answer["errors"]) == 2


async def test_a_prefix_is_added_shown_and_removed(api: httpx.AsyncClient, node: Node) -> None:
    made = await api.post("/prefixes", json=SEA)
    assert (made.status_code, made.headers["location"]) == (201, "/api/v1/prefixes/quotes/sea/")
    below = {f"sea/{name}": "serving" for name in ("Hardy", "Jervis", "a:b")}
    rows = await until_states(api, {"Nelson": "serving", **below})
    assert {(each["source"], each["prefix"]) for each in rows} == {
        ("file", None),
        ("prefix", "sea/"),
    }
    one = (await api.get("/prefixes/quotes/sea/")).json()
    assert (one["objects"], one["state"], one["source"]) == (3, "followed", "added")
    assert one["listed_at"] is not None
    refused(await api.delete("/objects/quotes/sea/Hardy"), 409, "by the prefix quotes/sea/")
    assert (await api.get("/objects/quotes/sea/a%3Ab")).json()["key"] == "sea/a:b"
    assert (await api.get("/prefixes")).json()["prefixes"] == [one]
    bundle = {**SEA, "bundle": True}
    made = await api.post("/prefixes", json=bundle)
    where = made.headers["location"].removeprefix("/api/v1")
    assert (await api.get(where)).json()["bundle"] is True
    both = (await api.get("/prefixes")).json()["prefixes"]
    assert [each["bundle"] for each in both] == [False, True]
    assert (await api.delete("/prefixes/quotes/sea/?bundle=true")).status_code == 204
    assert (await api.delete("/prefixes/quotes/sea/")).status_code == 204
    await until_states(api, {"Nelson": "serving"})


@pytest.mark.parametrize("key", ["..", "sea/../Hardy", "./x:refresh"])
async def test_what_was_made_is_where_its_location_says(api: httpx.AsyncClient, key: str) -> None:
    made = await api.post("/objects", json={**ADDED, "key": key})
    where = made.headers["location"]
    # Nothing is left of it that a client takes away as a step.
    assert not {".", ".."}.intersection(where.split("/"))
    assert (await api.get(where.removeprefix("/api/v1"))).json()["key"] == key


async def test_what_is_below_a_prefix_is_not_hashed_or_warmed_before_it_is_known(
    api: httpx.AsyncClient, faults: FaultServer
) -> None:
    faults.default = error(403, "AccessDenied")
    assert (await api.post("/prefixes", json=SEA)).status_code == 201
    for action in ("warm", "rehash"):
        answer = await api.post(f"/prefixes/quotes/sea/:{action}")
        refused(answer, 503, "quotes/sea/: isn't listed yet")
    assert (await api.post("/prefixes/quotes/sea/:refresh")).status_code == 202


async def test_the_whole_bucket_is_a_prefix(api: httpx.AsyncClient) -> None:
    made = await api.post("/prefixes", json={**SEA, "prefix": ""})
    assert made.headers["location"] == "/api/v1/prefixes/quotes/"
    assert (await api.get("/prefixes/quotes/")).json()["prefix"] == ""
    assert (await api.delete("/prefixes/quotes/")).status_code == 204


async def test_who_adds_or_changes_what_a_bundle_gives_away_is_told_so_and_so_is_the_log(
    api: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    line = "the bundle quotes/sea/ has quotes/sea/Hardy in it, too, and so gives to anybody"

    def said() -> list[str]:
        found = [each for each in caplog.messages if each.startswith(line)]
        caplog.clear()
        return found

    bundle = await api.post("/prefixes", json={**SEA, "bundle": True})
    plain = await api.post("/objects", json=ADDED)
    assert (bundle.json()["warnings"], plain.json()["warnings"], said()) == ([], [], [])
    late = {"publish_at": "2999-01-01T00:00:00Z"}
    changed = await api.patch("/objects/quotes/sea/Hardy", json=late)
    [told] = changed.json()["warnings"]
    assert [told] == said()
    assert (await api.get("/objects/quotes/sea/Hardy")).json()["warnings"] is None
    # And the other way round: what is kept back is there first.
    assert (await api.delete("/prefixes/quotes/sea/")).status_code == 204
    again = await api.post("/prefixes", json={**SEA, "bundle": True})
    assert again.json()["warnings"] == [told] == said()


async def test_lists_come_in_pages_in_order(
    api: httpx.AsyncClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = sorted(f"{letter}/{number}" for letter in "xyz" for number in range(5))
    for key in keys:
        await node.additions.add({"bucket": "quotes", "key": key})
    found: list[str] = []
    query: dict[str, str | int] = {"limit": 4}
    while True:
        page = (await api.get("/objects", params=query)).json()
        assert len(page["objects"]) <= 4
        found += [each["key"] for each in page["objects"]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert found == ["Nelson", *keys]
    some = (await api.get("/objects", params={"prefix": "quotes/y/"})).json()
    assert [each["key"] for each in some["objects"]] == [each for each in keys if each[0] == "y"]
    assert (await api.get("/objects?prefix=other")).json() == {"objects": [], "next": None}
    await node.additions.remove(next(iter(node.additions._found)))
    assert len((await api.get("/objects")).json()["objects"]) == len(keys)
    await until(lambda: all(each.state != "waiting" for each in node.catalog))
    monkeypatch.setattr(resource, "MOST_LOOKED_AT", 2)
    monkeypatch.setattr(resource, "_AT_ONCE", 2)
    few = (await api.get("/objects?state=failed&limit=9")).json()
    assert len(few["objects"]) <= 2
    assert few["next"] is not None
    for bad in ("limit=0", "limit=1001", "after=x", "after=WzFd", "nonsense=1"):
        assert (await api.get(f"/objects?{bad}")).status_code == 400
    for state in SHOWN_STATES:
        listed = (await api.get(f"/objects?state={state}")).json()["objects"]
        assert {each["state"] for each in listed} <= {state}
    refused(await api.get("/objects?state=asleep"), 400, "state: want one of waiting, ")


async def test_an_entry_that_is_wrong_by_now_is_shown_and_can_go(config: Config) -> None:
    more = {**config.origins, "other": config.origins["default"]}
    async with serving(config.model_copy(update={"origins": more})) as node:
        await node.additions.add({**ADDED, "origin": "other"})
    async with serving(config) as node:
        path = node.config.control_socket
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        base = "http://localhost/api/v1"
        async with httpx.AsyncClient(transport=transport, base_url=base) as api:
            rows = (await api.get("/objects")).json()["objects"]
            assert rows[1]["state"] == "unfit"
            assert (await api.delete("/objects/quotes/sea/Hardy?origin=other")).status_code == 204
            assert len((await api.get("/objects")).json()["objects"]) == 1


async def test_an_entry_that_is_wrong_by_now_and_stands_in_the_file_is_listed_once(
    config: Config,
) -> None:
    names = [EntryName(ObjectRef("default", "quotes", key), False) for key in ("Nelson", "sea/")]
    names.append(names[1]._replace(is_followed=True))
    more: list[dict[str, Any]] = [
        {"bucket": "quotes", "key": "Nelson"},
        {**SEA, "bundle": True},
        SEA,
    ]
    path = trio.Path(config.state_directory / ADDED_FILE)
    await path.parent.mkdir()
    told = [
        Addition(name, 1, {**entry, "refresh": "x"})
        for name, entry in zip(names, more, strict=True)
    ]
    await path.write_bytes(b"".join(each.line() + b"\n" for each in told))
    bundle = ObjectSettings(bucket="quotes", prefix="sea/", bundle=True)
    wanted = (*config.objects, bundle, bundle.model_copy(update={"bundle": False}))
    async with serving(config.model_copy(update={"objects": wanted})) as node:
        transport = httpx.AsyncHTTPTransport(uds=str(node.config.control_socket))
        base = "http://localhost/api/v1"
        async with httpx.AsyncClient(transport=transport, base_url=base) as api:
            rows = (await api.get("/objects?prefix=quotes/")).json()["objects"]
            found = [
                each["key"] for each in rows if not each["key"].startswith("sea/") or each["bundle"]
            ]
            assert found == ["Nelson", "sea/"]
            prefixes = (await api.get("/prefixes")).json()["prefixes"]
            assert [each["bundle"] for each in prefixes] == [False, True]


async def test_actions_reach_what_they_name(
    api: httpx.AsyncClient, node: Node, store: ObjectsServer
) -> None:
    await api.post("/prefixes", json=SEA)
    below = {f"sea/{name}": "serving" for name in ("Hardy", "Jervis", "a:b")}
    await until_states(api, {"Nelson": "serving", **below})
    for path in ("objects/quotes/Nelson", "objects/quotes/sea/a%3Ab", "prefixes/quotes/sea/"):
        for verb in ("refresh", "rehash", "warm"):
            answer = await api.post(f"/{path}:{verb}")
            assert answer.status_code == 202, answer.text
    await until(lambda: store.body_bytes["Nelson"] == 2 * len(BODY))  # it was hashed again
    await until(lambda: node.warmer.asked == {})
    await until_states(api, {"Nelson": "serving", **below})
    for path in ("objects/quotes/nobody", "prefixes/quotes/nobody"):
        assert (await api.post(f"/{path}:warm")).status_code == 404
    refused(await api.post("/objects/quotes/Nelson:sink"), 404, "no such path")

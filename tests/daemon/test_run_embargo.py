"""Before its time, nothing that a stranger can ask tells of an object; then all of it does."""

import json
from math import inf

import httpx
import pytest
import trio

from seeder.config.objects import ObjectSettings
from seeder.config.public import GatewaySettings
from seeder.config.sections import Config
from seeder.daemon.node import Node
from seeder.torrent.publications import State
from tests.daemon.support import get, serving, until
from tests.s3.objects_server import ObjectsServer

LATER = 4e9
PAGES = (
    "/quotes/Nelson?torrent",
    "/quotes/Nelson?magnet",
    "/quotes/Nelson",
    "/quotes?list-type=2",
    "/quotes?list-type=2&prefix=Nel",
    "/quotes",
    "/",
    "/?format=json",
    "/?format=rss",
    "/?search=Nelson",
)


def hidden(config: Config, *, prefix: bool) -> Config:
    kind = {"prefix": "N"} if prefix else {"key": "Nelson"}
    entry = ObjectSettings.model_validate(
        {"bucket": "quotes", "metainfo": ["build"], "publish_at": LATER, **kind}
    )
    gateway = GatewaySettings(listing=True, web_seed=True)
    return config.model_copy(update={"objects": (entry,), "gateway": gateway})


def state_of(node: Node) -> State | None:
    found = [each for each in node.catalog if each.ref.key == "Nelson"]
    return found[0].state if found else None


async def ask(config: Config, target: str) -> tuple[int, str]:
    """Return what a stranger is answered, without what differs by name or time."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://{config.tracker.listen[0]}{target}")
    text = "\n".join(line for line in answer.text.split("\n") if "RequestId" not in line)
    return answer.status_code, text


@pytest.mark.parametrize("prefix", [False, True])
async def test_nothing_tells_of_an_object_before_its_time(
    config: Config, store: ObjectsServer, *, prefix: bool
) -> None:
    given = hidden(config, prefix=prefix)
    async with serving(given) as node:
        metainfo = given.state_directory / "metainfo"
        await until(lambda: state_of(node) is State.EMBARGOED and any(metainfo.glob("*.info")))
        for page in PAGES:
            status, text = await ask(given, page)
            # Who asks for a name gets it back, and no more than for any other.
            elsewhere = page.replace("quotes", "nowhere").replace("Nelson", "Wellington")
            other = await ask(given, elsewhere)
            said = text.replace("quotes", "nowhere").replace("Nelson", "Wellington")
            assert (status, said) == other, page
        code, document = await get(given.admin.listen[0], "/status.json")
        assert code == 200
        [row] = [each for each in json.loads(document)["torrents"] if each["key"] == "Nelson"]
        assert row["state"] == "embargoed"
        assert row["reason"] == "it is published at 2096-10-02T07:06:40Z"
        embargoes = node.publisher._timetable.embargoes
        node.swarms.loading = await node.publisher.is_loading()
        assert not node.swarms.loading
        embargoes._wall_clock = lambda: inf
        await until(lambda: state_of(node) is State.SERVING)
        assert (await ask(given, "/quotes/Nelson?torrent"))[0] == 200
        with trio.fail_after(60):
            while "Nelson" not in (await ask(given, "/?format=json"))[1]:  # noqa: ASYNC110
                await trio.sleep(0.05)
        assert "Nelson" in (await ask(given, "/quotes?list-type=2"))[1]

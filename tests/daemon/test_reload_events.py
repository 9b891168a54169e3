"""A reload adds, changes and removes sources of events, and leaves the others alone."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import trio

from seeder.config.load import load
from seeder.config.sections import Config
from seeder.daemon.reload import reload
from tests.daemon.support import get, serving, until
from tests.s3.fault_server import FaultServer, Seen, answer
from tests.s3.objects_server import ObjectsServer

TOKEN = "a-token-of-24-characters"
OTHER = "another-of-24-characters"


@dataclass
class Queues:
    """Queues that have no message before a test says so, beside a bucket."""

    store: ObjectsServer
    polls: Counter[str] = field(default_factory=Counter)
    """Receiving, by the region that it was signed for."""
    given_up: set[str] = field(default_factory=set)
    """Regions for which somebody no longer waits."""
    full: trio.Event = field(default_factory=trio.Event)

    async def serve(self, seen: Seen, stream: trio.abc.Stream) -> None:
        if not seen.headers.get("x-amz-target", "").endswith(".ReceiveMessage"):
            await (self.store.serve if seen.path != "/" else answer(200, b"{}"))(seen, stream)
            return
        region = str(seen.region)
        self.polls[region] += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, region, stream, nursery.cancel_scope)
            await self.full.wait()
            nursery.cancel_scope.cancel()
        told = {"Messages": [{"ReceiptHandle": "r", "Body": json.dumps({"Records": []})}]}
        await answer(200, json.dumps(told).encode())(seen, stream)

    async def _watch(self, region: str, stream: trio.abc.Stream, waiting: trio.CancelScope) -> None:
        assert not await stream.receive_some(1)
        self.given_up.add(region)
        waiting.cancel()


@pytest.fixture
def queues(faults: FaultServer, store: ObjectsServer) -> Queues:
    made = Queues(store)
    faults.default = made.serve
    return made


@dataclass
class Sources:
    """A file whose sources of events a test writes."""

    path: Path
    usual: str
    url: str

    def queue(self, region: str, name: str = "") -> str:
        return f'name = "{name or region}"\nsqs = "{self.url}/1/q"\nregion = "{region}"\n'

    def webhook(self, name: str, token: str) -> str:
        path = self.path.with_name(f"{name}.token")
        path.write_text(token)
        path.chmod(0o600)
        return f'name = "{name}"\ntoken_file = "{path}"\n'

    def write(self, *entries: str) -> Path:
        self.path.write_text("\n[[events]]\n".join((self.usual, *entries)))
        return self.path


@pytest.fixture
def sources(file: Path, faults: FaultServer) -> Sources:
    return Sources(file, file.read_text(), faults.url)


async def status_of(config: Config, name: str, token: str) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"http://{config.admin.listen[0]}/events/{name}?token={token}"
        return (await client.post(url, content=b"{}")).status_code


async def test_queues_come_and_go_and_the_others_wait_undisturbed(
    queues: Queues, sources: Sources
) -> None:
    path = sources.write(sources.queue("stays"), sources.queue("goes"), sources.queue("old", "q"))
    async with serving(load(path)) as node:
        await until(lambda: queues.polls.total() == 3)
        stays = node.events.feeds["stays"]
        sources.write(sources.queue("new", "q"), sources.queue("comes"), sources.queue("stays"))
        report = await reload(node, path)
        assert (report.outcome, report.changed, report.restart) == ("ok", ("events",), ())
        await until(lambda: queues.given_up == {"goes", "old"})
        await until(lambda: queues.polls.keys() == {"stays", "goes", "old", "new", "comes"})
        assert node.config.events == load(path).events
        _, told = await get(node.config.admin.listen[0], "/status.json")
        assert set(json.loads(told)["events"]) == {"stays", "q", "comes"}
        # What was asked for before the reload is what is answered after it.
        assert queues.polls["stays"] == 1
        queues.full.set()
        await until(lambda: stays.messages["taken"] > 0)
        assert node.events.feeds["stays"] is stays


async def test_webhooks_come_and_go_and_take_up_other_tokens(sources: Sources) -> None:
    path = sources.write(sources.webhook("minio", TOKEN), sources.webhook("ceph", TOKEN))
    async with serving(load(path)) as node:
        config = node.config
        assert await status_of(config, "minio", TOKEN) == 200
        feed = node.events.feeds["minio"]
        sources.write(sources.webhook("minio", OTHER), sources.webhook("weed", OTHER))
        assert (await reload(node, path)).outcome == "ok"
        assert await status_of(config, "minio", TOKEN) == 401
        assert await status_of(config, "minio", OTHER) == 200
        assert await status_of(config, "weed", OTHER) == 200
        assert await status_of(config, "ceph", TOKEN) == 404
        assert node.events.feeds["minio"] is feed
        assert feed.messages["taken"] == 2


async def test_sources_that_can_not_be_had_change_nothing(sources: Sources) -> None:
    path = sources.write(sources.webhook("minio", TOKEN))
    async with serving(load(path)) as node:
        sources.write(sources.webhook("minio", "short"))
        report = await reload(node, path)
        assert report.outcome == "refused"
        assert "events[0]: the token of minio" in str(report.reason)
        north = f'origin = "north"\n{sources.queue("uploads")}'
        sources.write(north)
        path.write_text(f'{path.read_text()}[origins.north]\nendpoint = "{sources.url}"\n')
        report = await reload(node, path)
        assert report.reason == "origin north is new, which needs a restart"
        assert await status_of(node.config, "minio", TOKEN) == 200

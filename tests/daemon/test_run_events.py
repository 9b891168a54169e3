"""A node hears of objects by a webhook and from a queue, and serves them before any listing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.session import Session

from seeder.admin.notices import notices
from seeder.config.events import EventSettings
from seeder.config.objects import ObjectSettings
from seeder.config.sections import Config
from seeder.daemon.node import Node
from seeder.errors import ConfigError
from seeder.torrent.publications import State
from tests.admin.support import samples_of
from tests.daemon.support import get, serving, until
from tests.s3.event_samples import S3_EVENT
from tests.s3.objects_server import ObjectsServer
from tests.support.moto import moto_server
from tests.support.ports import free_port

TOKEN = "a-token-of-24-characters"


def event_of(key: str, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    [record] = S3_EVENT["Records"]
    place = {"bucket": {"name": "quotes"}, "object": {"key": key}}
    return {"Records": [record | {"eventName": name, "s3": place}]}


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "events.token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


def following(config: Config, *sources: EventSettings) -> Config:
    below = ObjectSettings(bucket="quotes", prefix="", refresh=3600.0, metainfo=("build",))
    return config.model_copy(update={"objects": (below,), "events": sources})


def is_served(node: Node, key: str) -> bool:
    found = node.catalog.by_name("quotes", key)
    return found is not None and found.state is State.SERVING


async def post(config: Config, target: str, body: bytes, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"http://{config.admin.listen[0]}{target}"
        return await client.post(url, content=body, headers=headers)


async def test_a_webhook_has_an_object_served_at_once(
    config: Config, store: ObjectsServer, token_file: Path
) -> None:
    given = following(config, EventSettings(name="minio", token_file=token_file))
    async with serving(given) as node:
        await until(lambda: is_served(node, "Nelson"))
        store.objects["a b+ü"] = b"new" * 10_000
        body = json.dumps(event_of("a+b%2B%C3%BC")).encode()
        assert (await post(given, "/events/minio", body)).status_code == 401
        assert not is_served(node, "a b+ü")
        answer = await post(given, "/events/minio", body, Authorization=f"Bearer {TOKEN}")
        assert answer.status_code == 200
        await until(lambda: is_served(node, "a b+ü"))
        assert store.requests["LIST"] == 1
        status = json.loads((await get(given.admin.listen[0], "/status.json"))[1])
        told = status["events"]["minio"]
        assert told["messages"] == {"taken": 1, "unreadable": 0, "refused": 1}
        assert told["news"]["asked"] == 1
        samples = samples_of((await get(given.admin.listen[0], "/metrics"))[1])
        labels = frozenset({("source", "minio"), ("outcome", "asked")})
        assert samples["seeder_events_total", labels] == 1
        # What comes beyond the bound is refused, and the listener goes on.
        answer = await post(
            given, "/events/minio", b"x" * (2**20 + 1), Authorization=f"Bearer {TOKEN}"
        )
        assert answer.status_code == 413
        assert (await get(given.admin.listen[0], "/healthz"))[0] == 200
        assert (await post(given, "/status.json", b"{}")).status_code == 405


async def test_an_object_that_is_removed_goes(
    config: Config, store: ObjectsServer, token_file: Path
) -> None:
    given = following(config, EventSettings(name="minio", token_file=token_file))
    async with serving(given) as node:
        await until(lambda: is_served(node, "Nelson"))
        del store.objects["Nelson"]
        body = json.dumps(event_of("Nelson", "ObjectRemoved:Delete")).encode()
        await post(given, f"/events/minio/{TOKEN}", body)
        await until(lambda: node.catalog.by_name("quotes", "Nelson") is None)


@pytest.fixture
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


async def test_a_queue_has_an_object_served_at_once_and_is_emptied(
    config: Config, store: ObjectsServer, moto: str
) -> None:
    client: Any = Session().create_client("sqs", region_name="eu-west-1", endpoint_url=moto)
    url = client.create_queue(QueueName="uploads")["QueueUrl"]
    given = following(config, EventSettings(name="uploads", sqs=url, region="eu-west-1"))
    async with serving(given) as node:
        await until(lambda: is_served(node, "Nelson"))
        store.objects["new"] = b"new" * 10_000
        client.send_message(QueueUrl=url, MessageBody=json.dumps(event_of("new")))
        client.send_message(QueueUrl=url, MessageBody="poison")
        await until(lambda: is_served(node, "new"))
        feed = node.events.feeds["uploads"]
        await until(lambda: feed.messages.total() == 2 and feed.held == 0)
        assert feed.messages == {"taken": 1, "unreadable": 1}
        counts = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert counts["ApproximateNumberOfMessages"] == "0"
        assert counts["ApproximateNumberOfMessagesNotVisible"] == "0"
        [kept] = (given.state_directory / "events" / "uploads").iterdir()
        assert kept.read_text() == "poison"
    client.close()


async def test_a_queue_that_is_away_is_shown_and_touches_no_object(config: Config) -> None:
    url = f"http://127.0.0.1:{free_port('127.0.0.1')}/111122223333/uploads"
    given = following(config, EventSettings(name="uploads", sqs=url))
    async with serving(given) as node:
        await until(lambda: is_served(node, "Nelson"))
        await until(lambda: node.events.feeds["uploads"].fault is not None)
        assert any(line.startswith("events uploads: can't") for line in notices(node.overview))
        assert "events uploads: can't connect" in await node.overview.summary()
        samples = samples_of((await get(given.admin.listen[0], "/metrics"))[1])
        assert samples["seeder_events_up", frozenset({("source", "uploads")})] == 0


async def test_a_token_that_cannot_be_read_is_told_before_anything_is_served(
    config: Config, token_file: Path
) -> None:
    loose = EventSettings(name="minio", token_file=token_file.with_name("none"))
    with pytest.raises(ExceptionGroup) as caught:
        async with serving(following(config, loose)):
            pass
    assert caught.group_contains(
        ConfigError, match=r"events\[0\]: the token of minio: .* can't be read"
    )

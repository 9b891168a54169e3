"""The queue's client against moto's SQS."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from botocore.session import Session

from seeder.errors import OriginError, OriginFault, OriginUnreachable
from seeder.s3 import queues
from seeder.s3.queues import EventQueue, QueueMessage
from tests.s3.support import CountingMeter
from tests.support.moto import moto_server
from tests.support.ports import free_port

REGION = "eu-central-1"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The URL of a running server."""
    with moto_server() as url:
        yield url


@pytest.fixture
def client(moto: str) -> Iterator[Any]:
    """botocore's client."""
    made: Any = Session().create_client(
        "sqs",
        region_name=REGION,
        endpoint_url=moto,
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secrettest",
    )
    yield made
    made.close()


@pytest.fixture
def url(client: Any, moto: str) -> Iterator[str]:
    """The URL of a queue."""
    made = client.create_queue(QueueName="uploads")["QueueUrl"]
    yield made
    client.delete_queue(QueueUrl=made)


def queue_of(url: str) -> EventQueue:
    return EventQueue(
        "default",
        url,
        region=REGION,
        profile=None,
        ca_file=None,
        meter=CountingMeter(),
        wall_clock=lambda: 1796148000.0,
    )


@pytest.fixture
async def queue(url: str, nursery: trio.Nursery) -> EventQueue:
    made = queue_of(url)
    await nursery.start(made.run)
    return made


async def test_messages_are_received_hidden_and_deleted(
    client: Any, url: str, queue: EventQueue
) -> None:
    bodies = {f'{{"number": {number}, "text": "ü\\u0001"}}' for number in range(12)}
    for each in bodies:
        client.send_message(QueueUrl=url, MessageBody=each)
    received: list[QueueMessage] = []
    while len(received) < 12:
        received += await queue.receive(60)
    assert {each.body for each in received} == bodies
    receipts = [each.receipt for each in received]
    await queue.hide(receipts[1:], 600)
    await queue.hide(receipts[:1], 0)
    [again] = await queue.receive(60)
    assert again.body == received[0].body
    await queue.delete([again.receipt, *receipts[1:]])
    counts = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == "0"
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "0"


async def test_an_empty_queue_lets_us_wait(
    url: str, queue: EventQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "WAIT", 1)
    began = trio.current_time()
    assert await queue.receive(60) == []
    assert trio.current_time() - began > 0.9


async def test_a_queue_that_is_not_there_is_said(url: str, nursery: trio.Nursery) -> None:
    queue = queue_of(url.replace("uploads", "others"))
    await nursery.start(queue.run)
    with pytest.raises(OriginFault, match=r"QueueDoesNotExist.*check the URL and the region"):
        await queue.receive(60)


async def test_a_server_that_is_away_is_said(nursery: trio.Nursery) -> None:
    queue = queue_of(f"http://127.0.0.1:{free_port('127.0.0.1')}/1/uploads")
    await nursery.start(queue.run)
    with pytest.raises(OriginUnreachable, match=r"can't connect to .*check the queue's URL"):
        await queue.receive(60)


async def test_without_credentials_nothing_is_asked(
    url: str, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    queue = queue_of(url)
    await nursery.start(queue.run)
    with pytest.raises(OriginError, match="no credentials found"):
        await queue.receive(60)

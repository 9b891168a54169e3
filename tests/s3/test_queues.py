"""The queue's client before a server for which the test writes the answers."""

import json
from typing import Any

import pytest
import trio

from seeder.errors import AccessDenied, OriginError, OriginFault, OriginUnreachable
from seeder.s3.queues import EventQueue
from tests.s3.fault_server import FaultServer, Reply, answer
from tests.s3.support import CountingMeter


def refused(status: int, code: str) -> Reply:
    told = {"__type": f"com.amazonaws.sqs#{code}", "message": "It is so."}
    return answer(status, json.dumps(told).encode())


@pytest.fixture
async def queue(faults: FaultServer, nursery: trio.Nursery) -> EventQueue:
    made = EventQueue(
        "default",
        f"{faults.url}/111122223333/uploads",
        region="eu-west-1",
        profile=None,
        ca_file=None,
        meter=CountingMeter(),
        wall_clock=lambda: 1796148000.0,
    )
    await nursery.start(made.run)
    return made


async def test_a_call_is_signed_for_the_queues_service_and_region(
    faults: FaultServer, queue: EventQueue
) -> None:
    faults.script(answer(200, b"{}"))
    assert await queue.receive(60) == []
    [seen] = faults.seen
    assert (seen.method, seen.target) == ("POST", "/")
    assert seen.headers["x-amz-target"] == "AmazonSQS.ReceiveMessage"
    assert seen.headers["content-type"] == "application/x-amz-json-1.0"
    assert "/eu-west-1/sqs/aws4_request" in seen.headers["authorization"]


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        (refused(400, "AccessDeniedException"), AccessDenied, "allow sqs:ReceiveMessage"),
        (answer(403, b"<html>"), AccessDenied, "allow sqs:ReceiveMessage"),
        (refused(500, "InternalFailure"), OriginUnreachable, "500 InternalFailure: It is so to R"),
        (answer(200, b"<html>"), OriginFault, "is it SQS?"),
        (answer(200, b"[" * 100_000), OriginFault, "is it SQS?"),
        (answer(400, b"[]"), OriginFault, "answers 400 to ReceiveMessage"),
    ],
)
async def test_what_is_refused_is_one_line(
    faults: FaultServer, queue: EventQueue, reply: Reply, error: type[OriginError], text: str
) -> None:
    faults.script(reply)
    with pytest.raises(error) as caught:
        await queue.receive(60)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_credentials_that_have_expired_are_looked_for_again(
    faults: FaultServer, queue: EventQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults.script(answer(200, b"{}"))
    await queue.receive(60)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANEW")
    faults.script(refused(403, "ExpiredTokenException"), answer(200, b"{}"))
    await queue.receive(60)
    assert [seen.access_key for seen in faults.seen] == ["AKIATEST", "AKIATEST", "AKIANEW"]


@pytest.mark.parametrize(
    "told",
    [
        {"Messages": None},
        {"Messages": [1, {}, {"Body": "b"}, {"ReceiptHandle": "", "Body": "b"}]},
        {"Messages": [{"ReceiptHandle": "r", "Body": 7}]},
        {"Messages": {"ReceiptHandle": "r"}},
    ],
)
async def test_what_is_no_message_is_left_out(
    faults: FaultServer, queue: EventQueue, told: dict[str, Any]
) -> None:
    faults.script(answer(200, json.dumps(told).encode()))
    assert await queue.receive(60) == []


async def test_it_is_asked_by_its_own_clock_where_ours_is_wrong(
    faults: FaultServer, queue: EventQueue, caplog: pytest.LogCaptureFixture
) -> None:
    told = {"__type": "com.amazon.coral.service#InvalidSignatureException", "message": "expired"}
    date = "Wed, 01 Jan 2025 00:00:00 GMT"
    faults.script(
        answer(400, json.dumps(told).encode(), date=date),
        answer(200, b"{}"),
        answer(200, b"{}"),
    )
    assert await queue.receive(60) == []
    assert await queue.receive(60) == []
    dates = [seen.headers["x-amz-date"] for seen in faults.seen]
    assert dates == ["20261201T180000Z", "20250101T000000Z", "20250101T000000Z"]
    assert caplog.text.count("set it (NTP)") == 1
    faults.default = answer(400, json.dumps(told).encode(), date=date)
    with pytest.raises(OriginError, match="check the secret key and the region"):
        await queue.receive(60)
    assert len(faults.seen) == 4

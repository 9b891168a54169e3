"""S3's own notifications: Ceph's to our webhook, LocalStack's to a queue of SQS."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config

from tests.e2e.ceph import CephRGW
from tests.e2e.daemon import SeederDaemon
from tests.e2e.localstack import LocalStack
from tests.e2e.publishing import announce, origin, read_torrent, served_torrent
from tests.e2e.s3 import Publisher
from tests.e2e.server import Server
from tests.support.objects import MIB, content
from tests.support.processes import poll_until, python_environment

pytestmark = pytest.mark.timeout(240)
TOKEN = "a-token-of-24-characters"
NASTY = "set/a b+c%20 ünï&x=1?y"
SOON = 5.0
"""Seconds from the end of an upload of 64 MiB to its first announce, where a core is free."""
EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]


def client_of(server: Server, service: str, region: str) -> Any:
    """Return botocore's client of a service beside S3."""
    return botocore.session.Session().create_client(
        service,
        region_name=region,
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


def served(daemon: SeederDaemon) -> set[str]:
    """Return the keys whose torrents are served."""
    rows = daemon.status()["torrents"]
    return {row["key"] for row in rows if row["state"] == "serving"}


def followed(server: Server, bucket: str, source: dict[str, str]) -> dict[str, object]:
    """Return the settings for a prefix that is hardly ever listed."""
    entry = {"bucket": bucket, "prefix": "set/", "metainfo": ["build"], "refresh": "1h"}
    return {"origin": origin(server), "objects": [entry], "events": [source]}


def until_announced(daemon: SeederDaemon, bucket: str, key: str, what: str) -> float:
    """Wait until an announce for an object is answered with peers; return when (monotonic)."""
    poll_until(lambda: key in served(daemon), timeout=60, what=what)
    torrent = read_torrent(served_torrent(daemon, bucket, key))
    assert b"peers" in announce(daemon, torrent.info_hash)
    return time.monotonic()


def replaced(daemon: SeederDaemon, bucket: str, before: str) -> bool:
    """Tell whether another torrent of NASTY is served."""
    told = daemon.torrent_status(bucket, NASTY)
    return bool(told["state"] == "serving" and told["info_hash"] != before)


def crowd() -> float:
    """Return how many processes there are for each core, by now and by the last minute."""
    lately, _, _, running, _ = Path("/proc/loadavg").read_text().split()
    return max(float(lately), float(running.partition("/")[0])) / (os.cpu_count() or 1)


def follow(daemon: SeederDaemon, publisher: Publisher, bucket: str) -> None:
    """Add, replace and remove objects; 64 MiB are announced SOON."""
    big = content(64 * MIB, seed=3)
    publisher.put(bucket, "set/big", big)
    uploaded, before = time.monotonic(), crowd()
    took = until_announced(daemon, bucket, "set/big", "the torrent of 64 MiB") - uploaded
    crowded = max(1.0, before, crowd())
    print(f"upload of 64 MiB to first announce: {took:.2f} s; {crowded:.1f} processes a core")
    assert took < SOON * crowded
    publisher.put(bucket, NASTY, content(MIB, seed=4))
    until_announced(daemon, bucket, NASTY, "an object with a nasty name")
    before = daemon.torrent_status(bucket, NASTY)["info_hash"]
    publisher.put(bucket, NASTY, content(MIB, seed=5))
    poll_until(lambda: replaced(daemon, bucket, before), timeout=30, what="its successor")
    publisher.delete(bucket, NASTY)
    poll_until(lambda: served(daemon) == {"set/big"}, timeout=30, what="its end")


def test_cephs_notifications_hurry_by_webhook(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    tmp_path: Path,
) -> None:
    token = tmp_path / "events.token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    daemon = seeder(followed(ceph, bucket, {"name": "ceph", "token_file": str(token)}))
    daemon.start()
    sns = client_of(ceph, "sns", "default")
    topic = sns.create_topic(
        Name=f"topic-{bucket}",
        Attributes={"push-endpoint": f"{daemon.admin_url}/events/ceph?token={TOKEN}"},
    )["TopicArn"]
    told = {"Id": "seeder", "TopicArn": topic, "Events": EVENTS}
    publisher.raw.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [told]}
    )
    follow(daemon, publisher, bucket)
    source = daemon.status()["events"]["ceph"]
    print(json.dumps(source))
    assert source["messages"] == {"taken": 4, "unreadable": 0, "refused": 0}
    assert source["news"]["ignored"] == 0
    listings = [each for each in ceph.exchanges(bucket) if "list-type" in each.query]
    assert len(listings) == 1


def test_s3s_notifications_hurry_by_a_queue(
    localstack: LocalStack, seeder: Callable[..., SeederDaemon]
) -> None:
    publisher = localstack.publisher()
    bucket = f"bucket-{secrets.token_hex(8)}"
    publisher.create_bucket(bucket)
    sqs = client_of(localstack, "sqs", "us-east-1")
    queue = sqs.create_queue(QueueName=bucket)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    told = {"Id": "seeder", "QueueArn": arn["Attributes"]["QueueArn"], "Events": EVENTS}
    publisher.raw.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [told]}
    )
    # The queue's own URL has a name that only LocalStack's DNS knows.
    url = f"{localstack.endpoint}/000000000000/{bucket}"
    source = {"name": "uploads", "sqs": url}
    daemon = seeder(followed(localstack, bucket, source), environment=localstack.environment())
    daemon.start()
    follow(daemon, publisher, bucket)

    def emptied() -> bool:
        counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        left = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return all(counts[name] == "0" for name in left)

    poll_until(emptied, timeout=30, what="an empty queue")
    # LocalStack begins with a test event, as S3 does.
    told_of = daemon.status()["events"]["uploads"]
    print(json.dumps(told_of))
    assert told_of["messages"]["unreadable"] == 0
    assert told_of["news"]["ignored"] == 0
    assert told_of["up"]
    check = [sys.executable, "-m", "seeder.cli", "check", "--online", "-c", str(daemon.path)]
    said = subprocess.run(
        check,
        env=python_environment(**localstack.environment()),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert "\nevents: uploads: ok, its messages may be received, deleted and hidden\n" in said

"""`seeder check` on sources of events: queues under IAM's policies (moto), and webhooks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session
from moto import settings

from seeder.commands.event_sources import explain_webhooks, tell_queues
from seeder.commands.findings import Findings
from seeder.config.load import load
from tests.commands.support import Site, seeder
from tests.s3.fault_server import error
from tests.support.moto import moto_server
from tests.support.ports import free_port

REGION = "eu-central-1"
NEEDED = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")


class Account:
    """An account at moto's, with a queue and a user."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._url = url
        self._monkeypatch = monkeypatch
        self.sqs, self._iam = (self._client(name) for name in ("sqs", "iam"))
        self.queue: str = self.sqs.create_queue(QueueName="uploads")["QueueUrl"]
        self._iam.create_user(UserName="seeder")
        self._key = self._iam.create_access_key(UserName="seeder")["AccessKey"]

    def _client(self, service: str) -> Any:
        return Session().create_client(
            service,
            region_name=REGION,
            endpoint_url=self._url,
            aws_access_key_id="AKIATEST",
            aws_secret_access_key="secrettest",
        )

    def become_user(self, *allowed: str) -> None:
        """Be the user, who may do this and nothing else, from now on."""
        statement = {"Effect": "Allow", "Action": list(allowed), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._iam.put_user_policy(UserName="seeder", PolicyName="p", PolicyDocument=policy)
        self._monkeypatch.setenv("AWS_ACCESS_KEY_ID", self._key["AccessKeyId"])
        self._monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", self._key["SecretAccessKey"])
        self._monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)

    def messages(self) -> list[str]:
        """Return the bodies that the queue gives at once."""
        self._monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", float("inf"))
        answer = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        return [each["Body"] for each in answer.get("Messages", ())]

    def close(self) -> None:
        """Leave nothing: all servers in this process share what they hold."""
        self._monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", float("inf"))
        self.sqs.delete_queue(QueueUrl=self.queue)
        self._iam.delete_user_policy(UserName="seeder", PolicyName="p")
        self._iam.delete_access_key(UserName="seeder", AccessKeyId=self._key["AccessKeyId"])
        self._iam.delete_user(UserName="seeder")
        self.sqs.close()
        self._iam.close()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    with moto_server() as url:
        made = Account(url, monkeypatch)
        yield made
        made.close()


def with_queue(path: Path, url: str) -> Path:
    path.write_text(
        f'{path.read_text()}[[events]]\nname = "uploads"\nsqs = "{url}"\nregion = "{REGION}"\n'
    )
    return path


async def told_of(path: Path) -> tuple[int, list[str]]:
    lines: list[str] = []
    return await tell_queues(load(path), Findings(lines.append)), lines


async def test_what_the_documented_policy_allows_is_enough_to_check_a_queue(
    site: Site, account: Account
) -> None:
    account.sqs.send_message(QueueUrl=account.queue, MessageBody="news")
    account.become_user(*NEEDED)
    failed, lines = await told_of(with_queue(site.path, account.queue))
    assert (failed, lines) == (
        0,
        ["events: uploads: ok, its messages may be received, deleted and hidden"],
    )
    assert account.messages() == ["news"]


@pytest.mark.parametrize("lacks", NEEDED)
async def test_the_permission_that_a_queue_lacks_is_named(
    site: Site, account: Account, lacks: str
) -> None:
    account.become_user(*(each for each in NEEDED if each != lacks))
    failed, [line] = await told_of(with_queue(site.path, account.queue))
    assert failed == 1
    assert line.startswith("events: uploads: ")
    assert line.endswith(f"; allow {lacks} on the queue")


async def test_what_is_wrong_with_credentials_or_url_is_named(
    site: Site, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = site.path.read_text()
    account.become_user(*NEEDED)

    async def line_of(url: str) -> str:
        site.path.write_text(usual)
        failed, [line] = await told_of(with_queue(site.path, url))
        assert failed == 1
        return line

    assert (await line_of(f"{account.queue}2")).endswith("; check the URL and the region")
    away = f"http://127.0.0.1:{free_port('127.0.0.1')}/1/uploads"
    assert (await line_of(away)).endswith("; check the queue's URL and the network")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    assert (await line_of(account.queue)).endswith("; check the secret key and the region")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODY")
    assert (await line_of(account.queue)).endswith("; check the access key: it is not known there")
    site.server.script(error(405, "MethodNotAllowed"))  # as S3 does
    assert (await line_of(f"{site.server.url}/1/uploads")).endswith("; is it SQS? check the URL")


async def test_check_online_fails_where_a_queue_cannot_be_read(site: Site) -> None:
    away = f"http://127.0.0.1:{free_port('127.0.0.1')}/1/uploads"
    result = await seeder("check", "--online", "-c", with_queue(site.path, away))
    assert (result.code, result.line) == (1, "1 queue of events can't be read")
    assert "\nevents: uploads: can't connect to" in result.out.decode()


async def test_check_says_what_calls_a_webhook(site: Site, tmp_path: Path) -> None:
    token = tmp_path / "ceph.token"
    token.write_text("0123456789abcdef")
    token.chmod(0o600)
    head, admin, _ = site.path.read_text().partition('["admin"]\n')
    text = f'{head}{admin}listen = ["0.0.0.0:9180", "127.0.0.1:9181"]\n'
    site.path.write_text(f'{text}[[events]]\nname = "ceph"\ntoken_file = "{token}"\n')
    result = await seeder("check", "-c", site.path)
    line = (
        "events: ceph: the S3 server is to POST to /events/ceph at http://HOST:9180 (HOST: an"
        " address of this machine) or http://127.0.0.1:9181 (from this machine alone: see"
        f' admin.listen), with the token in {token}: as "Authorization: Bearer TOKEN", or'
        " ?token=TOKEN in the URL"
    )
    assert line in result.out.decode().splitlines()
    assert list(explain_webhooks(load(site.path))) == [line]

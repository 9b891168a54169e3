"""Credentials: botocore's chain as it is, and their refresh in the background."""

import json
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from botocore.credentials import Credentials as Static
from botocore.credentials import ReadOnlyCredentials
from trio.testing import MockClock

from seeder.errors import AccessDenied, OriginUnreachable
from seeder.s3 import credentials
from seeder.s3.credentials import (
    REFRESH_INTERVAL,
    RENEWAL_PAUSE,
    CredentialStore,
    FindCredentials,
    chain,
)
from seeder.s3.signing import Credentials
from tests.s3.fault_server import FaultServer, answer

OLD, NEW = Credentials("AKIAOLD", "secret"), Credentials("AKIANEW", "secret")


class Provider:
    """Stands for a source of the chain; counts its calls."""

    def __init__(self, *results: Credentials | Exception | None) -> None:
        self.results = list(results)
        self.found = 0
        self.asked = 0

    def find(self) -> "Provider | None":
        self.found += 1
        return self

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        assert threading.current_thread() is not threading.main_thread()
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        self.asked += 1
        if isinstance(result, Exception):
            raise result
        if result is None:
            return ReadOnlyCredentials(None, None, None)
        return ReadOnlyCredentials(result.access_key, result.secret_key, result.token)


async def start(nursery: trio.Nursery, find: FindCredentials | None) -> CredentialStore:
    store = CredentialStore("default", find)
    await nursery.start(store.run)
    return store


async def changed(store: CredentialStore, before: Credentials | None) -> Credentials:
    """Return the credentials that follow `before`, once a thread has brought them."""
    while True:
        with suppress(AccessDenied):
            got = await store.get()
            if got is not None and got != before:
                return got
        await trio.lowlevel.checkpoint()


# -- the chain


def from_chain(profile: str | None = None) -> Credentials | None:
    source = chain(profile, "us-east-1")
    if source is None:
        return None
    frozen = source.get_frozen_credentials()
    return Credentials(frozen.access_key or "", frozen.secret_key or "", frozen.token)


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert from_chain() == Credentials("AKIATEST", "secrettest", "token")


def test_a_profile_is_read_from_the_shared_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "credentials"
    path.write_text(
        "[publisher]\naws_access_key_id = AKIAPUB\naws_secret_access_key = s\n"
        "[default]\naws_access_key_id = AKIADEF\naws_secret_access_key = s\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    assert from_chain("publisher") == Credentials("AKIAPUB", "s")


async def test_a_profile_that_does_not_exist_is_named(nursery: trio.Nursery) -> None:
    store = await start(nursery, partial(chain, "nobody", "us-east-1"))
    with pytest.raises(AccessDenied, match=r"origin default: ProfileNotFound.*nobody"):
        await store.get()


async def test_imds_gives_the_role_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, faults: FaultServer
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{faults.url}/")
    role = {
        "Code": "Success",
        "AccessKeyId": "AKIAROLE",
        "SecretAccessKey": "s",
        "Token": "t",
        "Expiration": in_iso(timedelta(hours=6)),
    }
    faults.script(
        answer(200, b"session"), answer(200, b"seeder"), answer(200, json.dumps(role).encode())
    )
    assert await trio.to_thread.run_sync(from_chain) == Credentials("AKIAROLE", "s", "t")
    assert [seen.target for seen in faults.seen] == [
        "/latest/api/token",
        "/latest/meta-data/iam/security-credentials/",
        "/latest/meta-data/iam/security-credentials/seeder",
    ]


async def test_a_web_identity_is_exchanged_at_sts(
    monkeypatch: pytest.MonkeyPatch, faults: FaultServer, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("a.web.token")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/seeder")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", faults.url)
    faults.script(
        answer(
            200,
            b'<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            b"<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKIAWEB</AccessKeyId>"
            b"<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>"
            + in_iso(timedelta(hours=1)).encode()
            + b"</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
            b"</AssumeRoleWithWebIdentityResponse>",
        )
    )
    assert await trio.to_thread.run_sync(from_chain) == Credentials("AKIAWEB", "s", "t")


def in_iso(later: timedelta) -> str:
    return (datetime.now(UTC) + later).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A profile whose credential_process numbers its keys; they expire within minutes."""
    script = tmp_path / "process.py"
    count = tmp_path / "count"
    script.write_text(
        "import json, pathlib\n"
        f"count = pathlib.Path({str(count)!r})\n"
        "number = int(count.read_text()) + 1\n"
        "count.write_text(str(number))\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'AKIA{number}', 'SecretAccessKey': 's',"
        f" 'SessionToken': 't', 'Expiration': {in_iso(timedelta(minutes=5))!r}}}))\n"
    )
    count.write_text("0")
    config = tmp_path / "config"
    config.write_text(f"[profile short]\ncredential_process = {sys.executable} {script}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    return script


async def test_what_expires_soon_is_refreshed_in_the_background(
    nursery: trio.Nursery, process: Path, mock_clock: MockClock
) -> None:
    store = await start(nursery, partial(chain, "short", "us-east-1"))
    first = await store.get()
    assert first is not None
    mock_clock.jump(REFRESH_INTERVAL)
    second = await changed(store, first)
    assert int(second.access_key.removeprefix("AKIA")) > int(first.access_key.removeprefix("AKIA"))


async def test_a_failed_refresh_keeps_the_old_credentials_and_logs(
    nursery: trio.Nursery,
    process: Path,
    mock_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = await start(nursery, partial(chain, "short", "us-east-1"))
    first = await store.get()
    await trio.Path(process).write_text("raise SystemExit('the vault is sealed')\n")
    mock_clock.jump(REFRESH_INTERVAL)
    while not (told := [line for line in caplog.messages if "old credentials" in line]):
        await trio.lowlevel.checkpoint()
    assert await store.get() == first
    line = told[0]
    assert line.startswith("origin default: CredentialRetrievalError")
    assert "the vault is sealed" in line


# -- the store


async def test_the_first_request_waits_for_the_first_load(nursery: trio.Nursery) -> None:
    release = threading.Event()

    def find() -> Static:
        release.wait(100)
        return Static("AKIAOLD", "secret")

    store = await start(nursery, find)
    got: list[Credentials | None] = []

    async def ask() -> None:
        got.append(await store.get())

    async with trio.open_nursery() as asking:
        asking.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        release.set()
    assert got == [OLD]


async def test_an_anonymous_store_has_none(nursery: trio.Nursery) -> None:
    store = await start(nursery, None)
    assert store.anonymous
    assert await store.get() is None
    await store.renew(None)


async def test_a_store_that_was_not_started_or_was_stopped_says_so() -> None:
    store = CredentialStore("default", None)
    with pytest.raises(RuntimeError, match="first"):
        await store.get()
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        nursery.cancel_scope.cancel()
    with pytest.raises(OriginUnreachable, match="stopped"):
        await store.get()


@pytest.mark.parametrize("key", ["AKIA\n", "“AKIA”"])
async def test_an_access_key_that_no_header_can_carry_is_told(
    nursery: trio.Nursery, key: str
) -> None:
    store = await start(nursery, Provider(Credentials(key, "secret")).find)
    with pytest.raises(AccessDenied, match="can't be sent") as caught:
        await store.get()
    assert "AKIA" not in str(caught.value)


@pytest.mark.parametrize("empty", [True, False], ids=["no source", "a source without keys"])
async def test_no_credentials_are_an_error_until_there_are_some(
    nursery: trio.Nursery, mock_clock: MockClock, empty: bool
) -> None:
    provider = Provider(None, OLD)
    searches = 0

    def find() -> Provider | None:
        nonlocal searches
        searches += 1
        return None if empty and searches == 1 else provider

    store = await start(nursery, find)
    with pytest.raises(AccessDenied, match="anonymous = true"):
        await store.get()
    if empty:
        provider.results.pop(0)
    mock_clock.jump(REFRESH_INTERVAL)
    assert await changed(store, None) == OLD


async def test_a_renewal_asks_the_whole_chain_once_for_all_who_noticed(
    nursery: trio.Nursery,
) -> None:
    provider = Provider(OLD, NEW)
    store = await start(nursery, provider.find)
    used = await store.get()
    assert used == OLD
    async with trio.open_nursery() as everybody:
        for _ in range(5):
            everybody.start_soon(store.renew, used)
    assert await store.get() == NEW
    assert (provider.found, provider.asked) == (2, 2)


async def test_the_chain_is_asked_once_in_a_while_however_often_s3_refuses_what_it_has(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    provider = Provider(OLD)
    store = await start(nursery, provider.find)
    used = await store.get()
    for _ in range(100):
        assert not await store.renew(used)
    assert provider.found == 2
    mock_clock.jump(RENEWAL_PAUSE)
    provider.results = [NEW]
    assert await store.renew(used)
    assert await store.get() == NEW


async def test_keys_that_are_replaced_in_their_file_are_taken_within_a_minute(
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    mock_clock: MockClock,
    tmp_path: Path,
) -> None:
    path = tmp_path / "credentials"
    path.write_text("[default]\naws_access_key_id = AKIAOLD\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = await start(nursery, partial(chain, None, "us-east-1"))
    assert await store.get() == OLD
    path.write_text("[default]\naws_access_key_id = AKIANEW\naws_secret_access_key = secret\n")
    mock_clock.jump(REFRESH_INTERVAL)
    assert await changed(store, OLD) == NEW


async def test_a_renewal_that_fails_keeps_what_there_is(nursery: trio.Nursery) -> None:
    provider = Provider(OLD, ValueError("two\nlines"))
    store = await start(nursery, provider.find)
    used = await store.get()
    await store.renew(used)
    assert await store.get() == OLD


async def test_a_provider_that_hangs_counts_as_failed(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(credentials, "LOAD_TIMEOUT", 0.05)

    def find() -> None:
        release.wait(100)

    store = await start(nursery, find)
    with pytest.raises(AccessDenied, match="no answer within"):
        await store.get()
    release.set()


async def test_a_stop_does_not_wait_for_a_provider_that_hangs() -> None:
    release = threading.Event()

    def find() -> None:
        release.wait(100)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await start(nursery, find)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    release.set()


async def test_errors_of_providers_stay_on_one_line(nursery: trio.Nursery) -> None:
    store = await start(nursery, Provider(ValueError("two\nlines")).find)
    with pytest.raises(AccessDenied, match=r"origin default: ValueError: two\\nlines"):
        await store.get()

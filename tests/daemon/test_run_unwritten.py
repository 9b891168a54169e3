"""A disk that takes nothing: what is withdrawn ends, what can't be kept isn't promised."""

import errno
import logging
from pathlib import Path

import httpx
import pytest

from seeder.config.added import ADDED
from seeder.config.sections import Config
from seeder.daemon import bans
from seeder.daemon.bans import BANS
from seeder.daemon.node import Node
from seeder.gateway.register_file import RegisterFile
from seeder.publish import additions, rounds
from tests.daemon.control_site import at_socket, problem_of
from tests.daemon.private_site import ALICE, Site, private_config
from tests.daemon.support import served, serving, until
from tests.support.disks import failing_disk

NETWORK, LIFTED = "203.0.113.0/24", "198.51.100.0/24"
HARDY = {"bucket": "quotes", "key": "Hardy", "metainfo": ["build"]}


def is_held(node: Node, network: str) -> bool:
    return any(str(each) == network for each in node.bans._networks())


async def withdraw(client: httpx.AsyncClient, text: str) -> None:
    """Ban, lift, remove and revoke; each answer says that it isn't written yet."""
    for method, path, body, status in (
        ("POST", "/bans", {"network": NETWORK}, 201),
        ("DELETE", f"/bans/{LIFTED.replace('/', '%2F')}", None, 204),
        ("DELETE", "/objects/quotes/Hardy", None, 204),
        ("DELETE", "/keys/Alice", None, 204),
    ):
        answer = await client.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        assert text in answer.headers["seeder-unwritten"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
async def test_what_is_withdrawn_ends_at_once_and_is_written_when_the_disk_takes_it(
    number: int,
    config: Config,
    tmp_path: Path,
    *,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(bans, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(bans, "TRY_EVERY", 0.02)
    monkeypatch.setattr(additions, "_RETRY", 0.02)
    config = private_config(config, tmp_path)
    state = config.state_directory
    async with serving(config) as node, at_socket(config) as client:
        await until(lambda: served(node))
        site = Site(node)
        key = await site.make("Alice")
        assert (await client.post("/objects", json=HARDY)).status_code == 201
        await client.post("/bans", json={"network": LIFTED})
        with failing_disk(number, state, writes_only=number != errno.EIO) as refused:
            await withdraw(client, "can't be")
            assert is_held(node, NETWORK)
            assert not is_held(node, LIFTED)
            assert node.catalog.by_name("quotes", "Hardy") is None
            assert b"failure reason" in await site.announce(key, ALICE)
            await until(lambda: sum(BANS.split(".")[0] in path for path in refused) > 5)
            await until(lambda: sum(ADDED in path for path in refused) > 5)
        await until(lambda: node.bans.unwritten is node.additions.unwritten is None)
        await until(lambda: "Alice" in RegisterFile(state).load().revoked)
    for said in ("bans are in force, and", "what is removed ends, and"):
        assert caplog.text.count(said) == 1
    async with serving(config) as node:
        await until(lambda: served(node))
        assert is_held(node, NETWORK)
        assert not is_held(node, LIFTED)
        assert node.catalog.by_name("quotes", "Hardy") is None
        assert b"failure reason" in await Site(node).announce(key, ALICE)


async def test_a_stop_writes_what_the_disk_takes_by_then(config: Config) -> None:
    async with serving(config) as node, at_socket(config) as client:
        await until(lambda: served(node))
        assert (await client.post("/objects", json=HARDY)).status_code == 201
        with failing_disk(errno.ENOSPC, config.state_directory, writes_only=True):
            for method, path, body in (
                ("POST", "/bans", {"network": NETWORK}),
                ("DELETE", "/objects/quotes/Hardy", None),
            ):
                answer = await client.request(method, path, json=body)
                assert "seeder-unwritten" in answer.headers
    async with serving(config) as node:
        await until(lambda: served(node))
        assert is_held(node, NETWORK)
        assert node.catalog.by_name("quotes", "Hardy") is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
async def test_what_can_not_be_kept_is_refused_and_what_needs_no_disk_is_done(
    number: int, config: Config, tmp_path: Path
) -> None:
    config = private_config(config, tmp_path)
    async with serving(config) as node, at_socket(config) as client:
        await until(lambda: served(node))
        assert (await client.post("/objects", json=HARDY)).status_code == 201
        with failing_disk(number, config.state_directory):
            for method, path, body in (
                ("POST", "/objects", HARDY | {"key": "Shaw"}),
                ("POST", "/prefixes", {"bucket": "quotes", "prefix": "x/"}),
                ("PATCH", "/objects/quotes/Hardy", {"refresh": "1h"}),
                ("POST", "/keys", {"name": "Bob", "object": "quotes/Nelson"}),
            ):
                refused = problem_of(await client.request(method, path, json=body), 503)
                assert "can't be" in refused["detail"]
                assert "\n" not in refused["detail"]
            assert node.catalog.by_name("quotes", "Shaw") is None
            for verb in ("refresh", "rehash", "warm"):
                begun = await client.post(f"/objects/quotes/Nelson:{verb}")
                assert begun.status_code == 202
                assert "seeder-unwritten" not in begun.headers
            assert (await client.get("/objects")).status_code == 200
            found = node.catalog.by_name("quotes", "Nelson")
            assert found is not None
            assert found.torrent is not None


async def test_a_rehash_that_the_disk_does_not_take_is_told_once(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(rounds, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(rounds, "LONGEST_RETRY", 0.02)
    async with serving(config) as node, at_socket(config) as client:
        await until(lambda: served(node))
        with failing_disk(errno.ENOSPC, config.state_directory, writes_only=True) as refused:
            assert (await client.post("/objects/quotes/Nelson:rehash")).status_code == 202
            await until(lambda: sum("builds" in path for path in refused) > 20)
        await until(lambda: "its metainfo is as it was" in caplog.text)
        assert served(node)
    assert caplog.text.count("its metainfo is made anew, as was asked") == 1
    assert caplog.text.count("No space left on device") == 1

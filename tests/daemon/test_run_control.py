"""The control API of a running node, asked at its UNIX socket."""

import logging
import re
import stat
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import trio
import trio.lowlevel
import trio.testing
from bencode2 import bdecode

from seeder.config.load import load
from seeder.config.sections import Config
from seeder.daemon import control
from seeder.daemon.node import Node
from seeder.daemon.reloading import Reloader
from seeder.daemon.systemd import Notifier
from seeder.daemon.watching import FileWatch
from seeder.errors import StateUnusable
from seeder.net.local import listening_at
from seeder.units import MIB
from tests.daemon.control_site import at_socket, problem_of
from tests.daemon.private_site import ALICE, BOB, Site, private_config
from tests.daemon.support import BODY, LOOPBACK, get, served, serving, until
from tests.support.raw_peer import handshake

STRANGER = "127.0.0.9"
"""This machine, too, by another address."""


@pytest.fixture
async def node(config: Config) -> AsyncIterator[Node]:
    async with serving(config) as node:
        yield node


@pytest.fixture
async def client(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    async with at_socket(node.config) as client:
        yield client


async def test_the_socket_is_for_its_owner_alone_and_goes_with_the_node(config: Config) -> None:
    path = config.control_socket
    assert path is not None
    async with serving(config):
        found = path.stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o600
    assert not path.exists()


async def test_there_may_be_no_socket(config: Config) -> None:
    admin = config.admin.model_copy(update={"socket": "off"})
    async with serving(config.model_copy(update={"admin": admin})):
        assert not [each for each in config.state_directory.iterdir() if each.is_socket()]


async def test_what_else_has_the_socket_s_name_stays_and_goes_before_it(
    config: Config, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "TRY_EVERY", 0.05)
    caplog.set_level(logging.INFO)
    path = config.control_socket
    assert path is not None
    leave_a_letter(path)
    async with serving(config) as node:
        assert (await get(node.config.admin.listen[0], "/healthz"))[0] == 200
        assert path.read_text() == "a letter"
        assert caplog.text.count(f"admin.socket: can't listen at {path}: something else") == 1
        path.unlink()
        await until(path.is_socket)
        async with at_socket(config) as client:
            assert (await client.get("/status")).status_code == 200
    assert f"admin.socket: listening at {path}" in caplog.text


async def test_a_socket_that_somebody_removed_is_made_again(
    config: Config, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "TRY_EVERY", 0.05)
    path = config.control_socket
    assert path is not None
    async with serving(config):
        path.unlink()
        await until(path.is_socket)
        async with at_socket(config) as client:
            assert (await client.get("/status")).status_code == 200
        path.unlink()
        path.write_text("a letter")
        await until(lambda: "can't listen" in caplog.text)
        path.unlink()
        await until(path.is_socket)
    assert not path.exists()


def leave_a_letter(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("a letter")


async def test_a_socket_of_another_process_ends_the_start(config: Config, tmp_path: Path) -> None:
    admin = config.admin.model_copy(update={"socket": tmp_path / "s"})
    with listening_at(tmp_path / "s", "key"):
        with pytest.RaisesGroup(
            pytest.RaisesExc(StateUnusable, match="admin.socket: another process listens at"),
            flatten_subgroups=True,
        ):
            async with serving(config.model_copy(update={"admin": admin})):
                pass
        assert (tmp_path / "s").is_socket()


async def test_the_socket_tells_how_the_node_stands(node: Node, client: httpx.AsyncClient) -> None:
    root = (await client.get("")).json()
    assert (root["name"], root["openapi"]) == ("seeder", "/api/v1/openapi.json")
    await until(lambda: served(node))
    status = (await client.get("/status")).json()
    assert (status["ready"], status["unready"], status["degraded"]) == (True, None, None)
    assert status["totals"]["size"] == len(BODY)
    assert status["summary"].startswith("1 of 1 object served")
    assert status["listeners"]["control"] == [str(node.config.control_socket)]
    assert status["listeners"]["tracker"] == [str(node.config.tracker.listen[0])]
    node.overview.unready = "stopping"
    status = (await client.get("/status")).json()
    assert (status["ready"], status["unready"]) == (False, "stopping")
    assert problem_of(await client.get("/bans"), 503)["detail"] == "not ready: stopping"


def write(file: Path, text: str, *sections: str) -> None:
    """Write the configuration with lines more, each below its section's heading."""
    for each in sections:
        heading, _, line = each.partition("\n")
        text = re.sub(rf"^(\[\"?{heading}\"?\]\n)", rf"\1{line}\n", text, flags=re.M)
    file.write_text(text)


@pytest.fixture
def text(file: Path) -> str:
    """What the configuration's file says."""
    return file.read_text()


@pytest.fixture
def reloader(file: Path) -> Reloader:
    return Reloader(FileWatch(file), None, Notifier(None), lambda _: None)


async def test_a_reload_tells_its_outcome(file: Path, text: str, reloader: Reloader) -> None:
    config = load(file)
    async with serving(config, reloader=reloader) as node, at_socket(config) as client:
        assert (await client.get("/reload")).json() == {"last": None}
        made = (await client.post("/reload")).json()
        assert (made["outcome"], made["changed"], made["restart"]) == ("ok", [], [])
        write(file, text, 'peer\nupload_rate = "5 MiB/s"')
        made = (await client.post("/reload")).json()
        assert (made["outcome"], made["changed"]) == ("ok", ["peer.upload_rate"])
        assert (await client.get("/reload")).json() == {"last": made}
        assert (await client.get("/status")).json()["last_reload"] == made
        write(file, text, 'cache\nmemory = "300 MiB"')
        made = (await client.post("/reload")).json()
        assert (made["outcome"], made["restart"]) == ("partial", ["cache.memory"])
        assert made["changed"] == ["peer.upload_rate"]
        write(file, text, "peer\nzzz = 1", "cache\nyyy = 1")
        refused = problem_of(await client.post("/reload"), 422)
        assert len(refused["errors"]) == 2
        assert "the old configuration stays in force" in refused["detail"]
        last = (await client.get("/reload")).json()["last"]
        assert (last["outcome"], last["errors"]) == ("refused", refused["errors"])
        assert node.overview.reloads.counts == {"ok": 2, "partial": 1, "refused": 1}


async def test_who_asks_for_a_reload_gets_one_that_began_afterwards(
    file: Path, text: str, reloader: Reloader
) -> None:
    config = load(file)
    async with serving(config, reloader=reloader) as node, at_socket(config) as client:
        outcomes = []

        async def ask() -> None:
            outcomes.append((await client.post("/reload")).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
                await trio.lowlevel.checkpoint()
            write(file, text, "peer\nzzz = 1")
            # By now one may be under way that read the file before.
            problem_of(await client.post("/reload"), 422)
        assert len(outcomes) == 5
        assert node.overview.reloads.counts.total() <= 6


async def test_who_gives_up_waiting_cuts_no_reload_short(
    file: Path, text: str, reloader: Reloader
) -> None:
    async with serving(load(file), reloader=reloader) as node:
        write(file, text, 'peer\nupload_rate = "5 MiB/s"')
        with trio.CancelScope() as impatient:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reloader.ask)
                await trio.testing.wait_all_tasks_blocked()
                impatient.cancel()
        await until(lambda: node.overview.reloads.report is not None)
        assert node.config.peer.upload_rate == 5 * MIB


async def test_a_ban_whose_asker_gives_up_holds_all_the_same(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, replace = ip_network("203.0.113.0/24"), node.bans._replace
    writing, may_end = threading.Event(), threading.Event()

    def write_slowly(data: bytes) -> None:
        writing.set()
        assert may_end.wait(20)
        replace(data)

    monkeypatch.setattr(node.bans, "_replace", write_slowly)
    with trio.CancelScope() as impatient:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.bans.ban, network, None, "")
            await until(writing.is_set)
            impatient.cancel()
            may_end.set()
    assert node.bans.bans.find(network, time.time())
    await until(lambda: not node.clients.doors.peer.admits(bytes([203, 0, 113, 7])))


async def test_what_fails_is_a_problem_and_ends_no_other(
    node: Node, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("secret of the code")

    monkeypatch.setattr(node.bans, "ban", fail)
    refused = await client.post("/bans", json={"network": "203.0.113.0/24"})
    assert "secret" not in str(problem_of(refused, 500))
    assert (await client.get("/status")).status_code == 200


async def test_a_ban_holds_at_once_at_every_door_and_over_a_restart(config: Config) -> None:
    gateway = config.gateway.model_copy(update={"web_seed": True})
    peer = config.peer.model_copy(update={"upload_rate": 65536.0})
    config = config.model_copy(update={"gateway": gateway, "peer": peer})
    web = config.tracker.listen[0]
    network = f"{STRANGER}/32"
    async with serving(config) as node, at_socket(config) as client:
        await until(lambda: served(node))
        found = node.catalog.by_name("quotes", "Nelson")
        assert found is not None
        assert found.torrent is not None
        info_hash = found.torrent.info_hash
        assert b"interval" in await announce(config, info_hash)
        assert (await fetch(config, "/quotes/Nelson?torrent")).status_code == 200
        stream = await trio.open_tcp_stream(*config.peer.listen[0], local_address=STRANGER)
        await stream.send_all(handshake(info_hash))
        download = await trio.open_tcp_stream(*web, local_address=STRANGER)
        await download.send_all(b"GET /quotes/Nelson HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.fail_after(10):
            assert await stream.receive_some()
            assert (await download.receive_some()).startswith(b"HTTP/1.1 200")
        made = await client.post("/bans", json={"network": STRANGER, "for": "1h", "note": "rude"})
        assert made.status_code == 201
        assert made.headers["location"] == f"/api/v1/bans/{quote(network, safe='')}"
        ban = made.json()
        assert (ban["network"], ban["note"]) == (network, "rude")
        assert ban["until"] == pytest.approx(ban["at"] + 3600, abs=1)
        assert b"interval" not in await announce(config, info_hash)
        assert (await fetch(config, "/quotes/Nelson?torrent")).status_code == 403
        assert node.swarms.statistics(info_hash).peers == 0
        for each in (stream, download):
            with trio.fail_after(10):
                await closed(each)
        assert b"interval" in await announce(config, info_hash, by=LOOPBACK)
        # The very same network again: what was said last counts.
        again = await client.post("/bans", json={"network": network})
        assert (again.status_code, again.json()["until"]) == (200, None)
    async with serving(config) as node, at_socket(config) as client:
        await until(lambda: served(node))
        assert b"interval" not in await announce(config, info_hash)
        assert [each["network"] for each in (await client.get("/bans")).json()["bans"]] == [network]
        lifted = await client.delete(f"/bans/{quote(network, safe='')}")
        assert (lifted.status_code, lifted.content) == (204, b"")
        assert b"interval" in await announce(config, info_hash)
        assert (await client.get("/bans")).json() == {"bans": []}
        problem_of(await client.delete(f"/bans/{quote(network, safe='')}"), 404)


async def test_a_ban_ends_by_itself(node: Node, client: httpx.AsyncClient) -> None:
    await client.post("/bans", json={"network": "203.0.113.0/24", "for": "1s"})
    door = node.clients.doors.peer
    assert not door.admits(bytes([203, 0, 113, 7]))
    await until(lambda: door.admits(bytes([203, 0, 113, 7])))
    assert (await client.get("/bans")).json() == {"bans": []}


async def test_a_clock_that_is_ahead_for_a_while_ends_no_ban_for_good(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = time.time
    async with serving(config) as node, at_socket(config) as client:
        door = node.clients.doors.peer
        await client.post("/bans", json={"network": "203.0.113.0/24", "for": "1h"})
        monkeypatch.setattr(time, "time", lambda: right() + 1e8)
        await until(lambda: door.admits(bytes([203, 0, 113, 7])))
        await client.post("/bans", json={"network": "192.0.2.0/24", "for": "1h"})  # all are written
        monkeypatch.setattr(time, "time", right)
        await until(lambda: not door.admits(bytes([203, 0, 113, 7])))
    async with serving(config) as node:
        assert not node.clients.doors.peer.admits(bytes([203, 0, 113, 7]))


async def test_a_reload_leaves_bans_as_they_are(file: Path, text: str, reloader: Reloader) -> None:
    config = load(file)
    async with serving(config, reloader=reloader) as node, at_socket(config) as client:
        await client.post("/bans", json={"network": "203.0.113.0/24"})
        write(file, text, 'peer\ndeny = ["192.0.2.0/24"]')
        assert (await client.post("/reload")).json()["changed"] == ["peer.deny"]
        door = node.clients.doors.peer
        assert not door.admits(bytes([203, 0, 113, 7]))
        assert not door.admits(bytes([192, 0, 2, 7]))
        await client.delete("/bans/203.0.113.0%2F24")
        assert door.admits(bytes([203, 0, 113, 7]))
        assert not door.admits(bytes([192, 0, 2, 7]))


async def test_damaged_bans_are_set_aside(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    config.state_directory.mkdir()
    (config.state_directory / "bans.json").write_text('{"bans": 1, "entries": [1]}')
    async with serving(config) as node, at_socket(config) as client:
        assert (await client.get("/bans")).json() == {"bans": []}
        assert node.clients.doors.peer.is_open
    assert "nobody is banned any more; set aside as" in caplog.text


async def test_what_is_no_file_stops_no_start_and_goes_aside_with_the_next_ban(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    path = config.state_directory / "bans.json"
    path.mkdir(parents=True)
    async with serving(config) as node, at_socket(config) as client:
        assert f"{path}: can't be read: it is a directory" in caplog.text
        assert (await client.post("/bans", json={"network": "203.0.113.0/24"})).status_code == 201
        assert not node.clients.doors.peer.is_open
    assert path.is_file()


async def test_a_key_is_made_listed_and_revoked(config: Config, tmp_path: Path) -> None:
    config = private_config(config, tmp_path)
    async with serving(config) as node, at_socket(config) as client:
        await until(lambda: served(node))
        site = Site(node)
        asked = {"name": "Alice", "object": "quotes/Nelson", "valid": "30d"}
        made = await client.post("/keys", json=asked)
        assert made.status_code == 201
        assert made.headers["location"] == "/api/v1/keys/Alice"
        key = made.json()["passkey"]
        assert b"interval" in await site.announce(key, ALICE)
        [listed] = (await client.get("/keys")).json()["keys"]
        assert (listed["name"], listed["object"], listed["state"]) == (
            "Alice",
            "quotes/Nelson",
            "good",
        )
        assert listed["until"] == made.json()["expires"]
        await client.post("/keys", json={"name": "Bob", "object": "quotes/Nelson"})
        page = (await client.get("/keys", params={"limit": 1})).json()
        assert [each["name"] for each in page["keys"]] == ["Alice"]
        page = (await client.get("/keys", params={"limit": 1, "after": page["next"]})).json()
        assert ([each["name"] for each in page["keys"]], page["next"]) == (["Bob"], None)
        assert (await client.delete("/keys/Alice")).status_code == 204
        assert b"interval" not in await site.announce(key, BOB)
        assert (await client.get("/keys")).json()["keys"][0]["state"] == "revoked"
        problem_of(await client.delete("/keys/Nobody"), 404)
        problem_of(await client.post("/keys", json=asked | {"object": "quotes/None"}), 404)
        for wrong in ({"valid": "3s"}, {"valid": 5}, {"name": " x"}, {"object": None}):
            problem_of(await client.post("/keys", json=asked | wrong), 422)


async def test_who_needs_no_key_gets_none(node: Node, client: httpx.AsyncClient) -> None:
    asked = {"name": "Alice", "object": "quotes/Nelson"}
    await until(lambda: served(node))
    refused = problem_of(await client.post("/keys", json=asked), 422)
    assert refused["detail"] == "quotes/Nelson: needs no passkey: anybody may have it"


async def test_peers_are_listed_with_what_they_have(node: Node, client: httpx.AsyncClient) -> None:
    await until(lambda: served(node))
    found = node.catalog.by_name("quotes", "Nelson")
    assert found is not None
    assert found.torrent is not None
    assert (await client.get("/peers")).json() == {"peers": [], "connected": 0}
    stream = await trio.open_tcp_stream(*node.config.peer.listen[0], local_address=STRANGER)
    async with stream:
        await stream.send_all(handshake(found.torrent.info_hash))
        with trio.fail_after(10):
            assert await stream.receive_some()
        [peer] = (await client.get("/peers?object=quotes/Nelson")).json()["peers"]
        assert peer["address"] == STRANGER
        assert peer["torrent"]["key"] == "Nelson"
        assert (peer["uploaded_bytes"], peer["rate"]) == (0, 0)
        assert (await client.get("/peers?object=quotes/None")).json()["peers"] == []


async def announce(config: Config, info_hash: bytes, *, by: str = STRANGER) -> dict[bytes, object]:
    query = "".join(f"%{byte:02x}" for byte in info_hash)
    answer = await fetch(
        config,
        f"/announce?info_hash={query}&peer_id={'x' * 20}&port=7&uploaded=0&downloaded=0&left=1"
        "&compact=1",
        by=by,
    )
    told: dict[bytes, object] = bdecode(answer.content)
    return told


async def fetch(config: Config, target: str, *, by: str = STRANGER) -> httpx.Response:
    """Ask the public listener from one of this machine's addresses."""
    transport = httpx.AsyncHTTPTransport(local_address=by)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        return await client.get(f"http://{config.tracker.listen[0]}{target}")


async def closed(stream: trio.SocketStream) -> None:
    """Wait until the other end has closed a connection, and close it."""
    async with stream:
        with suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass

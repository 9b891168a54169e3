"""The nursery tree in this process: when it says ready, what stops it, and what that leaves."""

import io
import json
import logging
import os
import re
import signal
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from seeder.admin.reloads import ReloadReport
from seeder.config.node import LogSettings
from seeder.config.public import GatewaySettings, ReadKeySettings
from seeder.config.sections import Config
from seeder.daemon import reloading, run, systemd
from seeder.daemon.crashes import Crashes
from seeder.daemon.ground import SWARMS
from seeder.daemon.listeners import open_listeners
from seeder.daemon.logs import Log
from seeder.daemon.node import Node
from seeder.daemon.reload import reload
from seeder.daemon.run import serve
from seeder.daemon.systemd import Notifier
from seeder.daemon.watching import FileWatch
from seeder.errors import ConfigError, StorageError
from seeder.ledger.database import LedgerDatabase
from seeder.ledger.file import LedgerFile
from seeder.net.addresses import HostPort, compact_endpoint
from seeder.publish.publisher import Publisher
from seeder.tracker.announce import AnnounceEvent, AnnounceReply, AnnounceRequest
from seeder.units import MIB
from tests.daemon.support import BODY, LOOPBACK, connects, get, served, serving, until
from tests.gateway.signing import signed as signed_by
from tests.s3.fault_server import FaultServer, Reply, Seen
from tests.s3.objects_server import ObjectsServer
from tests.tracker.announcing import packed

FULL = "ledger.sqlite: its disk is full; make room"


async def add_to(file: Path, text: str) -> None:
    path = trio.Path(file)
    await path.write_text(await path.read_text() + text)


class Manager(Notifier):
    """Writes down what a service manager would be told."""

    def __init__(self) -> None:
        super().__init__(None)
        self.told: list[str] = []

    def _send(self, state: str) -> None:
        self.told.append(state.partition("\n")[0])

    @property
    def ready_count(self) -> int:
        return self.told.count("READY=1")


def first_range_only(store: ObjectsServer, gate: trio.Event) -> Reply:
    """Answer as the store does, but ranges beyond the first one only once the gate is open."""

    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        if not seen.headers.get("range", "bytes=0-").startswith("bytes=0-"):
            await gate.wait()
        await store.serve(seen, stream)

    return reply


# -- starting -------------------------------------------------------------------------------------


async def test_ready_is_said_when_all_listens_and_what_is_known_is_served(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = config.gateway.model_copy(update={"listing": True})
    config = config.model_copy(update={"gateway": listing})
    gate, apply = trio.Event(), Publisher.apply

    async def held(self: Publisher, objects: Any) -> None:
        await gate.wait()
        await apply(self, objects)

    monkeypatch.setattr(Publisher, "apply", held)
    manager, nodes = Manager(), list[Node]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, nodes, nursery, config, manager)
        await until(lambda: connects(config.admin.listen[0]))
        assert await get(config.admin.listen[0], "/readyz") == (503, "not ready: starting\n")
        assert await get(config.admin.listen[0], "/healthz") == (200, "alive\n")
        assert manager.ready_count == 0
        public = config.tracker.listen[0]
        for page in ("/quotes/Nelson?torrent", "/quotes/Nelson?magnet", "/quotes/other?torrent"):
            status, text = await get(public, page)
            assert (status, "<Code>ServiceUnavailable<" in text) == (503, True), page
        assert (await get(public, "/?format=rss"))[0] == 503
        gate.set()
        await until(lambda: bool(nodes))
        assert manager.ready_count == 1
        assert await get(config.admin.listen[0], "/readyz") == (200, "ready\n")
        await until(partial(served, nodes[0]))
        assert (await get(public, "/quotes/Nelson?torrent"))[0] == 200
        assert (await get(public, "/quotes/other?torrent"))[0] == 404
        assert "quotes/Nelson" in (await get(public, "/?format=rss"))[1]
        nursery.cancel_scope.cancel()
    async with serving(config, notifier=manager) as node:
        assert served(node)
        assert manager.ready_count == 2
        for group in (config.tracker, config.peer, config.admin):
            assert connects(group.listen[0])


async def keep(nodes: list[Node], nursery: trio.Nursery, config: Config, manager: Manager) -> None:
    nodes.append(await nursery.start(partial(serve, config, notifier=manager)))


async def test_a_client_that_comes_while_torrents_are_made_is_told_to_come_back(
    config: Config, store: ObjectsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "STATUS_EVERY", 0.02)
    store.gate = trio.Event()
    query = "/announce?peer_id=-XX0000-000000000000&port=1&left=1&info_hash=" + "%AA" * 20
    async with serving(config) as node:
        _, refusal = await get(config.tracker.listen[0], query)
        assert "try again" in refusal
        assert "not registered" not in refusal
        assert (await get(config.tracker.listen[0], "/quotes/Nelson?torrent"))[0] == 503
        store.gate.set()
        await until(lambda: served(node) and not node.swarms.loading)
        _, refusal = await get(config.tracker.listen[0], query)
        assert "not registered" in refusal
        assert "never" in refusal
        assert (await get(config.tracker.listen[0], "/quotes/Nelson?torrent"))[0] == 200


async def test_the_status_line_tells_how_far_the_hashing_is(
    config: Config, faults: FaultServer, store: ObjectsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "STATUS_EVERY", 0.02)
    faults.default = first_range_only(store, trio.Event())
    manager = Manager()
    async with serving(config, notifier=manager) as node:
        await until(lambda: any("hashing quotes/Nelson 40%" in line for line in manager.told))
        document: Any = (await node.overview.report()).document()
        [torrent] = document["torrents"]
        assert torrent["state"] == "building"
        assert torrent["progress"] == pytest.approx(0.4)
        assert torrent["origin_bytes"] == 8 * MIB
        assert torrent["size"] == len(BODY)


async def test_an_unusable_listener_closes_those_that_were_open(config: Config) -> None:
    with socket.socket() as taken:
        taken.bind(tuple(config.admin.listen[0]))
        taken.listen()
        with pytest.raises(ConfigError) as refused:
            open_listeners(config, {})
    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].startswith("admin.listen")
    assert not connects(config.tracker.listen[0])
    assert not connects(config.peer.listen[0])


async def test_passed_sockets_stand_for_the_configured_addresses(config: Config) -> None:
    with socket.socket() as passed:
        passed.bind((LOOPBACK, 0))
        passed.listen()
        passed.setblocking(False)
        port = passed.getsockname()[1]
        async with serving(config, activated={"tracker": [passed]}) as node:
            assert node.links.announce == f"http://{LOOPBACK}:{port}/announce"
            assert (await get(HostPort(LOOPBACK, port), "/"))[0] == 200
            assert not connects(config.tracker.listen[0])
            assert connects(config.peer.listen[0])


async def test_with_a_web_seed_the_object_itself_is_served(config: Config) -> None:
    target = "/quotes/Nelson"
    async with serving(config) as node:
        await until(partial(served, node))
        assert (await get(config.tracker.listen[0], target))[0] == 404
    gateway = GatewaySettings(web_seed=True)
    async with serving(config.model_copy(update={"gateway": gateway})) as node:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://{config.tracker.listen[0]}{target}")
        assert (answer.status_code, answer.content) == (200, BODY)
        assert answer.headers["etag"] == ObjectsServer.etag(BODY)
        document: Any = (await node.overview.report()).document()
        assert document["totals"]["uploaded_bytes"] == len(BODY)


@pytest.mark.parametrize(("memory", "warned"), [(MIB - 1, True), (MIB, False)])
async def test_a_cache_that_no_piece_fits_is_a_warning(
    config: Config, memory: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    wish = config.objects[0].model_copy(update={"piece_length": MIB})
    cache = config.cache.model_copy(update={"memory": memory, "disk": 0})
    config = config.model_copy(update={"objects": (wish,), "cache": cache})
    async with serving(config) as node:
        await until(partial(served, node))
    told = "quotes/Nelson: a piece of 1.00 MiB doesn't fit the cache"
    assert (told in caplog.text) == warned
    assert ("cache.disk to 4.00 MiB at least" in caplog.text) == warned


# -- stopping -------------------------------------------------------------------------------------


async def test_a_ledger_that_cannot_be_written_is_in_the_status(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError(FULL)

    async def told() -> Any:
        return json.loads((await get(config.admin.listen[0], "/status.json"))[1])["ledger"]

    defaults: Any = LedgerDatabase.run.__kwdefaults__
    monkeypatch.setitem(defaults, "interval", 3600.0)
    async with serving(config) as node:
        database, ledger = node.foundation.database, node.foundation.ledger
        await database.flush(ledger)
        before = await told()
        assert (before["writable"], before["reason"]) == (True, None)
        with monkeypatch.context() as patch:
            patch.setattr(LedgerFile, "write", refuse)
            await database.flush(ledger)
            failed = await told()
            assert (failed["writable"], failed["reason"]) == (False, FULL)
            assert failed["failures"] == before["failures"] + 1
            assert (failed["flushes"], failed["flushed_at"]) == (
                before["flushes"],
                before["flushed_at"],
            )
        await database.flush(ledger)
        after = await told()
        assert (after["writable"], after["reason"]) == (True, None)
        assert after["flushes"] > before["flushes"]


async def test_a_node_that_is_cancelled_while_it_hashes_ends_at_once_and_goes_on_later(
    config: Config, faults: FaultServer, store: ObjectsServer
) -> None:
    faults.default = first_range_only(store, trio.Event())
    async with serving(config) as node:
        [publication] = node.catalog
        await until(lambda: (publication.progress or 0) > 0.3)
        begun = trio.current_time()
    assert trio.current_time() - begun < 30  # else it would wait for a range for ever
    [journal] = (config.state_directory / "builds").glob("*.journal")
    assert journal.stat().st_size > 100
    faults.default = store.serve
    async with serving(config) as node:
        await until(partial(served, node))
    assert store.body_bytes["Nelson"] == len(BODY)
    assert not journal.exists()


class Interrupter(trio.abc.Instrument):
    """Cancels a scope at a step of the scheduler, counted from where it is put in."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope = scope
        self._left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


# What hangs here is shielded from every exception: only the end of the process helps.
@pytest.mark.timeout(600, method="thread")
async def test_a_node_that_is_cancelled_at_any_step_of_its_start_ends(config: Config) -> None:
    config = config.model_copy(update={"objects": ()})
    step, started = 0, False
    while not started:
        step += 1
        async with trio.open_nursery() as nursery:
            interrupter = Interrupter(nursery.cancel_scope, step)
            trio.lowlevel.add_instrument(interrupter)
            await nursery.start(serve, config)
            started = True
            nursery.cancel_scope.cancel()
        trio.lowlevel.remove_instrument(interrupter)
    assert step > 10


@pytest.mark.parametrize("text", ["{", "[[1]]", '{"a": 1}', "null"])
async def test_swarms_that_cannot_be_read_are_a_warning(
    config: Config, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    config.state_directory.mkdir()
    path = config.state_directory / SWARMS
    path.write_text(text)
    async with serving(config) as node:
        await until(partial(served, node))
    [warning] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert str(path) in warning.getMessage()
    header, row = map(json.loads, path.read_text().splitlines())
    assert header["swarms"] == 2
    assert row["info_hash"]


# -- signals --------------------------------------------------------------------------------------


def slow_start(monkeypatch: pytest.MonkeyPatch) -> tuple[trio.Event, Manager]:
    """Hold each start up until the event; return that, and what the service manager is told."""
    gate, apply, manager = trio.Event(), Publisher.apply, Manager()

    async def held(self: Publisher, objects: Any) -> None:
        await gate.wait()
        await apply(self, objects)

    monkeypatch.setattr(Publisher, "apply", held)
    monkeypatch.setattr(Notifier, "from_environment", lambda: manager)
    return gate, manager


async def test_sighup_before_it_is_ready_does_not_make_it_ready(
    config: Config,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate, manager = slow_start(monkeypatch)
    applied: list[LogSettings] = []
    monkeypatch.setattr(Log, "apply", lambda _, settings: applied.append(settings))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.run, FileWatch(file), config, Log(io.StringIO(), "text"), Crashes())
        await until(lambda: connects(config.admin.listen[0]))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: "still starting" in caplog.text)
        assert set(manager.told) == {"EXTEND_TIMEOUT_USEC=60000000"}
        gate.set()
        await until(lambda: manager.ready_count == 1)
        await add_to(file, '[log]\nlevels = { peer = "warning" }\n')
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: manager.ready_count == 2)
        os.kill(os.getpid(), signal.SIGTERM)
    told = [line for line in manager.told if not line.startswith(("STATUS=", "EXTEND_"))]
    assert told == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    assert applied == [LogSettings(), LogSettings(levels={"peer": "warning"})]


async def test_the_service_manager_is_asked_for_more_time_until_it_is_ready(
    config: Config, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, manager = slow_start(monkeypatch)
    monkeypatch.setattr(systemd, "GOING_ON_EVERY", 0.01)
    more = "EXTEND_TIMEOUT_USEC=30000"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.run, FileWatch(file), config, Log(io.StringIO(), "text"), Crashes())
        await until(lambda: manager.told.count(more) > 2)
        gate.set()
        await until(lambda: manager.ready_count == 1)
        # Whoever asks every 10 ms is never blocked for so long.
        with trio.fail_after(60):
            await trio.testing.wait_all_tasks_blocked(0.05)
        asked = manager.told.count(more)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert manager.told.count(more) == asked
        os.kill(os.getpid(), signal.SIGTERM)


async def test_the_service_manager_is_asked_for_more_time_until_a_reload_is_over(
    config: Config, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, manager = slow_start(monkeypatch)
    gate.set()
    monkeypatch.setattr(systemd, "GOING_ON_EVERY", 0.01)
    more, over = "EXTEND_TIMEOUT_USEC=30000", trio.Event()

    async def reload_slowly(*given: Any) -> ReloadReport:
        await over.wait()
        return await reload(*given)

    monkeypatch.setattr(reloading, "reload", reload_slowly)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.run, FileWatch(file), config, Log(io.StringIO(), "text"), Crashes())
        await until(lambda: manager.ready_count == 1)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: "RELOADING=1" in manager.told)
        begun = manager.told.index("RELOADING=1")
        await until(lambda: manager.told[begun:].count(more) > 2)
        over.set()
        await until(lambda: manager.ready_count == 2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        os.kill(os.getpid(), signal.SIGTERM)
    told = manager.told[begun + manager.told[begun:].index("READY=1") :]
    assert more not in told[: told.index("STOPPING=1")]


async def test_a_stop_waits_for_no_reload(
    config: Config, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, manager = slow_start(monkeypatch)
    gate.set()

    async def reload_for_ever(*_: Any) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(reloading, "reload", reload_for_ever)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                run.run, FileWatch(file), config, Log(io.StringIO(), "text"), Crashes()
            )
            await until(lambda: manager.ready_count == 1)
            for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
                os.kill(os.getpid(), number)
                await until(lambda: "RELOADING=1" in manager.told)
    assert manager.told.count("RELOADING=1") == 1
    assert "STOPPING=1" in manager.told


async def test_the_service_manager_is_asked_for_more_time_until_a_stop_is_over(
    config: Config, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, manager = slow_start(monkeypatch)
    gate.set()
    monkeypatch.setattr(systemd, "GOING_ON_EVERY", 0.01)
    more, over = "EXTEND_TIMEOUT_USEC=30000", trio.Event()

    async def stop_slowly(*given: Any, **named: Any) -> None:
        try:
            await serve(*given, **named)
        finally:
            with trio.CancelScope(shield=True):
                await over.wait()

    monkeypatch.setattr(run, "serve", stop_slowly)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                run.run, FileWatch(file), config, Log(io.StringIO(), "text"), Crashes()
            )
            await until(lambda: manager.ready_count == 1)
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: "STOPPING=1" in manager.told)
            stopping = manager.told.index("STOPPING=1")
            await until(lambda: manager.told[stopping:].count(more) > 2)
            over.set()


async def test_a_reload_with_a_new_origin_is_refused_whole(
    config: Config, file: Path, store: ObjectsServer, caplog: pytest.LogCaptureFixture
) -> None:
    store.objects["Hardy"] = b"kiss me"
    path = trio.Path(file)
    text = await path.read_text()
    async with serving(config) as node:
        await until(partial(served, node))
        await path.write_text(
            f"{text}[origins.north]\n"
            '[[objects]]\nbucket = "quotes"\nkey = "Hardy"\n'
            '[[objects]]\nbucket = "quotes"\nkey = "Lady"\norigin = "north"\n'
        )
        await reload(node, file)
        assert "origin north is new, which needs a restart" in caplog.text
        assert node.catalog.by_name("quotes", "Hardy") is None
        assert served(node)
        await path.write_text(f'{text}[[objects]]\nbucket = "quotes"\nkey = "Hardy"\n')
        await reload(node, file)
        await until(lambda: node.catalog.by_name("quotes", "Hardy") is not None)
        assert len(node.config.objects) == 2


async def test_a_reload_takes_up_rates_and_connections_and_names_the_rest(
    config: Config, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = trio.Path(file)
    text = await path.read_text()
    other = text.replace(
        '["peer"]\n',
        '["peer"]\nupload_rate = "1 MiB/s"\nupload_rate_per_torrent = "2 MiB/s"\n'
        'upload_rate_per_peer = "3 MiB/s"\nconnections = 7\nconnections_per_torrent = 6\n'
        'connections_per_address = 5\nencryption = "off"\n',
    ).replace('["tracker"]\n', '["tracker"]\ninterval = "5m"\n')
    async with serving(config) as node:
        await until(partial(served, node))
        for _ in range(2):
            caplog.clear()
            await path.write_text(other)
            await reload(node, file)
            peer = node.config.peer
            assert node.uploads.settings == peer
            mib = 2**20
            assert (peer.upload_rate, peer.upload_rate_per_torrent) == (mib, 2 * mib)
            assert peer.upload_rate_per_peer == 3 * mib
            assert (peer.connections, peer.connections_per_torrent) == (7, 6)
            assert peer.connections_per_address == 5
            assert peer.encryption == "allow"
            # Again and again, as long as it isn't so.
            [warning] = [each for each in caplog.records if each.levelno >= logging.WARNING]
            assert "tracker.interval, peer.encryption changed in" in warning.getMessage()
            assert "next start" in warning.getMessage()
        await path.write_text(text)
        await reload(node, file)
        assert node.config == config
        assert node.uploads.settings == config.peer


async def test_a_reload_takes_up_groups_and_loses_no_swarm(
    config: Config, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = trio.Path(file)
    text = await path.read_text()
    async with serving(config) as node:
        await until(partial(served, node))
        found = node.catalog.by_name("quotes", "Nelson")
        assert found is not None
        assert found.torrent is not None
        info_hash = found.torrent.info_hash

        def far_away() -> int:
            """Return how many peers of 21.0.0.0/8 somebody in 20.0.0.0/8 hears of."""
            for number in range(60):
                announce(number, 20 if number < 20 else 21)
            return sum(each[0] == 21 for each in announce(99, 20).endpoints())

        def announce(number: int, network: int) -> AnnounceReply:
            request = AnnounceRequest(
                info_hash, b"%020d" % number, 2000, event=AnnounceEvent.STARTED, numwant=20
            )
            source = bytes([network, number, 1, 1])
            return node.swarms.announce(request, source, None, trio.current_time())

        assert far_away() > 3
        grouped = text + '\n[tracker.groups]\na = ["20.0.0.0/8"]\nb = ["21.0.0.0/8"]\n'
        await path.write_text(grouped)
        await reload(node, file)
        assert node.swarms.statistics(info_hash).peers == 61
        assert far_away() <= 3
        assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
        await path.write_text(grouped.replace("20.0.0.0/8", "20.0.0.1/8"))
        await reload(node, file)
        assert far_away() <= 3
        await path.write_text(text)
        await reload(node, file)
        assert node.config == config
        assert node.swarms.statistics(info_hash).peers == 61
        assert far_away() > 3


READ_KEY = """
["gateway"]
listing = true
[["gateway"."keys"]]
access_key_id = "READER"
secret_file = "reader.secret"
objects = ["quotes/*"]
"""


def _told(node: Node, wanted: set[bytes]) -> bool:
    return set(node.swarms.seeder.endpoints) == wanted


async def test_a_reload_takes_up_where_peers_reach_us(
    config: Config, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = trio.Path(file)
    text = await path.read_text()
    before = {compact_endpoint(packed("127.0.0.1"), 6881)}
    after = {compact_endpoint(packed("203.0.113.7"), 1), compact_endpoint(packed("2001:db8::7"), 2)}
    async with serving(config) as node:
        await until(partial(served, node))
        caplog.clear()
        for value, wanted in (
            ('["203.0.113.7:1", "[2001:db8::7]:2"]', after),
            ('"127.0.0.1:6881"', before),
        ):
            lines = [line for line in text.splitlines() if "public_address" not in line]
            at = next(n for n, line in enumerate(lines) if line.strip('[]"') == "peer")
            lines.insert(at + 1, f"public_address = {value}")
            await path.write_text("\n".join(lines))
            await reload(node, file)
            await until(partial(_told, node, wanted))
            assert {str(each) for each in node.links.peers} == set(re.findall(r'"(.*?)"', value))
        assert "next start" not in caplog.text


async def test_a_reload_takes_up_who_may_fetch_what(
    config: Config, file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, [tracker] = trio.Path(file), config.tracker.listen
    text = (await path.read_text()).replace('"key" = "Nelson"', '"key" = "Nelson"\npublic = false')
    secret = tmp_path / "reader.secret"
    secret.write_text("a secret that is no secret".replace(" ", "-"))
    secret.chmod(0o644)
    target = "/quotes/Nelson?torrent"
    async with serving(config) as node:
        await until(partial(served, node))
        assert (await get(tracker, target))[0] == 200
        await path.write_text(text + READ_KEY)
        await reload(node, file)
        assert f"chmod 600 {secret}" in caplog.text
        assert (await get(tracker, target))[0] == 200
        secret.chmod(0o600)
        caplog.clear()
        await reload(node, file)
        assert "gateway.listing changed in" in caplog.text
        assert "gateway.keys" not in caplog.text
        assert served(node)
        assert (await get(tracker, target))[0] == 403
        signed = presigned_target(target, secret.read_text(), tracker)
        assert (await get(tracker, signed))[0] == 200
        secret.write_text("another secret that is none".replace(" ", "-"))
        await reload(node, file)
        assert (await get(tracker, signed))[0] == 403
        await path.write_text(text)
        await reload(node, file)
        assert node.config.gateway == config.gateway


def presigned_target(target: str, secret: str, address: HostPort) -> str:
    """Return a target presigned by a secret for five minutes from now."""
    request = signed_by(f"http://{address}{target}", secret=secret, now=time.time(), expires=300)
    return f"{request.path.decode()}?{request.query.decode()}"


async def test_the_list_is_served_where_it_is_wanted(config: Config) -> None:
    [tracker] = config.tracker.listen
    async with serving(config) as node:
        await until(partial(served, node))
        assert await get(tracker, "/") == (200, "A BitTorrent tracker for objects in S3.\n")
    wanted = config.model_copy(update={"gateway": GatewaySettings(listing=True)})
    async with serving(wanted) as node:
        await until(partial(served, node))
        assert "<bdi>Nelson</bdi>" in (await get(tracker, "/"))[1]
        listed = json.loads((await get(tracker, "/?format=json"))[1])["torrents"]
        assert [each["torrent"] for each in listed] == [f"http://{tracker}/quotes/Nelson?torrent"]


async def test_a_secret_that_can_not_be_had_keeps_it_from_starting(
    config: Config, tmp_path: Path
) -> None:
    key = ReadKeySettings(
        access_key_id="READER", secret_file=tmp_path / "gone", objects=("quotes/*",)
    )
    wanted = config.model_copy(update={"gateway": GatewaySettings(keys=(key,))})
    with pytest.raises(ConfigError, match=r"gateway\.keys\[0\].*No such file"):
        await serve(wanted)

"""The nursery tree: what runs on what, and in which order it stops.

What serves (peers, web, the publisher) stops first. What it stands on (cache, origins, ledger) is
shielded from whoever cancels the whole, and stops after it, the ledger last and with a last flush.
"""

import gc
import json
import logging
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from seeder.admin.routes import AdminRoutes
from seeder.config.sections import Config
from seeder.daemon.node import Node, save_swarms
from seeder.daemon.reload import reload
from seeder.daemon.systemd import Notifier, activated_sockets, watchdog_interval
from seeder.daemon.tasks import locked_state, running
from seeder.errors import ConfigError
from seeder.gateway.keys import read_keys
from seeder.gateway.links import announce_url
from seeder.gateway.routes import public_routes
from seeder.http.server import serve as serve_web
from seeder.ledger.counters import Ledger
from seeder.ledger.database import LedgerDatabase
from seeder.ledger.spending import budget_of
from seeder.net.sockets import close_all, listen

_LOG = logging.getLogger(__name__)

STATUS_EVERY = 5.0
EXPIRE_EVERY = 60.0
BUDGET_EVERY = 1.0
"""Seconds between two looks at what was uploaded; what is read from S3 is held to it at once."""
LEDGER = "ledger.sqlite"
SWARMS = "swarms.json"


@dataclass(frozen=True, slots=True)
class Listeners:
    """The listening sockets by what they are for."""

    tracker: list[socket.socket]
    peer: list[socket.socket]
    admin: list[socket.socket]

    def close(self) -> None:
        for group in (self.tracker, self.peer, self.admin):
            close_all(group)


def open_listeners(config: Config, activated: Mapping[str, list[socket.socket]]) -> Listeners:
    """Return the sockets that systemd passed, and open those that it didn't; ConfigError."""
    groups: dict[str, list[socket.socket]] = {}
    problems: list[str] = []
    for name, addresses in (
        ("tracker", config.tracker.listen),
        ("peer", config.peer.listen),
        ("admin", config.admin.listen),
    ):
        groups[name] = list(activated.get(name, ()))
        if groups[name]:
            continue
        for address in addresses:
            try:
                groups[name].append(listen(address.host, address.port, name))
            except ConfigError as error:
                problems += error.problems
    listeners = Listeners(**groups)
    if problems:
        listeners.close()
        raise ConfigError(problems)
    return listeners


async def serve(
    config: Config,
    *,
    notifier: Notifier | None = None,
    activated: Mapping[str, list[socket.socket]] | None = None,
    task_status: trio.TaskStatus[Node] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a node until cancelled; it has started once every listener is open and what is known
    is served. ConfigError, StorageError.
    """
    notifier = notifier or Notifier(None)
    keys = read_keys(config.gateway)
    listeners = open_listeners(config, activated or {})
    try:
        async with AsyncExitStack() as foundation:
            foundation.enter_context(locked_state(config.state_directory))
            ledger = Ledger()
            database = await LedgerDatabase.open(config.state_directory / LEDGER)
            await database.load(ledger)
            spent = await database.spent()
            budget = budget_of(config, totals=ledger.totals(), spent=spent, now=time.time())
            node = Node(config, ledger, budget, random.Random())
            node.open_swarms(listeners.peer[0].getsockname()[1])
            node.keyring.replace(keys)
            node.keep_to_budget()
            flushing = partial(database.run, ledger, refresh=node.refresh_accounts)
            await foundation.enter_async_context(running(flushing))
            await foundation.enter_async_context(running(node.origins.run))
            await foundation.enter_async_context(running(node.cache.run))
            await _serve_on(node, database, listeners, notifier, task_status)
    finally:
        listeners.close()


async def _serve_on(
    node: Node,
    database: LedgerDatabase,
    listeners: Listeners,
    notifier: Notifier,
    task_status: trio.TaskStatus[Node],
) -> None:
    config = node.config
    swarms_file = config.state_directory / SWARMS
    await trio.to_thread.run_sync(_restore_swarms, node, swarms_file, trio.current_time())
    url = announce_url(config, listeners.tracker[0].getsockname()[1])
    public = public_routes(
        config,
        node.catalog,
        node.swarms,
        node.keyring,
        announce=url,
        downloads=node.downloads,
    )
    try:
        async with trio.open_nursery() as serving:
            serving.start_soon(node.uploads.run)
            serving.start_soon(node.downloads.run)
            await serving.start(node.hub.serve, listeners.peer)
            await serving.start(serve_web, listeners.tracker, public)
            await serving.start(serve_web, listeners.admin, AdminRoutes(node))
            await serving.start(node.publisher.run)
            await node.publisher.apply(config.objects)
            serving.start_soon(_expire, node)
            serving.start_soon(_keep_to_budget, node, database)
            serving.start_soon(_tell_status, node, notifier)
            serving.start_soon(_feed_watchdog, notifier)
            # Who is cancelled has no listeners any more.
            await trio.lowlevel.checkpoint_if_cancelled()
            node.listening(listeners.tracker, listeners.peer, listeners.admin, url)
            notifier.ready()
            task_status.started(node)
    finally:
        save_swarms(swarms_file, node.swarms.export(trio.current_time()))


def _restore_swarms(node: Node, path: Path, now: float) -> None:
    try:
        rows = json.loads(path.read_bytes())
        path.unlink()
        if not isinstance(rows, list):
            raise ValueError("it is no list of swarms")
        node.swarms.restore(rows, now)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        _LOG.warning("%s: the swarms of the last run are lost: %s", path, error)


async def _expire(node: Node) -> None:
    while True:
        await trio.sleep(EXPIRE_EVERY)
        node.swarms.expire(trio.current_time())


async def _keep_to_budget(node: Node, database: LedgerDatabase) -> None:
    while True:
        await trio.sleep(BUDGET_EVERY)
        if node.keep_to_budget():
            await database.flush(node.ledger)


async def _tell_status(node: Node, notifier: Notifier) -> None:
    while True:
        node.swarms.loading = node.loading
        notifier.status(node.summary())
        await trio.sleep(STATUS_EVERY)


async def _feed_watchdog(notifier: Notifier) -> None:
    interval = watchdog_interval()
    while interval is not None:
        notifier.watchdog()
        await trio.sleep(interval)


async def run(path: Path, config: Config) -> None:
    """Run the daemon until SIGTERM or SIGINT; SIGHUP reads `path` again."""
    notifier = Notifier.from_environment()
    activated = activated_sockets()
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with trio.open_signal_receiver(*signals) as received:
        async with trio.open_nursery() as nursery:
            started: list[Node] = []
            # What is loaded now lives as long as the daemon: to look through it for garbage again
            # and again takes as long as loading it, and later each time stops the loop.
            gc.disable()
            nursery.start_soon(_obey, received, nursery, notifier, path, started)
            try:
                node = await nursery.start(
                    partial(serve, config, notifier=notifier, activated=activated)
                )
            finally:
                gc.freeze()
                gc.enable()
            started.append(node)
            _LOG.info("ready: %s", node.summary())
    _LOG.info("stopped")


async def _obey(
    received: AsyncIterator[int],
    nursery: trio.Nursery,
    notifier: Notifier,
    path: Path,
    started: Sequence[Node],
) -> None:
    async for number in received:
        if number != signal.SIGHUP:
            _LOG.info("stopping on %s", signal.Signals(number).name)
            notifier.stopping()
            nursery.cancel_scope.cancel()
            return
        if not started:
            _LOG.warning("not reloaded: still starting; send SIGHUP again when it is ready")
            continue
        notifier.reloading()
        for node in started:
            await reload(node, path)
        notifier.ready()

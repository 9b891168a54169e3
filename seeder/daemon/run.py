"""The nursery tree: what runs on what, and in which order it stops.

What serves (peers, HTTP, the publisher) stops first. What it stands on (cache, origins, ledger) is
shielded from a cancel of the whole and stops after it; the ledger stops last, with a last flush.
"""

import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import trio

from seeder.config.advice import advise
from seeder.config.load import doubt_instances, source_name
from seeder.config.sections import Config
from seeder.daemon.control import NodeControl
from seeder.daemon.crashes import Crashes
from seeder.daemon.descriptors import raise_limit
from seeder.daemon.floods import FLOOD_WINDOW, FloodGate
from seeder.daemon.garbage import garbage_is_rare
from seeder.daemon.listeners import Listeners, address_of, open_listeners
from seeder.daemon.logs import Log
from seeder.daemon.memory import doubt_memory
from seeder.daemon.node import Node
from seeder.daemon.opening import open_node
from seeder.daemon.progress import tell_progress
from seeder.daemon.reloading import Reloader
from seeder.daemon.scrubbing import scrub
from seeder.daemon.secret_files import read_secrets
from seeder.daemon.systemd import (
    LONGEST_START,
    LONGEST_STOP,
    Notifier,
    activated_sockets,
    watchdog_interval,
)
from seeder.daemon.watching import WATCH_EVERY, FileWatch
from seeder.gateway.announces import TRACKER_PAGES
from seeder.gateway.certificates import LiveCertificate, doubts
from seeder.http.server import serve as serve_web
from seeder.http.service import ServerLimits, Service
from seeder.net.guards import Lapses

_LOG = logging.getLogger(__name__)

STILL_STARTING = "not reloaded: still starting; send SIGHUP again when it is ready"
STATUS_EVERY = 5.0
"""Seconds between two lines for `systemctl status`."""
EXPIRE_EVERY = 60.0
"""Seconds between two looks for tracker peers that are gone."""
BUDGET_EVERY = 1.0
"""Seconds between two checks of what was uploaded; reads from S3 are checked one by one."""


async def serve(
    config: Config,
    *,
    notifier: Notifier | None = None,
    activated: Mapping[str, list[socket.socket]] | None = None,
    reloader: Reloader | None = None,
    task_status: trio.TaskStatus[Node] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a node until cancelled; it has started once every listener is open and what is known
    is served. ConfigError, StorageError.

    `reloader` knows where the configuration is; by default that is in the environment.
    """
    notifier = notifier or Notifier(None)
    reloader = reloader or Reloader(FileWatch(None), None, notifier, lambda _: None)
    for line in advise(config):
        _LOG.warning("%s", line)
    secrets = read_secrets(config)
    certificate = LiveCertificate(config.tracker) if config.tracker.tls else None
    listeners = open_listeners(config, activated or {})
    try:
        async with (
            open_node(
                config, listeners, secrets, certificate, configured_in=reloader.source
            ) as node,
            trio.open_nursery() as serving,
        ):
            await _let_in(node, listeners, reloader, serving)
            if certificate is not None:
                for line in doubts(config, certificate.current, node.links.announce):
                    _LOG.warning("%s", line)
                serving.start_soon(certificate.run)
            for service in _services(node, notifier):
                serving.start_soon(service)
            # If we were cancelled meanwhile, the listeners are closed already.
            await trio.lowlevel.checkpoint_if_cancelled()
            node.overview.unready = None
            serving.start_soon(reloader.run, node)
            _tell_listeners(listeners, config.control_socket, node.links.announce)
            notifier.ready()
            task_status.started(node)
    finally:
        listeners.close()


def _services(node: Node, notifier: Notifier) -> Iterable[Callable[[], Awaitable[None]]]:
    """Return what goes on beside the doors."""
    return (
        node.events.run,
        node.sidecars.run,
        node.warmer.run,
        node.overview.pulse.run,
        partial(_expire, node),
        partial(tell_progress, node.overview),
        partial(_keep_to_budget, node),
        partial(scrub, node.catalog, node.foundation.cache),
        partial(_tell_status, node, notifier),
        partial(_feed_watchdog, notifier),
    )


async def _let_in(
    node: Node, listeners: Listeners, reloader: Reloader, serving: trio.Nursery
) -> None:
    """Open every door in `serving`, the peers' one last, when what is known is served."""
    serving.start_soon(node.uploads.run)
    serving.start_soon(node.downloads.run)
    await node.passkeys.look(node.config.objects)
    serving.start_soon(node.passkeys.run)
    await node.public_address.refresh()
    serving.start_soon(node.public_address.run)
    # What the admin listener sends stays in the house, and isn't counted.
    await serving.start(
        partial(
            serve_web,
            listeners.tracker,
            Service(
                node.public,
                ServerLimits(connections=node.descriptors.public),
                node.uploads.overhead,
                TRACKER_PAGES,
            ),
            security=node.security(listeners.tracker_tls),
        )
    )
    control = NodeControl(node, reloader)
    await serving.start(control.serve_admin, listeners.admin)
    if (path := node.config.control_socket) is not None:
        await serving.start(control.serve, path)
    for each in listeners.tracker_udp:
        serving.start_soon(node.datagrams.serve, each)
    await node.doorway.expel()
    if node.fellows is not None:
        serving.start_soon(node.fellows.run)
    await serving.start(node.additions.run, node.config.objects)
    # Not sooner: a peer that has waited at its socket for the restart to be over would be
    # turned away with a torrent that is known a moment later.
    await serving.start(node.hub.serve, listeners.peer)


def _tell_listeners(listeners: Listeners, path: Path | None, announce_url: str) -> None:
    tracker, tls, udp, peers, admin = (
        ", ".join(str(address_of(each)) for each in group)
        for group in (
            listeners.tracker,
            listeners.tracker_tls,
            listeners.tracker_udp,
            listeners.peer,
            listeners.admin,
        )
    )
    ways = [tracker] if tracker else []
    ways += [f"by TLS {tls}"] if tls else []
    ways += [f"by UDP {udp}"] if udp else []
    _LOG.info(
        "listening: tracker %s, peers %s, admin %s, control %s; torrents name %s",
        " and ".join(ways),
        peers,
        admin or "nowhere",
        path or "nowhere",
        announce_url,
    )


async def _expire(node: Node) -> None:
    lapses = Lapses(_LOG, "the look for peers that are gone")
    while True:
        await trio.sleep(EXPIRE_EVERY)
        async with lapses.spared():
            for _ in node.swarms.expire(trio.current_time()):
                await trio.lowlevel.checkpoint()


async def _keep_to_budget(node: Node) -> None:
    # Else it would spend without end.
    lapses = Lapses(_LOG, "the budget", vital=True)
    while True:
        await trio.sleep(BUDGET_EVERY)
        async with lapses.spared():
            if node.restraint.update():
                await node.foundation.database.flush(node.foundation.ledger)
            await node.restraint.recount()


async def _tell_status(node: Node, notifier: Notifier) -> None:
    lapses = Lapses(_LOG, "the status")
    while True:
        async with lapses.spared():
            node.swarms.loading = await node.publisher.is_loading()
            notifier.status(await node.overview.summary())
        await trio.sleep(STATUS_EVERY)


async def _feed_watchdog(notifier: Notifier) -> None:
    interval = watchdog_interval()
    while interval is not None:
        notifier.watchdog()
        await trio.sleep(interval)


async def run(
    watch: FileWatch, config: Config, log: Log, crashes: Crashes, instance: str | None = None
) -> None:
    """Run the daemon until SIGTERM or SIGINT; SIGHUP reads the file again, for its `instance`.

    So does a change of the file, if it is to be watched. What was held back of the log is summed up
    now and then. A stop that isn't over in LONGEST_STOP ends the process.
    """
    log.apply(config.log)
    for line in doubt_instances(watch.path, instance):
        _LOG.warning("%s", line)
    raise_limit(config)
    for line in doubt_memory(config):
        _LOG.warning("%s", line)
    notifier = Notifier.from_environment()
    activated = activated_sockets()
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with trio.open_signal_receiver(*signals) as received, crashes.heeding_stops():
        async with trio.open_nursery() as nursery:
            started: list[Node] = []
            reloader = Reloader(watch, instance, notifier, log.apply)
            take_up = partial(_take_up, reloader, started)
            starting = trio.move_on_after(LONGEST_START)
            stopping = trio.move_on_after(LONGEST_STOP, shield=True)
            nursery.start_soon(_obey, received, nursery, notifier, stopping, take_up)
            nursery.start_soon(_sum_up, log.gate)
            nursery.start_soon(crashes.watch_stop)
            nursery.start_soon(notifier.ask_for_time, starting)
            run_node = partial(
                serve, config, notifier=notifier, activated=activated, reloader=reloader
            )
            with garbage_is_rare():
                node = await nursery.start(_serve_until, stopping, run_node)
            starting.cancel()
            started.append(node)
            nursery.start_soon(_follow, watch, node, take_up)
            _LOG.info("ready: %s", await node.overview.summary())
    _LOG.info("stopped")


async def _serve_until(
    stopping: trio.CancelScope,
    run_node: Callable[..., Awaitable[None]],
    *,
    task_status: trio.TaskStatus[Node],
) -> None:
    """Run the node; when it has stopped, so has whoever waits in a scope for that."""
    try:
        await run_node(task_status=task_status)
    finally:
        stopping.cancel()


async def _sum_up(gate: FloodGate) -> None:
    try:
        while True:
            await trio.sleep(FLOOD_WINDOW)
            gate.summarise()
    finally:
        gate.summarise(everything=True)


async def _obey(
    received: AsyncIterator[int],
    nursery: trio.Nursery,
    notifier: Notifier,
    stopping: trio.CancelScope,
    take_up: Callable[[], Awaitable[None]],
) -> None:
    """Do what signals say; at a stop, ask for time until that is over, in `stopping`."""
    async for number in received:
        if number != signal.SIGHUP:
            _LOG.info("stopping on %s", signal.Signals(number).name)
            notifier.stopping()
            nursery.cancel_scope.cancel()
            await notifier.ask_for_time(stopping)
            return
        # A reload of very many entries takes a while, and a stop waits for none.
        nursery.start_soon(take_up)


async def _follow(watch: FileWatch, node: Node, take_up: Callable[[], Awaitable[None]]) -> None:
    """Take up the file whenever it has changed, as long as it says that it is to be watched."""
    while True:
        await trio.sleep(WATCH_EVERY)
        # Its file system may hang.
        if node.config.watch and await trio.to_thread.run_sync(
            watch.has_changed, abandon_on_cancel=True
        ):
            _LOG.info("%s has changed", source_name(watch.path))
            await take_up()


async def _take_up(reloader: Reloader, started: Sequence[Node]) -> None:
    if not started:
        _LOG.warning("%s", STILL_STARTING)
        return
    await reloader.ask()

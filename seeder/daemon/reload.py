"""What SIGHUP changes in a running node, and what needs a restart."""

import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from seeder.admin.reloads import ReloadOutcome, ReloadReport
from seeder.config.added import name_of
from seeder.config.fields import Settings
from seeder.config.load import load, source_name
from seeder.config.node import AdminSettings
from seeder.config.public import GatewaySettings, TrackerSettings
from seeder.config.sections import Config
from seeder.daemon.node import Node
from seeder.daemon.secret_files import Secrets, read_secrets
from seeder.errors import ConfigError, SeederError
from seeder.ledger.spending import prices_of
from seeder.net.groups import Groups

_LOG = logging.getLogger(__name__)

LIVE = (
    "connections",
    "connections_per_torrent",
    "connections_per_address",
    "upload_rate",
    "upload_rate_per_torrent",
    "upload_rate_per_peer",
    "upload_slots",
    "thrifty",
    "copies_per_address",
    "origin_copies_per_address",
    "public_address",
    "allow",
    "deny",
)
"""The keys of [peer] that a reload changes."""
LIVE_LISTS = ("allow", "deny")
"""Those of [tracker] and [gateway]."""
LIVE_TLS = (
    "tls_certificate",
    "tls_key",
    "tls_certificate_credential",
    "tls_key_credential",
)
"""Those of [tracker] alone, if there is a certificate before and after."""
LIVE_TOKEN = ("token_file", "token_credential")
"""Those of [admin]."""
RESTARTED = (
    *("state_directory", "sidecar_writer", "origins"),
    *("tracker", "peer", "gateway", "cache", "admin", "cluster"),
)
"""What a reload doesn't change, but for those keys."""


async def reload(node: Node, path: Path | None, instance: str | None = None) -> ReloadReport:
    """Take over the file's objects, sources of events, access keys, budget, prices, [log], `watch`,
    the live keys of [peer] and [tracker], and the tokens; return what became of it.

    A broken file changes nothing. The certificate is read again; if that can't be used, all else
    goes on. `instance` is what %i stands for in the file.
    """
    report = await _reload(node, path, instance)
    node.overview.reloads.note(report)
    return report


@dataclass(frozen=True, slots=True)
class _Read:
    """What a reload has read."""

    config: Config
    secrets: Secrets
    served: Config
    """The running configuration with the live keys of [peer] and [tracker]."""
    announce: str


def _load(running: Config, path: Path | None, instance: str | None) -> Config:
    """Return the configuration, with the running one's own entries where they are the same.

    So a reload leaves next to nothing that is new, and the publisher sees at once what has changed.
    ConfigError.
    """
    config = load(path, instance)
    objects, others = [*config.objects], []
    for index, (before, each) in enumerate(zip(running.objects, config.objects, strict=False)):
        if before == each:
            objects[index] = before
        else:
            others.append(index)
    others += range(len(running.objects), len(objects))
    if others:  # of a file in which nothing has moved, nothing need be looked for by its name
        known = {name_of(each): each for each in running.objects}
        for index in others:
            found = known.get(name_of(objects[index]))
            if found == objects[index]:
                objects[index] = found
    return config.model_copy(update={"objects": (*objects,)})


async def _read(node: Node, path: Path | None, instance: str | None) -> _Read:
    """Read the configuration and its secrets; ConfigError."""
    config = await trio.to_thread.run_sync(_load, node.config, path, instance)
    secrets = await trio.to_thread.run_sync(read_secrets, config)
    wanted = {each.origin for each in config.objects} | {each.origin for each in config.events}
    missing = wanted - node.foundation.origins.keys()
    if missing:
        why = f"origin {', '.join(sorted(missing))} is new, which needs a restart"
        raise ConfigError([why])
    live = {name: getattr(config.peer, name) for name in LIVE}
    peer = node.config.peer.model_copy(update=live)
    tracker = _tracker(node.config.tracker, config.tracker)
    served = node.config.model_copy(update={"peer": peer, "tracker": tracker})
    return _Read(config, secrets, served, _announce_url(node, config, served))


async def _reload(node: Node, path: Path | None, instance: str | None) -> ReloadReport:
    try:
        read = await _read(node, path, instance)
    except ConfigError as error:
        why = "; ".join(error.problems)
        _LOG.error("not reloaded, the old configuration stays in force: %s", why)
        return ReloadReport(time.time(), "refused", why, errors=error.problems)
    config, before = read.config, node.config
    name = source_name(path)
    outcome: ReloadOutcome = "ok"
    reason = None
    fixed = tuple(keys_of_a_start(before, config))
    if fixed:
        changed = ", ".join(fixed)
        _LOG.warning("%s changed in %s: that takes effect at the next start", changed, name)
        outcome, reason = "partial", f"{changed}: takes effect at the next start"
    if node.certificate is not None and read.served.tracker.tls:
        fault = await node.certificate.take_up(read.served.tracker)
        if fault is not None:
            outcome, reason = "partial", fault
    await _take_up(node, read)
    try:
        await node.additions.apply(config.objects)
    except SeederError as error:
        _LOG.error("not all objects of %s are taken up: %s", name, error)
        outcome, reason = "partial", f"not all objects are taken up: {error}"
    node.events.apply(config.events, read.secrets.tokens)
    node.config = _in_force(before, read)
    _LOG.info("reloaded: %s", await node.overview.summary())
    changed_keys = tuple(_differing(before, node.config))
    return ReloadReport(time.time(), outcome, reason, changed=changed_keys, restart=fixed)


async def _take_up(node: Node, read: _Read) -> None:
    """Have what serves go by what was read: all but the objects and the sources of events."""
    config, served, peer = read.config, read.served, read.served.peer
    node.token_door.replace(read.secrets.token)
    await node.doorway.follow(config)
    node.restraint.change(config)
    node.overview.prices = prices_of(config)
    node.uploads.change(node.descriptors.fit(peer))
    node.public_address.change(peer.public_address)
    announce = read.announce
    with suppress(ConfigError):
        announce = node.announce_url(served)  # the certificate may have another name now
    if node.links.follow(served, announce):
        _LOG.info("torrents name %s from now on", announce)
    node.keyring.replace(read.secrets.keys)
    await _regroup(node, config)


def _in_force(before: Config, read: _Read) -> Config:
    """Return what is in force after the reload: what only a start takes up is as it was."""
    config = read.config
    return before.model_copy(
        update={
            "watch": config.watch,
            "objects": config.objects,
            "events": config.events,
            "peer": read.served.peer,
            "tracker": read.served.tracker,
            "gateway": _gateway(before.gateway, config.gateway),
            "admin": _admin(before.admin, config.admin),
            "budget": config.budget,
            "savings": config.savings,
            "log": config.log,
        }
    )


async def _regroup(node: Node, wanted: Config) -> None:
    """Hand peers out by the file's groups; every swarm keeps its peers."""
    if wanted.tracker.groups == node.config.tracker.groups:
        return
    groups = node.foundation.ledger.groups.groups = Groups.named(wanted.tracker.groups)
    for _ in node.swarms.regroup(groups):
        await trio.lowlevel.checkpoint()


def _announce_url(node: Node, wanted: Config, served: Config) -> str:
    """Return the URL that torrents name from now on; ConfigError where the file tells none."""
    node.announce_url(wanted)
    try:
        return node.announce_url(served)
    except ConfigError:
        # The file sets a key of [tracker] in its stead, and that takes a restart.
        return node.links.announce


def _tracker(running: TrackerSettings, wanted: TrackerSettings) -> TrackerSettings:
    """Return the settings of the tracker after the reload."""
    tls = LIVE_TLS if running.tls and wanted.tls else ()
    live = ("groups", *LIVE_LISTS, *tls)
    return running.model_copy(update={name: getattr(wanted, name) for name in live})


def _gateway(running: GatewaySettings, wanted: GatewaySettings) -> GatewaySettings:
    """Return the settings of the gateway after the reload."""
    names = (*LIVE_LISTS, "keys")
    return running.model_copy(update={name: getattr(wanted, name) for name in names})


def _admin(running: AdminSettings, wanted: AdminSettings) -> AdminSettings:
    """Return the settings of the admin listener after the reload."""
    return running.model_copy(update={name: getattr(wanted, name) for name in LIVE_TOKEN})


def keys_of_a_start(running: Config, wanted: Config) -> Iterator[str]:
    """Yield the names of the changed settings that only a start takes up."""
    live = {name: getattr(wanted.peer, name) for name in LIVE}
    taken_up = {
        "tracker": _tracker(running.tracker, wanted.tracker),
        "gateway": _gateway(running.gateway, wanted.gateway),
        "admin": _admin(running.admin, wanted.admin),
        "peer": running.peer.model_copy(update=live),
    }
    of_restart = {name: getattr(wanted, name) for name in RESTARTED}
    yield from _differing(
        running.model_copy(update=taken_up), running.model_copy(update=of_restart)
    )


def _differing(one: Config, other: Config) -> Iterator[str]:
    """Yield the keys that differ; a key of a section has its name before it."""
    for name in Config.model_fields:
        before, after = getattr(one, name), getattr(other, name)
        if isinstance(before, Settings):
            for key in type(before).model_fields:
                if getattr(before, key) != getattr(after, key):
                    yield f"{name}.{key}"
        elif before != after:
            yield name

"""What SIGHUP changes in a running node, and what needs a restart."""

import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import trio

from seeder.admin.reloads import ReloadOutcome
from seeder.config.load import load, source_name
from seeder.config.sections import Config, GatewaySettings, TrackerSettings
from seeder.daemon.node import Node
from seeder.errors import ConfigError, SeederError
from seeder.gateway.keys import read_keys
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


async def reload(node: Node, path: Path | None, instance: str | None = None) -> None:
    """Take over the file's objects, access keys, budget, prices, [log], `watch`, and the live keys
    of [peer] and [tracker].

    A broken file changes nothing. The certificate is read again; if that can't be used, all else
    goes on. `instance` is what %i stands for in the file.
    """
    try:
        config = await trio.to_thread.run_sync(load, path, instance)
        keys = await trio.to_thread.run_sync(read_keys, config.gateway)
        live = {name: getattr(config.peer, name) for name in LIVE}
        peer = node.config.peer.model_copy(update=live)
        tracker = _tracker(node.config.tracker, config.tracker)
        served = node.config.model_copy(update={"peer": peer, "tracker": tracker})
        announce = _announce_url(node, config, served)
    except ConfigError as error:
        why = "; ".join(error.problems)
        _LOG.error("not reloaded, the old configuration stays in force: %s", why)
        node.overview.reloads.note(time.time(), "refused", why)
        return
    name = source_name(path)
    outcome: ReloadOutcome = "ok"
    reason = None
    changed = ", ".join(_fixed(node.config, config))
    if changed:
        _LOG.warning("%s changed in %s: that takes effect at the next start", changed, name)
        outcome, reason = "partial", f"{changed}: takes effect at the next start"
    missing = {settings.origin for settings in config.objects} - node.foundation.origins.keys()
    if missing:
        why = f"origin {', '.join(missing)} is new, which needs a restart"
        _LOG.error("not reloaded: %s", why)
        node.overview.reloads.note(time.time(), "refused", why)
        return
    if node.certificate is not None and tracker.tls:
        fault = await node.certificate.take_up(tracker)
        if fault is not None:
            outcome, reason = "partial", fault
    gateway = _gateway(node.config.gateway, config.gateway)
    await node.change_doors(config)
    node.restraint.change(config)
    node.overview.prices = prices_of(config)
    node.uploads.change(node.descriptors.fit(peer))
    node.public_address.change(peer.public_address)
    with suppress(ConfigError):
        announce = node.announce_url(served)  # the certificate may have another name now
    if node.links.follow(served, announce):
        _LOG.info("torrents name %s from now on", announce)
    node.keyring.replace(keys)
    await _regroup(node, config)
    await node.passkeys.look(config.objects)
    try:
        await node.publisher.apply(config.objects)
    except SeederError as error:
        _LOG.error("not all objects of %s are taken up: %s", name, error)
        outcome, reason = "partial", f"not all objects are taken up: {error}"
    node.config = node.config.model_copy(
        update={
            "watch": config.watch,
            "objects": config.objects,
            "peer": peer,
            "tracker": tracker,
            "gateway": gateway,
            "budget": config.budget,
            "savings": config.savings,
            "log": config.log,
        }
    )
    node.overview.reloads.note(time.time(), outcome, reason)
    _LOG.info("reloaded: %s", await node.overview.summary())


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


def _fixed(running: Config, wanted: Config) -> Iterator[str]:
    """Yield the names of the changed settings that only a start takes up."""
    for name in ("state_directory", "origins", "events"):
        if getattr(wanted, name) != getattr(running, name):
            yield name
    for section in ("tracker", "peer", "gateway", "cache", "admin", "cluster"):
        before, after = getattr(running, section), getattr(wanted, section)
        if section == "tracker":
            before = _tracker(before, after)
        elif section == "gateway":
            before = _gateway(before, after)
        for name in type(before).model_fields:
            live = section == "peer" and name in LIVE
            if not live and getattr(before, name) != getattr(after, name):
                yield f"{section}.{name}"

"""What SIGHUP changes in a running node, and what needs a restart."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import trio

from seeder.admin.reloads import ReloadOutcome
from seeder.config.load import load
from seeder.config.sections import Config
from seeder.daemon.node import Node
from seeder.errors import ConfigError, SeederError
from seeder.gateway.keys import read_keys
from seeder.gateway.links import announce_url
from seeder.ledger.spending import prices_of

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
)
"""The keys of [peer] that a reload changes."""


async def reload(node: Node, path: Path) -> None:
    """Take over the file's objects, access keys, budget, prices, [log], and LIVE keys of [peer].

    A broken file changes nothing.
    """
    try:
        config = await trio.to_thread.run_sync(load, path)
        keys = await trio.to_thread.run_sync(read_keys, config.gateway)
        live = {name: getattr(config.peer, name) for name in LIVE}
        peer = node.config.peer.model_copy(update=live)
        served = node.config.model_copy(update={"peer": peer})
        announce = _announce_url(node, config, served)
    except ConfigError as error:
        _LOG.error("not reloaded, the old configuration stays in force:")
        for problem in error.problems:
            _LOG.error("  %s", problem)
        node.overview.reloads.note(time.time(), "refused", "; ".join(error.problems))
        return
    outcome: ReloadOutcome = "ok"
    reason = None
    changed = ", ".join(_fixed(node.config, config))
    if changed:
        _LOG.warning("%s changed in %s: that takes effect at the next start", changed, path)
        outcome, reason = "partial", f"{changed}: takes effect at the next start"
    missing = {settings.origin for settings in config.objects} - node.foundation.origins.keys()
    if missing:
        why = f"origin {', '.join(missing)} is new, which needs a restart"
        _LOG.error("not reloaded: %s", why)
        node.overview.reloads.note(time.time(), "refused", why)
        return
    node.restraint.change(config)
    node.overview.prices = prices_of(config)
    node.uploads.change(node.descriptors.fit(peer))
    node.public_address.change(peer.public_address)
    if node.links.follow(served, announce):
        _LOG.info("torrents name %s from now on", announce)
    node.keyring.replace(keys)
    try:
        await node.publisher.apply(config.objects)
    except SeederError as error:
        _LOG.error("not all objects of %s are taken up: %s", path, error)
        outcome, reason = "partial", f"not all objects are taken up: {error}"
    gateway = node.config.gateway.model_copy(update={"keys": config.gateway.keys})
    node.config = node.config.model_copy(
        update={
            "objects": config.objects,
            "peer": peer,
            "gateway": gateway,
            "budget": config.budget,
            "savings": config.savings,
            "log": config.log,
        }
    )
    node.overview.reloads.note(time.time(), outcome, reason)
    _LOG.info("reloaded: %s", await node.overview.summary())


def _announce_url(node: Node, wanted: Config, served: Config) -> str:
    """Return the URL that torrents name from now on; ConfigError where the file tells none."""
    announce_url(wanted, node.tracker_port)
    try:
        return announce_url(served, node.tracker_port)
    except ConfigError:
        # The file sets a key of [tracker] in its stead, and that takes a restart.
        return node.links.announce


def _fixed(running: Config, wanted: Config) -> Iterator[str]:
    """Yield the names of the changed settings that only a start takes up."""
    for name in ("state_directory", "origins"):
        if getattr(wanted, name) != getattr(running, name):
            yield name
    for section in ("tracker", "peer", "gateway", "cache", "admin", "cluster"):
        before, after = getattr(running, section), getattr(wanted, section)
        for name in type(before).model_fields:
            live = (section == "peer" and name in LIVE) or (section, name) == ("gateway", "keys")
            if not live and getattr(before, name) != getattr(after, name):
                yield f"{section}.{name}"

"""`seeder check`: what a configuration says, what is seldom meant by it, and what follows."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from seeder.cluster.cluster import explain_cluster
from seeder.commands.event_sources import explain_webhooks
from seeder.commands.findings import Findings
from seeder.commands.machine import doubt_machine
from seeder.config.added import explain_added, with_added
from seeder.config.advice import advise
from seeder.config.bundled import explain_given_away
from seeder.config.groups import explain_groups
from seeder.config.load import doubt_instances, source_name
from seeder.config.objects import ObjectSettings
from seeder.config.sections import Config
from seeder.config.unlikely import doubt
from seeder.control.tokens import read_token, token_is_out_of_reach
from seeder.errors import ConfigError, StorageError
from seeder.events.tokens import out_of_reach as hidden_tokens
from seeder.events.tokens import read_tokens
from seeder.gateway.certificates import doubts, is_due, is_out_of_reach, read_tls
from seeder.gateway.keys import out_of_reach, read_keys
from seeder.gateway.links import announce_url
from seeder.http.certificates import Certificate
from seeder.ledger.spending import explain_limits
from seeder.publish.embargo import explain_embargoes
from seeder.upload.standing import explain_copies, explain_listed


def check_offline(
    config: Config, path: Path | None, instance: str | None, findings: Findings
) -> None:
    """Tell of a configuration without asking anybody; ConfigError for a secret or certificate that
    can't be used.

    `path` and `instance` are those that it was read by.
    """
    tell = findings.note
    unseen = list(out_of_reach(config.gateway))
    unseen_tokens = list(hidden_tokens(config.events))
    read_keys(config.gateway, without=unseen)
    read_tokens(config.events, without=unseen_tokens)
    token_unseen = token_is_out_of_reach(config.admin)
    if not token_unseen:
        read_token(config.admin)
    certificate = _certificate(config)
    about_cluster = tuple(explain_cluster(config.cluster))
    prefixes = sum(entry.prefix is not None for entry in config.objects)
    count = len(config.objects) - prefixes
    kinds = [(count, "object", "objects"), (prefixes, "prefix", "prefixes")]
    found = [f"{number} {one if number == 1 else more}" for number, one, more in kinds if number]
    tell(f"{source_name(path)}: ok, {' and '.join(found) or 'no objects: seeder add adds them'}")
    about_tls = () if certificate is None else _doubts(config, certificate)
    alike = doubt_instances(path, instance)
    added = _added(config)
    bundles = explain_given_away(config.objects, added)
    for warning in chain(
        advise(config), bundles, doubt(config), alike, doubt_machine(config), about_tls
    ):
        findings.warn(warning)
    for line in (*about_cluster, *explain_limits(config)):
        tell(line)
    for line in explain_embargoes([*config.objects, *added], time.time()):
        tell(line)
    try:
        for line in explain_added(config):
            tell(line)
    except StorageError as error:
        tell(f"added at run time: not known here: {error}")
    for line in explain_groups(config.tracker.groups, config.peer.public_address):
        tell(line)
    peer = config.peer
    listed = config.tracker.peers_per_address
    tell(explain_listed(listed, peer.origin_copies_per_address))
    tell(explain_copies(peer.copies_per_address, peer.connections_per_address))
    for access_key_id in unseen:
        tell(f"gateway.keys: {access_key_id}: not checked: only the service reads its secret")
    for line in explain_webhooks(config):
        tell(line)
    for name in unseen_tokens:
        tell(f"events: {name}: not checked: only the service reads its token")
    if token_unseen:
        tell("admin.token_credential: not checked: only the service reads its token")
    if config.tracker.tls and certificate is None:
        tell("tracker.tls_certificate: not checked: only the service reads its credentials")


def _added(config: Config) -> Sequence[ObjectSettings]:
    """Return what was added at run time, as far as that can be read."""
    try:
        return with_added(config).objects[len(config.objects) :]
    except StorageError:
        return ()  # explain_added tells why


def _certificate(config: Config) -> Certificate | None:
    """Return the certificate, None if there is none or only the service has it; ConfigError."""
    tracker = config.tracker
    return read_tls(tracker) if tracker.tls and not is_out_of_reach(tracker) else None


def _doubts(config: Config, certificate: Certificate) -> Iterator[str]:
    with suppress(ConfigError):
        port = config.tracker.main_listen[0].port
        announce = announce_url(config, port, certificate.names)
        yield from doubts(config, certificate, announce)
    yield from is_due(certificate, time.time())

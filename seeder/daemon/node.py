"""What a running node consists of, and what it offers beside its parts."""

import logging
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from seeder.admin.overview import Overview
from seeder.admin.routes import AdminRoutes
from seeder.config.sections import Config
from seeder.control.access import TokenDoor
from seeder.daemon.bans import BanKeeper
from seeder.daemon.descriptors import Descriptors
from seeder.daemon.doors import Doorway
from seeder.daemon.events import EventSources
from seeder.daemon.fellows import Fellows
from seeder.daemon.foundation import Foundation
from seeder.daemon.passkeys import PasskeyWatch
from seeder.daemon.public_address import PublicAddress
from seeder.daemon.restraint import Restraint
from seeder.daemon.sidecars import Sidecars
from seeder.daemon.warming import Warmer
from seeder.errors import ConfigError
from seeder.gateway.access import Keyring
from seeder.gateway.certificates import LiveCertificate
from seeder.gateway.clients import Clients
from seeder.gateway.datagrams import TrackerDatagrams
from seeder.gateway.downloads import Downloads
from seeder.gateway.links import Links, announce_url
from seeder.gateway.routes import PublicRoutes
from seeder.http.tls import Security
from seeder.net.addresses import HostPort
from seeder.peer.hub import Hub
from seeder.publish.additions import Additions
from seeder.publish.publisher import Publisher
from seeder.torrent.catalog import Catalog
from seeder.tracker.swarms import Swarms
from seeder.upload.uploads import Uploads

_LOG = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Node:
    """Everything that a running daemon consists of."""

    config: Config
    """The one in force: a reload changes parts of it."""
    foundation: Foundation
    catalog: Catalog
    swarms: Swarms
    uploads: Uploads
    downloads: Downloads
    hub: Hub
    publisher: Publisher
    additions: Additions
    """What is published: by the file, and by what was added at run time."""
    keyring: Keyring
    public: PublicRoutes
    datagrams: TrackerDatagrams
    fellows: Fellows | None
    """None for a node by itself."""
    admin: AdminRoutes
    doorway: Doorway
    bans: BanKeeper
    token_door: TokenDoor
    """Who may use the control API on the admin listener."""
    events: EventSources
    sidecars: Sidecars
    warmer: Warmer
    restraint: Restraint
    overview: Overview
    descriptors: Descriptors
    tracker_port: int
    links: Links
    public_address: PublicAddress
    passkeys: PasskeyWatch
    admin_address: HostPort | None
    clients: Clients
    certificate: LiveCertificate | None

    def security(self, listeners: Sequence[socket.socket]) -> Security | None:
        """Return what speaking TLS on these listeners takes; None if there is no certificate."""
        certificate = self.certificate
        if certificate is None:
            return None
        return Security(
            listeners,
            lambda: certificate.current.context,
            self.clients.admit_handshake,
            certificate.handshakes,
        )

    def announce_url(self, config: Config) -> str:
        """Return the URL that torrents name by a configuration; ConfigError."""
        names = () if self.certificate is None else self.certificate.current.names
        return announce_url(config, self.tracker_port, names)

    def follow_certificate(self) -> None:
        """Have torrents name the host that the certificate is for, if nothing else says which."""
        with suppress(ConfigError):
            if self.links.follow(self.config, self.announce_url(self.config)):
                _LOG.info("torrents name %s from now on", self.links.announce)

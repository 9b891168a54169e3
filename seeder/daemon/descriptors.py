"""File descriptors: how many there are, and who may have how many.

Peers take what S3, the disk, the ledger, the tracker and the admin listener leave, so that none of
these fails because many peers are connected.
"""

import logging
import resource
import sys
from dataclasses import dataclass

from seeder.config.public import PeerSettings
from seeder.config.sections import Config
from seeder.errors import Unavailable

_LOG = logging.getLogger(__name__)

CONTROL = 20
"""Requests that the UNIX socket of the control API takes at a time; others wait for their turn."""
OWN = 100 + CONTROL
"""Descriptors for files of cache, ledger and metainfo that are open at a time, for listening
sockets, the log, the sources of credentials, and the control API."""
LEAST = 64
"""Descriptors below which something is always missing: a lock, a listener, what was added."""
PUBLIC = 1000
"""HTTP connections that the public listener holds where there are enough descriptors."""
ADMIN = 100
"""The same for the admin listener."""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What the connections of each kind may use of the process's `limit` (getrlimit(2))."""

    limit: int
    public: int
    admin: int
    peers: int

    @classmethod
    def of(cls, config: Config) -> "Descriptors":
        """Return how the process's present limit is shared."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY:
            limit = sys.maxsize
        free = max(0, limit - _reserved(config))
        admin = max(1, min(ADMIN, free // 8))
        spare = free - admin - config.peer.connections
        public = max(1, min(PUBLIC, max(spare, free // 4)))
        return cls(limit, public, admin, max(1, free - public - admin))

    def fit(self, peer: PeerSettings) -> PeerSettings:
        """Return the settings with as many connections as there are descriptors for."""
        if peer.connections <= self.peers:
            return peer
        _LOG.warning(
            "peer.connections = %d doesn't fit the limit of %d open files: %d are let in;"
            " raise LimitNOFILE= in the unit (elsewhere ulimit -n), or lower connections",
            peer.connections,
            self.limit,
            self.peers,
        )
        return peer.model_copy(update={"connections": self.peers})


def raise_limit(config: Config) -> None:
    """Raise the process's soft limit to what a configuration needs, as far as the hard one goes.

    Unavailable where not even LEAST are allowed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # More than that serves nothing, and some programs walk through all that they may have.
    needed = _reserved(config) + PUBLIC + ADMIN + config.peer.connections
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
        if hard < LEAST:
            raise Unavailable(
                [
                    f"only {hard} files may be open at a time, and {LEAST} is the least to work"
                    " with: raise LimitNOFILE= in the unit (elsewhere ulimit -n)"
                ]
            )
    if soft not in (resource.RLIM_INFINITY, hard) and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _reserved(config: Config) -> int:
    return OWN + sum(origin.connections for origin in config.origins.values())

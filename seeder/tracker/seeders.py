"""The seeders that handouts name: where each is reached, by whom. No I/O."""

from functools import lru_cache
from typing import NamedTuple, Protocol

from seeder.net.addresses import V4_ENDPOINT, Scope, compact_endpoint, scope_of


class OwnSeeder(NamedTuple):
    """Where our own seeder is reached; handouts name it though it never announces."""

    port: int
    """Where it listens on IPv4; 0 where it doesn't."""
    endpoints: tuple[bytes, ...] = ()
    """Compact endpoints that the operator configured, at most one of each family. Of a family that
    has none, a client is told the address that it reached."""
    port_v6: int | None = None
    """Where it listens on IPv6; None is the same port."""

    def reached_at(self, local: bytes | None, client: bytes) -> tuple[bytes, ...]:
        """Return our endpoints for a `client` that came to the address `local` (None: unknown).

        A private address of ours (behind NAT, in a container) is told only to clients that have
        such an address, too.
        """
        if local is None:
            return self.endpoints
        scope, endpoints = _reached_at(self, local)
        if scope is _EVERYWHERE or scope is scope_of(client):
            return endpoints
        return self.endpoints


_EVERYWHERE = Scope.EVERYWHERE
"""To find a member of an enum takes long in Python 3.11."""


@lru_cache(maxsize=64)
def _reached_at(seeder: OwnSeeder, local: bytes) -> tuple[Scope, tuple[bytes, ...]]:
    """Return the endpoints of a seeder that was reached at an address, and who is told them."""
    length = len(local) + 2
    for endpoint in seeder.endpoints:
        if len(endpoint) == length:
            return _EVERYWHERE, seeder.endpoints
    port = seeder.port if length == V4_ENDPOINT or seeder.port_v6 is None else seeder.port_v6
    if not port:
        return _EVERYWHERE, seeder.endpoints
    return scope_of(local), (*seeder.endpoints, compact_endpoint(local, port))


class NamedSeeder(Protocol):
    """A seeder that handouts name: our own, or another node's."""

    def reached_at(self, local: bytes | None, client: bytes) -> tuple[bytes, ...]: ...

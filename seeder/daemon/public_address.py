"""Where our own seeder is, as clients are told: names are resolved again now and then."""

import logging
import re
import socket
from collections.abc import Sequence
from ipaddress import ip_address

import trio

from seeder.gateway.links import Links
from seeder.net.addresses import (
    HostPort,
    Scope,
    compact_endpoint,
    endpoint_address,
    ip_version,
    is_v6,
    scope_of,
)
from seeder.net.guards import Lapses
from seeder.net.sockets import packed_address
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms

_LOG = logging.getLogger(__name__)

RESOLVE_EVERY = 300.0
"""Seconds between two look-ups of the names: an address that changes is known soon."""
RETRY_AFTER = 30.0
"""Seconds until names are looked up again that couldn't be."""
PATIENCE = 5.0
"""Seconds that a look-up may take."""
_OWN_NAME = re.compile(r"(.*\.)?localhost\.?", re.IGNORECASE)
"""Means this machine everywhere (RFC 6761, 6.3)."""


class PublicAddress:
    """Keeps swarms and magnet links told of `addresses`, of which each family needs one at most.

    A name stands for one address of each family; a written address goes before those of names.
    What a name stood for is kept while it can't be looked up.
    """

    def __init__(
        self, swarms: Swarms, ports: OwnSeeder, addresses: Sequence[HostPort], links: Links
    ) -> None:
        self._swarms = swarms
        self._links = links
        self._ports = ports
        self._addresses = tuple(addresses)
        self._known: dict[HostPort, tuple[bytes, ...]] = {}
        self._failing: set[HostPort] = set()
        self._changed = trio.Event()

    def change(self, addresses: Sequence[HostPort]) -> None:
        """Tell of other addresses from now on; names are looked up in the task of `run`."""
        self._addresses = tuple(addresses)
        self._changed.set()

    async def run(self) -> None:
        """Look names up until cancelled."""
        lapses = Lapses(_LOG, "peer.public_address")
        while True:
            self._changed = trio.Event()
            async with lapses.spared():
                await self.refresh()
            with trio.move_on_after(RETRY_AFTER if self._failing else RESOLVE_EVERY):
                await self._changed.wait()

    async def refresh(self) -> None:
        """Look all names up, and tell everybody what changed."""
        addresses = self._addresses
        for address in addresses:
            await self._look_up(address)
        self._failing &= set(addresses)
        self._known = {each: self._known[each] for each in addresses if each in self._known}
        families: dict[bool, bytes] = {}
        for address in sorted(self._known, key=lambda address: ip_version(address.host) is None):
            for endpoint in self._known[address]:
                families.setdefault(is_v6(endpoint), endpoint)
        endpoints = tuple(families[family] for family in sorted(families))
        if not endpoints and self._failing:
            # What was told before a reload is better than nothing.
            endpoints = self._swarms.seeder.endpoints
        if endpoints != self._swarms.seeder.endpoints:
            self._swarms.seeder = self._ports._replace(endpoints=endpoints)
        self._links.peers = tuple(map(endpoint_address, endpoints)) or addresses

    async def _look_up(self, address: HostPort) -> None:
        reason = "it has no address"
        found: tuple[bytes, ...] = ()
        try:
            with trio.fail_after(PATIENCE):
                infos = await trio.socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
            packed = {packed_address(str(info[4][0])) for info in infos}
            told = {each for each in packed if not _means_us_alone(address.host, each)}
            if packed and not told:
                own = ", ".join(sorted(str(ip_address(each)) for each in packed))
                reason = f"here it is {own}, which is another machine elsewhere; see /etc/hosts"
            # One of each family, the same one as long as it is there, and a private one last.
            of_family = {len(each): each for each in sorted(told, key=_worth)}
            found = tuple(compact_endpoint(each, address.port) for each in of_family.values())
        except (OSError, UnicodeError, trio.TooSlowError) as error:
            reason = str(error) or "no answer"
        if not found:
            if address not in self._failing:
                _LOG.warning("peer.public_address: %s can't be looked up: %s", address.host, reason)
            self._failing.add(address)
            return
        self._failing.discard(address)
        before = self._known.get(address)
        if before is not None and before != found:
            _LOG.info("peer.public_address: %s has another address now", address.host)
        if before != found:
            self._tell_private(address.host, found)
        self._known[address] = found

    def _tell_private(self, host: str, found: Sequence[bytes]) -> None:
        """Warn of a name that stands for a private address; a written one is told of before."""
        if ip_version(host) is not None or _OWN_NAME.fullmatch(host):
            return
        for endpoint in found:
            if scope_of(endpoint[:-2]) is not Scope.EVERYWHERE:
                _LOG.warning(
                    "peer.public_address: %s is %s here, a private address: clients outside your"
                    " network can't reach it",
                    host,
                    endpoint_address(endpoint).host,
                )


def _means_us_alone(host: str, address: bytes) -> bool:
    """Tell whether a name stands for an address that is another machine's, or nobody's, elsewhere.

    Many systems have their own name in /etc/hosts, as 127.0.1.1.
    """
    if ip_version(host) is not None or _OWN_NAME.fullmatch(host):
        return False
    return scope_of(address) in (Scope.HOST, Scope.LINK)


def _worth(address: bytes) -> tuple[bool, list[int]]:
    """Return what packed addresses are ordered by, the one to tell of last."""
    return scope_of(address) is Scope.EVERYWHERE, [255 - byte for byte in address]

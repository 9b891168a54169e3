"""This node among the others of its cluster: what it tells them, and what is its own by that."""

import contextlib
import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import trio

from seeder.admin.nodes import SUMMARY
from seeder.cluster.cluster import Cluster
from seeder.cluster.placing import Attendance
from seeder.cluster.secret import RENEWED, share_secret
from seeder.cluster.split import NodeCard, Split
from seeder.daemon.placement import Placement
from seeder.errors import StoreAway
from seeder.net.guards import Lapses
from seeder.net.sockets import packed_address
from seeder.tracker.datagrams import ConnectionIds
from seeder.tracker.swarms import Swarms

_LOG = logging.getLogger(__name__)

TELL_EVERY = 5.0
"""Seconds between two times that a node tells the others how it does."""
STARTING = 8.0
"""Seconds after the start in which no metainfo is made: the first node of several that start would
make that of all, and read what it then doesn't seed."""
_CARD = "card"
_MACHINE = Path("/etc/machine-id")
_NETWORK = Path("/proc/self/ns/net")
_DISCARD = 9
"""A port of UDP: connecting a socket sends nothing, it has the system choose an address."""


class Fellows:
    """Keeps a node's split to the members of its cluster, and them told of the node."""

    def __init__(
        self,
        cluster: Cluster,
        split: Split,
        placement: Placement,
        swarms: Swarms,
        ids: ConnectionIds,
    ) -> None:
        self._cluster = cluster
        self._split = split
        self._placement = placement
        self._swarms = swarms
        self._ids = ids
        ids.shared = True
        self._attendance = Attendance(split.own)
        self._cards: dict[str, tuple[object, NodeCard]] = {}
        """By name: what a member told, and what that says."""
        self._host, self._address = host_name(), address_towards(cluster.settings.store or "")
        self.summary: Callable[[], object] = dict
        """How the node does, in a few values of JSON that the others show."""
        self._changed = trio.Event()
        cluster.membership.listeners.append(self._wake)
        self._started_at = trio.current_time()
        split.starting = True
        self.meet()

    def meet(self) -> bool:
        """Say where we are reached, and take note of who else is there.

        Tell whether torrents have to be placed anew.
        """
        split, cluster = self._split, self._cluster
        card = NodeCard(self._host, self._swarms.seeder, self._address, cluster.settings.url)
        cluster.membership.tell(_CARD, card.encode())
        before = split.card, split.cards
        split.card, split.cards = card, self._read_cards()
        now = trio.current_time()
        split.starting = now - self._started_at < STARTING
        changed = self._attendance.note(split.cards, now)
        split.owners, split.present = self._attendance.owners, self._attendance.present
        return changed or before != (split.card, split.cards)

    def _read_cards(self) -> dict[str, NodeCard]:
        """Return the cards of the other members that have told one."""
        known, self._cards = self._cards, {}
        for member in self._cluster.membership.members:
            told = member.told.get(_CARD)
            if member.name == self._split.own or told is None:
                continue
            if member.name in known and known[member.name][0] == told:
                self._cards[member.name] = known[member.name]
            else:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    self._cards[member.name] = told, NodeCard.parse(told)
        return {name: card for name, (_, card) in self._cards.items()}

    async def run(self) -> None:
        """Follow who comes and goes, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._share_secret)
            nursery.start_soon(self._tell)
            lapses = Lapses(_LOG, "the members of the cluster")
            while True:
                self._changed = trio.Event()
                async with lapses.spared():
                    if self.meet() or self._placement.is_stale:
                        await self._placement.follow()
                wait = min(TELL_EVERY, self._attendance.next_at - trio.current_time())
                with trio.move_on_after(max(0.0, wait)):
                    await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()

    async def _tell(self) -> None:
        lapses = Lapses(_LOG, "what the members are told")
        while True:
            async with lapses.spared():
                self._cluster.membership.tell(SUMMARY, self.summary())
            await trio.sleep(TELL_EVERY)

    async def _share_secret(self) -> None:
        lapses = Lapses(_LOG, "the secret of the tracker by UDP")
        while True:
            pause = TELL_EVERY
            async with lapses.spared():
                with contextlib.suppress(StoreAway, ValueError):
                    store, keys = self._cluster.store, self._cluster.keys
                    self._ids.secret = await share_secret(store, keys, self._ids.secret)
                    pause = RENEWED
            await trio.sleep(pause)


def host_name() -> str:
    """Return what nodes have in common that are reached by the same addresses: a network."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(_MACHINE.read_text().strip())
    with contextlib.suppress(OSError):
        parts.append(str(os.stat(_NETWORK).st_ino))
    return " ".join(parts)


def address_towards(store: str) -> bytes | None:
    """Return our packed address on the way to the store; None if that is on this machine."""
    host = urlsplit(store).hostname
    if host is None:
        return None
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, _DISCARD, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as sock:
            sock.connect(address)
            ours = str(sock.getsockname()[0])
    except OSError:
        return None
    if ipaddress.ip_address(ours.partition("%")[0]).is_loopback:
        return None
    return packed_address(ours)

"""Announces and accounts for tests of the tracker."""

import ipaddress
import random

from seeder.net.addresses import compact_endpoint
from seeder.net.groups import Groups
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceReply, AnnounceRequest
from seeder.tracker.counters import GroupCounter
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms

HASH = InfoHash(b"h" * 20)
SIZE = 1000
OWN_PORT = 6881
LOCAL = bytes([203, 0, 113, 7])
OWN = compact_endpoint(LOCAL, OWN_PORT)


class Ledger:
    """An account that adds up what is claimed."""

    def __init__(self) -> None:
        self.delivered = 0
        self.completions = 0

    def delivered_claimed(self, count: int) -> None:
        assert count > 0
        self.delivered += count

    def completed(self) -> None:
        self.completions += 1


def cut(endpoints: bytes | bytearray, length: int = 6) -> list[bytes]:
    """Return endpoints one by one that lie end to end, those of IPv4 unless told otherwise."""
    assert len(endpoints) % length == 0
    return [bytes(endpoints[start : start + length]) for start in range(0, len(endpoints), length)]


def packed(address: str) -> bytes:
    """Return an address as 4 or 16 bytes."""
    return ipaddress.ip_address(address).packed


def peer_id(name: str) -> bytes:
    return f"-TT0001-{name}".encode().ljust(20, b".")


class Tracker:
    """Swarms with one open torrent, announced to by peers that have names."""

    def __init__(
        self,
        policy: SwarmPolicy = SwarmPolicy(),  # noqa: B008  (frozen)
        seed: int = 1,
        *,
        opened: bool = True,
        groups: Groups | None = None,
        by_group: GroupCounter | None = None,
    ) -> None:
        self.ledger = Ledger()
        self.now = 1000.0
        self.swarms = Swarms(
            policy, OwnSeeder(OWN_PORT), rng=random.Random(seed), groups=groups, by_group=by_group
        )
        if opened:
            self.open()

    def open(self) -> None:
        self.swarms.open(HASH, size=SIZE, claims=self.ledger)

    def announce(
        self,
        name: str,
        address: str = "192.0.2.1",
        port: int = 2000,
        *,
        left: int | None = SIZE,
        event: AnnounceEvent = AnnounceEvent.NONE,
        downloaded: int = 0,
        numwant: int | None = None,
        key: bytes = b"",
        local: bytes | None = LOCAL,
        info_hash: InfoHash = HASH,
    ) -> AnnounceReply:
        """Announce; the clock goes on by enough for every answer to have its peers."""
        self.now += 10
        request = AnnounceRequest(
            info_hash,
            peer_id(name),
            port,
            downloaded=downloaded,
            left=left,
            event=event,
            numwant=numwant,
            key=key,
        )
        return self.swarms.announce(request, packed(address), local, self.now)

    def crowd(self, count: int, *, left: int = SIZE, network: int = 10) -> set[bytes]:
        """Let that many peers announce, each from its own address; return their endpoints.

        They are public ones.
        """
        endpoints = set()
        for number in range(count):
            address = str(ipaddress.IPv4Address((40 + network << 24) + number + 1))
            self.announce(f"{network}-{number}", address, left=left)
            endpoints.add(compact_endpoint(packed(address), 2000))
        return endpoints

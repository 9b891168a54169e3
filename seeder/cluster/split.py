"""Which nodes seed each object, and where they are reached: what each node tells of itself.

No I/O.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from seeder.cluster.placing import owners
from seeder.net.addresses import V4_ENDPOINT, V6_ENDPOINT
from seeder.torrent.objects import ObjectRef
from seeder.tracker.seeders import OwnSeeder

_MOST_PORT = 65535
_NOWHERE = OwnSeeder(0)
_LONGEST_URL = 2048


class FarSeeder(NamedTuple):
    """The seeder of a node of another machine."""

    seeder: OwnSeeder
    address: bytes | None
    """By which that machine reaches the store (packed), where its operator has told no better."""

    def reached_at(self, local: bytes | None, client: bytes) -> tuple[bytes, ...]:
        """Return its endpoints for a client that came to `local`, an address of our machine."""
        return self.seeder.reached_at(self.address, client)


Seeder: TypeAlias = OwnSeeder | FarSeeder


@dataclass(frozen=True, slots=True)
class NodeCard:
    """Where one node is reached."""

    host: str = ""
    """The same for nodes of one machine, which have its addresses in common."""
    seeder: OwnSeeder = _NOWHERE
    address: bytes | None = None
    """Its packed address on the way to the store."""
    url: str | None = None
    """What stands before /BUCKET/KEY where clients reach this node alone."""

    def encode(self) -> dict[str, object]:
        """Return the card as JSON has it."""
        return {
            "host": self.host,
            "ports": [self.seeder.port, self.seeder.port_v6],
            "endpoints": [endpoint.hex() for endpoint in self.seeder.endpoints],
            "address": None if self.address is None else self.address.hex(),
            "url": self.url,
        }

    @classmethod
    def parse(cls, told: object) -> "NodeCard":
        """Return the card that a node has sent; ValueError, KeyError or TypeError."""
        if not isinstance(told, dict):
            raise TypeError("a card is an object")
        port, port_v6 = told["ports"]
        endpoints = tuple(map(bytes.fromhex, told["endpoints"]))
        if len(endpoints) > 2 or {*map(len, endpoints)} - {V4_ENDPOINT, V6_ENDPOINT}:
            raise ValueError("an endpoint is of IPv4 or of IPv6")
        address, url = told["address"], told["url"]
        packed = None if address is None else bytes.fromhex(address)
        if packed is not None and len(packed) not in (4, 16):
            raise ValueError("an address is of IPv4 or of IPv6")
        if url is not None and not (isinstance(url, str) and len(url) <= _LONGEST_URL):
            raise ValueError("a URL is a text")
        seeder = OwnSeeder(_port(port) or 0, endpoints, _port(port_v6))
        return cls(str(told["host"]), seeder, packed, url)


def _port(value: object) -> int | None:
    if value is None or (type(value) is int and 0 <= value <= _MOST_PORT):
        return value
    raise ValueError("a port is a number")


class Split:
    """What this node has of the cluster's objects, and who has the others.

    `own` is our name. Until `settle` we are alone, and have all of them.
    """

    def __init__(self, own: str, replicas: int, card: NodeCard) -> None:
        self.own = own
        self.replicas = replicas
        self.card = card
        """Our own; may be replaced."""
        self.owners: frozenset[str] = frozenset({own})
        """Who owns objects."""
        self.present: frozenset[str] = frozenset({own})
        """Whom clients are sent to."""
        self.starting = False
        """Whether other nodes may be about to start, too: what is read now may be for nothing."""
        self.cards: Mapping[str, NodeCard] = {}
        """Those of the other members."""

    def is_first(self, ref: ObjectRef) -> bool:
        """Tell whether this node is the first owner of an object: it does what one alone does."""
        return self.owners_of(ref)[:1] == (self.own,)

    def owners_of(self, ref: ObjectRef) -> tuple[str, ...]:
        """Return the names of the nodes that read and seed an object."""
        return owners(_name_of(ref), self.owners, self.replicas)

    def is_ours(self, ref: ObjectRef) -> bool:
        """Tell whether this node reads and seeds an object."""
        return len(self.owners) <= self.replicas or self.own in self.owners_of(ref)

    def may_make(self, ref: ObjectRef) -> bool:
        """Tell whether this node makes an object's metainfo, unless another owner does."""
        return not self.starting and self.is_ours(ref)

    def seeders_of(self, ref: ObjectRef) -> tuple[Seeder | None, ...]:
        """Return the seeders that clients are sent to for an object, None for our own."""
        found: list[Seeder | None] = []
        for name in self.owners_of(ref):
            if name == self.own:
                found.append(None)
            elif name in self.present and (card := self.cards.get(name)) is not None:
                near = card.host == self.card.host
                found.append(card.seeder if near else FarSeeder(card.seeder, card.address))
        return tuple(found)

    def url_of(self, ref: ObjectRef) -> str | None:
        """Return the URL of a node that has an object, None if we have it or none is known."""
        names = self.owners_of(ref)
        if self.own in names:
            return None
        for name in names:
            card = self.cards.get(name)
            if name in self.present and card is not None and card.url is not None:
                return card.url
        return None


def _name_of(ref: ObjectRef) -> str:
    return json.dumps([ref.origin, ref.bucket, ref.key, ref.version_id])

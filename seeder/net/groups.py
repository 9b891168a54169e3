"""Groups of addresses that are near each other: by networks, with names that say how near.

A name such as "eu/a" or "eu/dc1/rack7" has parts: the more of them two names begin with alike, the
nearer their groups are to each other. The narrowest network that an address lies in decides. Who
is in none of them is in a group of its own, `OTHERS`, which is near nobody.

No I/O.
"""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

from seeder.net.addresses import V4_LENGTH, IPNetwork

OTHERS = "others"
"""The group of all addresses that are in no network of a group."""

Numbers: TypeAlias = tuple[int, int]
"""Groups by number, from one up to, not including, another."""
Ring: TypeAlias = tuple[Numbers, ...]
"""Groups that are equally far away."""

_MAPPED = IPv6Network("::ffff:0:0/96")


def unmapped(network: IPNetwork) -> IPNetwork:
    """Return the IPv4 network that an IPv4-mapped one stands for; any other as it is."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


class Groups:
    """Which group each address belongs to; groups have numbers in the order of `names`."""

    __slots__ = ("_address", "_number", "_tables", "_tables6", "names", "networks", "rings")

    def __init__(self, networks: Mapping[str, Iterable[IPNetwork]]) -> None:
        """Take networks by the names of their groups; no network is in two of them."""
        # By their parts, so that those that begin alike stand together.
        names = sorted(networks, key=_parts)
        self.names: tuple[str, ...] = (*names, OTHERS)
        self.networks = {name: tuple(map(unmapped, networks[name])) for name in names}
        self.rings: tuple[tuple[Ring, ...], ...] = tuple(
            tuple(_rings(names, number)) for number in range(len(self.names))
        )
        """For each group: itself, then those around it, ever farther away; the last are not near.
        """
        self._tables = _tables(self.networks, 4, names)
        self._tables6 = _tables(self.networks, 6, names)
        self._address = b""
        self._number = len(names)

    @classmethod
    def named(cls, networks: Mapping[str, Iterable[IPNetwork]]) -> "Groups | None":
        """Return the groups; None if there are none."""
        return cls(networks) if networks else None

    def of(self, address: bytes) -> int:
        """Return the number of the group of a packed address (IPv4 unmapped)."""
        # An announce asks several times for one address.
        if address == self._address:
            return self._number
        tables = self._tables if len(address) == V4_LENGTH else self._tables6
        value = int.from_bytes(address)
        number = len(self.names) - 1
        for shift, table in tables:
            found = table.get(value >> shift)
            if found is not None:
                number = found
                break
        self._address, self._number = address, number
        return number

    def near(self, name: str) -> tuple[str, ...]:
        """Return the groups that are near one, the nearest first."""
        rings = self.rings[self.names.index(name)][1:-1]
        return tuple(self.names[each] for ring in rings for span in ring for each in range(*span))


def _parts(name: str) -> tuple[str, ...]:
    return tuple(name.split("/"))


def _rings(names: Sequence[str], number: int) -> Iterable[Ring]:
    every: Numbers = (0, len(names) + 1)
    span: Numbers = (number, number + 1)
    yield (span,)
    parts = _parts(names[number]) if number < len(names) else ()
    for length in range(len(parts), 0, -1):
        alike = [at for at, name in enumerate(names) if _parts(name)[:length] == parts[:length]]
        wider = (alike[0], alike[-1] + 1)
        if wider != span:
            yield _around(span, wider)
        span = wider
    yield _around(span, every)


def _around(inner: Numbers, outer: Numbers) -> Ring:
    """Return what of one span lies on both sides of another."""
    sides = ((outer[0], inner[0]), (inner[1], outer[1]))
    return tuple((begin, end) for begin, end in sides if begin < end)


def _tables(
    networks: Mapping[str, Iterable[IPNetwork]], version: int, names: Sequence[str]
) -> list[tuple[int, dict[int, int]]]:
    """Return groups by the leading bits of addresses, and how many bits follow; narrowest first."""
    tables: dict[int, dict[int, int]] = {}
    for number, name in enumerate(names):
        for network in networks[name]:
            if network.version == version:
                shift = network.max_prefixlen - network.prefixlen
                value = int(network.network_address) >> shift
                tables.setdefault(shift, {})[value] = number
    return sorted(tables.items())

"""The table [tracker.groups]: names of groups, each with its networks. No I/O."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from seeder.config.texts import parse_network
from seeder.net.addresses import HostPort, IPNetwork, ip_version, parse_ip
from seeder.net.groups import OTHERS, Groups, unmapped

MOST_GROUPS = 1000
MOST_NETWORKS = 10_000
"""Of all groups together."""
LONGEST_NAME = 100
"""Bytes of UTF-8."""
MOST_SHOWN = 20
"""Of more groups or networks, how many are explained."""
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)*")


class Mistake(NamedTuple):
    """What is wrong with an entry: its place below `tracker.groups`, the value, what is wanted."""

    place: tuple[str | int, ...]
    value: object
    wanted: str


def parse_groups(table: object) -> Mapping[str, tuple[IPNetwork, ...]]:
    """Return the networks by group; ValueError unless it is a table.

    What is wrong within it is left out: `mistakes_in` tells of that.
    """
    if not isinstance(table, dict):
        raise ValueError(
            'want a table headed [tracker.groups], with lines such as office = ["10.1.0.0/16"]'
        )
    groups: dict[str, list[IPNetwork]] = {}
    for name, networks in table.items():
        for text in networks if isinstance(networks, list) else [networks]:
            try:
                network = unmapped(parse_network(text if isinstance(text, str) else ""))
            except ValueError:
                continue
            groups.setdefault(name, []).append(network)
    return {name: tuple(networks) for name, networks in groups.items()}


def mistakes_in(table: object, keys_above: tuple[str, ...]) -> Iterator[Mistake]:
    """Yield each mistake in the table; `keys_above` are those that may have slipped into it."""
    if not isinstance(table, dict):
        return
    first: dict[IPNetwork, tuple[str, int]] = {}
    for name, networks in table.items():
        if (wanted := _wrong_entry(name, networks, keys_above)) is not None:
            yield Mistake((name,), networks, wanted)
            continue
        for index, text in enumerate(networks if isinstance(networks, list) else [networks]):
            place = (name, index) if isinstance(networks, list) else (name,)
            try:
                network = unmapped(parse_network(text if isinstance(text, str) else ""))
            except ValueError as error:
                yield Mistake(place, text, str(error))
                continue
            earlier, _ = first.setdefault(network, (name, index))
            if first[network] != (name, index):
                yield Mistake(place, text, f'is in group "{earlier}" already; leave it out of one')
    if len(table) > MOST_GROUPS:
        yield Mistake((), table, f"want at most {MOST_GROUPS} groups")
    if len(first) > MOST_NETWORKS:
        yield Mistake((), table, f"want at most {MOST_NETWORKS} networks in all groups together")


def _wrong_entry(name: str, networks: object, keys_above: tuple[str, ...]) -> str | None:
    """Return what is wanted in place of an entry that as a whole is none."""
    if name in keys_above and (
        isinstance(networks, bool | int | float) or not _has_network(networks)
    ):
        return "is a key of [tracker]: write it above the line [tracker.groups]"
    if _has_network([name]) and not _has_network(networks):
        shown = networks if isinstance(networks, str) and _NAME.fullmatch(networks) else "office"
        return f'want the name first, then its networks: "{shown}" = ["{name}"]'
    if isinstance(networks, dict):
        inner = next((key for key in networks if _NAME.fullmatch(key)), "a")
        return f'want names within names in one, with a slash: "{name}/{inner}" = ["10.1.0.0/16"]'
    if not _NAME.fullmatch(name) or len(name.encode()) > LONGEST_NAME:
        return (
            'want a name of letters, digits, ".", "_" and "-" such as "office", with "/" between'
            f' the parts of one such as "eu/a", {LONGEST_NAME} bytes at most'
        )
    if name.partition("/")[0] == OTHERS:
        return f'want another name: "{OTHERS}" are all addresses that are in no group'
    if not isinstance(networks, str | list) or not networks:
        return 'want its networks, such as ["10.1.0.0/16", "2001:db8:1::/48"]'
    return None


def _has_network(networks: object) -> bool:
    for text in networks if isinstance(networks, list) else [networks]:
        try:
            parse_network(text if isinstance(text, str) else "")
        except ValueError as error:
            if "did you mean" not in str(error):
                continue
        return True
    return False


def explain_groups(
    networks: Mapping[str, tuple[IPNetwork, ...]], own: Sequence[HostPort]
) -> Iterator[str]:
    """Yield a line for each group: who is in it and who is near; and where our seeder is."""
    groups = Groups.named(networks)
    if groups is None:
        return
    for name in groups.names[:-1][:MOST_SHOWN]:
        near = groups.near(name)
        yield (
            f"tracker.groups: {name}: {_some(map(str, groups.networks[name]))};"
            f" near: {_some(near) if near else 'none'}"
        )
    more = len(groups.names) - 1 - MOST_SHOWN
    if more > 0:
        yield f"tracker.groups: and {more} more"
    for address in own:
        if ip_version(address.host) is not None:
            name = groups.names[groups.of(parse_ip(address.host).packed)]
            yield f"tracker.groups: our own seeder at {address.host}: {name}"


def _some(texts: Iterable[str]) -> str:
    every = list(texts)
    more = len(every) - MOST_SHOWN
    return ", ".join(every[:MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")

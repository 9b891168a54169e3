"""Several nodes of one configuration file: %i in it stands for the name of the node's instance.

As in systemd's units, where seeder@1.service has the instance 1. It stands for that only where two
nodes of one machine must differ; a key of an object may well hold a percent sign.

No I/O.
"""

import re
from collections.abc import Collection, Iterator, Mapping

PLACEHOLDER = "%i"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)

INSTANCED: Mapping[str, tuple[str, ...]] = {
    "tracker": ("listen", "tls_listen", "udp_listen", "announce_url", "udp_announce_url"),
    "peer": ("listen", "public_address"),
    "gateway": ("url",),
    "cache": ("directory",),
    "admin": ("listen", "socket"),
    "cluster": ("name", "url"),
}
"""The keys in which %i is replaced, by section, beside `state_directory`."""


_ALONE: Mapping[str, str] = {
    "peer.listen": "only one of them can open it",
    "admin.listen": "only one of them can open it",
    "admin.socket": "only one of them can open it",
    "peer.public_address": "clients are told of one of them alone",
    "cluster.name": "each is to have its own",
    "cluster.url": "downloads are sent to any of them, wherever the object is",
}
"""What is wrong if two nodes have the same of these."""


def in_common_beside(written: Mapping[str, object], own: Collection[str]) -> Iterator[str]:
    """Yield a line for each value that all instances have in common beside their directories.

    `written` has the defaults of addresses, too. `own` are the keys that something else than the
    file says, to one node alone.
    """
    for key, why in _ALONE.items():
        section, _, name = key.partition(".")
        table = written.get(section)
        value = table.get(name) if isinstance(table, dict) else None
        values = _list(value) or [value]
        if value in (None, [], "off") or key in own or _has(value):
            continue
        if all(isinstance(each, str) and each.endswith(":0") for each in values):
            continue  # the system chooses a free port
        yield f"{key}: is the same for every instance, and {why}; write {PLACEHOLDER} into it"


def is_instance(name: str) -> bool:
    """Tell whether a text is the name of an instance: up to 64 letters, digits, - _ and dots."""
    return _NAME.fullmatch(name) is not None


def has_place(written: Mapping[str, object]) -> bool:
    """Tell whether anything in a file's values stands for an instance."""
    return next(_places(written), None) is not None


def of_instance(written: Mapping[str, object], instance: str | None) -> dict[str, object]:
    """Return a file's values with the name of an instance in its places.

    ValueError if there is a place for one and no `instance`; its text begins with the place.
    """
    place = next(_places(written), None)
    if place is None:
        return dict(written)
    if instance is None:
        raise ValueError(
            f"{place}: has {PLACEHOLDER}, which stands for an instance; say which:"
            " --instance 1 (systemd's seeder@1.service does)"
        )
    filled = dict(written)
    if "state_directory" in filled:
        filled["state_directory"] = _filled(filled["state_directory"], instance)
    for section, keys in INSTANCED.items():
        table = filled.get(section)
        if isinstance(table, dict):
            filled[section] = {
                key: _filled(value, instance) if key in keys else value
                for key, value in table.items()
            }
    return filled


def _places(written: Mapping[str, object]) -> Iterator[str]:
    """Yield the keys with a place for an instance."""
    if _has(written.get("state_directory")):
        yield "state_directory"
    for section, keys in INSTANCED.items():
        table = written.get(section)
        if isinstance(table, dict):
            yield from (f"{section}.{key}" for key in keys if _has(table.get(key)))


def _has(value: object) -> bool:
    return PLACEHOLDER in value if isinstance(value, str) else any(map(_has, _list(value)))


def _filled(value: object, instance: str) -> object:
    if isinstance(value, list):
        return [_filled(each, instance) for each in value]
    return value.replace(PLACEHOLDER, instance) if isinstance(value, str) else value


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []

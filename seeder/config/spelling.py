"""Entries as a file would spell them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from seeder.config.objects import ObjectSettings
from seeder.units import exact_size

_NAMES = frozenset({"origin", "bucket", "key", "prefix", "version_id"})


def spelled(settings: ObjectSettings) -> dict[str, object]:
    """Return the keys of an entry that differ from their defaults, but for those that name it.

    Their values are what JSON has, so a date is a text.
    """
    found: dict[str, object] = {}
    for name, kind in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name not in _NAMES and value != kind.default:
            spell = _SPELLED.get(name)
            found[name] = value if spell is None else spell(value)
    return found


def _time(seconds: float) -> str:
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{seconds * 1000:.0f}ms"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


_SPELLED: Mapping[str, Callable[..., object]] = {
    "metainfo": list,
    "torrent_file": str,
    "piece_length": exact_size,
    "refresh": _time,
    "publish_at": _moment,
}

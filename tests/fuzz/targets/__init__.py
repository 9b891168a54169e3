"""One module for each kind of sender; importing this package fills `tests.fuzz.inputs.TARGETS`."""

from tests.fuzz.targets import (
    builds,
    configuration,
    diagnosing,
    encryption,
    events,
    ledger,
    origin,
    signatures,
    state,
    torrents,
    trackers,
    web,
    wire,
)

__all__ = [
    "builds",
    "configuration",
    "diagnosing",
    "encryption",
    "events",
    "ledger",
    "origin",
    "signatures",
    "state",
    "torrents",
    "trackers",
    "web",
    "wire",
]

"""One module for each kind of sender; importing this package fills `tests.fuzz.inputs.TARGETS`."""

from tests.fuzz.targets import (
    configuration,
    encryption,
    origin,
    signatures,
    state,
    torrents,
    trackers,
    web,
    wire,
)

__all__ = [
    "configuration",
    "encryption",
    "origin",
    "signatures",
    "state",
    "torrents",
    "trackers",
    "web",
    "wire",
]

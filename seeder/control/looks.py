"""When S3 was asked last, and whether what somebody wanted to know has been found out since."""

from typing import Any

from seeder.control.operations import JsonObject
from seeder.net.epoch import Epoch
from seeder.publish.rounds import Looked


class LookState(JsonObject):
    """The last look at an object or prefix; one that was asked for is over when `looked_at` has
    reached the `asked_at` of the answer to that.
    """

    asked_at: float | None
    """When somebody wanted a look, last (Unix s); null: nobody did since the start."""
    looked_at: float | None
    """When the last look that is over had begun (Unix s), whatever came of it; null before. What
    is below a prefix is looked at with each listing."""
    look_fault: str | None
    """Why that look failed, if it did."""


def told_look(looked: Looked, epoch: Epoch) -> dict[str, Any]:
    """Return a look as the fields of LookState, whose moments can be compared."""
    asked_at, began_at = looked.asked_at, looked.began_at
    return {
        "asked_at": None if asked_at is None else epoch.unix(asked_at),
        "looked_at": None if began_at is None else epoch.unix(began_at),
        "look_fault": looked.fault,
    }

"""One prefix as the node knows it: its entry, how it stands, and what was found below it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from seeder.config.objects import ObjectSettings
from seeder.publish.entries import Wanted
from seeder.s3.listing import Listed
from seeder.torrent.objects import ObjectRef

MOST_SHOWN = 100
"""Of the objects that are left out, so many are in /status.json."""


class PrefixState(StrEnum):
    """How a prefix stands; the values are those of `state` in /status.json."""

    WAITING = "waiting"
    """Not listed since the start, or tried and to be tried again; `reason` says why."""
    FOLLOWED = "followed"
    EMPTY = "empty"
    FAILED = "failed"
    """Trying again is useless until somebody changes something."""


@dataclass(slots=True)
class Prefix:
    """One configured prefix and what was found below it."""

    settings: ObjectSettings
    objects: dict[str, Listed] = field(default_factory=dict)
    """By key, as the last whole listing had it."""
    state: PrefixState = PrefixState.WAITING
    reason: str | None = None
    listed_at: float | None = None
    """When S3 gave that listing (Unix s); None if that was in an earlier run."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why an object that S3 lists isn't published, by key."""

    @property
    def ref(self) -> ObjectRef:
        return self.settings.ref

    def below(self, key: str) -> ObjectRef:
        """Return the object that has a key below the prefix."""
        return ObjectRef(self.ref.origin, self.ref.bucket, key)

    def wanted(self, objects: Mapping[str, Listed]) -> list[Wanted]:
        """Return how objects below the prefix are to be published."""
        return [Wanted(self.settings, self.below(key), listed) for key, listed in objects.items()]

    def document(self) -> dict[str, object]:
        """Return it in the form of /status.json."""
        return {
            "origin": self.ref.origin,
            "bucket": self.ref.bucket,
            "prefix": self.ref.key,
            "state": self.state,
            "reason": self.reason,
            "objects": len(self.objects),
            "bytes": sum(listed.size for listed in self.objects.values()),
            "listed_at": self.listed_at,
            "left_out": [
                {"key": key, "reason": self.left_out[key]}
                for key in sorted(self.left_out)[:MOST_SHOWN]
            ],
        }

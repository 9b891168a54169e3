"""Which publications are stalled: S3 gives nothing of them, though it is asked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import trio

from seeder.s3.stalls import Stall
from seeder.torrent.objects import ObjectRef, PinnedBundle
from seeder.torrent.publications import Publication, State

_MAKING = (State.WAITING, State.BUILDING)


@dataclass(frozen=True, slots=True)
class StalledObjects:
    """What S3 gives nothing of: bytes of objects, or answers to questions and listings."""

    bytes: Mapping[ObjectRef, Stall] = field(default_factory=dict)
    questions: Mapping[ObjectRef, Stall] = field(default_factory=dict)

    @classmethod
    def of(cls, stalls: Iterable[tuple[ObjectRef, bool, Stall]]) -> "StalledObjects":
        """Return them as `Origins.stalls` yields them."""
        kinds: tuple[dict[ObjectRef, Stall], dict[ObjectRef, Stall]] = ({}, {})
        for ref, question, stall in stalls:
            kinds[question][ref] = stall
        return cls(*kinds)

    def find(self, publication: Publication) -> Stall | None:
        """Return how a publication is stalled, if it is.

        A torrent that is served needs no answers to questions.
        """
        found = self._find(publication, self.bytes)
        if found is None and publication.state in _MAKING:
            found = self._find(publication, self.questions)
        return found

    def _find(self, publication: Publication, stalls: Mapping[ObjectRef, Stall]) -> Stall | None:
        if not stalls:
            return None
        found = stalls.get(publication.ref)
        pinned = publication.pinned
        if found is None and isinstance(pinned, PinnedBundle):
            members = (member.ref for member in pinned.members if member.ref in stalls)
            first = next(members, None)
            found = None if first is None else stalls[first]
        return found


def pace(publication: Publication | None, stall: Stall | None) -> tuple[float | None, float | None]:
    """Return how fast its making goes on (bytes/s), and the seconds left, as far as known.

    What is stalled has no pace, though its last half minute still has a mean.
    """
    work = None if publication is None else publication.work
    if work is None:
        return None, None
    if stall is not None:
        return 0.0, None
    now = trio.current_time()
    return work.rate(now), work.left(now)


def work_document(publication: Publication | None, stall: Stall | None) -> dict[str, object]:
    """Return the pace of its making as the page has it."""
    rate, left = pace(publication, stall)
    return {
        "rate": None if rate is None else round(rate),
        "time_left": None if left is None else round(left),
    }


def stall_document(stall: Stall | None) -> dict[str, object] | None:
    """Return a stall in the form of /status.json: seconds, tries, a sentence; None stays None."""
    if stall is None:
        return None
    return {"seconds": stall.seconds, "tries": stall.tries, "reason": str(stall)}

"""What the node as a whole has done, beside what its accounts count. No I/O."""

from dataclasses import dataclass, fields, replace
from operator import add, attrgetter, sub


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """Sums since the start of the process, but for `peers`, which is a number at one moment."""

    milliseconds: int = 0
    """For how long it has run."""
    s3_answers: int = 0
    """Requests that S3 began to answer, whatever it said."""
    s3_wait_ms: int = 0
    """Milliseconds until the first byte of these answers, added up."""
    s3_failures: int = 0
    """Attempts that brought no result: retries, and calls that failed."""
    memory_hits: int = 0
    disk_hits: int = 0
    misses: int = 0
    """Pieces that S3 was asked for."""
    peers: int = 0
    """Peers connected."""

    def values(self) -> tuple[int, ...]:
        """Return every figure in the order of FIGURES."""
        values: tuple[int, ...] = _values(self)
        return values

    def since(self, before: "NodeFigures") -> "NodeFigures":
        """Return what was added since `before`, never less than nothing, and the present peers."""
        news = (max(0, each) for each in map(sub, self.values(), before.values()))
        return replace(NodeFigures(*news), peers=self.peers)

    def plus(self, later: "NodeFigures") -> "NodeFigures":
        """Return the sums, and the most peers."""
        sums = NodeFigures(*map(add, self.values(), later.values()))
        return replace(sums, peers=max(self.peers, later.peers))


FIGURES = tuple(entry.name for entry in fields(NodeFigures))
_values = attrgetter(*FIGURES)

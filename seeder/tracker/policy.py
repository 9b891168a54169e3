"""How a tracker treats its swarms. No I/O."""

from dataclasses import dataclass

from seeder.tracker.neighbours import StrangerLimits


@dataclass(frozen=True, slots=True)
class SwarmPolicy:
    """Intervals, and how many are listed; times in seconds."""

    interval: float = 1800.0
    default_numwant: int = 50
    most_numwant: int = 200
    peers_per_address: int = 32
    """In one swarm; IPv6 addresses count by their /64."""
    peers_per_swarm: int = 50_000
    peers: int = 200_000
    """In all swarms."""
    strangers: StrangerLimits = StrangerLimits()  # noqa: RUF009  (frozen)

    @property
    def min_interval(self) -> int:
        return int(self.interval / 2)

    @property
    def expiry(self) -> float:
        """How long after its last announce a peer is kept."""
        return 2 * self.interval + 300

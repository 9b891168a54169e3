"""The nodes of a cluster on one page: each tells the others how it does, and any shows all.

What nodes count is added up; a swarm's peers, which all nodes know, are not in it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from seeder.cluster.members import Member
from seeder.ledger.counters import Counters

SUMMARY = "summary"
"""Under which members tell theirs."""
_LARGEST = 2**62
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class NodeSummary:
    """How one node does; what is counted is since its ledger began."""

    peers: int = 0
    """Connected to it."""
    seeded: int = 0
    """Torrents that it seeds."""
    origin_bytes: int = 0
    origin_requests: int = 0
    uploaded_bytes: int = 0
    delivered_verified_bytes: int = 0
    delivered_claimed_bytes: int = 0
    completed: int = 0
    announces: int = 0
    """Since its start, answered or not."""
    started_at: int = 0
    """Unix seconds."""
    trouble: str | None = None
    """The first thing that its operator should know, if anything."""

    @classmethod
    def of(
        cls,
        counted: Counters,
        *,
        peers: int,
        seeded: int,
        announces: int,
        started_at: float,
        trouble: str | None,
    ) -> "NodeSummary":
        """Return the summary of a node that has counted so much."""
        return cls(
            peers=peers,
            seeded=seeded,
            origin_bytes=counted.origin_bytes,
            origin_requests=counted.origin_requests,
            uploaded_bytes=counted.uploaded_bytes,
            delivered_verified_bytes=counted.delivered_verified_bytes,
            delivered_claimed_bytes=counted.delivered_claimed_bytes,
            completed=counted.completed,
            announces=announces,
            started_at=int(started_at),
            trouble=None if trouble is None else trouble[:_LONGEST],
        )

    @classmethod
    def parse(cls, told: object) -> "NodeSummary | None":
        """Return what another node has told; None of what isn't a summary."""
        if not isinstance(told, Mapping):
            return None
        counts = {name: told.get(name, 0) for name in _COUNTED}
        trouble = told.get("trouble")
        if any(type(each) is not int or not 0 <= each < _LARGEST for each in counts.values()):
            return None
        return cls(**counts, trouble=trouble[:_LONGEST] if isinstance(trouble, str) else None)

    def document(self) -> dict[str, object]:
        """Return it for JSON."""
        return asdict(self)


_COUNTED = tuple(each.name for each in fields(NodeSummary) if each.name != "trouble")
_ADDED = tuple(name for name in _COUNTED if name != "started_at")


def nodes_document(
    members: tuple[Member, ...], own: str, summary: NodeSummary
) -> dict[str, object]:
    """Return every member with how it does, and what that comes to.

    Of this node, called `own`, that is `summary`; of one that has told nothing yet, None.
    """
    nodes: list[dict[str, object]] = []
    totals = dict.fromkeys(_ADDED, 0)
    for member in members:
        found = summary if member.name == own else NodeSummary.parse(member.told.get(SUMMARY))
        nodes.append(
            {
                "name": member.name,
                "peer": list(member.peer),
                "http": list(member.http),
                "admin": list(member.admin),
                "summary": None if found is None else found.document(),
            }
        )
        for name in _ADDED if found is not None else ():
            totals[name] += getattr(found, name)
    return {"members": nodes, "totals": totals}

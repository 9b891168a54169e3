"""What the node's parts say of themselves, as the figures that there is a history of."""

from seeder.cache.pieces import PieceCache
from seeder.ledger.node import NodeFigures
from seeder.peer.hub import Hub
from seeder.s3.operations import Outcome
from seeder.s3.origins import Origins
from seeder.torrent.torrent import Torrent

FAILURES: frozenset[Outcome] = frozenset({"throttled", "failed", "unfit", "unreachable"})
"""Outcomes of an attempt that are S3's fault, or the network's."""


def node_figures(
    origins: Origins, cache: PieceCache[Torrent], hub: Hub, milliseconds: int
) -> NodeFigures:
    """Return the figures of a node that has run for so long."""
    told, pieces = origins.statistics().values(), cache.statistics()
    waits = [timings for each in told for timings in each.answer_times.values()]
    return NodeFigures(
        milliseconds=milliseconds,
        s3_answers=sum(sum(timings.counts) for timings in waits),
        s3_wait_ms=int(1000 * sum(timings.seconds for timings in waits)),
        s3_failures=sum(
            count
            for each in told
            for (_, outcome), count in each.operations.items()
            if outcome in FAILURES
        ),
        memory_hits=pieces.memory_hits,
        disk_hits=pieces.disk_hits,
        misses=pieces.misses,
        peers=hub.statistics().connected,
    )

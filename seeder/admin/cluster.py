"""How a node stands to its cluster, for /status.json, /readyz and the metrics."""

from collections.abc import Iterator
from dataclasses import asdict

from seeder.admin.exposition import Family, counter, gauge
from seeder.admin.nodes import NodeSummary, nodes_document
from seeder.cluster.cluster import Cluster
from seeder.cluster.exchange import ExchangeStatistics, SwarmExchange


def cluster_document(
    cluster: Cluster | None, exchange: SwarmExchange | None, summary: NodeSummary
) -> dict[str, object] | None:
    """Return how the node stands to its cluster, for /status.json; None for one by itself."""
    if cluster is None:
        return None
    health, membership = cluster.health, cluster.membership
    return {
        "name": membership.name,
        "up": cluster.fault is None,
        "reason": cluster.fault,
        "since": health.since,
        "outages": health.outages,
        "swarms": None if exchange is None else _exchange_document(exchange),
        "replicas": cluster.settings.replicas,
        **nodes_document(membership.members, membership.name, summary),
    }


def _exchange_document(exchange: SwarmExchange) -> dict[str, object]:
    return {"untold": exchange.untold, **asdict(exchange.statistics)}


def cluster_metrics(cluster: Cluster | None, exchange: SwarmExchange | None) -> Iterator[Family]:
    """Yield its families; a node by itself has no series of the first two."""
    alone = cluster is None
    up, members, outages = 0, 0, 0
    if cluster is not None:
        up = int(cluster.health.up and cluster.fault is None)
        members, outages = len(cluster.membership.members), cluster.health.outages
    for name, text, value in (
        ("seeder_cluster_up", "1 while the store of the cluster can be used", up),
        ("seeder_cluster_members", "Nodes of the cluster, this one included", members),
    ):
        yield gauge(name, text, [] if alone else [("", value)])
    text = "How often the store of the cluster went away"
    yield counter("seeder_cluster_outages_total", text, [("", outages)])
    told = ExchangeStatistics() if exchange is None else exchange.statistics
    untold = [] if exchange is None else [("", float(exchange.untold))]
    text = "Peers, visits and claims heard here that the other nodes haven't taken in yet"
    yield gauge("seeder_cluster_untold", text, untold)
    for name, text, value in (
        ("seeder_cluster_told_total", "Peers that the other nodes were told of", told.told),
        ("seeder_cluster_heard_total", "Peers that other nodes have told of", told.heard),
        ("seeder_cluster_reloads_total", "How often all peers were read", told.reloads),
        ("seeder_cluster_damaged_total", "What was told and is no peer", told.damaged),
    ):
        yield counter(name, text, [("", value)])

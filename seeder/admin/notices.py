"""What needs a person, a line each, for the strip at the top of the status page."""

import time
from collections.abc import Iterator

from seeder.admin.overview import Overview
from seeder.ledger.limits import Level
from seeder.ledger.spending import explain_level


def notices(overview: Overview) -> Iterator[str]:
    """Yield what is wrong with the node as a whole; what ails single objects is in their states."""
    if overview.unready is not None:
        yield f"not ready: {overview.unready}"
    for name, told in overview.origins.statistics().items():
        if told.stall is not None:
            yield f"origin {name} is stalled: {told.stall}"
        elif not told.reachable:
            yield f"origin {name} is away: {told.reason}"
        if told.clock_fault is not None:
            yield f"origin {name}: {told.clock_fault}"
    fault = overview.database.statistics().fault
    if fault is not None:
        yield f"the ledger can't be written, and what is counted waits in memory: {fault}"
    if not overview.cache.statistics().disk_ok:
        yield "the disk cache can't be written: pieces are kept in memory only (see the log)"
    if overview.budget.level is not Level.NORMAL:
        yield f"budget: {explain_level(overview.budget)}"
    if overview.certificate is not None:
        concern = overview.certificate.concern(time.time())
        if concern is not None:
            yield concern
    for feed in overview.feeds:
        if feed.fault is not None:
            yield f"events {feed.name}: {feed.fault}; objects are found by listing all the same"
    if (fault := overview.sidecar_fault()) is not None:
        yield fault
    reloads = overview.reloads
    if reloads.last != "ok":
        extent = "" if reloads.last == "refused" else " wholly"
        yield f"the last reload isn't{extent} in force: {reloads.reason}"
    stalled = overview.stalled().questions
    for prefix in overview.prefixes:
        if (stall := stalled.get(prefix.ref)) is not None:
            yield f"{prefix.ref} is stalled: {stall}"
    for prefix in overview.prefixes:
        if prefix.reason is not None:
            yield f"{prefix.ref}: {prefix.reason}"
    most = overview.hub.places
    if overview.hub.statistics().connected >= most:
        yield f"every place for peers is taken ({most}): peer.connections gives more"
    connections = overview.uploads.connections
    most = connections.limits.connections_per_torrent
    if connections.most_of_torrent >= most:
        yield f"every place of a torrent is taken ({most}): peer.connections_per_torrent gives more"

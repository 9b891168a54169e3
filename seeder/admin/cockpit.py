"""The document behind the status page: the node now, and of objects and peers what a page shows."""

import time
from dataclasses import asdict, dataclass, field

from seeder import __version__
from seeder.admin.notices import notices
from seeder.admin.opened import Opened
from seeder.admin.overview import Overview
from seeder.admin.peers import PeerRates, departure_rows
from seeder.admin.table import Table
from seeder.admin.view import View
from seeder.gateway.links import Links
from seeder.ledger.report import Document
from seeder.ledger.savings import savings

SHOWN_PREFIXES = 50
SHOWN_NOTICES = 20


@dataclass(slots=True, eq=False)
class Cockpit:
    """Puts the page's document together, for each page as it wants it."""

    overview: Overview
    links: Links
    started_at: float = field(default_factory=time.time)
    """Unix seconds."""
    table: Table = field(init=False)

    def __post_init__(self) -> None:
        self.table = Table(self.overview.accounts, self.overview.stalled)

    def rates(self) -> PeerRates:
        """Return what one page needs to tell how fast the peers are."""
        return PeerRates(self.overview.hub)

    async def document(self, view: View, rates: PeerRates) -> Document:
        """Return the document as it is now; it always has the same keys."""
        overview = self.overview
        snapshot = await self.table.snapshot()
        objects = await self.table.rows(view)
        await rates.look()
        opened = None
        if view.opened is not None:
            opened = await self._opened().document(view.opened, rates)
        totals = overview.accounts.ledger.totals()
        hub = overview.hub.statistics()
        prefixes = list(overview.prefixes)
        return {
            "at": round(time.time(), 1),
            "started_at": self.started_at,
            "version": __version__,
            "announce": self.links.announce,
            "notices": list(notices(overview))[:SHOWN_NOTICES],
            "totals": {
                "origin_bytes": totals.origin_bytes,
                "origin_requests": totals.origin_requests,
                "uploaded_bytes": totals.uploaded_bytes,
                "protocol_bytes": totals.protocol_bytes,
                "delivered_verified_bytes": totals.delivered_verified_bytes,
                "delivered_claimed_bytes": totals.delivered_claimed_bytes,
                "completed": totals.completed,
                "peers": snapshot.peers,
                "seeds": snapshot.seeds,
                "size": snapshot.size,
                **asdict(savings(totals, size=snapshot.size, prices=overview.prices)),
            },
            "states": dict(snapshot.states),
            "objects": objects,
            "opened": opened,
            "peers": {
                "connected": hub.connected,
                "places": overview.hub.places,
                "downloads": len(overview.downloads),
                "accepted": hub.accepted,
                "closes": hub.closes,
                "rows": rates.rows(lambda _: True),
                "departures": departure_rows(overview.hub),
            },
            "cache": asdict(overview.cache.statistics()),
            "origins": overview.origins_document(),
            "budget": [remaining.document() for remaining in overview.budget.left()],
            "prefixes": [prefix.document() for prefix in prefixes[:SHOWN_PREFIXES]],
            "prefixes_in_all": len(prefixes),
        }

    def _opened(self) -> Opened:
        overview = self.overview
        return Opened(
            overview.accounts, overview.hub, overview.cache, self.links, overview.stalled()
        )

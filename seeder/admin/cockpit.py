"""The document behind the status page: the node now, and of objects and peers what a page shows."""

import time
from dataclasses import asdict, dataclass, field

from seeder import __version__
from seeder.admin.documents import certificate_document, origins_document
from seeder.admin.lately import Lately
from seeder.admin.limits import limits
from seeder.admin.notices import notices
from seeder.admin.opened import Opened
from seeder.admin.overview import Overview
from seeder.admin.peers import PeerRates, departure_rows
from seeder.admin.table import Table
from seeder.admin.view import View
from seeder.gateway.links import Links
from seeder.ledger.counters import Counters
from seeder.ledger.groups import flows
from seeder.ledger.report import Document
from seeder.ledger.savings import savings

SHOWN_PREFIXES = 50
SHOWN_NOTICES = 20
SHOWN_GROUPS = 50


@dataclass(slots=True, eq=False)
class Cockpit:
    """Puts the page's document together, for each page as it wants it."""

    overview: Overview
    links: Links
    table: Table = field(init=False)
    lately: Lately = field(init=False)

    def __post_init__(self) -> None:
        overview = self.overview
        self.table = Table(overview.accounts, overview.stalled)
        self.lately = Lately(overview.accounts.ledger, overview.history)

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
        lately = await self.lately.counted(view.span)
        hub = overview.hub.statistics()
        prefixes = list(overview.prefixes)
        return {
            "at": round(time.time(), 1),
            "started_at": overview.started_at,
            "version": __version__,
            "announce": self.links.announce,
            "notices": list(notices(overview))[:SHOWN_NOTICES],
            "currency": overview.prices.currency,
            "totals": {
                **self._figures(totals, snapshot.size),
                "peers": snapshot.peers,
                "seeds": snapshot.seeds,
                "size": snapshot.size,
            },
            "span": view.span.value,
            "lately": self._figures(lately, snapshot.size) if lately is not None else None,
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
            "origins": origins_document(overview.origins),
            "budget": [remaining.document() for remaining in overview.budget.left()],
            "groups": [flow.document() for flow in flows(overview.accounts.ledger.groups.counts)][
                :SHOWN_GROUPS
            ],
            "prefixes": [prefix.document() for prefix in prefixes[:SHOWN_PREFIXES]],
            "prefixes_in_all": len(prefixes),
            "limits": list(limits(overview.uploads, overview.origins)),
            "certificate": certificate_document(overview.certificate),
            "cluster": overview.cluster_document(),
            "listeners": {
                name: list(map(str, addresses)) for name, addresses in overview.listeners.items()
            },
        }

    def _figures(self, counted: Counters, size: int) -> Document:
        """Return what was counted and saved, in the names of /status.json."""
        return {
            "origin_bytes": counted.origin_bytes,
            "origin_requests": counted.origin_requests,
            "uploaded_bytes": counted.uploaded_bytes,
            "protocol_bytes": counted.protocol_bytes,
            "delivered_verified_bytes": counted.delivered_verified_bytes,
            "delivered_claimed_bytes": counted.delivered_claimed_bytes,
            "completed": counted.completed,
            **asdict(savings(counted, size=size, prices=self.overview.prices)),
        }

    def _opened(self) -> Opened:
        overview = self.overview
        return Opened(
            overview.accounts,
            overview.hub,
            overview.cache,
            self.links,
            overview.stalled(),
            overview.rounds_of,
        )

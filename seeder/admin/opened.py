"""One object as the status page shows it whole: its links, its swarm, and where its pieces are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from seeder.admin.accounts import Accounts
from seeder.admin.peers import PeerRates, unix
from seeder.admin.stalls import StalledObjects, work_document
from seeder.admin.view import name_of
from seeder.cache.pieces import PieceCache
from seeder.gateway.links import Links
from seeder.ledger.report import Document
from seeder.peer.hub import Hub
from seeder.publish.rounds import Rounds
from seeder.torrent.info import safe_name
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import STALLED
from seeder.torrent.torrent import Torrent

PARTS = 100
"""Into how many parts a bar of pieces is divided, at most."""
SHOWN_PEERS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """Makes the documents of single objects."""

    accounts: Accounts
    hub: Hub
    cache: PieceCache[Torrent]
    links: Links
    stalled: StalledObjects
    rounds_of: Callable[[ObjectRef], Rounds | None]

    async def document(self, ref: ObjectRef, rates: PeerRates) -> Document | None:
        """Return all that there is of one object; None for one that isn't published."""
        publication = self.accounts.catalog.publications.get(ref)
        if publication is None:
            return None
        account, torrent = self.accounts.account(publication), publication.torrent
        counters, stall = account.counters, self.stalled.find(publication)
        document: Document = {
            "object": name_of(ref),
            "origin": ref.origin,
            "version": account.key.version,
            "state": publication.state if stall is None else STALLED,
            "reason": publication.reason if stall is None else str(stall),
            **self._rounds(ref),
            "progress": publication.progress,
            **work_document(publication, stall),
            "size": account.size,
            "public": publication.public,
            "torrent_url": f"{self.links.object_url(ref)}?torrent",
            "requests": counters.origin_requests_by_purpose(),
            "origin_bytes": counters.origin_bytes_by_purpose(),
            "protocol_bytes": counters.protocol_bytes,
            "completed": counters.completed,
            "torrent": None,
        }
        if torrent is not None:
            document["torrent"] = await self._torrent(ref, torrent, rates, publication.public)
        return document

    def _rounds(self, ref: ObjectRef) -> Document:
        """Return when it is looked at again, and what went wrong last (Unix s)."""
        rounds = self.rounds_of(ref)
        due, last = (None, None) if rounds is None else (rounds.due_at, rounds.last_error)
        return {
            "next_look": None if due is None else unix(due),
            "last_error": None if last is None else last[1],
            "last_error_at": None if last is None else unix(last[0]),
        }

    async def _torrent(
        self, ref: ObjectRef, torrent: Torrent, rates: PeerRates, public: bool
    ) -> Document:
        edges = _edges(torrent.layout.piece_count)
        swarm = self.accounts.swarms.statistics(torrent.info_hash)
        copies = await self.hub.copies(torrent, edges)
        return {
            "info_hash": torrent.info_hash.hex(),
            "v2_hash": None if torrent.v2_hash is None else torrent.v2_hash.hex(),
            "metainfo": torrent.rung,
            "pieces": torrent.layout.piece_count,
            "piece_length": torrent.layout.piece_length,
            "private": torrent.private,
            "magnet": self.links.magnet(torrent, public=public, name=safe_name(ref.key)),
            "download_url": self.links.download_url(torrent) if public else None,
            "peers": swarm.peers,
            "seeds": swarm.seeds,
            "counted_peers": copies.peers,
            "copies": [round(mean, 2) for mean in copies.mean],
            "cached": _shares(self.cache.held(torrent), edges),
            "connected": rates.rows(_has(torrent), SHOWN_PEERS),
        }


def _has(torrent: Torrent) -> Callable[[object], bool]:
    return lambda standing: getattr(standing, "torrent", None) is torrent


def _edges(pieces: int) -> Sequence[int]:
    """Return where the parts of a bar begin, and where the last one ends."""
    parts = min(PARTS, pieces)
    return [pieces * part // parts for part in range(parts + 1)] if parts else [0]


def _shares(held: frozenset[int], edges: Sequence[int]) -> list[float]:
    """Return the share of each part that is held."""
    order = sorted(held)
    shares, at = [], 0
    for start, stop in pairwise(edges):
        begin = at
        while at < len(order) and order[at] < stop:
            at += 1
        shares.append(round((at - begin) / (stop - start), 2))
    return shares

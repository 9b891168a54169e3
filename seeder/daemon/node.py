"""The parts of one running node, put together, and what passes between them.

The publisher says when a torrent comes and goes; the tracker, the peers and the ledger hear of it
here. The web listeners ask here how everything stands.
"""

import ipaddress
import json
import logging
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import trio

from seeder import __version__
from seeder.cache.pieces import PieceCache
from seeder.config.sections import Config
from seeder.errors import OriginError
from seeder.files import replace_file, storage_errors
from seeder.gateway.access import Keyring
from seeder.gateway.download import Downloads
from seeder.ledger.budget import Budget, Level
from seeder.ledger.counters import FORMER, Account, AccountKey, Ledger, account_key
from seeder.ledger.metrics import Metrics
from seeder.ledger.report import Report, TorrentRow
from seeder.ledger.spending import change, explain_level, prices_of
from seeder.metainfo.ladder import Ladder
from seeder.metainfo.store import MetainfoStore
from seeder.net.addresses import HostPort, compact_endpoint
from seeder.peer.hub import Hub
from seeder.publish.prefixes import ListingStore
from seeder.publish.publisher import BUILDS, CLIMBS, LISTINGS, METAINFO, Publisher, Source
from seeder.publish.serving import DELETED, WITHDRAWN
from seeder.s3.client import S3Origin
from seeder.s3.origins import Origins
from seeder.torrent.catalog import Catalog, Publication, State, Torrent
from seeder.torrent.info import InfoHash
from seeder.torrent.objects import PinnedBundle
from seeder.tracker.swarm import OwnPlace, SwarmPolicy
from seeder.tracker.swarms import OwnSeeder, Swarms
from seeder.units import rounded_size
from seeder.upload.superseed import SuperSeeds
from seeder.upload.uploads import Uploads

_LOG = logging.getLogger(__name__)

CLIENT = f"seeder/{__version__}"
# Azureus style (BEP 20); SB is nobody else's.
_PEER_ID_PREFIX = b"-SB0100-"
_NOT_REGISTERED = "torrent not registered: "
"""The words on which Transmission stops asking: only for what is final."""
ROWS_AT_ONCE = 250
"""Rows of a report made between two chances for others to run."""

SPARE_PIECES = 4
"""That a cache should have room for: one that is sent, others that come."""

_OWN_PLACE = {
    Level.LAST_IN_HANDOUT: OwnPlace.SPARE,
    Level.CACHE_ONLY: OwnPlace.SPARE,
    Level.TRACKER_ONLY: OwnPlace.ALONE,
}


class Node:
    """Everything that a running daemon consists of; `daemon.serve` starts and stops it."""

    def __init__(self, config: Config, ledger: Ledger, budget: Budget, rng: random.Random) -> None:
        self.config = config
        self.ledger = ledger
        self.budget = budget
        self._level = Level.NORMAL
        self._percents: tuple[int, ...] = ()
        self.rng = rng
        self.catalog = Catalog()
        self.keyring = Keyring()
        self.peer_id = _PEER_ID_PREFIX + secrets.token_hex(6).encode()
        self.unready: str | None = "starting"
        origins = {
            name: S3Origin(settings, rng=rng, allowance=budget)
            for name, settings in config.origins.items()
        }
        self.origins = Origins(origins, self._account)
        self.sources: dict[str, Source] = {}
        self.cache: PieceCache[Torrent] = PieceCache(
            self.origins,
            config.cache.directory,
            memory=config.cache.memory,
            disk=config.cache.disk,
            on_fault=self._piece_failed,
            clock=trio.current_time,
        )
        for name, origin in self.origins.items():
            ladder = Ladder(origin, self.cache, config.state_directory / BUILDS, rng)
            self.sources[name] = Source(origin, ladder, trio.CapacityLimiter(CLIMBS))
        self.uploads = self._new_uploads()
        self.downloads = Downloads(self.uploads)
        self.hub = Hub(self.uploads, find=self.catalog.by_hash, peer_id=self.peer_id, client=CLIENT)
        self.publisher = Publisher(
            catalog=self.catalog,
            ledger=ledger,
            store=MetainfoStore(config.state_directory / METAINFO),
            listings=ListingStore(config.state_directory / LISTINGS),
            sources=self.sources,
            audience=self,
            rng=rng,
        )
        self.swarms: Swarms
        self.announce_url = ""
        self.admin_address: HostPort | None = None
        self._metrics = Metrics(self.report, version=__version__)

    def _new_uploads(self) -> Uploads:
        super_seeds = SuperSeeds(
            enabled=self.config.peer.super_seeding == "auto",
            other_seeds=lambda info_hash: self.swarms.statistics(InfoHash(info_hash)).seeds,
            cache_bytes=self.config.cache.memory + self.config.cache.disk,
            held=self.cache.held,
            rng=self.rng,
        )
        return Uploads(
            self.config.peer,
            cache=self.cache,
            account=self._account,
            super_seeds=super_seeds,
            origin_is_busy=self.origins.is_busy,
        )

    def listening(
        self,
        tracker: Sequence[socket.socket],
        peer: Sequence[socket.socket],
        admin: Sequence[socket.socket],
        announce_url: str,
    ) -> None:
        """Take note that everything is open and what is known is served."""
        self.announce_url = announce_url
        self.admin_address = address_of(admin[0]) if admin else None
        self.unready = None
        _LOG.info(
            "listening: tracker %s, peers %s, admin %s; torrents name %s",
            *(", ".join(str(address_of(each)) for each in group) for group in (tracker, peer)),
            ", ".join(str(address_of(each)) for each in admin) or "nowhere",
            announce_url,
        )

    def open_swarms(self, peer_port: int) -> None:
        """Make the tracker's swarms, once the peer listener's port is known."""
        tracker, public = self.config.tracker, self.config.peer.public_address
        policy = SwarmPolicy(interval=tracker.interval, peers_per_address=tracker.peers_per_address)
        endpoints: tuple[bytes, ...] = ()
        if public is not None:
            packed = ipaddress.ip_address(public.host).packed
            endpoints = (compact_endpoint(packed, public.port),)
        own = OwnSeeder(peer_port, endpoints, self.peer_id)
        self.swarms = Swarms(policy, own, rng=self.rng)
        self.swarms.loading = True

    # -- what the publisher and the cache tell

    def torrent_live(self, torrent: Torrent, account: Account) -> None:
        """Open the torrent's swarm and let peers in."""
        self.hub.connect(torrent)
        self.swarms.open(
            torrent.info_hash,
            size=torrent.pinned.size,
            claims=account,
            completed=account.counters.completed,
            alias=torrent.short_v2_hash,
        )
        self._weigh_cache(torrent)

    def _weigh_cache(self, torrent: Torrent) -> None:
        """Warn of a cache that can't hold a piece: a peer asks for some blocks of it at a time."""
        cache, count = self.config.cache, torrent.layout.piece_count
        largest = torrent.layout.piece_size(0) if count else 0
        if largest > max(cache.memory, cache.disk):
            _LOG.warning(
                "%s: a piece of %s doesn't fit the cache, so S3 is read again for every few blocks,"
                " as far as peer.origin_copies_per_address goes; set cache.memory or cache.disk to"
                " %s at least",
                *(
                    torrent.pinned.ref,
                    rounded_size(largest),
                    rounded_size(largest * min(count, SPARE_PIECES)),
                ),
            )

    def torrent_gone(self, torrent: Torrent, reason: str) -> None:
        """Close the torrent's swarm with a reason and let its peers go."""
        self.swarms.close(torrent.info_hash, _NOT_REGISTERED + reason)
        self.hub.disconnect(torrent, "retired")
        self.downloads.end(torrent)
        # Of a bundle that goes on, the ladder lets go of the objects that have gone.
        goes_on = isinstance(torrent.pinned, PinnedBundle) and reason != DELETED
        if reason != WITHDRAWN and not goes_on:
            # What nobody can want any more must not keep the new object's pieces out.
            for section in torrent.sections:
                self.cache.discard(section.cache_id)
        account = self._account(torrent)
        account.state, account.peers, account.seeds = FORMER, 0, 0

    def _piece_failed(self, torrent: Torrent, error: OriginError) -> None:
        self.publisher.fault(torrent, error)

    def _account(self, torrent: Torrent) -> Account:
        return self.ledger.account(account_key(torrent.pinned))

    # -- the budget

    def keep_to_budget(self) -> bool:
        """Count what was spent, and hold back as far as that says.

        Return whether so much was spent since that last was so that a crash must not forget it.
        """
        level = self.budget.update(self.ledger.totals(), time.time())
        if level is not self._level:
            self._level = level
            _LOG.warning("%s", explain_level(self.budget))
            if level < Level.CACHE_ONLY:
                self.hub.regain()
            self.uploads.hold_back(level)
            self.downloads.allow(allowed=level < Level.TRACKER_ONLY)
            self.swarms.own_place = _OWN_PLACE.get(level, OwnPlace.ALWAYS)
        if level < Level.CACHE_ONLY:
            self.publisher.read_on()
        before, self._percents = self._percents, self.budget.percents()
        return self._percents != before

    def change_budget(self, config: Config) -> None:
        """Keep to the budget and the prices of another configuration from now on."""
        self.config = self.config.model_copy(
            update={"budget": config.budget, "savings": config.savings}
        )
        change(self.budget, config, totals=self.ledger.totals(), now=time.time())
        self.keep_to_budget()

    # -- how everything stands

    async def refresh_accounts(self) -> None:
        """Bring the accounts' states and swarm sizes up to date, before they are written."""
        async for publication in self._in_turns():
            self._refresh_account(publication)

    async def _in_turns(self) -> AsyncIterator[Publication]:
        """Yield every publication, and let others run now and then: some may go meanwhile."""
        published = self.catalog.publications
        for number, publication in enumerate(tuple(self.catalog)):
            if published.get(publication.ref) is publication:
                yield publication
            if number % ROWS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    def _refresh_account(self, publication: Publication) -> None:
        if publication.pinned is None or publication.state is State.DUPLICATE:
            return
        account = self.ledger.account(account_key(publication.pinned))
        account.state = publication.state
        if publication.torrent is not None:
            swarm = self.swarms.statistics(publication.torrent.info_hash)
            account.peers, account.seeds = swarm.peers, swarm.seeds

    def report(self) -> Report:
        """Return the ledger and the publications as they are now, all at once."""
        for publication in self.catalog:
            self._refresh_account(publication)
        return self._report([self._row(publication) for publication in self.catalog])

    async def look(self) -> Report:
        """Return what `report` does, and let others run while its rows are gathered."""
        rows: list[TorrentRow] = []
        async for publication in self._in_turns():
            self._refresh_account(publication)
            rows.append(self._row(publication))
        return self._report(rows)

    def _report(self, rows: Sequence[TorrentRow]) -> Report:
        # So that what is left belongs to the totals beside it.
        self.budget.update(self.ledger.totals(), time.time())
        return Report.of(
            self.ledger,
            prices_of(self.config),
            at=time.time(),
            rows=rows,
            budget=self.budget.left(),
        )

    def _row(self, publication: Publication) -> TorrentRow:
        pinned, ref = publication.pinned, publication.ref
        if pinned is not None:
            account = self.ledger.account(account_key(pinned))
            account.size = pinned.size
        else:
            key = AccountKey(ref.origin, ref.bucket, ref.key, ref.version_id or "")
            # Without a version nothing has been booked yet; with one it may be from earlier.
            account = self.ledger.account(key) if ref.version_id else Account(key=key)
        torrent = publication.torrent
        row = TorrentRow.of(
            account,
            reason=publication.reason,
            progress=publication.progress,
            metainfo=None if torrent is None else torrent.rung,
        )
        return replace(row, state=publication.state)

    async def status(self, limit: int | None) -> dict[str, object]:
        """Return the document of /status.json, with at most `limit` torrents."""
        report = await self.look()
        shown = report.rows if limit is None else report.foremost(limit)
        documents: list[dict[str, object]] = []
        for row in shown:
            documents.append(row.document(report.prices))
            if len(documents) % ROWS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        hub, cache = self.hub.statistics(), self.cache.statistics()
        return {
            **report.document(rows=()),
            "torrents": documents,
            "torrents_in_all": len(report.rows),
            "prefixes": [prefix.document() for prefix in self.publisher.prefixes],
            "version": __version__,
            "ready": self.unready is None,
            "peers": {
                "connected": hub.connected,
                "downloads": len(self.downloads),
                "accepted": hub.accepted,
                "closes": hub.closes,
            },
            "cache": {name: getattr(cache, name) for name in cache.__dataclass_fields__},
            "origins": {
                name: {
                    "reachable": told.reachable,
                    "requests": told.requests,
                    "retries": told.retries,
                    "errors": dict(told.errors),
                    "last_error": told.last_error,
                }
                for name, told in self.origins.statistics().items()
            },
        }

    def summary(self) -> str:
        """Return the line for `systemctl status`."""
        states = [publication.state for publication in self.catalog]
        objects = f"object{'' if len(states) == 1 else 's'}"
        parts = [f"{states.count(State.SERVING)} of {len(states)} {objects} served"]
        for publication in self.catalog:
            if publication.progress is not None:
                parts.append(f"hashing {publication.ref} {publication.progress:.0%}")
                break
        for prefix in self.publisher.prefixes:
            if prefix.reason is not None:
                parts.append(f"{prefix.ref}: {prefix.reason}")
                break
        if self._level is not Level.NORMAL:
            parts.append(f"budget: {self._level}")
        trouble = sum(state in (State.FAILED, State.FAULTY) for state in states)
        if trouble:
            parts.append(f"{trouble} in trouble")
        connected, totals = self.hub.statistics().connected, self.ledger.totals()
        parts.append(f"{connected} peer{'' if connected == 1 else 's'}")
        parts.append(f"{rounded_size(totals.origin_bytes)} from S3")
        parts.append(f"{rounded_size(totals.uploaded_bytes)} uploaded")
        return "; ".join(parts)

    @property
    def loading(self) -> bool:
        """Whether torrents may come that aren't known yet."""
        return any(
            publication.torrent is None and publication.state in (State.WAITING, State.BUILDING)
            for publication in self.catalog
        ) or any(prefix.listed_at is None for prefix in self.publisher.prefixes)

    def ready(self) -> str | None:
        """Return why the node isn't ready; None when it is."""
        return self.unready

    async def metrics(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        parts: list[bytes] = []
        for part in self._metrics.parts(await self.look()):
            parts.append(part)
            await trio.lowlevel.checkpoint()
        return b"".join(parts)


def address_of(listener: socket.socket) -> HostPort:
    """Return where a listening socket listens."""
    host, port = listener.getsockname()[:2]
    return HostPort(str(host), int(port))


def save_swarms(path: Path, rows: Iterable[object]) -> None:
    """Write the swarms for the next run, in one step; StorageError."""
    with storage_errors(path, "written"):
        # Durable: it is written once, at the stop, and a power cut often follows that.
        replace_file(path, json.dumps(list(rows)).encode(), durable=True)

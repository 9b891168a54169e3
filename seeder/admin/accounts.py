"""What is published, beside what was counted for it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from seeder.admin.stalls import StalledObjects, pace
from seeder.cluster.split import Split
from seeder.ledger.counters import Account, AccountKey, Ledger
from seeder.ledger.report import TorrentRow
from seeder.net.slices import Slices
from seeder.torrent.catalog import Catalog
from seeder.torrent.publications import STALLED, Publication, State
from seeder.tracker.swarms import Swarms


@dataclass(slots=True, eq=False)
class Accounts:
    """The accounts of what is published, with states and swarm sizes as they are now."""

    ledger: Ledger
    catalog: Catalog
    swarms: Swarms
    split: Split | None = None
    """Which nodes have which object; None for a node by itself."""

    async def refresh(self) -> None:
        """Bring the accounts of all publications up to date."""
        async for _ in self.publications():
            pass

    async def publications(self) -> AsyncIterator[Publication]:
        """Yield every publication, its account up to date, and let other tasks run now and then.

        Publications that are withdrawn meanwhile are left out.
        """
        published, slices = self.catalog.publications, Slices()
        for publication in tuple(self.catalog):
            if published.get(publication.ref) is publication:
                self._refresh(publication)
                yield publication
            if slices.is_over:
                await slices.turn()

    def _refresh(self, publication: Publication) -> None:
        if publication.pinned is None or publication.state is State.DUPLICATE:
            return
        account = self.ledger.account_of(publication.pinned)
        account.state = publication.state
        if publication.torrent is not None:
            swarm = self.swarms.statistics(publication.torrent.info_hash)
            account.peers, account.seeds = swarm.peers, swarm.seeds

    def account(self, publication: Publication) -> Account:
        """Return the account that a publication's counts stand on."""
        pinned, ref = publication.pinned, publication.ref
        if pinned is not None:
            account = self.ledger.account_of(pinned)
            account.size = pinned.size
            return account
        key = AccountKey(ref.origin, ref.bucket, ref.key, ref.version_id or "")
        # Without a version nothing has been booked yet; with one it may be from earlier.
        return self.ledger.account(key) if ref.version_id else Account(key=key)

    def row(self, publication: Publication, stalled: StalledObjects) -> TorrentRow:
        """Return the line of a report for one publication."""
        account, torrent = self.account(publication), publication.torrent
        stall = stalled.find(publication)
        rate, time_left = pace(publication, stall)
        row = TorrentRow.of(
            account,
            reason=publication.reason if stall is None else str(stall),
            progress=publication.progress,
            metainfo=None if torrent is None else torrent.rung,
            rate=rate,
            time_left=time_left,
            seeded_by=self._seeded_by(publication),
        )
        return replace(row, state=publication.state if stall is None else STALLED)

    def _seeded_by(self, publication: Publication) -> tuple[str, ...] | None:
        if self.split is None:
            return None
        torrent = publication.torrent
        ref = publication.ref if torrent is None else self.catalog.first_ref(torrent)
        return self.split.owners_of(ref)

"""The report on what was saved, in the form that /status.json and `seeder report --json` share.

Measured (from S3, uploaded), verified (uploaded, and what peers can have had of each other) and
claimed (what peers announce) are never added up, and each is labelled.

No I/O.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TypeAlias

from seeder.ledger.budget import Remaining
from seeder.ledger.counters import FORMER, Account, AccountKey, Counters, Ledger
from seeder.ledger.groups import GroupFlow, flows
from seeder.ledger.savings import Prices, Savings, savings

Document: TypeAlias = dict[str, object]

_SAVINGS = tuple(entry.name for entry in fields(Savings))


@dataclass(frozen=True, slots=True)
class TorrentRow:
    """One line of the report: an object, its torrent as it stands, and what was counted for it."""

    key: AccountKey
    info_hash: str | None
    size: int | None
    pieces: int | None
    state: str
    peers: int
    seeds: int
    counters: Counters
    reason: str | None = None
    """Why the state is what it is."""
    progress: float | None = None
    """Share of the work that the state is about, 0 to 1."""
    metainfo: str | None = None
    """The rung of the metainfo ladder that the torrent came from, while it is known."""
    rate: float | None = None
    """Bytes/s of that work of late."""
    time_left: float | None = None
    """Seconds that the rest of it takes at that rate."""
    seeded_by: tuple[str, ...] | None = None
    """The nodes of the cluster that read and seed it; None for a node by itself."""

    @classmethod
    def of(
        cls,
        account: Account,
        *,
        reason: str | None = None,
        progress: float | None = None,
        metainfo: str | None = None,
        rate: float | None = None,
        time_left: float | None = None,
        seeded_by: tuple[str, ...] | None = None,
    ) -> "TorrentRow":
        """Return the row of an account as it is now."""
        return cls(
            key=account.key,
            info_hash=account.info_hash,
            size=account.size,
            pieces=account.pieces,
            state=account.state,
            peers=account.peers,
            seeds=account.seeds,
            counters=account.counters.copy(),
            reason=reason,
            progress=progress,
            metainfo=metainfo,
            rate=rate,
            time_left=time_left,
            seeded_by=seeded_by,
        )

    def weight(self) -> tuple[bool, int, int]:
        """Return how much it matters: in trouble or at work most, then by peers and bytes."""
        settled = self.state in ("serving", FORMER)
        return not settled, self.peers, self.counters.uploaded_bytes

    def document(self, prices: Prices) -> Document:
        """Return the row in the form of /status.json."""
        return {
            "origin": self.key.origin,
            "bucket": self.key.bucket,
            "key": self.key.key,
            "version": self.key.version,
            "info_hash": self.info_hash,
            "size": self.size,
            "pieces": self.pieces,
            "state": self.state,
            "reason": self.reason,
            "progress": self.progress,
            "rate": self.rate,
            "time_left": self.time_left,
            "metainfo": self.metainfo,
            "seeded_by": self.seeded_by,
            **_figures(self.counters, self.size, self.peers, self.seeds, prices),
        }


@dataclass(slots=True)
class ReportRows:
    """What the rows of a report come to while they are gathered, whether or not they are kept.

    The figures of an account stand with the first row of it.
    """

    count: int = 0
    size: int = 0
    """The bytes of all objects whose size is known."""
    peers: int = 0
    seeds: int = 0
    _known: set[AccountKey] = field(default_factory=set)

    def place(self, row: TorrentRow) -> TorrentRow:
        """Count a row, and return it as it stands in the report."""
        if row.key in self._known:
            row = replace(row, counters=Counters(), peers=0, seeds=0)
        else:
            self._known.add(row.key)
            self.size += row.size or 0
        self.count += 1
        self.peers += row.peers
        self.seeds += row.seeds
        return row

    def unpublished(self, account: Account) -> TorrentRow | None:
        """Return the row of an account that none is about yet; none of a former one that counted
        nothing."""
        if account.key in self._known or (account.state == FORMER and not account.counters):
            return None
        return self.place(TorrentRow.of(account))


@dataclass(frozen=True, slots=True)
class Report:
    """The state of the ledger at one moment, or what was counted since another."""

    rows: tuple[TorrentRow, ...]
    unattributed: Counters
    totals: Counters
    """Of every account, so at least the sum of the rows."""
    prices: Prices
    at: float
    """Unix time of the counts (s)."""
    since: float | None = None
    """Unix time that the counts begin at (s); None: everything ever counted."""
    budget: tuple[Remaining, ...] = ()
    """What is left of each limit, whatever `since` says."""
    size: int = 0
    """The bytes of all objects whose size is known."""
    peers: int = 0
    seeds: int = 0
    groups: tuple[GroupFlow, ...] = ()
    """What was counted by groups of addresses."""

    @classmethod
    def of(
        cls,
        ledger: Ledger,
        prices: Prices,
        *,
        at: float,
        since: float | None = None,
        rows: Iterable[TorrentRow] = (),
        budget: tuple[Remaining, ...] = (),
    ) -> "Report":
        """Return the report of `ledger`; `rows` are the accounts that are served now.

        Former versions of objects are left out when nothing was counted for them. If two rows have
        the same account, only the first has its figures.
        """
        gathered = ReportRows()
        placed = [gathered.place(row) for row in rows]
        placed += filter(None, map(gathered.unpublished, ledger.accounts))
        return cls.gathered(ledger, gathered, placed, prices, at=at, since=since, budget=budget)

    @classmethod
    def gathered(
        cls,
        ledger: Ledger,
        gathered: ReportRows,
        rows: Iterable[TorrentRow],
        prices: Prices,
        *,
        at: float,
        since: float | None = None,
        budget: tuple[Remaining, ...] = (),
    ) -> "Report":
        """Return the report of `ledger` whose rows have been gathered, with those to be kept."""
        return cls(
            rows=tuple(rows),
            unattributed=ledger.unattributed.counters.copy(),
            totals=ledger.totals(),
            prices=prices,
            at=at,
            since=since,
            budget=budget,
            size=gathered.size,
            peers=gathered.peers,
            seeds=gathered.seeds,
            groups=tuple(flows(ledger.groups.counts)),
        )

    @property
    def savings(self) -> Savings:
        """What all accounts saved together."""
        return savings(self.totals, size=self.size, prices=self.prices)

    def document(self) -> Document:
        """Return the form of /status.json and `seeder report --json`; bytes, shares, Unix times."""
        totals = _figures(self.totals, self.size, self.peers, self.seeds, self.prices)
        return {
            "at": self.at,
            "since": self.since,
            "totals": {"size": self.size, **totals},
            "torrents": [row.document(self.prices) for row in self.rows],
            "unattributed": counts_document(self.unattributed),
            "prices": asdict(self.prices),
            "budget": [remaining.document() for remaining in self.budget],
            "groups": [flow.document() for flow in self.groups],
        }


def counts_document(counters: Counters) -> Document:
    """Return what was counted, in the form of /status.json."""
    return {
        "origin_bytes": counters.origin_bytes,
        "origin_bytes_by_purpose": counters.origin_bytes_by_purpose(),
        "origin_requests": counters.origin_requests,
        "origin_requests_by_purpose": counters.origin_requests_by_purpose(),
        "requester_charged": counters.requester_charged,
        "uploaded_bytes": counters.uploaded_bytes,
        "protocol_bytes": counters.protocol_bytes,
        "delivered_verified_bytes": counters.delivered_verified_bytes,
        "delivered_claimed_bytes": counters.delivered_claimed_bytes,
        "completed": counters.completed,
        "peers_seen": counters.peers_seen,
    }


def _figures(
    counters: Counters, size: int | None, peers: int, seeds: int, prices: Prices
) -> Document:
    saved = savings(counters, size=size, prices=prices)
    return {
        **counts_document(counters),
        # asdict would copy each value deeply, and there are many torrents.
        **{name: getattr(saved, name) for name in _SAVINGS},
        "peers": peers,
        "seeds": seeds,
    }

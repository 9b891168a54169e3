"""The report on what was saved: one form for /status.json and `seeder report`, and a table.

Measured (from S3, uploaded), verified (what we saw peers gain) and claimed (what peers announce)
are never added up, and each is labelled.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from heapq import nlargest
from typing import TypeAlias

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from seeder.config.texts import show_moment
from seeder.ledger.budget import Level, Limit, Remaining, Resource
from seeder.ledger.counters import FORMER, PURPOSES, Account, AccountKey, Counters, Ledger
from seeder.ledger.savings import Prices, Savings, savings

Document: TypeAlias = dict[str, object]

_SAVINGS = tuple(entry.name for entry in fields(Savings))
_UNKNOWN = "–"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


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

    @classmethod
    def of(
        cls,
        account: Account,
        *,
        reason: str | None = None,
        progress: float | None = None,
        metainfo: str | None = None,
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
        )

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
            "metainfo": self.metainfo,
            **_figures(self.counters, self.size, self.peers, self.seeds, prices),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The state of the ledger at one moment, or what was counted since another."""

    rows: tuple[TorrentRow, ...]
    unattributed: Counters
    totals: Counters
    """Of every account, hence at least the sum of the rows."""
    prices: Prices
    at: float
    """Unix time of the counts (s)."""
    since: float | None = None
    """Unix time that the counts begin at (s); None: everything ever counted."""
    budget: tuple[Remaining, ...] = ()
    """What is left of each limit, whatever `since` says."""

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
        """Return the report of `ledger`; `rows` stand for those accounts that are served now.

        Former versions of objects are left out when nothing was counted for them. Of two rows of
        one account the first has its figures.
        """
        served: list[TorrentRow] = []
        known: set[AccountKey] = set()
        for row in rows:
            repeated = row.key in known
            served.append(replace(row, counters=Counters(), peers=0, seeds=0) if repeated else row)
            known.add(row.key)
        further = (
            TorrentRow.of(account)
            for account in ledger.accounts
            if account.key not in known and (account.state != FORMER or account.counters)
        )
        return cls(
            rows=(*served, *further),
            unattributed=ledger.unattributed.counters.copy(),
            totals=ledger.totals(),
            prices=prices,
            at=at,
            since=since,
            budget=budget,
        )

    @property
    def size(self) -> int:
        """The bytes of all objects whose size is known."""
        return sum({row.key: row.size or 0 for row in self.rows}.values())

    @property
    def peers(self) -> int:
        return sum(row.peers for row in self.rows)

    @property
    def seeds(self) -> int:
        return sum(row.seeds for row in self.rows)

    @property
    def savings(self) -> Savings:
        """What all accounts saved together."""
        return savings(self.totals, size=self.size, prices=self.prices)

    def foremost(self, limit: int) -> list[TorrentRow]:
        """Return the rows that matter most: those in trouble or at work, then by peers, bytes."""
        return nlargest(limit, self.rows, key=_weight)

    def document(self, rows: Iterable[TorrentRow] | None = None) -> Document:
        """Return the form of /status.json and `seeder report --json`; bytes, shares, Unix times.

        `rows` are the torrents shown, by default all.
        """
        totals = _figures(self.totals, self.size, self.peers, self.seeds, self.prices)
        return {
            "at": self.at,
            "since": self.since,
            "totals": {"size": self.size, **totals},
            "torrents": [
                row.document(self.prices) for row in (self.rows if rows is None else rows)
            ],
            "unattributed": _counts(self.unattributed),
            "prices": asdict(self.prices),
            "budget": [remaining.document() for remaining in self.budget],
        }


def _weight(row: TorrentRow) -> tuple[bool, int, int]:
    settled = row.state in ("serving", FORMER)
    return not settled, row.peers, row.counters.uploaded_bytes


def _counts(counters: Counters) -> Document:
    return {
        "origin_bytes": counters.origin_bytes,
        "origin_bytes_by_purpose": counters.origin_bytes_by_purpose(),
        "origin_requests": counters.origin_requests,
        "origin_requests_by_purpose": counters.origin_requests_by_purpose(),
        "requester_charged": counters.requester_charged,
        "uploaded_bytes": counters.uploaded_bytes,
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
        **_counts(counters),
        # asdict would copy each value deeply, and there are many torrents.
        **{name: getattr(saved, name) for name in _SAVINGS},
        "peers": peers,
        "seeds": seeds,
    }


# -- the table


def render(report: Report, console: Console) -> None:
    """Print the report, in 80 columns but for what doesn't fit into them."""
    if report.rows:
        console.print(
            Text(_LINE.format("Size", "From S3", "copies", "Uploaded", "", *_GAINS), "bold")
        )
        for row in report.rows:
            _render_row(row, report.prices, console)
        console.print()
    if not report.totals:
        when = f" since {show_moment(report.since)}" if report.since is not None else " yet"
        console.print(
            f"Nothing counted{when}: no byte has come from S3, and none has gone to a peer."
        )
        _render_budget(report.budget, console)
        return
    console.print(_totals(report))
    _render_budget(report.budget, console)
    span = f"from {show_moment(report.since)} " if report.since is not None else ""
    console.print()
    console.print(f"Counted {span}until {show_moment(report.at)}.", style="dim")
    console.print(
        "Measured: our own counts. Verified: seen by us. Claimed: announced by peers.", style="dim"
    )


_LINE = "{:>12}{:>10}{:>9}{:>10}  {:<9}{:>10}{:>11}"
_GAINS = ("Delivered", "Saved")


def _render_row(row: TorrentRow, prices: Prices, console: Console) -> None:
    """Print what it is and how it stands, then its figures below the headings."""
    counters, saved = row.counters, savings(row.counters, size=row.size, prices=prices)
    standing = row.state if row.progress is None else f"{row.state} {row.progress:.0%}"
    if row.peers:
        standing += f", {_number(row.peers, 'peer')}, {_number(row.seeds, 'seed')}"
    title = Text.assemble((_plain(str(row.key)), "bold"), f"  {_plain(standing)}")
    console.print(title, overflow="fold")
    if row.reason:
        console.print(Padding(Text(_plain(row.reason)), (0, 0, 0, 4)))
    measured = (
        human(row.size),
        human(counters.origin_bytes),
        _copies(saved.s3_copies),
        human(counters.uploaded_bytes),
    )
    verified = (human(counters.delivered_verified_bytes), human(saved.saved_verified_bytes))
    claimed = (human(counters.delivered_claimed_bytes), human(saved.saved_claimed_bytes))
    console.print(Text(_LINE.format(*measured, "verified", *verified)))
    console.print(Text(_LINE.format("", "", "", "", "claimed", *claimed)))


def _totals(report: Report) -> Table:
    counters, saved = report.totals, report.savings
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("All together")
    for name in ("Measured", "Verified", "Claimed"):
        table.add_column(name, justify="right", no_wrap=True)
    of_bytes, of_requests = (
        counters.origin_bytes_by_purpose(),
        counters.origin_requests_by_purpose(),
    )
    verified, claimed = counters.delivered_verified_bytes, counters.delivered_claimed_bytes
    rows: list[tuple[str, ...]] = [
        ("From S3", human(counters.origin_bytes)),
        *((f"  {purpose}", human(of_bytes[purpose])) for purpose in PURPOSES),
        ("Requests to S3", f"{counters.origin_requests:,}"),
        *((f"  {purpose}", f"{of_requests[purpose]:,}") for purpose in PURPOSES),
        ("  charged to us as requester", f"{counters.requester_charged:,}"),
        ("Uploaded to peers", human(counters.uploaded_bytes)),
        ("S3 copies", _copies(saved.s3_copies)),
        ("Seeder copies", _copies(saved.seeder_copies)),
        ("Cache saving", _share(saved.cache_saving)),
        ("Downloads completed", "", "", f"{counters.completed:,}"),
        ("Delivered to peers", "", human(verified), human(claimed)),
        ("Saved", "", human(saved.saved_verified_bytes), human(saved.saved_claimed_bytes)),
        ("Offload", "", _share(saved.offload_verified), _share(saved.offload_claimed)),
        (
            "Total saving",
            "",
            _share(saved.total_saving_verified),
            _share(saved.total_saving_claimed),
        ),
        ("Money to S3", show_money(saved.origin_money)),
        (
            "Money saved",
            "",
            show_money(saved.saved_verified_money),
            show_money(saved.saved_claimed_money),
        ),
    ]
    for name, *cells in rows:
        table.add_row(name, *cells, style="bold" if name == "Saved" else None)
    return table


def _render_budget(budget: tuple[Remaining, ...], console: Console) -> None:
    if not budget:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Budget (UTC)")
    for name in ("Limit", "Spent", "Left"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Holds back")
    for remaining in budget:
        limit = remaining.limit
        table.add_row(
            f"{limit.resource.value.replace('_', ' ')} a {limit.period.value}",
            *(show_amount(limit, each) for each in (limit.amount, remaining.spent, remaining.left)),
            "" if remaining.level is Level.NORMAL else str(remaining.level),
        )
    console.print()
    console.print(table)


def show_amount(limit: Limit, amount: float) -> str:
    """Return so much of what a limit is about: bytes, requests or money."""
    match limit.resource:
        case Resource.ORIGIN_BYTES | Resource.UPLOADED_BYTES:
            return human(int(amount))
        case Resource.ORIGIN_REQUESTS:
            return f"{int(amount):,}"
        case Resource.ORIGIN_MONEY | Resource.UPLOADED_MONEY:
            return show_money(amount)


def human(count: int | None) -> str:
    """Return a byte count in at most 9 characters, such as "1.50 GiB"; 1 KiB is 1024 bytes."""
    if count is None:
        return _UNKNOWN
    power, size = 0, float(abs(count))
    # Rounding must not show 1024 of a unit.
    while size >= (1023.5 if power else 1024) and power < len(_UNITS) - 1:
        power, size = power + 1, size / 1024
    digits = 0 if power == 0 or size >= 99.95 else 1 if size >= 9.995 else 2
    sign = "-" if count < 0 else ""
    return f"{sign}{size:.{digits}f} {_UNITS[power]}"


def _share(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{share:.1%}"


def _copies(copies: float | None) -> str:
    return _UNKNOWN if copies is None else f"{copies:.2f}"


def show_money(amount: float) -> str:
    """Return an amount with as many decimals as it takes to see it."""
    shown = round(amount, 4) + 0.0  # never "-0.00"
    return f"{shown:,.2f}" if abs(shown) >= 1 or shown == 0 else f"{shown:.4f}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _plain(text: str) -> str:
    """Return `text` without what a terminal would obey: keys and reasons come from outside."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

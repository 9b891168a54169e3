"""The objects as the status page lists them: searched, sorted, and a few rows of them made.

There may be ten thousand, so whatever looks at all of them lets other tasks run in between.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from seeder.admin.accounts import Accounts
from seeder.admin.rows import ROWS_AT_ONCE, batched, first_of
from seeder.admin.stalls import StalledObjects, work_document
from seeder.admin.view import View, name_of
from seeder.ledger.counters import FORMER, Account, AccountKey, Counters
from seeder.ledger.report import Document
from seeder.s3.stalls import Stall
from seeder.torrent.publications import STALLED, Publication, State

FRESH = 1.0
"""Seconds for which all pages share one look at all objects."""


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """An object, or what was counted for one that is no longer published."""

    account: Account
    publication: Publication | None
    counts: bool
    """False for another object of the same account, whose counts stand with the first."""
    stall: Stall | None = None
    """How S3 keeps it waiting, if it does."""

    @property
    def state(self) -> str:
        if self.stall is not None:
            return STALLED
        return FORMER if self.publication is None else self.publication.state

    @property
    def reason(self) -> str | None:
        """Why the state is what it is."""
        if self.stall is not None:
            return str(self.stall)
        return None if self.publication is None else self.publication.reason

    @property
    def counters(self) -> Counters:
        return self.account.counters if self.counts else Counters()

    def is_of(
        self,
        account: Account,
        publication: Publication | None,
        counts: bool,
        stall: Stall | None,
    ) -> bool:
        """Tell whether it says the same: then it need not be made anew.

        Thousands of new ones, every second, would have the collector of garbage look at all
        objects of the process again and again.
        """
        return (
            self.account is account
            and self.publication is publication
            and self.counts == counts
            and self.stall == stall
        )

    def matches(self, view: View) -> bool:
        """Tell whether a view shows it."""
        if view.state is not None and self.state != view.state:
            return False
        if not view.search:
            return True
        key = self.account.key
        return view.search in f"{key.bucket}/{key.key}".lower() or view.search in (
            self.account.info_hash or ""
        )

    def row(self) -> Document:
        """Return what the page shows of it in its list."""
        account, publication, counters = self.account, self.publication, self.counters
        key, origin_bytes = account.key, counters.origin_bytes
        ref = None if publication is None else publication.ref
        return {
            "object": name_of(ref) if ref else [key.origin, key.bucket, key.key, key.version],
            "published": ref is not None,
            "state": self.state,
            "reason": self.reason,
            "progress": publication.progress if publication is not None else None,
            **work_document(publication, self.stall),
            "size": account.size,
            "info_hash": account.info_hash,
            "origin_bytes": origin_bytes,
            "uploaded_bytes": counters.uploaded_bytes,
            "delivered_verified_bytes": counters.delivered_verified_bytes,
            "delivered_claimed_bytes": counters.delivered_claimed_bytes,
            "saved_verified_bytes": counters.delivered_verified_bytes - origin_bytes,
            "peers": account.peers if self.counts else 0,
            "seeds": account.seeds if self.counts else 0,
            "completed": counters.completed,
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All objects at one moment."""

    entries: Sequence[ObjectEntry]
    states: Mapping[str, int]
    """How many objects are in each state."""
    size: int
    """Bytes of all objects whose size is known."""
    peers: int
    """Of all swarms."""
    seeds: int


@dataclass(slots=True, eq=False)
class Table:
    """All objects of a node, and what was counted for former ones."""

    accounts: Accounts
    stalled: Callable[[], StalledObjects] = StalledObjects
    """Tells what S3 gives nothing of."""
    _lock: trio.Lock = field(default_factory=trio.Lock)
    _snapshot: Snapshot | None = None
    _taken_at: float = 0.0

    async def snapshot(self) -> Snapshot:
        """Return all objects as they were at most a second ago."""
        async with self._lock:
            now = trio.current_time()
            if self._snapshot is None or now >= self._taken_at + FRESH:
                self._snapshot, self._taken_at = await self._look(), now
            return self._snapshot

    async def rows(self, view: View) -> Document:
        """Return the rows that a view shows, and how many there would be in all."""
        entries = (await self.snapshot()).entries
        rank, descending = _ranks(view)
        found: list[ObjectEntry] = []
        for some in batched(entries):
            found += [entry for entry in some if entry.matches(view)]
            await trio.lowlevel.checkpoint()
        total = len(found)
        # Who looks at a page that has gone meanwhile is shown the last one.
        first = min(view.first, max(0, total - 1) // view.rows * view.rows)
        shown = await first_of(found, first + view.rows, rank, descending=descending)
        rows = [entry.row() for entry in shown[first:]]
        return {"total": total, "first": first, "rows": rows}

    async def _look(self) -> Snapshot:
        accounts, entries = self.accounts, list[ObjectEntry]()
        states: Counter[str] = Counter()
        known: set[AccountKey] = set()
        stalled = self.stalled()
        before = iter(self._snapshot.entries if self._snapshot is not None else ())
        async for publication in accounts.publications():
            account = accounts.account(publication)
            counts, stall = account.key not in known, stalled.find(publication)
            entry = next(before, None)
            if entry is None or not entry.is_of(account, publication, counts, stall):
                entry = ObjectEntry(account, publication, counts, stall)
            entries.append(entry)
            known.add(account.key)
            states[entry.state] += 1
        for number, account in enumerate(accounts.ledger.accounts):
            if account.key not in known and account.counters:
                entry = next(before, None)
                if entry is None or not entry.is_of(account, None, True, None):
                    entry = ObjectEntry(account, None, True)
                entries.append(entry)
                states[FORMER] += 1
            if number % ROWS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        size = peers = seeds = 0
        for some in batched(entries):
            counted = [entry.account for entry in some if entry.counts]
            size += sum(account.size or 0 for account in counted)
            peers += sum(account.peers for account in counted)
            seeds += sum(account.seeds for account in counted)
            await trio.lowlevel.checkpoint()
        named = {state: states[state] for state in (*State, STALLED, FORMER)}
        return Snapshot(entries, named, size, peers, seeds)


def _ranks(view: View) -> tuple[Callable[[ObjectEntry], object], bool]:
    """Return what a view sorts by, and whether the largest comes first."""
    if view.order == "name":
        return _by_name, view.reverse
    if view.order == "attention":
        return _by_attention, not view.reverse
    if view.order in ("size", "peers"):
        name = view.order
        return lambda entry: getattr(entry.account, name) or 0, not view.reverse
    if view.order == "saved_verified_bytes":
        return _by_saving, not view.reverse
    name = view.order
    return lambda entry: getattr(entry.counters, name), not view.reverse


def _by_name(entry: ObjectEntry) -> tuple[str, str]:
    return entry.account.key.bucket, entry.account.key.key


def _by_attention(entry: ObjectEntry) -> tuple[bool, int, int]:
    settled = entry.state in (State.SERVING, FORMER)
    return not settled, entry.account.peers, entry.account.counters.uploaded_bytes


def _by_saving(entry: ObjectEntry) -> int:
    return entry.counters.delivered_verified_bytes - entry.counters.origin_bytes

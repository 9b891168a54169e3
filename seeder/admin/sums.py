"""What was counted, added up by object and by prefix, in slices that hold up no other task."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import trio

from seeder.admin.accounts import Accounts
from seeder.admin.exposition import Labels, labels
from seeder.admin.rows import ROWS_AT_ONCE
from seeder.admin.stalls import StalledObjects, pace
from seeder.ledger.counters import FORMER, Account, AccountKey, Counters
from seeder.s3.stalls import Stall
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import STALLED, Publication

ObjectName: TypeAlias = tuple[str, str]
"""Bucket and key."""
PrefixName: TypeAlias = tuple[str, str, str]
"""Origin, bucket and prefix; the prefix is "" for objects with an entry of their own."""
_NONE = -1
"""A limit of objects that no number keeps to."""


@dataclass(slots=True)
class Sum:
    """The counts of some accounts, and how the objects stand that are published now."""

    labels: Labels
    """Of its series."""
    counters: Counters = field(default_factory=Counters)
    objects: int = 0
    size: int = 0
    pieces: int = 0
    states: set[str] = field(default_factory=set)
    """That are shown of the objects that are published now."""
    peers: int = 0
    seeds: int = 0
    progress: float | None = None
    """Of the last one that is being built."""
    stalled: float = 0.0
    """Seconds for which nothing has come of the one that has waited for longest."""

    def add(self, account: Account) -> None:
        """Add what was counted on an account."""
        self.counters = self.counters.plus(account.counters)


@dataclass(slots=True)
class Sums:
    """Everything that is counted by object, added up."""

    objects: dict[ObjectName, Sum] | None
    """Versions, and namesakes at other origins, are one; None if there are too many."""
    prefixes: dict[PrefixName, Sum]
    states: Counter[str]
    """The objects by the state that is shown of them."""
    builds: int = 0
    build_size: int = 0
    """Bytes of the objects that are being hashed."""
    build_done: int = 0
    """How many of them are hashed."""
    build_rate: float = 0.0
    """Bytes/s."""


class _Prefixes:
    """Which of the configured prefixes a key belongs to: the longest."""

    def __init__(self, prefixes: Iterable[ObjectRef]) -> None:
        self._of: dict[tuple[str, str], list[str]] = {}
        for ref in prefixes:
            self._of.setdefault((ref.origin, ref.bucket), []).append(ref.key)
        for found in self._of.values():
            found.sort(key=len, reverse=True)

    def __getitem__(self, name: AccountKey) -> PrefixName:
        found = self._of.get((name.origin, name.bucket), ())
        key = name.key
        longest = next((prefix for prefix in found if key.startswith(prefix)), "")
        return name.origin, name.bucket, longest


async def add_up(
    accounts: Accounts, prefixes: Collection[ObjectRef], stalled: StalledObjects, most: int
) -> Sums:
    """Return the sums over all accounts; those by object only if there are at most `most`."""
    by_prefix: dict[PrefixName, Sum] = {}
    objects: dict[ObjectName, Sum] = {}
    sums = Sums(objects, by_prefix, Counter())
    belongs = _Prefixes(prefixes)
    for ref in prefixes:
        _prefix_sum(by_prefix, (ref.origin, ref.bucket, ref.key))
    known: set[AccountKey] = set()
    async for publication in accounts.publications():
        account = accounts.account(publication)
        stall = stalled.find(publication)
        state = STALLED if stall is not None else publication.state
        sums.states[state] += 1
        _note_build(sums, publication, stall)
        repeated = account.key in known
        known.add(account.key)
        for each in _sums_of(account.key, belongs, by_prefix, objects, most):
            each.objects += 1
            each.size += account.size or 0
            each.pieces += account.pieces or 0
            each.states.add(state)
            each.progress = publication.progress
            each.stalled = max(each.stalled, stall.seconds if stall is not None else 0.0)
            if not repeated:
                each.peers += account.peers
                each.seeds += account.seeds
                each.add(account)
    for number, account in enumerate(accounts.ledger.accounts):
        if account.key not in known and (account.state != FORMER or account.counters):
            sums.states[account.state] += 1
            for each in _sums_of(account.key, belongs, by_prefix, objects, most):
                each.add(account)
        if number % ROWS_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    unattributed = accounts.ledger.unattributed
    # As 0 too, for a counter that begins above 0 hides its first increase.
    limit = most if unattributed.counters else _NONE
    for each in _sums_of(unattributed.key, belongs, by_prefix, objects, limit):
        each.add(unattributed)
    if len(objects) > most:
        sums.objects = None
    return sums


def _sums_of(
    name: AccountKey,
    belongs: _Prefixes,
    by_prefix: dict[PrefixName, Sum],
    objects: dict[ObjectName, Sum],
    most: int,
) -> Iterator[Sum]:
    yield _prefix_sum(by_prefix, belongs[name])
    # One more than `most` is enough to know that there are too many.
    if len(objects) <= most:
        own = objects.get((name.bucket, name.key))
        if own is None:
            own = Sum(labels(bucket=name.bucket, key=name.key))
            objects[name.bucket, name.key] = own
        yield own


def _prefix_sum(by_prefix: dict[PrefixName, Sum], place: PrefixName) -> Sum:
    found = by_prefix.get(place)
    if found is None:
        origin, bucket, prefix = place
        written = labels(origin=origin, bucket=bucket, prefix=prefix)
        found = by_prefix[place] = Sum(written)
    return found


def _note_build(sums: Sums, publication: Publication, stall: Stall | None) -> None:
    work = publication.work
    if work is not None:
        sums.builds += 1
        sums.build_size += work.size
        sums.build_done += work.done
        sums.build_rate += pace(publication, stall)[0] or 0.0


def by_origin(prefixes: Mapping[PrefixName, Sum]) -> dict[str, Sum]:
    """Return the sums over the prefixes of each origin."""
    origins: dict[str, Sum] = {}
    for (origin, _, _), each in prefixes.items():
        total = origins.setdefault(origin, Sum(labels(origin=origin)))
        total.counters = total.counters.plus(each.counters)
        total.objects += each.objects
        total.size += each.size
        total.pieces += each.pieces
        total.peers += each.peers
        total.seeds += each.seeds
        total.stalled = max(total.stalled, each.stalled)
    return origins

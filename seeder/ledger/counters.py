"""What is counted, and on which account: counters, the accounts of objects, the ledger. No I/O."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from operator import add, attrgetter, sub
from typing import assert_never

from seeder.ledger.groups import GroupLedger
from seeder.ledger.holders import HolderLedger
from seeder.torrent.objects import PinnedObject, Purpose

PURPOSES: tuple[Purpose, ...] = ("metainfo", "hashing", "pieces")

FORMER = "former"
"""State of an account whose object version is no longer served; its counts stay."""


@dataclass(slots=True)
class Counters:
    """Sums of bytes and events. The claimed ones are what peers announce, the others measured."""

    origin_bytes_metainfo: int = 0
    origin_bytes_hashing: int = 0
    origin_bytes_pieces: int = 0
    origin_requests_metainfo: int = 0
    origin_requests_hashing: int = 0
    origin_requests_pieces: int = 0
    requester_charged: int = 0
    """Answers in which S3 said that it charged us as the requester."""
    uploaded_bytes: int = 0
    delivered_verified_bytes: int = 0
    delivered_claimed_bytes: int = 0
    completed: int = 0
    """Downloads that peers announced as completed (claimed)."""
    peers_seen: int = 0
    """Peer sessions that we had, not counting sessions of seeds."""
    protocol_bytes: int = 0
    """What else left us: all that was sent to peers and HTTP clients but piece payload."""

    @property
    def origin_bytes(self) -> int:
        return self.origin_bytes_metainfo + self.origin_bytes_hashing + self.origin_bytes_pieces

    @property
    def origin_requests(self) -> int:
        return (
            self.origin_requests_metainfo
            + self.origin_requests_hashing
            + self.origin_requests_pieces
        )

    def origin_bytes_by_purpose(self) -> dict[Purpose, int]:
        """Return the body bytes received from S3, split by what they were read for."""
        return {
            "metainfo": self.origin_bytes_metainfo,
            "hashing": self.origin_bytes_hashing,
            "pieces": self.origin_bytes_pieces,
        }

    def origin_requests_by_purpose(self) -> dict[Purpose, int]:
        """Return the requests sent to S3, split by what they were sent for."""
        return {
            "metainfo": self.origin_requests_metainfo,
            "hashing": self.origin_requests_hashing,
            "pieces": self.origin_requests_pieces,
        }

    def values(self) -> tuple[int, ...]:
        """Return every counter in the order of COUNTERS."""
        values: tuple[int, ...] = _values(self)
        return values

    def plus(self, other: "Counters") -> "Counters":
        return Counters(*map(add, self.values(), other.values()))

    def minus(self, other: "Counters") -> "Counters":
        return Counters(*map(sub, self.values(), other.values()))

    def copy(self) -> "Counters":
        return Counters(*self.values())

    def add(self, other: "Counters") -> None:
        """Add what another one has to this one."""
        for name, value in zip(COUNTERS, other.values(), strict=True):
            setattr(self, name, getattr(self, name) + value)

    def __bool__(self) -> bool:
        return any(self.values())


COUNTERS = tuple(entry.name for entry in fields(Counters))
NO_COUNTS = (0,) * len(COUNTERS)
_values = attrgetter(*COUNTERS)


@dataclass(slots=True, eq=False)
class Tally:
    """Counts what happens, one short call for each event; an account is a tally with an owner.

    While it isn't known which version of an object answers, requests to S3 are booked on a bare
    tally; `Account.absorb` takes them over.
    """

    counters: Counters = field(default_factory=Counters)
    total: Counters = field(default_factory=Counters)
    """What all tallies of a ledger count together, so that nobody has to add up thousands."""

    def add(self, counted: Counters) -> None:
        """Count what was counted elsewhere."""
        self.counters = self.counters.plus(counted)
        self.total.add(counted)

    def origin_request(self, purpose: Purpose) -> None:
        """Count a request sent to S3; a retry is another one."""
        counters, total = self.counters, self.total
        match purpose:
            case "metainfo":
                counters.origin_requests_metainfo += 1
                total.origin_requests_metainfo += 1
            case "hashing":
                counters.origin_requests_hashing += 1
                total.origin_requests_hashing += 1
            case "pieces":
                counters.origin_requests_pieces += 1
                total.origin_requests_pieces += 1
            case _:
                assert_never(purpose)

    def origin_received(self, purpose: Purpose, count: int) -> None:
        """Count `count` body bytes received from S3, wasted ones included."""
        counters, total = self.counters, self.total
        match purpose:
            case "metainfo":
                counters.origin_bytes_metainfo += count
                total.origin_bytes_metainfo += count
            case "hashing":
                counters.origin_bytes_hashing += count
                total.origin_bytes_hashing += count
            case "pieces":
                counters.origin_bytes_pieces += count
                total.origin_bytes_pieces += count
            case _:
                assert_never(purpose)

    def requester_charged(self) -> None:
        """Count an answer with `x-amz-request-charged: requester`."""
        self.counters.requester_charged += 1
        self.total.requester_charged += 1

    def uploaded(self, count: int) -> None:
        """Count `count` bytes of piece payload that we sent to a peer."""
        self.counters.uploaded_bytes += count
        self.total.uploaded_bytes += count

    def protocol(self, count: int) -> None:
        """Count `count` bytes that we sent and that were no piece payload."""
        self.counters.protocol_bytes += count
        self.total.protocol_bytes += count

    def delivered_verified(self, count: int) -> None:
        """Count `count` bytes that we saw a peer gain (`Delivery` says how many)."""
        self.counters.delivered_verified_bytes += count
        self.total.delivered_verified_bytes += count

    def delivered_claimed(self, count: int) -> None:
        """Count `count` bytes that a peer announced as downloaded."""
        self.counters.delivered_claimed_bytes += count
        self.total.delivered_claimed_bytes += count

    def completed(self) -> None:
        """Count a download that a peer announced as completed."""
        self.counters.completed += 1
        self.total.completed += 1

    def peer_seen(self) -> None:
        """Count a peer session."""
        self.counters.peers_seen += 1
        self.total.peers_seen += 1


@dataclass(frozen=True, slots=True)
class AccountKey:
    """One version of one object; `version` is the version id, or the ETag in its quotes."""

    origin: str
    bucket: str
    key: str
    version: str

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}"


UNATTRIBUTED = AccountKey("", "", "", "")
"""The key of the account for what no object version can be charged with."""


@dataclass(slots=True, kw_only=True, eq=False)
class Account(Tally):
    """The counts of one object version, and its torrent's state at the last refresh."""

    key: AccountKey
    info_hash: str | None = None
    """40 hex digits; None until there is metainfo."""
    size: int | None = None
    """Bytes of the object."""
    pieces: int | None = None
    state: str = "waiting"
    peers: int = 0
    """Peers in the swarm, seeds included, us not."""
    seeds: int = 0

    def absorb(self, tally: Tally) -> None:
        """Take over what was counted on `tally`, which starts again at zero."""
        self.counters = self.counters.plus(tally.counters)
        if tally.total is not self.total:
            self.total.add(tally.counters)
        tally.counters = Counters()


class Ledger:
    """Every account of this node, of this run and of former ones."""

    def __init__(self) -> None:
        self._total = Counters()
        self.unattributed = Account(key=UNATTRIBUTED, state="", total=self._total)
        """What no object version can be charged with: a HEAD that failed, the tracker's replies."""
        self._accounts: dict[AccountKey, Account] = {}
        self.groups = GroupLedger()
        """What is counted by groups of addresses."""
        self.holders = HolderLedger()
        """What is counted by the names of passkeys, of this run."""

    @contextmanager
    def tally(self) -> Iterator[Tally]:
        """Yield a tally that counts in the totals; what no account absorbs becomes unattributed."""
        tally = Tally(total=self._total)
        try:
            yield tally
        finally:
            self.unattributed.absorb(tally)

    def account(self, key: AccountKey) -> Account:
        """Return the account of `key`, opened if there is none."""
        if key == UNATTRIBUTED:
            return self.unattributed
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account(key=key, total=self._total)
        return account

    def account_of(self, pinned: PinnedObject) -> Account:
        """Return the account on which a state of an object is booked, opened if there is none."""
        ref = pinned.ref
        return self.account(AccountKey(ref.origin, ref.bucket, ref.key, pinned.version))

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Every account but the unattributed one, oldest first."""
        return tuple(self._accounts.values())

    def totals(self) -> Counters:
        """Return the sums over all accounts, the unattributed one and open tallies included."""
        return self._total.copy()

"""What leaves without waiting for the upload limits, and is paid for afterwards.

Handshakes, HAVEs, rejects, the tracker's replies: each is small, and a peer that waited for one
would hold up more than it saves. They are booked as they leave and then taken from the limit of all
peers, of which they may have one half together, so that no flood of them stops the uploads. What an
address may have so is limited, too: beyond that its messages wait in line like blocks.

No I/O.
"""

from typing import Any, Protocol

from seeder.net.buckets import AddressLimiter
from seeder.units import KIB, MIB
from seeder.upload.rates import RateLimits

SMALL_PER_SECOND, SMALL_AT_ONCE = 16 * KIB, 256 * KIB
"""Bytes of small messages that don't wait, of one address: a peer gets some hundred a second."""
GREETINGS_PER_SECOND, GREETINGS_AT_ONCE = 64 * KIB, 4 * MIB
"""Bytes with which an address is greeted; a greeting has 300 or, with a bitfield, up to 128 KiB."""


class ProtocolAccount(Protocol):
    """Where bytes are booked that were no payload."""

    def protocol(self, count: int) -> None: ...


class Overhead:
    """Books what leaves without waiting on `account`, unless it belongs to a torrent."""

    def __init__(self, account: ProtocolAccount, rates: RateLimits[Any]) -> None:
        self._account = account
        self._rates = rates
        self._unpaid = 0
        self._small = AddressLimiter(SMALL_PER_SECOND, SMALL_AT_ONCE)
        self._greetings = AddressLimiter(GREETINGS_PER_SECOND, GREETINGS_AT_ONCE)

    def protocol(self, count: int) -> None:
        """Book `count` bytes that belong to no torrent."""
        self._account.protocol(count)
        self._unpaid += count

    def of(self, account: ProtocolAccount) -> ProtocolAccount:
        """Return what books on `account` instead."""
        return _OfTorrent(self, account)

    def owe(self, count: int) -> None:
        """Note `count` bytes that are booked already, to be paid for."""
        self._unpaid += count

    def pay(self, now: float) -> None:
        """Take from the limit of all what has left; called about once a second."""
        unpaid, self._unpaid = self._unpaid, 0
        self._rates.owe(unpaid, now)

    def may_leave(self, address: bytes, size: int, now: float) -> bool:
        """Tell whether `size` bytes for a packed address needn't wait; if so, that is used up."""
        return self._rates.may_owe(size, now) and self._small.admit(address, now, size)

    def may_greet(self, address: bytes, size: int, now: float) -> bool:
        """Tell whether a packed address may have one more greeting, of `size` bytes."""
        return self._greetings.admit(address, now, size)


class _OfTorrent:
    __slots__ = ("_account", "_overhead")

    def __init__(self, overhead: Overhead, account: ProtocolAccount) -> None:
        self._overhead = overhead
        self._account = account

    def protocol(self, count: int) -> None:
        self._account.protocol(count)
        self._overhead.owe(count)

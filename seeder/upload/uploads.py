"""Every upload of the node, to peers and to HTTP clients alike: who gets how much, and when.

A `Guest` is one of them: a peer's session or a download. It takes its pieces from a `Feed`, and
sends as much as its chain of rates grants; when that is nothing, it waits in one line with all the
others. Once a second the slots are given anew, and super-seeding reviews what it shows.
"""

import logging
import random
from collections.abc import Callable, Container
from typing import Protocol

import trio

from seeder.cache.pieces import PieceCache
from seeder.config.public import PeerSettings
from seeder.errors import SeederError
from seeder.ledger.counters import Counters
from seeder.ledger.delivery import Overlap
from seeder.ledger.groups import GroupCounts
from seeder.ledger.limits import Level
from seeder.ledger.spread import Spreads
from seeder.net.guards import Lapses, sparing_others
from seeder.torrent.torrent import Torrent
from seeder.upload.connections import Connections
from seeder.upload.descriptions import Descriptions, allowance, description_size
from seeder.upload.feed import Feed, HeldPieces
from seeder.upload.overhead import Overhead, ProtocolAccount
from seeder.upload.plans import SuperSeeds
from seeder.upload.rates import Chain, RateLimits, Rates
from seeder.upload.slots import Guest, Slots
from seeder.upload.standing import CopyLimits

_LOG = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks at what depends on time, here and at each guest."""
SLOTS_HELD_BACK = 4
"""Guests that are served at a time while a budget is nearly spent."""


class UploadAccount(Protocol):
    """Where a torrent's traffic is booked."""

    @property
    def counters(self) -> Counters: ...
    def uploaded(self, count: int) -> None: ...
    def protocol(self, count: int) -> None: ...
    def delivered_verified(self, count: int) -> None: ...
    def peer_seen(self) -> None: ...


class InLine(Protocol):
    """Who stands in line: a guest, or whatever else has the upload limits."""

    def take_limits(self, now: float) -> None: ...
    def resume(self) -> None: ...
    def __hash__(self) -> int: ...


class Sources(Protocol):
    """How reads from S3 stand."""

    def is_busy(self) -> bool:
        """Tell whether some wait for a connection."""

    def hopes(self, torrent: Torrent) -> bool:
        """Tell whether the S3 of a torrent is away, and reads wait for it."""

    def next_try_in(self, torrent: Torrent) -> float:
        """Return the seconds until the S3 of a torrent may be asked again; 0 if it isn't away."""


class Uploads:
    """What all guests share.

    `account` gives where a torrent's traffic is booked, `unattributed` is where all other is;
    `origins` tells how reads from S3 stand, `group_at` where what goes to a packed address is
    counted by group, if anywhere; `sent_to` hears how many bytes the holder of a passkey was sent.
    `run` has to run for guests to be served by turns.
    """

    def __init__(
        self,
        settings: PeerSettings,
        *,
        cache: PieceCache[Torrent],
        account: Callable[[Torrent], UploadAccount],
        unattributed: ProtocolAccount,
        super_seeds: SuperSeeds,
        origins: Sources,
        group_at: Callable[[bytes], GroupCounts | None] = lambda address: None,
        sent_to: Callable[[str, int], None] = lambda holder, count: None,
    ) -> None:
        self.settings = settings
        self.group_at = group_at
        self.sent_to = sent_to
        self.account = account
        self.super_seeds = super_seeds
        self.rates: RateLimits[InLine] = RateLimits(_rates(settings))
        self._unattributed = unattributed
        self.overhead = Overhead(unattributed, self.rates)
        """What leaves without waiting for the rates."""
        self.spent: str | None = None
        """The key of the budget that is spent, so that nothing is sent; None while it isn't."""
        self._descriptions = Descriptions()
        self.slots = Slots(
            settings.upload_slots,
            copies=_copy_limits(settings),
            is_scarce=self._is_scarce,
            chance=random.random,
        )
        self.connections = Connections(
            settings, trio.current_time, held_back=self.slots.is_held_back
        )
        self.overlap = Overlap()
        """Keeps what both a peer and a download of one address were sent from counting twice."""
        self.spreads = Spreads()
        """What was seen of all torrents' peers, to judge what they say that they gained."""
        self.held = HeldPieces()
        """Counts the cold pieces that the feeds hold."""
        self._cache = cache
        self._origins = origins
        self._guests: set[InLine] = set()
        self._pace = trio.Event()

    # -- guests

    def account_of(self, torrent: Torrent | None) -> ProtocolAccount:
        """Return where protocol bytes are booked: a torrent's account, or that of all other."""
        return self._unattributed if torrent is None else self.account(torrent)

    @property
    def is_limited(self) -> bool:
        """Whether anything has to wait for a rate."""
        return _rates(self.settings).any

    @property
    def is_short(self) -> bool:
        """Whether the rate of all peers together is used up."""
        return self.rates.is_short(trio.current_time())

    def join(self, guest: InLine) -> None:
        """Take in a guest whose torrent is known: it hears of other limits from now on."""
        self._guests.add(guest)

    def leave_line(self, waiter: InLine) -> None:
        """Forget one that is no guest of the slots."""
        self._guests.discard(waiter)

    def leave(self, guest: Guest, now: float) -> None:
        """Forget a guest, but not what its address has had; one that never joined is no error."""
        self._guests.discard(guest)
        self.slots.leave(guest, now)

    def feed(
        self,
        guest: Guest,
        torrent: Torrent,
        wanted: Container[int],
        *,
        tell: Callable[[int, SeederError | None], None],
        taken: Callable[[], int],
        stop: int | None = None,
    ) -> Feed:
        """Return a feed of the pieces `wanted` by a guest; for the other arguments see `Feed`."""
        slots, clock, networks = self.slots, trio.current_time, guest.networks
        return Feed(
            self._cache,
            torrent,
            wanted,
            tell=tell,
            taken=taken,
            # A plain call for speed, in the task that looks for pieces.
            may_read=lambda size: slots.may_fetch(guest, size, clock()),
            # It is kept while pieces are on their way, and so doesn't name the guest.
            unread=lambda size: slots.give_back(torrent.info_hash, networks, size, clock()),
            waits=lambda: self.waits(torrent),
            clock=clock,
            held=self.held,
            network=networks[-1],
            stop=stop,
        )

    def doubt(self, torrent: Torrent, index: int, *, wanted: bool) -> None:
        """Have a piece that somebody was sent looked at again: it may have been wrong.

        If it is `wanted` again, that comes before anything of it is sent from disk.
        """
        self._cache.doubt(torrent, index, wanted=wanted)

    def waits(self, torrent: Torrent) -> bool:
        """Tell whether S3 is away, and reads of a torrent wait for it."""
        return self._origins.hopes(torrent)

    def retry_in(self, torrent: Torrent) -> float:
        """Return the seconds after which it is worth asking again for what S3 doesn't give now."""
        return self._origins.next_try_in(torrent)

    def wait_in_line(self, guest: InLine, chain: Chain, most: int, now: float) -> None:
        """Have a guest's `resume` called when its chain allows up to `most` bytes again."""
        self.rates.waiting.add(guest, chain, most, now)
        # The timer may have to wake earlier.
        self._pace.set()

    def may_describe(
        self, torrent: Torrent, address: bytes, size: int, whole: int | None = None
    ) -> bool:
        """Tell whether an address may have `size` bytes of a torrent's description; if so, count.

        The address is packed. The whole description has `whole` bytes; by default those of the
        metadata, which has to be at hand, and of the hashes.
        """
        now, copies = trio.current_time(), self.settings.copies_per_address
        if self.spent is not None or copies is None:
            return self.spent is None
        most = allowance(description_size(torrent) if whole is None else whole, copies)
        return self._descriptions.admit(torrent.info_hash, address, size, now, most=most)

    def describe_less(self, torrent: Torrent, address: bytes, size: int) -> None:
        """Give back to an address `size` bytes of a description that weren't sent."""
        self._descriptions.give_back(torrent.info_hash, address, size, trio.current_time())

    # -- settings

    def change(self, settings: PeerSettings) -> None:
        """Keep to other rates, slots and numbers of connections; guests that are here stay."""
        self.settings = self.connections.limits = settings
        now = trio.current_time()
        waiting = self.rates.change(_rates(settings), now)
        self.slots.change(settings.upload_slots, _copy_limits(settings))
        for guest in self._guests:
            guest.take_limits(now)
        for guest in waiting:
            guest.resume()

    def hold_back(self, level: Level, spent: str = "") -> None:
        """Limit the guests served at a time, and the pieces shown, to what the budget allows.

        `spent` is the key of the limit that has led to the level.
        """
        self.spent = spent if level >= Level.TRACKER_ONLY else None
        most = None if level < Level.FEWER_SLOTS else SLOTS_HELD_BACK
        self.slots.most = 0 if level >= Level.TRACKER_ONLY else most
        self.super_seeds.show_only_held(level >= Level.CACHE_ONLY)

    # -- time

    async def run(self) -> None:
        """Give the slots, and wake guests whose turn it is to send, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tick)
            nursery.start_soon(self._keep_pace)

    async def _tick(self) -> None:
        # Without it nobody comes to be served.
        lapses = Lapses(_LOG, "the upload slots", vital=True)
        while True:
            await trio.sleep(TICK)
            now = trio.current_time()
            async with lapses.spared():
                self.slots.review(now)
                self.super_seeds.tick(now)
                self.overhead.pay(now)

    async def _keep_pace(self) -> None:
        waiting, lapses = self.rates.waiting, Lapses(_LOG, "the upload rates", vital=True)
        while True:
            self._pace = trio.Event()
            async with lapses.spared():
                self._resume_due()
            with trio.move_on_at(waiting.next_at):
                await self._pace.wait()

    def _resume_due(self) -> None:
        # A guest sends in the task of the timer: a task for each would cost more than the sending.
        for guest in self.rates.waiting.due(trio.current_time()):
            with sparing_others(_LOG, "an upload"):
                guest.resume()

    def _is_scarce(self) -> bool:
        return self.is_short or self._origins.is_busy()


def _rates(settings: PeerSettings) -> Rates:
    return Rates(
        total=settings.upload_rate,
        torrent=settings.upload_rate_per_torrent,
        peer=settings.upload_rate_per_peer,
    )


def _copy_limits(settings: PeerSettings) -> CopyLimits:
    return CopyLimits(
        copies=settings.copies_per_address, origin_copies=settings.origin_copies_per_address
    )

"""The choker at work: what it has to know of each guest, when it decides, and what follows.

It decides once a second. A guest that comes while a slot is free is served at once, which saves it
a round trip.

No I/O.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal, Protocol, TypeAlias

from seeder.net.addresses import Networks, network_text
from seeder.net.notices import Notices
from seeder.torrent.torrent import Torrent
from seeder.upload.choker import ChokePolicy, PeerView, decide
from seeder.upload.sharers import STALLED_AFTER, Claim, Sharers, choose
from seeder.upload.standing import ORIGIN_SHARES, AddressHistory, CopyLimits, Standing

_LOG = logging.getLogger(__name__)

UploadSlots: TypeAlias = int | Literal["auto", "unlimited"]

SMOOTHING = 0.5
"""Weight of the last second in a rate."""
REVIEWS_TO_SWITCH = 5
"""Consecutive reviews of scarcity (or plenty) before slots are switched on (or off)."""


class Guest(Protocol):
    """One upload: a peer's session, or a download over HTTP.

    Where places are scarce, the one that is worth least is ended first.
    """

    @property
    def networks(self) -> Networks: ...
    @property
    def torrent(self) -> Torrent | None: ...
    @property
    def uploaded(self) -> int: ...
    @property
    def needs(self) -> int: ...
    @property
    def peer_id(self) -> bytes: ...
    @property
    def interested(self) -> bool: ...

    def worth(self, now: float) -> tuple[int, float]: ...
    def serve(self) -> None: ...
    def hold(self) -> None: ...
    def slow_down(self, *, slow: bool) -> None: ...
    def end(self, reason: str) -> None: ...
    def take_limits(self, now: float) -> None: ...
    def resume(self) -> None: ...
    def __hash__(self) -> int: ...


@dataclass(slots=True)
class _Place:
    """What is remembered of one guest between two decisions."""

    since: float
    sharers: Sharers[Guest]
    choked: bool = True
    is_new: bool = True
    optimistic: bool = False
    standing: Standing = Standing.FINE
    uploaded: int = 0
    uploaded_before_turn: int = 0
    rate: float = 0.0
    moved_at: float = 0.0
    """When it was last sent anything, or let another go first."""
    passed: int = 0
    """How often it has let others at its address go first."""


class Slots:
    """Which guests are served; `is_scarce` tells whether the uplink or S3 is at its limit."""

    def __init__(
        self,
        slots: UploadSlots,
        *,
        copies: CopyLimits,
        is_scarce: Callable[[], bool],
        chance: Callable[[], float],
    ) -> None:
        self.most: int | None = None
        """Places that a budget leaves; None is all."""
        self.history = AddressHistory()
        self._slots = slots
        self._copies = copies
        self._policy = ChokePolicy()
        self._is_scarce = is_scarce
        self._chance = chance
        self._places: dict[Guest, _Place] = {}
        self._sharers: dict[tuple[bytes, bytes], Sharers[Guest]] = {}
        """By torrent and address."""
        self._crowded = Notices()
        self._costly = Notices()
        self._served = 0
        """Guests that are not choked."""
        self._reviewed_at: float | None = None
        self._scarce_reviews = 0
        self._scarce = False

    def change(self, slots: UploadSlots, copies: CopyLimits) -> None:
        """Keep to other settings from the next decision on."""
        self._slots = slots
        self._copies = copies

    @property
    def places(self) -> int | None:
        """How many guests may be served at a time; None is as many as there are."""
        places = self._slots if isinstance(self._slots, int) else None
        if places is None and self._slots == "auto" and self._scarce:
            places = self._policy.slots
        if self.most is None:
            return places
        return self.most if places is None else min(places, self.most)

    @property
    def served(self) -> int:
        """How many guests are."""
        return self._served

    def may_fetch(self, guest: Guest, size: int, now: float) -> bool:
        """Tell whether `size` bytes may be read from S3 for this guest, and book them if so."""
        torrent = guest.torrent
        assert torrent is not None
        networks, copies = guest.networks, self._copies
        had = self.history.had(torrent.info_hash, networks, now)
        for network, (_, fetched) in zip(networks, had, strict=True):
            if not copies.may_fetch(fetched, torrent.layout.size, ORIGIN_SHARES[len(network)]):
                self._tell_costly(guest, network, now)
                return False
        if size:
            self.history.add(torrent.info_hash, networks, now, fetched=size)
        return True

    def give_back(self, torrent: bytes, networks: Networks, size: int, now: float) -> None:
        """Take note that S3 didn't send `size` of the bytes that `may_fetch` has booked."""
        self.history.take_back(torrent, networks, now, fetched=size)

    def come(self, guest: Guest, now: float) -> None:
        """Take in a guest, and serve it at once if a slot is free."""
        place = self._places[guest] = _Place(now, self._join_sharers(guest))
        self._weigh(guest, place, now)
        if place.standing is Standing.REFUSED or self._has_to_wait(guest, place.sharers, now):
            return
        places, fine = self.places, place.standing is Standing.FINE
        if places is None or (fine and self._served < places):
            self._serve(guest, place, now)

    def leave(self, guest: Guest, now: float) -> None:
        """Forget a guest, but not what its address has had; an unknown one is no error."""
        place = self._places.pop(guest, None)
        if place is not None:
            self._remember(guest, place, now)
            self._served -= not place.choked
            self._leave_sharers(guest, place.sharers)

    def is_held_back(self, guest: Guest, now: float) -> bool:
        """Tell whether a guest has only waited, and for a while, for others at its address."""
        place = self._places.get(guest)
        return (
            place is not None
            and place.choked
            and not guest.uploaded
            and place.sharers.spare < 0
            and now - place.since > STALLED_AFTER
        )

    def review(self, now: float) -> None:
        """Decide anew; called about once a second."""
        before, self._reviewed_at = self._reviewed_at, now
        seconds = 1.0 if before is None else max(now - before, 0.001)
        self._note_scarcity()
        for guest, place in tuple(self._places.items()):
            sent = self._remember(guest, place, now)
            place.rate += SMOOTHING * (sent / seconds - place.rate)
            if sent:
                place.moved_at = now
            if sent or place.standing is not Standing.FINE:
                self._weigh(guest, place, now)
        waiting = self._hold_sharers(now)
        slots = self.places
        if slots is None:
            self._serve_all(waiting, now)
        else:
            self._give_slots(slots, waiting, now)

    def _weigh(self, guest: Guest, place: _Place, now: float) -> None:
        """See what the guest's address may still expect."""
        torrent = guest.torrent
        assert torrent is not None
        had, *around = self.history.had(torrent.info_hash, guest.networks, now)
        wide = max(each.sent for each in around)
        before = place.standing
        place.standing = self._copies.standing(had.sent, torrent.layout.size, wide)
        if place.standing is Standing.REFUSED:
            self._tell_crowded(guest, now)
            guest.end("had-enough")
        elif (place.standing is Standing.SLOW) is not (before is Standing.SLOW):
            guest.slow_down(slow=place.standing is Standing.SLOW)

    def _serve_all(self, waiting: set[Guest], now: float) -> None:
        for guest, place in tuple(self._places.items()):
            place.optimistic = False
            if guest in waiting:
                continue
            if place.choked and (place.is_new or now - place.since >= self._policy.pause):
                self._serve(guest, place, now)

    def _give_slots(self, slots: int, waiting: set[Guest], now: float) -> None:
        views = [
            self._view(guest, place, now)
            for guest, place in self._places.items()
            if place.standing is not Standing.REFUSED and not (place.choked and guest in waiting)
        ]
        decision = decide(views, now, slots=slots, chance=self._chance, policy=self._policy)
        for guest in decision.choke:
            self._hold(guest, self._places[guest], now)
        for guest in decision.unchoke:
            self._serve(guest, self._places[guest], now)
        for guest, place in self._places.items():
            place.optimistic = guest in decision.optimistic

    def _note_scarcity(self) -> None:
        change = 1 if self._is_scarce() else -1
        self._scarce_reviews = min(max(self._scarce_reviews + change, 0), REVIEWS_TO_SWITCH)
        if self._scarce_reviews in (0, REVIEWS_TO_SWITCH):
            self._scarce = self._scarce_reviews == REVIEWS_TO_SWITCH

    def _view(self, guest: Guest, place: _Place, now: float) -> PeerView[Guest]:
        torrent = guest.torrent
        assert torrent is not None
        return PeerView(
            key=guest,
            networks=guest.networks,
            standing=place.standing,
            piece_length=torrent.layout.piece_length,
            interested=guest.interested,
            choked=place.choked,
            since=place.since,
            is_new=place.is_new,
            turn_bytes=guest.uploaded - place.uploaded_before_turn,
            rate=place.rate,
            sent_to_group=self.history.had(torrent.info_hash, guest.networks, now)[0].sent,
            optimistic=place.optimistic,
        )

    def _remember(self, guest: Guest, place: _Place, now: float) -> int:
        """Note what was sent since the last time, and return how much that is."""
        assert guest.torrent is not None
        sent = guest.uploaded - place.uploaded
        if sent:
            self.history.add(
                guest.torrent.info_hash,
                guest.networks,
                now,
                sent=sent,
                clients=place.sharers.clients,
            )
            place.uploaded = guest.uploaded
        return sent

    # -- those who share an address

    def _join_sharers(self, guest: Guest) -> Sharers[Guest]:
        sharers = self._sharers.setdefault(_sharers_of(guest), Sharers())
        sharers.add(guest, guest.peer_id)
        return sharers

    def _leave_sharers(self, guest: Guest, sharers: Sharers[Guest]) -> None:
        sharers.remove(guest)
        if not sharers.guests:
            del self._sharers[_sharers_of(guest)]

    def _has_to_wait(self, guest: Guest, sharers: Sharers[Guest], now: float) -> bool:
        """Tell whether a newcomer has to wait for others at its address.

        Hundreds may come in a second, so not each of them has all the others looked at: not where
        what the last look left is enough, nor where some wait already. These wait with it, until
        the next review.
        """
        if len(sharers.guests) == 1 or not self._wants(guest):
            return False
        if guest.needs <= sharers.spare:
            sharers.spare -= guest.needs
            return False
        return sharers.spare < 0 or guest in self._waiting(sharers, now)

    def _hold_sharers(self, now: float) -> set[Guest]:
        """Hold those who are to wait for others at their address, and return them."""
        waiting: set[Guest] = set()
        for sharers in self._sharers.values():
            if len(sharers.guests) > 1:
                self._weigh_held(sharers, now)
                waiting |= self._waiting(sharers, now)
        for guest in waiting:
            place = self._places[guest]
            if not place.choked and now - place.since >= self._policy.pause:
                self._hold(guest, place, now)
        return waiting

    def _weigh_held(self, sharers: Sharers[Guest], now: float) -> None:
        """See what those may still expect who were sent nothing, before they are served."""
        for guest in tuple(sharers.guests):
            place = self._places[guest]
            if place.choked and place.standing is Standing.FINE:
                self._weigh(guest, place, now)

    def _waiting(self, sharers: Sharers[Guest], now: float) -> set[Guest]:
        """Return who of them has to wait, so that others at the address come to their end."""
        copies, first = self._copies, next(iter(sharers.guests))
        torrent = first.torrent
        assert torrent is not None
        had = self.history.had(torrent.info_hash, first.networks, now)[0].sent
        # What was sent since the last review isn't in there yet.
        fresh = sum(guest.uploaded - self._places[guest].uploaded for guest in sharers.guests)
        room = copies.left(had + fresh / sharers.clients, torrent.layout.size)
        if room is None:
            sharers.spare = inf
            return set()
        room *= sharers.clients
        claims = [
            self._claim(guest, number, now)
            for number, guest in enumerate(sharers.guests)
            if self._wants(guest)
        ]
        spare = room - sum(claim.needs for claim in claims)
        sharers.spare = max(0.0, spare)
        if spare >= 0:
            return set()
        chosen = choose(claims, room)
        waiting = {claim.guest for claim in claims} - chosen
        if waiting:
            sharers.spare = -1.0
            self._pass_over(chosen, now)
            self._tell_crowded(first, now)
        return waiting

    def _claim(self, guest: Guest, number: int, now: float) -> Claim[Guest]:
        place = self._places[guest]
        settled = not (place.choked or place.passed) and now - place.since > STALLED_AFTER
        return Claim(guest, guest.needs, guest.uploaded, place.passed, number, settled)

    def _wants(self, guest: Guest) -> bool:
        place = self._places[guest]
        begun = guest.interested or guest.uploaded or place.is_new
        return bool(begun and guest.needs) and place.standing is not Standing.REFUSED

    def _pass_over(self, chosen: set[Guest], now: float) -> None:
        """Have those let others go first, from the next decision on, who take nothing."""
        for guest in chosen:
            place = self._places[guest]
            if not place.choked and now - max(place.moved_at, place.since) > STALLED_AFTER:
                place.passed += 1
                place.moved_at = now

    def _tell_crowded(self, guest: Guest, now: float) -> None:
        """Log, for a torrent and an address, which limit bites, and what to set."""
        copies, torrent = self._copies.copies, guest.torrent
        assert torrent is not None
        if copies is not None and self._crowded.is_due(_sharers_of(guest), now):
            _LOG.warning(
                "%s: more is asked for from %s than peer.copies_per_address = %g allows, so clients"
                " wait there, or are refused; if many people share that address, set it to their"
                ' number: see "Many people behind one address" in the documentation',
                torrent.pinned.ref,
                network_text(guest.networks[0]),
                copies,
            )

    def _tell_costly(self, guest: Guest, network: bytes, now: float) -> None:
        """Log, for a torrent and a network, that S3 isn't read for it any more."""
        torrent = guest.torrent
        assert torrent is not None
        if self._costly.is_due((torrent.info_hash, network), now):
            _LOG.warning(
                "%s: S3 was read for %s as often as peer.origin_copies_per_address = %g allows, so"
                " clients there get what is cached and no more; raise cache.disk if it doesn't hold"
                " the object, or else that limit",
                torrent.pinned.ref,
                network_text(network),
                self._copies.origin_copies,
            )

    # -- places

    def _serve(self, guest: Guest, place: _Place, now: float) -> None:
        self._served += 1
        place.choked, place.since, place.is_new = False, now, False
        place.uploaded_before_turn = guest.uploaded
        guest.serve()

    def _hold(self, guest: Guest, place: _Place, now: float) -> None:
        self._served -= 1
        place.choked, place.since = True, now
        guest.hold()


def _sharers_of(guest: Guest) -> tuple[bytes, bytes]:
    assert guest.torrent is not None
    return guest.torrent.info_hash, guest.networks[0]

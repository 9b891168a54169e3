"""The choker at work: who is served when it comes, who takes turns, what addresses have had."""

from dataclasses import dataclass, field
from math import log

import pytest

from seeder.net.addresses import Networks, networks_of
from seeder.torrent.catalog import Torrent
from seeder.units import MIB
from seeder.upload.slots import REVIEWS_TO_SWITCH, Slots, UploadSlots
from seeder.upload.standing import CopyLimits
from tests.peer.node import make_data, make_torrent
from tests.tracker.announcing import packed

TORRENT = make_torrent(make_data(100_000))
LEAST = CopyLimits().least


@dataclass(eq=False)
class Guest:
    """A session that only notes what becomes of it."""

    address: str = "192.0.2.1"
    torrent: Torrent | None = TORRENT
    uploaded: int = 0
    interested: bool = True
    served: bool = False
    slow: bool = False
    ended: list[str] = field(default_factory=list)

    @property
    def networks(self) -> Networks:
        return networks_of(packed(self.address))

    def worth(self, now: float) -> tuple[int, float]:
        return 0, now

    def serve(self) -> None:
        self.served = True

    def hold(self) -> None:
        self.served = False

    def slow_down(self, *, slow: bool) -> None:
        self.slow = slow

    def end(self, reason: str) -> None:
        self.ended.append(reason)

    def take_limits(self, now: float) -> None:
        """It has no chain."""

    def resume(self) -> None:
        """It sends nothing."""


@dataclass
class Conditions:
    scarce: bool = False


def make(
    slots: UploadSlots = "auto", *, copies: CopyLimits | None = None
) -> tuple[Slots, Conditions]:
    conditions = Conditions()
    made = Slots(
        slots,
        copies=copies or CopyLimits(),
        is_scarce=lambda: conditions.scarce,
        chance=lambda: 0.5,
    )
    return made, conditions


def come(slots: Slots, *guests: Guest, now: float = 0.0) -> list[bool]:
    for guest in guests:
        slots.come(guest, now)
    return [guest.served for guest in guests]


def distinct(count: int) -> list[Guest]:
    return [Guest(f"10.0.{number}.1") for number in range(count)]


@pytest.mark.parametrize("wanted", ["auto", "unlimited"])
def test_everybody_is_served_at_once_while_there_is_enough(wanted: UploadSlots) -> None:
    slots, _ = make(wanted)
    assert all(come(slots, *distinct(100)))


def test_who_was_just_choked_waits_even_then_and_a_newcomer_does_not() -> None:
    slots, _ = make()
    slots.most = 0
    guests = distinct(2)
    come(slots, *guests)
    slots.most = 1
    slots.review(1.0)
    slots.most = 0
    slots.review(50.0)
    assert not any(guest.served for guest in guests)
    slots.most = None
    slots.review(51.0)
    assert sum(guest.served for guest in guests) == 1
    slots.review(60.0)
    assert all(guest.served for guest in guests)


def test_with_a_number_of_slots_so_many_are_served() -> None:
    slots, _ = make(2)
    guests = distinct(4)
    assert come(slots, *guests) == [True, True, False, False]
    slots.leave(guests[0], 1.0)
    late = Guest("192.0.2.9")
    assert come(slots, late, now=1.0) == [True]
    slots.leave(late, 2.0)
    slots.review(2.0)
    assert [guest.served for guest in guests[1:]] == [True, True, False]


def test_turns_pass_on() -> None:
    slots, _ = make(2)
    guests = distinct(4)
    come(slots, *guests)
    for second in range(1, 200):
        for guest in guests:
            guest.uploaded += MIB * guest.served
        slots.review(float(second))
        assert sum(guest.served for guest in guests) == 2
    sent = [guest.uploaded for guest in guests]
    assert max(sent) < 2 * min(sent)


def test_slots_come_when_there_is_too_little_for_a_while_and_go_again() -> None:
    slots, conditions = make()
    guests = distinct(30)
    come(slots, *guests)
    conditions.scarce = True
    now = 100.0
    for _ in range(REVIEWS_TO_SWITCH - 1):
        now += 1
        slots.review(now)
        assert all(guest.served for guest in guests)
    slots.review(now + 1)
    assert sum(guest.served for guest in guests) == 20
    conditions.scarce = False
    now += 100
    for _ in range(REVIEWS_TO_SWITCH - 1):
        now += 1
        slots.review(now)
        assert sum(guest.served for guest in guests) == 20
    # Whose turn has just ended waits a little in any case.
    slots.review(now + 10)
    assert all(guest.served for guest in guests)


def test_scarcity_changes_nothing_where_slots_are_unlimited() -> None:
    slots, conditions = make("unlimited")
    conditions.scarce = True
    guests = distinct(30)
    come(slots, *guests)
    for second in range(100, 120):
        slots.review(float(second))
    assert all(guest.served for guest in guests)


@pytest.mark.parametrize("wanted", ["auto", "unlimited", 5])
def test_a_budget_leaves_fewer_slots_or_none(wanted: UploadSlots) -> None:
    slots, _ = make(wanted)
    slots.most = 3
    guests = distinct(10)
    assert sum(come(slots, *guests)) == 3
    slots.most = 0
    slots.review(100.0)
    assert not any(guest.served for guest in guests)
    slots.most = None
    slots.review(200.0)
    assert sum(guest.served for guest in guests) == (5 if wanted == 5 else 10)


@pytest.mark.parametrize("wanted", ["auto", 5])
def test_an_address_that_had_too_much_is_slowed_down_then_refused(wanted: UploadSlots) -> None:
    slots, _ = make(wanted)
    guest = Guest()
    come(slots, guest)
    guest.uploaded = 3 * LEAST - 1
    slots.review(1.0)
    assert (guest.slow, guest.ended) == (False, [])
    guest.uploaded = 3 * LEAST + MIB
    slots.review(2.0)
    assert (guest.slow, guest.ended) == (True, [])
    guest.uploaded = 4 * LEAST + MIB
    slots.review(3.0)
    assert guest.ended == ["had-enough"]
    # Another connection doesn't help, another address does.
    slots.leave(guest, 4.0)
    again, other = Guest(), Guest("192.0.2.2")
    assert come(slots, again, other, now=4.0) == [False, True]
    assert again.ended == ["had-enough"]


def test_what_was_sent_since_the_last_review_counts_when_a_session_ends() -> None:
    slots, _ = make()
    for _ in range(4):
        guest = Guest()
        come(slots, guest)
        assert guest.ended == []
        guest.uploaded = LEAST
        slots.leave(guest, 0.0)
    guest = Guest()
    come(slots, guest)
    assert guest.ended == ["had-enough"]


def test_what_s3_is_read_for_an_address_has_an_end() -> None:
    slots, _ = make()
    guest, same, other = Guest(), Guest(), Guest("192.0.2.2")
    come(slots, guest, same, other)
    most = int(1.25 * LEAST) // MIB
    assert [slots.may_fetch(guest, MIB, 0.0) for _ in range(most + 1)] == [True] * most + [False]
    assert not slots.may_fetch(same, MIB, 0.0)
    assert slots.may_fetch(other, MIB, 0.0)
    assert slots.may_fetch(guest, MIB, 86_400.0)


def test_what_s3_did_not_send_is_given_back_to_an_address_and_its_networks() -> None:
    slots = make()[0]
    guest = Guest()
    most = 0
    while slots.may_fetch(guest, MIB, 0.0):
        most += 1
    assert guest.torrent is not None
    for _ in range(most):
        slots.give_back(guest.torrent.info_hash, guest.networks, MIB, 120.0)
    for had in slots.history.had(guest.torrent.info_hash, guest.networks, 120.0):
        assert had.fetched == 0
    assert [slots.may_fetch(guest, MIB, 120.0) for _ in range(most + 1)] == [True] * most + [False]


def test_nobody_gets_more_by_what_was_given_back() -> None:
    slots = make()[0]
    guest = Guest()
    assert guest.torrent is not None
    slots.give_back(guest.torrent.info_hash, guest.networks, 1000 * MIB, 0.0)
    assert slots.may_fetch(guest, MIB, 0.0)
    slots.give_back(guest.torrent.info_hash, guest.networks, 1000 * MIB, 0.0)
    [had, *_] = slots.history.had(guest.torrent.info_hash, guest.networks, 0.0)
    assert had.fetched == 0


@pytest.mark.parametrize(
    ("network", "copies"),
    [("192.0.2.{0}", 4), ("2001:db8:1:{0:x}::", 2), ("2001:db8:1:{0:x}00::", 4)],
)
def test_what_s3_is_read_for_a_network_in_a_day_is_bounded(network: str, copies: int) -> None:
    """The figure of config/README.md: so many times what an address may, and ln 2 of it a day."""
    slots, _ = make()
    guests = [Guest(network.format(number)) for number in range(256)]
    fetched = 0
    for minute in range(0, 24 * 60, 10):
        for guest in guests:
            while slots.may_fetch(guest, MIB, 60.0 * minute):
                fetched += MIB
        if not minute:
            assert fetched == copies * 1.25 * LEAST
    most = copies * 1.25 * LEAST * (1 + log(2))
    assert 0.95 * most < fetched < 1.01 * most
    # Nobody else pays for it.
    assert slots.may_fetch(Guest("198.51.100.1"), MIB, 86_400.0)


def test_a_cluster_in_one_network_is_served_to_the_last_machine() -> None:
    slots, conditions = make()
    machines = [Guest(f"192.0.2.{number}") for number in range(250)]
    assert all(come(slots, *machines))
    conditions.scarce = True
    for second in range(1, 4000):
        for guest in machines:
            guest.uploaded += int(LEAST / 4) * guest.served
            if guest.uploaded >= LEAST:
                slots.leave(guest, float(second))
        machines = [guest for guest in machines if guest.uploaded < LEAST]
        if not machines:
            break
        assert not any(guest.ended or guest.slow for guest in machines)
        slots.review(float(second))
    assert not machines


def test_a_network_that_had_much_comes_last_when_it_gets_tight() -> None:
    slots, _ = make(2)
    first = [Guest(f"192.0.2.{number}") for number in range(100)]
    for guest in first:
        slots.come(guest, 0.0)
        guest.uploaded = LEAST
        slots.leave(guest, 0.0)
    waiting = [Guest(f"192.0.2.{number}") for number in range(100, 110)]
    come(slots, *waiting)
    others = [Guest("198.51.100.1"), Guest("203.0.113.1")]
    come(slots, *others, now=1.0)
    slots.review(2.0)
    assert all(guest.served for guest in others)
    for guest in others:
        slots.leave(guest, 3.0)
    slots.review(3.0)
    assert sum(guest.served for guest in waiting) == 2

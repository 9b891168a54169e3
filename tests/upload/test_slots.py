"""The choker at work: who is served when it comes, who takes turns, what addresses have had."""

from dataclasses import dataclass, field
from math import log

import pytest

from seeder.net.addresses import Networks, networks_of
from seeder.torrent.torrent import Torrent
from seeder.units import MIB
from seeder.upload.slots import REVIEWS_TO_SWITCH, Slots, UploadSlots
from seeder.upload.standing import CopyLimits
from tests.peer.node import make_data, make_torrent
from tests.tracker.announcing import packed

TORRENT = make_torrent(make_data(100_000))
LEAST = CopyLimits().least
WHOLE = make_torrent(make_data(LEAST), piece_length=MIB)


@dataclass(eq=False)
class Guest:
    """A session that only notes what becomes of it."""

    address: str = "192.0.2.1"
    torrent: Torrent | None = TORRENT
    uploaded: int = 0
    interested: bool = True
    needs: int = 0
    peer_id: bytes = b""
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
    """The figure of config/serving.md: so many times what an address may, and ln 2 of it a day."""
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


def crowd(slots: Slots, count: int, *, address: str = "192.0.2.1", ids: int = 1000) -> list[Guest]:
    """Have guests come that want an object of 64 MiB each, under `ids` peer ids."""
    guests = [
        Guest(address, torrent=WHOLE, needs=LEAST, peer_id=b"%020d" % (number % ids))
        for number in range(count)
    ]
    come(slots, *guests)
    return guests


def serve(slots: Slots, guests: list[Guest], seconds: range, amount: int = 8 * MIB) -> int:
    """Have those take some who are served; return how many had everything and left."""
    finished = 0
    for second in seconds:
        for guest in [each for each in guests if each.served and not (each.slow or each.ended)]:
            step = min(amount, guest.needs)
            guest.uploaded += step
            guest.needs -= step
            if not guest.needs:
                slots.leave(guest, float(second))
                guests.remove(guest)
                finished += 1
        slots.review(float(second))
    return finished


def test_of_many_clients_of_an_address_a_few_are_served_to_their_end() -> None:
    slots, _ = make()
    guests = crowd(slots, 60)
    # More come than what is left is enough for: soon a few have it.
    slots.review(11.0)
    assert sum(guest.served for guest in guests) == 4
    assert serve(slots, guests, range(12, 200)) == 12
    # What is left goes to one after the other, slowly; nobody who is under way is ended.
    assert sum(guest.served for guest in guests) == 1
    assert not any(guest.ended for guest in guests)
    slots.change("auto", CopyLimits(60))
    assert serve(slots, guests, range(200, 600)) == 48


def test_clients_count_as_several_up_to_four() -> None:
    for ids, finished in [(1, 3), (2, 6), (4, 12), (40, 12)]:
        slots, _ = make()
        assert serve(slots, crowd(slots, 60, ids=ids), range(1, 300)) == finished


def test_an_address_whose_copies_are_enough_for_all_serves_all() -> None:
    slots, _ = make()
    guests = crowd(slots, 12)
    slots.review(11.0)
    assert all(guest.served for guest in guests)


@dataclass(eq=False)
class Asked(Guest):
    """One that counts how often it is asked what it lacks."""

    times: int = 0

    def __getattribute__(self, name: str) -> object:
        if name == "needs":
            self.times += 1
        return super().__getattribute__(name)


@pytest.mark.parametrize("ids", [1, 1000])
@pytest.mark.parametrize("lacks", [1000, LEAST])
def test_who_comes_to_a_crowd_has_not_all_of_it_looked_at(ids: int, lacks: int) -> None:
    slots, _ = make()
    guests = [
        Asked(torrent=WHOLE, needs=lacks, peer_id=b"%020d" % (number % ids))
        for number in range(400)
    ]
    come(slots, *guests)
    assert sum(guest.times for guest in guests) < 10 * len(guests)
    assert all(guest.served for guest in guests) is (lacks == 1000)


@pytest.mark.parametrize("reviewed", [False, True])
def test_what_was_left_when_a_crowd_came_is_not_believed_once_one_is_alone(
    reviewed: bool,
) -> None:
    slots, _ = make()
    guests = crowd(slots, 2, ids=1)
    slots.leave(guests[1], 0.0)
    guests[0].uploaded = 5 * LEAST // 2
    if reviewed:
        slots.review(1.0)
    late = Guest(torrent=WHOLE, needs=LEAST, peer_id=guests[0].peer_id)
    assert come(slots, late, now=1.0) == [False]


def test_what_several_clients_are_sent_counts_in_part_for_them_and_in_full_around_them() -> None:
    slots, _ = make()
    for guest in crowd(slots, 4):
        guest.uploaded = LEAST
    slots.review(1.0)
    had = slots.history.had(WHOLE.info_hash, networks_of(packed("192.0.2.1")), 1.0)
    assert [round(each.sent / LEAST, 3) for each in had] == [1.0, 4.0]


def test_an_address_without_a_limit_of_copies_serves_all() -> None:
    slots, _ = make(copies=CopyLimits(None))
    assert all(guest.served for guest in crowd(slots, 100))


def test_crowds_of_two_addresses_do_not_wait_for_each_other() -> None:
    slots, _ = make()
    one = crowd(slots, 60)
    other = crowd(slots, 60, address="198.51.100.1")
    assert serve(slots, one + other, range(1, 200)) == 24


def test_addresses_of_one_slash_64_are_one_crowd() -> None:
    slots, _ = make()
    guests = [
        Guest(f"2001:db8::{n:x}", torrent=WHOLE, needs=LEAST, peer_id=b"%020d" % n)
        for n in range(60)
    ]
    come(slots, *guests)
    slots.review(11.0)
    assert sum(guest.served for guest in guests) == 4


def test_who_takes_nothing_lets_the_next_of_its_crowd_go_first() -> None:
    slots, _ = make()
    guests = crowd(slots, 60)
    slots.review(11.0)
    idle = [guest for guest in guests if guest.served]
    for second in range(12, 60):
        slots.review(float(second))
    assert not any(guest.served for guest in idle)
    assert sum(guest.served for guest in guests) == 4


def test_slow_ones_keep_nobody_of_their_crowd_waiting_whom_their_copies_are_enough_for() -> None:
    slots, _ = make()
    slow = crowd(slots, 4)
    assert serve(slots, slow, range(60), MIB // 2) == 0
    fast = [Guest(torrent=WHOLE, needs=LEAST, peer_id=b"fast%016d" % n) for n in range(26)]
    come(slots, *fast, now=60.0)
    finished = 0
    for second in range(60, 200):
        finished += serve(slots, fast, range(second, second + 1), MIB)
        serve(slots, slow, range(second, second + 1), 1)
    assert finished == 8
    assert all(guest.served for guest in slow)


def test_who_waits_for_its_crowd_may_make_room_and_who_was_sent_anything_may_not() -> None:
    slots, _ = make()
    guests = crowd(slots, 60)
    slots.review(11.0)
    assert not any(slots.is_held_back(guest, 30.0) for guest in [*guests, Guest()])
    guests[-1].uploaded = 1
    # Twelve were served until there was a review, and wait since then, or are served.
    expected = [False] * 12 + [True] * 47 + [False]
    assert [slots.is_held_back(guest, 31.0) for guest in guests] == expected
    # Where nobody waits for another at the address, the upload slots alone decide.
    slots.change(6, CopyLimits(None))
    slots.review(33.0)
    assert not any(slots.is_held_back(guest, 90.0) for guest in guests)


def test_who_needs_nothing_waits_for_nobody_and_takes_no_turn() -> None:
    slots, _ = make()
    seeds = [Guest(torrent=WHOLE, interested=False) for _ in range(10)]
    assert all(come(slots, *seeds))
    guests = crowd(slots, 60)
    slots.review(11.0)
    assert sum(guest.served for guest in guests) == 4


def test_a_crowd_takes_its_turns_where_slots_are_few() -> None:
    slots, _ = make(6)
    guests = crowd(slots, 60)
    others = distinct(4)
    come(slots, *others)
    finished = serve(slots, guests, range(1, 400))
    assert finished == 12
    assert all(guest.served for guest in others)


def test_a_line_of_log_for_each_torrent_and_address_names_the_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slots, _ = make()
    serve(slots, crowd(slots, 60), range(1, 50))
    crowd(slots, 20, address="2001:db8:1:2::9")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "from 192.0.2.1 than peer.copies_per_address = 4 allows" in lines[0]
    assert "from 2001:db8:1:2::/64 than" in lines[1]
    assert all("Many people behind one address" in line for line in lines)


def test_ids_that_are_made_up_draw_four_times_the_copies_and_no_more() -> None:
    slots, _ = make()
    sent, number = 0, 0
    guests: list[Guest] = []
    for second in range(1, 600):
        # They say that they lack everything, however much they were sent, and come again and again.
        while len(guests) < 20:
            guests += [Guest(torrent=WHOLE, needs=LEAST, peer_id=b"%020d" % number)]
            slots.come(guests[-1], float(second))
            number += 1
        for guest in guests:
            amount = MIB * (guest.served and not guest.ended)
            guest.uploaded += amount
            sent += amount
        slots.review(float(second))
        for guest in [each for each in guests if each.ended or each.uploaded >= LEAST]:
            slots.leave(guest, float(second))
            guests.remove(guest)
    # What halves in a day lets a little more through, and so does a second's worth of all.
    assert 16 * LEAST <= sent < 16.5 * LEAST


@pytest.mark.parametrize("changes_id", [False, True])
def test_one_client_that_comes_again_stays_one(changes_id: bool) -> None:
    slots, _ = make()
    sent = 0
    for number in range(1000):
        guest = Guest(torrent=WHOLE, needs=LEAST, peer_id=b"%020d" % (number * changes_id))
        slots.come(guest, float(number))
        guest.uploaded = MIB * (guest.served and not guest.ended)
        sent += guest.uploaded
        slots.leave(guest, float(number))
    assert 4 * LEAST <= sent < 4.1 * LEAST


@pytest.mark.parametrize("amount", [8 * MIB, LEAST])
def test_downloads_without_ids_are_one_client_and_three_come_to_their_end(amount: int) -> None:
    slots, _ = make()
    downloads = [Guest(torrent=WHOLE, needs=LEAST) for _ in range(20)]
    come(slots, *downloads)
    # However fast they are: who waited is weighed before it is served.
    assert serve(slots, downloads, range(1, 200), amount) in (3, 4)
    assert sum(each.uploaded for each in downloads) < LEAST


def test_once_an_hour_the_log_names_what_an_address_may_cost_at_s3(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slots, _ = make()
    guest = Guest("192.0.2.1")
    slots.come(guest, 0.0)
    for second in range(1800):
        while slots.may_fetch(guest, MIB, float(second)):
            pass
    [line] = [record.getMessage() for record in caplog.records]
    assert "S3 was read for 192.0.2.1 as often as peer.origin_copies_per_address = " in line
    while slots.may_fetch(guest, MIB, 3600.0):
        pass
    assert len(caplog.records) == 2

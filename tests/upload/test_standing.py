"""What addresses have had, and what becomes of those that had too much."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.net.addresses import Networks, networks_of
from seeder.units import MIB
from seeder.upload.standing import AddressHistory, CopyLimits, Standing
from tests.tracker.announcing import packed

SIZE = 1000 * MIB
TORRENT = b"t" * 20
HOME = networks_of(packed("192.0.2.1"))


def test_an_address_sinks_by_what_it_was_sent() -> None:
    patience = CopyLimits()
    copies = (0, 1.9, 2, 2.9, 3, 3.9, 4, 100)
    assert [patience.standing(times * SIZE, SIZE) for times in copies] == [0, 0, 1, 1, 2, 2, 3, 3]
    twice = CopyLimits(copies=8)
    assert [twice.standing(times * SIZE, SIZE) for times in (3.9, 4, 5.9, 6, 8)] == [0, 1, 1, 2, 3]


def test_a_small_torrent_may_be_had_more_often() -> None:
    assert CopyLimits().standing(100 * MIB, 1) is Standing.FINE
    assert CopyLimits().standing(128 * MIB, 1) is Standing.LAST
    assert CopyLimits().may_fetch(79 * MIB, 1)
    assert not CopyLimits().may_fetch(80 * MIB, 1)


def test_there_may_be_no_end_to_what_an_address_may_have() -> None:
    without = CopyLimits(copies=None, origin_copies=None)
    assert without.standing(1e30, 1) is Standing.FINE
    assert without.may_fetch(1e30, 1)


def test_an_address_may_cost_about_one_object() -> None:
    assert CopyLimits().may_fetch(1.25 * SIZE - 1, SIZE)
    assert not CopyLimits().may_fetch(1.25 * SIZE, SIZE)


def test_a_network_comes_last_after_much_and_is_never_refused() -> None:
    limits = CopyLimits()
    assert limits.standing(0, SIZE, 31.9 * SIZE) is Standing.FINE
    assert limits.standing(0, SIZE, 32 * SIZE) is Standing.LAST
    assert limits.standing(0, SIZE, 1e30) is Standing.LAST
    assert limits.standing(3 * SIZE, SIZE, 1e30) is Standing.SLOW
    assert limits.standing(4 * SIZE, SIZE, 0) is Standing.REFUSED


def test_a_network_may_cost_a_multiple_of_what_an_address_may() -> None:
    limits = CopyLimits(origin_copies=2.0)
    assert limits.may_fetch(8 * SIZE - 1, SIZE, 4)
    assert not limits.may_fetch(8 * SIZE, SIZE, 4)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([b"a", b"b"]),
        st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8:1::", "2001:db8:1:1::"]),
        st.floats(0, 1e5),
        st.integers(0, 10**12),
        st.integers(0, 10**12),
    ),
    max_size=30,
)


@given(EVENTS, st.floats(0, 1e6))
def test_what_was_sent_is_remembered_by_halves_of_each_network(
    events: list[tuple[bytes, str, float, int, int]], pause: float
) -> None:
    memory = AddressHistory(half_life=1000.0)
    now = 0.0
    log = []
    for torrent, address, wait, sent, fetched in events:
        now += wait
        memory.add(torrent, at(address), now, sent=sent, fetched=fetched)
        log.append((torrent, at(address), now, sent, fetched))
    now += pause
    for torrent in (b"a", b"b"):
        for networks in {networks for _, networks, *_ in log}:
            for level, had in enumerate(memory.had(torrent, networks, now)):
                left = [
                    (0.5 ** ((now - when) / 1000.0), sent, fetched)
                    for t, n, when, sent, fetched in log
                    if t == torrent and n[level:] == networks[level:]
                ]
                assert had.sent == pytest.approx(sum(half * sent for half, sent, _ in left))
                assert had.fetched == pytest.approx(sum(half * got for half, _, got in left))


def test_the_memory_is_bounded_and_forgets_who_was_not_heard_of() -> None:
    memory = AddressHistory(most=4)
    for number in (1, 2, 3, 4):
        memory.add(TORRENT, at(f"10.0.{number}.1"), 0.0, sent=1)
    memory.add(TORRENT, at("10.0.1.1"), 0.0, sent=1)
    memory.add(TORRENT, at("10.0.5.1"), 0.0, sent=1)
    sent = [sent_to(memory, f"10.0.{number}.1") for number in (1, 2, 3, 4, 5)]
    assert sent == [2, 0, 1, 1, 1]


def test_who_goes_through_the_addresses_of_a_network_makes_us_forget_only_those() -> None:
    memory = AddressHistory(most=100)
    for number in range(40):
        memory.add(TORRENT, at(f"10.0.{number}.1"), 0.0, sent=7)
    for number in range(10_000):
        torrent = TORRENT if number % 2 else b"u" * 20
        memory.add(torrent, at(f"2001:db8:1:{number:x}::1"), 1.0, sent=1, fetched=2)
    assert all(sent_to(memory, f"10.0.{number}.1") == pytest.approx(7) for number in range(40))
    assert memory.had(TORRENT, at("2001:db8:1:ffff::1"), 1.0)[-1] == (5_000, 10_000)
    assert all(len(each._entries) <= 100 for each in memory._memories)
    assert all(len(each._shares) == len(each._entries) for each in memory._memories)


def sent_to(memory: AddressHistory, address: str) -> float:
    return memory.had(TORRENT, at(address), 0.0)[0].sent


def at(address: str) -> Networks:
    return networks_of(packed(address))


def test_asking_is_not_remembered() -> None:
    memory = AddressHistory()
    assert set(memory.had(TORRENT, at("10.0.0.1"), 0.0)) == {(0, 0)}
    assert not any(each._entries for each in memory._memories)


def test_who_downloads_again_and_again_is_refused_and_forgiven_two_days_later() -> None:
    memory, patience, now = AddressHistory(), CopyLimits(), 0.0
    seen = []
    while (
        found := patience.standing(memory.had(TORRENT, HOME, now)[0].sent, SIZE)
    ) < Standing.REFUSED:
        seen.append(found)
        memory.add(TORRENT, HOME, now, sent=SIZE // 2)
        now += 60
    assert len(seen) == 9
    assert sorted(seen) == seen
    assert (
        patience.standing(memory.had(TORRENT, HOME, now + 2 * 86400)[0].sent, SIZE) is Standing.FINE
    )

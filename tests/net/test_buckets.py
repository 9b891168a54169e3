"""How often one address may ask."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.net.addresses import networks_of
from seeder.net.buckets import SHARES, AddressLimiter
from tests.tracker.announcing import packed

A, B = packed("192.0.2.1"), packed("192.0.2.2")


def test_a_burst_is_admitted_and_then_the_rate() -> None:
    limiter = AddressLimiter(rate=10, burst=5)
    assert [limiter.admit(A, 100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert limiter.admit(A, 100.1)
    assert not limiter.admit(A, 100.1)
    assert [limiter.admit(A, 200.0) for _ in range(7)] == [True] * 5 + [False] * 2


def test_what_costs_more_takes_more_or_nothing() -> None:
    limiter = AddressLimiter(rate=10, burst=5)
    assert limiter.admit(A, 100.0, 3)
    assert not limiter.admit(A, 100.0, 3)
    assert limiter.admit(A, 100.0, 2)
    assert not limiter.admit(A, 100.1, 2)
    assert limiter.admit(A, 100.1)


def test_one_address_does_not_cost_another() -> None:
    limiter = AddressLimiter(rate=1, burst=1)
    assert limiter.admit(A, 0.0)
    assert not limiter.admit(A, 0.0)
    assert limiter.admit(B, 0.0)


def test_a_64_of_ipv6_is_one_address() -> None:
    limiter = AddressLimiter(rate=1, burst=1)
    assert limiter.admit(packed("2001:db8:0:1::1"), 0.0)
    assert not limiter.admit(packed("2001:db8:0:1:ffff::2"), 0.0)
    assert limiter.admit(packed("2001:db8:0:2::1"), 0.0)


def test_its_memory_is_bounded_and_the_longest_quiet_address_goes_first() -> None:
    limiter = AddressLimiter(rate=1, burst=1, most_addresses=2)
    assert limiter.admit(A, 0.0)
    assert limiter.admit(B, 0.0)
    assert not limiter.admit(A, 0.0)
    assert limiter.admit(packed("192.0.2.3"), 0.0)
    assert not limiter.admit(A, 0.0)
    assert limiter.admit(B, 0.0)


@pytest.mark.parametrize(
    ("network", "share"),
    [("2001:db8:1:{0:x}00::1", 16), ("2001:db8:1:00{0:02x}::1", 4), ("192.0.2.{0}", 16)],
)
def test_a_network_has_a_multiple_of_the_rate_and_no_other_pays(network: str, share: int) -> None:
    limiter = AddressLimiter(rate=10, burst=5)
    hosts = [packed(network.format(number)) for number in range(256)]
    assert sum(limiter.admit(host, 0.0) for _ in range(5) for host in hosts) == 5 * share
    assert sum(limiter.admit(host, 1.0) for _ in range(5) for host in hosts) == 10 * share // 2
    for other in ("2001:db8:2::1", "192.0.3.1"):
        assert [limiter.admit(packed(other), 1.0) for _ in range(6)] == [True] * 5 + [False]


def test_a_network_that_is_refused_pushes_nobody_out() -> None:
    """Addresses of a /48 cycle; with a bucket for each, the memory would forget the others."""
    limiter = AddressLimiter(rate=1, burst=1, most_addresses=30)
    assert limiter.admit(A, 0.0)
    flood = [packed(f"2001:db8:1:{number:x}::1") for number in range(10_000)]
    assert sum(limiter.admit(address, 0.0) for address in flood) == 16
    assert sum(limiter.admit(address, 0.5) for address in flood) == 8
    assert not limiter.admit(A, 0.5)
    assert all(len(buckets) <= 30 for buckets in limiter._full_at)


def test_forgotten_buckets_give_a_network_nothing() -> None:
    limiter = AddressLimiter(rate=1, burst=1, most_addresses=2)
    hosts = [packed(f"192.0.2.{number}") for number in range(20)]
    assert sum(limiter.admit(host, 0.0) for _ in range(3) for host in hosts) == 16


@given(
    st.lists(st.floats(0, 0.5), min_size=1, max_size=200),
    st.sampled_from([1e-3, 1.0, 1e6, 1.7e9]),
)
def test_never_more_than_the_burst_and_the_rate(steps: list[float], start: float) -> None:
    limiter, now, admitted = AddressLimiter(rate=3, burst=4), start, 0
    for step in steps:
        now += step
        admitted += limiter.admit(A, now)
        assert admitted <= 4 + 3 * (now - start) + 0.01


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["192.0.2.1", "192.0.2.2", "192.0.3.1", "2001:db8::1", "2001:db8:1::1"]
            ),
            st.sampled_from([1, 1, 2, 5]),
            st.floats(0, 0.5),
        ),
        max_size=60,
    )
)
def test_a_token_is_taken_of_every_network_around_an_address_or_of_none(
    asked: list[tuple[str, int, float]],
) -> None:
    limiter, now, left = AddressLimiter(rate=2, burst=5), 0.0, dict[bytes, tuple[float, float]]()
    for text, tokens, elapsed in asked:
        now += elapsed
        networks = networks_of(packed(text))
        there = []
        for network in networks:
            most = 5.0 * SHARES[len(network)]
            had, since = left.get(network, (most, now))
            there.append(min(most, had + (now - since) * 2 * SHARES[len(network)]))
        if any(abs(have - tokens) < 0.01 for have in there):
            return  # it would be up to rounding
        admitted = all(have > tokens for have in there)
        assert limiter.admit(packed(text), now, tokens) == admitted
        for network, have in zip(networks, there, strict=True):
            left[network] = have - tokens * admitted, now


@pytest.mark.parametrize("rest", [bytes(1), bytes(13)])
def test_the_longest_quiet_go_first_also_where_many_come(rest: bytes) -> None:
    limiter = AddressLimiter(rate=0.001, burst=2, most_addresses=1000)
    at_first, later = (
        [bytes((first, number >> 8, number & 255)) + rest for number in range(900)]
        for first in (16, 17)
    )
    for address in at_first:
        assert limiter.admit(address, 0.0, 2)
    assert limiter.admit(at_first[0], 1000.0)
    assert not limiter.admit(at_first[1], 1000.0, 2)
    for address in later:
        assert limiter.admit(address, 1000.0, 2)
        assert all(len(buckets) <= 1000 for buckets in limiter._full_at)
    assert not limiter.admit(at_first[0], 1000.0)
    assert not limiter.admit(at_first[1], 1000.0, 2)
    assert not limiter.admit(later[0], 1000.0)
    assert limiter.admit(at_first[2], 1000.0, 2)


@pytest.mark.parametrize("now", [0.0, 1e6, 1.7e9])
def test_rounding_costs_no_token(now: float) -> None:
    limiter = AddressLimiter(rate=3, burst=1)
    for _ in range(100):
        assert limiter.admit(A, now)
        now += 1 / 3


def test_who_may_wait_has_its_turn_later() -> None:
    limiter = AddressLimiter(rate=10, burst=5)
    waits = [limiter.wait(A, 100.0, 1.0) for _ in range(16)]
    assert waits[:5] == [0.0] * 5
    assert waits[5:15] == pytest.approx([number / 10 for number in range(1, 11)], abs=1e-3)
    assert waits[15] is None
    # The refused one took nothing, and the others are due.
    assert limiter.wait(A, 101.0, 1.0) == pytest.approx(0.1, abs=1e-3)
    assert not limiter.admit(A, 101.0)
    # Who is of the same /24 waits for nobody.
    assert limiter.wait(B, 101.0, 0.0) == 0.0

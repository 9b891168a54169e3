"""What leaves without waiting: booked, paid for afterwards, and only so much of it."""

from seeder.ledger.counters import Tally
from seeder.units import KIB, MIB
from seeder.upload.overhead import (
    GREETINGS_AT_ONCE,
    SMALL_AT_ONCE,
    SMALL_PER_SECOND,
    Overhead,
)
from seeder.upload.rates import RateLimits, Rates

HERE, THERE = bytes((192, 0, 2, 1)), bytes((198, 51, 100, 1))
RATE = 100.0 * KIB


def test_what_left_is_booked_where_it_belongs_and_paid_once() -> None:
    elsewhere, of_torrent = Tally(), Tally()
    limits: RateLimits[str] = RateLimits(Rates(total=RATE))
    overhead = Overhead(elsewhere, limits)
    overhead.protocol(1000)
    overhead.of(of_torrent).protocol(24)
    assert (elsewhere.counters.protocol_bytes, of_torrent.counters.protocol_bytes) == (1000, 24)
    chain = limits.chain(b"t", 0.0)
    assert chain is not None
    assert chain.grant(16 * KIB, 100.0) == 16 * KIB
    before = limits._total.paid_at if limits._total else 0.0
    overhead.pay(100.0)
    overhead.pay(100.0)
    assert limits._total is not None
    assert round((limits._total.paid_at - before) * RATE) == 1024


def test_a_flood_takes_half_of_the_rate_at_most() -> None:
    overhead = Overhead(Tally(), limits := RateLimits[str](Rates(total=RATE)))
    chain = limits.chain(b"t", 0.0)
    assert chain is not None
    sent = 0
    for second in range(60):
        overhead.protocol(10 * MIB)
        overhead.pay(float(second))
        for part in range(1, 101):
            sent += chain.grant(MIB, second + part / 100)
    assert 0.4 * 60 * RATE < sent < 0.6 * 60 * RATE


def test_without_a_limit_of_all_nothing_is_owed() -> None:
    limits: RateLimits[str] = RateLimits(Rates(peer=RATE))
    overhead = Overhead(Tally(), limits)
    overhead.protocol(10 * MIB)
    overhead.pay(0.0)
    chain = limits.chain(b"t", 0.0)
    assert chain is not None
    assert chain.grant(16 * KIB, 0.0) == 16 * KIB


def test_an_address_has_an_allowance_of_small_messages() -> None:
    overhead = Overhead(Tally(), RateLimits[str](Rates()))
    assert overhead.may_leave(HERE, SMALL_AT_ONCE, 0.0)
    assert not overhead.may_leave(HERE, 100, 0.0)
    assert overhead.may_leave(THERE, 100, 0.0)
    assert overhead.may_leave(HERE, SMALL_PER_SECOND, 1.0)
    assert not overhead.may_leave(HERE, 100, 1.0)


def test_all_addresses_together_have_half_of_the_rate_of_all() -> None:
    overhead = Overhead(Tally(), RateLimits[str](Rates(total=RATE)))
    left = 0
    for millisecond in range(10_000):
        address = bytes((10, *divmod(millisecond, 256), 1))
        left += 1000 * overhead.may_leave(address, 1000, millisecond / 1000)
    assert 0.45 * 10 * RATE < left < 0.55 * 10 * RATE + 32 * KIB


def test_greetings_are_an_allowance_of_their_own() -> None:
    overhead = Overhead(Tally(), RateLimits[str](Rates()))
    assert overhead.may_leave(HERE, SMALL_AT_ONCE, 0.0)
    assert overhead.may_greet(HERE, GREETINGS_AT_ONCE, 0.0)
    assert not overhead.may_greet(HERE, 300, 0.0)
    assert overhead.may_greet(THERE, 300, 0.0)

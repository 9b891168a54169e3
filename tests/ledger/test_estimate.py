"""What downloads to come would cost, beside what swarms were measured to cost."""

import pytest

from seeder.ledger.estimate import Downloaded, Estimate, estimate
from seeder.ledger.savings import Prices
from seeder.units import GIB, MIB

PRICES = Prices(0.09, 0.0004, "USD")
TIB = 1024 * GIB


def of(
    *objects: Downloaded, downloads: int = 8, at_once: int = 8, cache: int = 10 * GIB
) -> Estimate:
    return estimate(objects, PRICES, downloads=downloads, at_once=at_once, cache=cache)


def an_object(size: int = 256 * MIB, *, hashed: bool = True) -> Downloaded:
    return Downloaded(size, MIB, hashed)


@pytest.mark.parametrize(
    ("cache", "hashed", "measured"),
    [
        # tests/benchmarks/README.md, "Swarms": eight clients that start together on 256 MiB.
        (512 * MIB, True, 1.00),
        (26 * MIB, True, 1.97),
        (26 * MIB, False, 1.00),
    ],
)
def test_the_model_is_a_measured_swarm_s_and_errs_against_us(
    cache: int, hashed: bool, measured: float
) -> None:
    copies = of(an_object(hashed=hashed), cache=cache).origin_copies
    assert measured <= copies <= measured + 0.05


def test_a_cache_that_holds_all_lets_s3_send_everything_once() -> None:
    for hashed in (True, False):
        found = of(an_object(hashed=hashed), an_object(GIB, hashed=hashed), downloads=1000)
        assert found.origin_bytes == 256 * MIB + GIB
        assert found.waves == 125
    assert of(an_object(), downloads=1000).origin_requests == 256 // 8
    assert of(an_object(hashed=False), downloads=1000).origin_requests == 256


def test_a_cache_that_is_too_small_costs_a_copy_a_wave() -> None:
    found = of(an_object(), downloads=100, at_once=30, cache=100 * MIB)
    assert (found.waves, found.fits) == (4, False)
    assert found.origin_bytes == 5 * 256 * MIB
    assert found.origin_requests == 32 + 4 * 256
    assert any("cache.disk" in line for line in found.lines())


def test_one_download_of_a_hashed_object_saves_nothing() -> None:
    found = of(an_object(), downloads=1, at_once=1)
    assert found.without - found.billed < 0
    assert any("saved: -0.0000" in line or "saved: 0.00" in line for line in found.lines())


def test_money_goes_by_tiers_and_requests_are_part_of_it() -> None:
    tiers = Prices(0.09, 0.4, "USD", ((0, 0.09), (10 * TIB, 0.05)))
    found = estimate([an_object(TIB)], tiers, downloads=20, at_once=20, cache=2 * TIB)
    assert found.without == pytest.approx(10_240 * 0.09 + 10_240 * 0.05 + 20 * 0.0004)
    assert found.billed == pytest.approx(1024 * 0.09 + 131_072 * 0.0004)

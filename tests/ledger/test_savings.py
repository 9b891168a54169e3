import pytest

from seeder.ledger.counters import Counters
from seeder.ledger.savings import Prices, Savings, savings

GIB = 2**30
FREE = Prices(0, 0)


def test_the_formulas_of_the_design() -> None:
    counters = Counters(
        origin_bytes_metainfo=10,
        origin_bytes_hashing=30,
        origin_bytes_pieces=60,
        uploaded_bytes=250,
        delivered_verified_bytes=1000,
        delivered_claimed_bytes=1250,
    )
    assert savings(counters, size=100, prices=FREE) == Savings(
        saved_verified_bytes=900,
        saved_claimed_bytes=1150,
        total_saving_verified=0.9,
        total_saving_claimed=0.92,
        offload_verified=0.75,
        offload_claimed=0.8,
        cache_saving=0.6,
        s3_copies=1.0,
        seeder_copies=2.5,
        origin_money=0,
        saved_verified_money=0,
        saved_claimed_money=0,
    )


def test_a_loss_is_a_negative_number() -> None:
    counters = Counters(
        origin_bytes_pieces=300,
        uploaded_bytes=200,
        delivered_verified_bytes=100,
        delivered_claimed_bytes=50,
    )
    saved = savings(counters, size=100, prices=Prices(GIB, 0))
    assert (saved.saved_verified_bytes, saved.saved_claimed_bytes) == (-200, -250)
    assert (saved.total_saving_verified, saved.total_saving_claimed) == (-2.0, -5.0)
    assert (saved.offload_verified, saved.offload_claimed) == (-1.0, -3.0)
    assert saved.cache_saving == -0.5
    assert saved.saved_verified_money == pytest.approx(-200)


@pytest.mark.parametrize("size", [None, 0])
def test_ratios_without_a_divisor_are_none(size: int | None) -> None:
    saved = savings(Counters(), size=size, prices=FREE)
    assert saved.s3_copies is None
    assert saved.seeder_copies is None
    assert saved.cache_saving is None
    assert saved.offload_verified is None
    assert saved.offload_claimed is None
    assert saved.total_saving_verified is None
    assert saved.total_saving_claimed is None
    assert saved.saved_verified_bytes == 0


def test_verified_and_claimed_do_not_mix() -> None:
    saved = savings(Counters(delivered_claimed_bytes=100), size=100, prices=Prices(GIB, 0))
    assert saved.saved_verified_bytes == 0
    assert saved.saved_verified_money == 0
    assert saved.offload_verified is None
    assert saved.saved_claimed_bytes == 100
    assert saved.saved_claimed_money == pytest.approx(100)
    assert saved.offload_claimed == 1.0


def test_money_is_bytes_by_the_gb_of_s3_and_requests_by_the_thousand() -> None:
    prices = Prices(price_per_gb=0.09, price_per_1000_requests=0.4)
    counters = Counters(
        origin_bytes_pieces=2 * GIB,
        origin_requests_pieces=1500,
        origin_requests_hashing=500,
        delivered_verified_bytes=12 * GIB,
        delivered_claimed_bytes=22 * GIB,
    )
    saved = savings(counters, size=GIB, prices=prices)
    assert saved.origin_money == pytest.approx(2 * 0.09 + 2 * 0.4)
    assert saved.saved_verified_money == pytest.approx(10 * 0.09 - 2 * 0.4)
    assert saved.saved_claimed_money == pytest.approx(20 * 0.09 - 2 * 0.4)

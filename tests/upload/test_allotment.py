"""A guest's part of the rates: it keeps to other limits at once, and leaves the line with them."""

from typing import cast

from seeder.units import KIB
from seeder.upload.allotment import Allotment
from seeder.upload.rates import Chain, RateLimits, Rates
from seeder.upload.uploads import InLine, Uploads

TORRENT, HERE = b"t" * 20, bytes((192, 0, 2, 1))
GRAIN = 16 * KIB


class Rated:
    """The rates of the uploads, and who stands in line for them."""

    def __init__(self, rates: Rates) -> None:
        self.rates: RateLimits[InLine] = RateLimits(rates)

    def wait_in_line(self, guest: InLine, chain: Chain, most: int, now: float) -> None:
        self.rates.waiting.add(guest, chain, most, now)

    def allotment(self, guest: "Guest", *, shared: bool = False) -> Allotment:
        allotment = Allotment(cast(Uploads, self), guest, HERE, shared=shared)
        allotment.begin(TORRENT, 0.0)
        return allotment


class Guest:
    def take_limits(self, now: float) -> None: ...
    def resume(self) -> None: ...


def dry(allotment: Allotment, now: float = 0.0) -> int:
    """Take all that there is, and return how many bytes that was."""
    assert allotment.chain is not None
    taken = 0
    while granted := allotment.chain.grant(GRAIN, now):
        taken += granted
    return taken


def test_without_limits_there_is_no_chain_unless_the_address_is_slow() -> None:
    allotment = Rated(Rates()).allotment(Guest())
    assert allotment.chain is None
    allotment.slow_down(0.0, slow=True)
    assert dry(allotment) == 0
    allotment.slow_down(1.0, slow=False)
    assert allotment.chain is None


def test_whoever_waited_gets_other_limits_and_leaves_the_line() -> None:
    uploads, guest = Rated(Rates(total=64.0 * KIB)), Guest()
    allotment = uploads.allotment(guest)
    dry(allotment)
    allotment.wait_in_line(GRAIN, 0.0)
    before = allotment.chain
    allotment.renew(0.0)
    assert allotment.chain is not before
    assert list(uploads.rates.waiting.due(3600.0)) == []


def test_whoever_leaves_gives_back_what_was_booked_for_it() -> None:
    uploads = Rated(Rates(total=64.0 * KIB))
    first, second = uploads.allotment(Guest()), uploads.allotment(Guest())
    dry(first)
    first.wait_in_line(GRAIN, 0.0)
    first.leave()
    assert list(uploads.rates.waiting.due(3600.0)) == []
    assert dry(second, 0.25) == GRAIN


def test_what_is_shared_has_one_rate_of_a_peer() -> None:
    uploads = Rated(Rates(peer=64.0 * KIB))
    alone = [dry(uploads.allotment(Guest())) for _ in range(2)]
    together = [dry(uploads.allotment(Guest(), shared=True)) for _ in range(2)]
    assert alone[0] == alone[1] > 0
    assert together == [alone[0], 0]

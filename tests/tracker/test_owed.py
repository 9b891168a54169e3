"""What another node is to count is told until it is settled, and doesn't grow without bound."""

import itertools
from math import inf

import pytest

from seeder.torrent.info import InfoHash
from seeder.tracker import owed
from seeder.tracker.journal import departed
from seeder.tracker.owed import (
    CLOCKS_DIFFER,
    RETOLD_AFTER,
    RETOLD_AT_LATEST,
    ClaimName,
    Owed,
    OwedClaim,
    Settled,
)

ONE = InfoHash(b"1" * 20)


def name(number: int) -> ClaimName:
    return ClaimName(ONE, b"%029d" % number)


def claim(address: bytes, seen: float = 0.0) -> OwedClaim:
    return OwedClaim(departed(ONE, address + b"\1\1", seen))


def due(owing: Owed, now: float) -> list[ClaimName]:
    return [each for each, _ in owing.due(now)]


def test_what_is_owed_is_told_again_less_and_less_often_until_it_is_settled() -> None:
    owing = Owed()
    owing.owe(name(1), claim(bytes(4)))
    moments, now = [], 0.0
    while now < 400:
        if due(owing, now):
            owing.told([name(1)], now)
            moments.append(now)
        now += 1
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert pauses[:4] == [RETOLD_AFTER, 10, 20, 40]
    assert set(pauses[4:]) == {RETOLD_AT_LATEST}
    owing.begin_anew()
    assert due(owing, now) == [name(1)]
    owing.told([name(1)], now)
    assert due(owing, now + RETOLD_AFTER) == [name(1)]
    owing.settle(name(1))
    owing.settle(name(1))
    owing.told([name(1)], now)
    assert (due(owing, 1e9), len(owing)) == ([], 0)


def test_who_owes_too_much_loses_it_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owed, "MOST_OWED", 20)
    owing = Owed()
    for number in range(3):
        owing.owe(name(number), claim(bytes((10, number, 0, 1))))
    for number in range(100, 300):
        owing.owe(name(number), claim(bytes((192, 0, 2, number % 5))))
    assert len(owing) == 20
    owing.owe(name(3), claim(bytes((10, 3, 0, 1))))
    assert len(owing) == 20
    assert {name(number) for number in range(4)} <= set(due(owing, 0))


def test_what_is_older_than_any_session_is_forgotten() -> None:
    owing = Owed()
    owing.owe(name(1), claim(bytes(4), seen=10.0))
    owing.owe(name(2), claim(bytes(4), seen=20.0))
    owing.expire(20.0)
    assert due(owing, 0) == [name(2)]


def test_what_a_client_says_after_what_is_settled_is_owed_still() -> None:
    owing = Owed()
    owing.owe(name(1), claim(bytes(4), seen=100.0))
    owing.settle_said(name(2), 100.0)
    owing.settle_said(name(1), 100.0 - 2 * CLOCKS_DIFFER)
    assert due(owing, 0) == [name(1)]
    owing.owe(name(1), claim(bytes(4), seen=200.0))
    owing.settle_said(name(1), 100.0)
    assert due(owing, 0) == [name(1)]
    owing.settle_said(name(1), 200.0 - CLOCKS_DIFFER / 2)
    assert len(owing) == 0


def bytes_of(low: int, high: int, began: float = -inf, seen: float = 0.0) -> OwedClaim:
    peer = departed(ONE, bytes(4) + b"\1\1", seen)._replace(downloaded=high)
    return OwedClaim(peer, low, began)


def test_of_bytes_what_is_settled_is_told_no_more() -> None:
    owing = Owed()

    def left() -> tuple[int, int] | None:
        claim = owing.get(name(1))
        return None if claim is None else (claim.low, claim.peer.downloaded)

    owing.owe(name(1), bytes_of(100, 300), due=5.0)
    assert due(owing, 4.0) == []
    owing.owe(name(1), bytes_of(300, 700))
    assert left() == (100, 700)
    owing.settle_bytes(name(2), Settled(0.0, -inf, 0, 900))
    owing.settle_bytes(name(1), Settled(0.0, -inf, 200, 900))
    assert left() == (100, 700)
    owing.settle_bytes(name(1), Settled(0.0, -inf, 0, 300))
    assert left() == (300, 700)
    owing.settle_bytes(name(1), Settled(0.0, -inf, 300, 700))
    assert left() is None


def test_of_bytes_what_is_settled_says_nothing_of_what_is_said_later() -> None:
    owing = Owed()
    owing.owe(name(1), bytes_of(0, 700, seen=100.0))
    owing.settle_bytes(name(1), Settled(100.0 - 2 * CLOCKS_DIFFER, -inf, 0, 700))
    assert due(owing, 0) == [name(1)]
    owing.settle_bytes(name(1), Settled(100.0 - CLOCKS_DIFFER / 2, -inf, 0, 700))
    assert len(owing) == 0


def test_of_two_downloads_the_later_one_is_owed() -> None:
    owing = Owed()
    owing.owe(name(1), bytes_of(100, 300))
    owing.owe(name(1), bytes_of(0, 0, began=50.0))
    owing.owe(name(1), bytes_of(0, 200, began=50.0))
    # Who counts hasn't heard yet that it began anew.
    owing.settle_bytes(name(1), Settled(0.0, -inf, 0, 1000))
    claim = owing.get(name(1))
    assert claim is not None
    assert (claim.low, claim.peer.downloaded, claim.began) == (0, 200, 50.0)
    owing.settle_bytes(name(1), Settled(0.0, 50.0 + CLOCKS_DIFFER / 2, 0, 200))
    assert owing.get(name(1)) is None
    owing.owe(name(1), bytes_of(0, 200, began=50.0))
    owing.settle_bytes(name(1), Settled(0.0, 90.0, 0, 0))
    assert owing.get(name(1)) is None


def test_of_who_starts_with_no_less_than_it_had_nothing_is_given_up() -> None:
    owing = Owed()
    for claimed in (bytes_of(100, 300), bytes_of(300, 300, 50.0), bytes_of(300, 700, 50.0)):
        owing.owe(name(1), claimed)
    claim = owing.get(name(1))
    assert claim is not None
    assert (claim.low, claim.peer.downloaded, claim.began) == (100, 700, -inf)

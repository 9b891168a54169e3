"""What another node is to count is told until it is settled, and doesn't grow without bound."""

import itertools

import pytest

from seeder.torrent.info import InfoHash
from seeder.tracker import owed
from seeder.tracker.journal import departed
from seeder.tracker.owed import FIRST_PAUSE, LONGEST_PAUSE, CompletionName, OwedCompletions
from seeder.tracker.told import SharedPeer

ONE = InfoHash(b"1" * 20)


def name(number: int) -> CompletionName:
    return CompletionName(ONE, b"%029d" % number)


def peer(address: bytes, seen: float = 0.0) -> SharedPeer:
    return departed(ONE, address + b"\1\1", seen)


def due(owing: OwedCompletions, now: float) -> list[CompletionName]:
    return [each for each, _ in owing.due(now)]


def test_what_is_owed_is_told_again_less_and_less_often_until_it_is_settled() -> None:
    owing = OwedCompletions()
    owing.owe(name(1), peer(bytes(4)))
    moments, now = [], 0.0
    while now < 400:
        if due(owing, now):
            owing.told([name(1)], now)
            moments.append(now)
        now += 1
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert pauses[:4] == [FIRST_PAUSE, 10, 20, 40]
    assert set(pauses[4:]) == {LONGEST_PAUSE}
    owing.begin_anew()
    assert due(owing, now) == [name(1)]
    owing.told([name(1)], now)
    assert due(owing, now + FIRST_PAUSE) == [name(1)]
    owing.settle(name(1))
    owing.settle(name(1))
    owing.told([name(1)], now)
    assert (due(owing, 1e9), len(owing)) == ([], 0)


def test_who_owes_too_much_loses_it_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owed, "MOST_OWED", 20)
    owing = OwedCompletions()
    for number in range(3):
        owing.owe(name(number), peer(bytes((10, number, 0, 1))))
    for number in range(100, 300):
        owing.owe(name(number), peer(bytes((192, 0, 2, number % 5))))
    assert len(owing) == 20
    owing.owe(name(3), peer(bytes((10, 3, 0, 1))))
    assert len(owing) == 20
    assert {name(number) for number in range(4)} <= set(due(owing, 0))


def test_what_is_older_than_any_session_is_forgotten() -> None:
    owing = OwedCompletions()
    owing.owe(name(1), peer(bytes(4), seen=10.0))
    owing.owe(name(2), peer(bytes(4), seen=20.0))
    owing.expire(20.0)
    assert due(owing, 0) == [name(2)]

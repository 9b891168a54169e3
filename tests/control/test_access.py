"""How many wrong tokens are taken, by their beginnings and in sum."""

import itertools

import pytest

from seeder.control.access import (
    ALL_GUESSES_A_SECOND,
    ALL_GUESSES_AT_ONCE,
    GUESSES_AT_ONCE,
    TokenDoor,
)
from seeder.control.operations import Problem
from seeder.http.messages import Request
from seeder.net.sockets import packed_address

TOKEN = "a-token-of-24-characters"
HOST, ELSEWHERE = "10.7.0.0", "10.8.0.0"


class Attack:
    """A door, a clock, and clients at any address."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.door = TokenDoor(
            TOKEN, (), lambda request: packed_address(request.peer[0]), lambda: self.now
        )

    def try_one(self, token: str, address: str = HOST) -> int:
        """Return the status that a token gets; 200 if it opens."""
        headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {token}".encode())]
        request = Request(b"GET", b"/api/v1/status", b"", headers, (address, 1), ("127.0.0.1", 2))
        admitted = self.door.admits(request)
        try:
            self.door.check(request)
        except Problem as problem:
            assert not admitted
            return problem.status
        assert admitted
        return 200


@pytest.mark.parametrize("networks", [1, 400], ids=["one network", "many"])
def test_guesses_with_ever_new_beginnings_end_in_sum_and_shut_nobody_out(networks: int) -> None:
    attack = Attack()
    told = [
        attack.try_one(
            f"{number:05}-wrong-token-of-some-length",
            f"10.7.{number % networks % 200}.{number % networks // 200}",
        )
        for number in range(int(ALL_GUESSES_AT_ONCE) + 2000)
    ]
    assert told == [401] * int(ALL_GUESSES_AT_ONCE) + [429] * 2000
    for address in ("10.7.0.0", ELSEWHERE):
        assert attack.try_one(TOKEN, address) == 200
    attack.now += 3 / ALL_GUESSES_A_SECOND
    assert [attack.try_one(f"{number}-and-again-wrong") for number in range(5)] == [
        *([401] * 3),
        *([429] * 2),
    ]


def test_guesses_with_the_right_beginning_have_their_bound_behind_the_sum_too() -> None:
    attack = Attack()
    for number in range(int(ALL_GUESSES_AT_ONCE)):
        assert attack.try_one(f"{number:05}-wrong-token", ELSEWHERE) == 401
    for number in range(int(GUESSES_AT_ONCE)):
        # Nothing tells that this beginning is the right one.
        assert attack.try_one(f"{TOKEN[:4]}{number:016}") == 429
        assert attack.try_one(TOKEN) == (200 if number < GUESSES_AT_ONCE - 1 else 429)
    assert attack.try_one(TOKEN, ELSEWHERE) == 200


def test_what_is_counted_of_a_beginning_is_not_forgotten_for_a_flood_of_others() -> None:
    attack = Attack()
    for number in range(int(GUESSES_AT_ONCE)):
        assert attack.try_one(f"{TOKEN[:4]}{number:016}") == 401
    for beginning in itertools.islice(itertools.product("bcdefghijklm", repeat=4), 20_000):
        attack.try_one("".join(beginning) + "-wrong-token")
    assert attack.try_one(TOKEN) == 429

"""The register of passkeys: what a revocation takes, and how registers of several nodes agree."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.tracker.passkeys import LATEST, Passkey
from seeder.tracker.register import (
    KEPT_FOR,
    Made,
    Register,
    Revocation,
    read_register,
)

NOW = 1_800_000_000
DAY = 86_400


def is_revoked(register: Register, passkey: Passkey) -> bool:
    until = register.until().get(passkey.holder)
    return until is not None and passkey.issued <= until


def test_a_key_that_is_made_after_a_revocation_is_good() -> None:
    register = Register()
    old = register.issue("alice", "b/k", NOW, DAY)
    assert not is_revoked(register, old)
    register.revoke("alice", NOW)
    assert is_revoked(register, old)
    assert register.is_shut_out("alice")
    # In the same second, and with a clock that was set back.
    for now in (NOW, NOW - 5 * DAY):
        again = copy.deepcopy(register)
        new = again.issue("alice", "b/k", now, DAY)
        assert not is_revoked(again, new)
        assert is_revoked(again, old)
        assert not again.is_shut_out("alice")


def test_a_revocation_takes_what_a_clock_ahead_has_made() -> None:
    register = Register()
    key = register.issue("alice", "b/k", NOW + 3 * DAY, DAY)
    register.revoke("alice", NOW)
    assert is_revoked(register, key)
    # And one with a clock set back takes nothing back.
    register.revoke("alice", NOW - 10 * DAY)
    assert is_revoked(register, key)


def test_names_are_apart() -> None:
    register = Register()
    bob = register.issue("bob", "b/k", NOW, DAY)
    register.revoke("alice", NOW)
    assert not is_revoked(register, bob)
    assert register.knows("alice")
    assert register.knows("bob")
    assert not register.knows("carol")
    assert not register.is_shut_out("carol")


def test_the_end_of_time_is_the_latest_that_a_key_can_name() -> None:
    key = Register().issue("alice", "b/k", LATEST - 5, 10 * DAY)
    assert key == Passkey("alice", LATEST - 5, LATEST)


names = st.sampled_from(["alice", "bob", "c d"])
moments = st.integers(0, 50)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("make"), names, moments), st.tuples(st.just("revoke"), names, moments)
    ),
    max_size=8,
)


def register_of(done: list[tuple[str, str, int]]) -> Register:
    register = Register()
    for what, name, moment in done:
        if what == "make":
            register.issue(name, "b/k", moment, DAY)
        else:
            register.revoke(name, moment)
    return register


@given(steps, steps, steps)
def test_registers_agree_in_whatever_order_they_are_joined(
    one: list[tuple[str, str, int]],
    two: list[tuple[str, str, int]],
    three: list[tuple[str, str, int]],
) -> None:
    parts = [register_of(each) for each in (one, two, three)]
    ahead, back = Register(), Register()
    for part in parts:
        ahead.join(part)
    for part in reversed([*parts, *parts]):
        back.join(part)
    assert sorted(ahead.all_made(), key=str) == sorted(back.all_made(), key=str)
    assert ahead.revoked == back.revoked
    for part in parts:
        assert all(ahead.until()[name] >= until for name, until in part.until().items())


@given(steps)
def test_what_is_written_is_read_again(done: list[tuple[str, str, int]]) -> None:
    register = register_of(done)
    assert read_register(json.loads(json.dumps(register.document()))) == register


def test_what_has_been_over_for_long_is_not_listed_and_a_revocation_is_kept() -> None:
    register = Register()
    register.issue("alice", "b/old", NOW, DAY)
    register.issue("bob", "b/new", NOW + DAY, DAY)
    register.revoke("alice", NOW)
    later = register.trimmed(NOW + DAY + KEPT_FOR)
    assert [made.name for made in later.all_made()] == ["b/new"]
    assert later.revoked == {"alice": Revocation(NOW, NOW)}
    assert register.trimmed(NOW + DAY + KEPT_FOR - 1) == register


def test_the_bounds_keep_what_matters_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seeder.tracker.register.MOST_MADE", 2)
    monkeypatch.setattr("seeder.tracker.register.MOST_REVOKED", 2)
    register = Register()
    for number in range(4):
        register.note(Made("alice", f"b/{number}", NOW, NOW + number))
        register.revoke(f"n{number}", NOW + number)
    kept = register.trimmed(NOW)
    assert [made.name for made in kept.all_made()] == ["b/2", "b/3"]
    assert list(kept.revoked) == ["n2", "n3"]


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        {"passkeys": 2, "made": [], "revoked": {}},
        {"passkeys": 1, "made": {}, "revoked": []},
        {"passkeys": 1, "made": [["a", "b/k", 1]], "revoked": {}},
        {"passkeys": 1, "made": [["a\n", "b/k", 1, 2]], "revoked": {}},
        {"passkeys": 1, "made": [["a", "b/k", -1, 2]], "revoked": {}},
        {"passkeys": 1, "made": [["a", "b/k", 1, 2**32]], "revoked": {}},
        {"passkeys": 1, "made": [["a", "b/k", 1.5, 2]], "revoked": {}},
        {"passkeys": 1, "made": [], "revoked": {"a": [1]}},
        {"passkeys": 1, "made": [], "revoked": {"a": 1}},
    ],
)
def test_anything_else_is_no_register(document: Any) -> None:
    with pytest.raises(
        ValueError, match=r"it is no register|another version|want |a time|a name|unpack"
    ):
        read_register(document)

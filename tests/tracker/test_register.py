"""The register of passkeys: what a revocation takes, and how registers of several nodes agree."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.tracker.passkeys import LATEST_SECOND, Passkey
from seeder.tracker.register import (
    CLOCKS_AHEAD,
    EXPIRED_KEPT_FOR,
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


def issue(
    register: Register,
    holder: str,
    name: str = "b/k",
    *,
    now: int = NOW,
    valid: int = DAY,
    by_operator: bool = True,
) -> Passkey:
    return register.issue(holder, name, now, valid, by_operator=by_operator)


def test_a_key_that_is_made_after_a_revocation_is_good() -> None:
    register = Register()
    old = issue(register, "alice")
    assert not is_revoked(register, old)
    register.revoke("alice", NOW)
    assert is_revoked(register, old)
    assert register.is_shut_out("alice")
    # In the same second, and with a clock that was set back.
    for now in (NOW, NOW - 5 * DAY):
        again = copy.deepcopy(register)
        new = issue(again, "alice", now=now)
        assert not is_revoked(again, new)
        assert is_revoked(again, old)
        assert not again.is_shut_out("alice")


def test_a_revocation_takes_what_a_clock_ahead_has_made() -> None:
    register = Register()
    key = issue(register, "alice", now=NOW + 3 * DAY)
    register.revoke("alice", NOW)
    assert is_revoked(register, key)
    # And one with a clock set back takes nothing back.
    register.revoke("alice", NOW - 10 * DAY)
    assert is_revoked(register, key)


def test_names_are_apart() -> None:
    register = Register()
    bob = issue(register, "bob")
    register.revoke("alice", NOW)
    assert not is_revoked(register, bob)
    assert register.knows("alice")
    assert register.knows("bob")
    assert not register.knows("carol")
    assert not register.is_shut_out("carol")


def test_the_end_of_time_is_the_latest_that_a_key_can_name() -> None:
    key = issue(Register(), "alice", now=LATEST_SECOND - 5, valid=10 * DAY)
    assert key == Passkey("alice", LATEST_SECOND - 5, LATEST_SECOND)


names = st.sampled_from(["alice", "bob", "c d"])
moments = st.integers(0, 50)
steps = st.lists(st.tuples(st.sampled_from(["make", "ask", "revoke"]), names, moments), max_size=8)


def register_of(done: list[tuple[str, str, int]]) -> Register:
    register = Register()
    for what, name, moment in done:
        if what == "revoke":
            register.revoke(name, moment)
        else:
            issue(register, name, now=moment, by_operator=what == "make")
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
    assert (ahead.revoked, ahead.welcomed) == (back.revoked, back.welcomed)
    assert ahead.until() == back.until()
    for part in parts:
        assert all(ahead.until()[name] >= each.until for name, each in part.revoked.items())


@given(steps)
def test_what_is_written_is_read_again(done: list[tuple[str, str, int]]) -> None:
    register = register_of(done)
    assert read_register(json.loads(json.dumps(register.document()))) == register


def test_what_has_been_over_for_long_is_not_listed_and_a_revocation_is_kept() -> None:
    register = Register()
    issue(register, "alice", "b/old")
    issue(register, "bob", "b/new", now=NOW + DAY)
    register.revoke("alice", NOW)
    later = register.trimmed(NOW + DAY + EXPIRED_KEPT_FOR)
    assert [made.name for made in later.all_made()] == ["b/new"]
    assert later.revoked == {"alice": Revocation(NOW + CLOCKS_AHEAD, NOW)}
    assert register.trimmed(NOW + DAY + EXPIRED_KEPT_FOR - 1) == register


@pytest.mark.parametrize("bound", ["MOST_MADE", "MOST_MADE_BYTES"])
def test_the_bounds_keep_what_ends_last_and_every_revocation(
    monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    row = len(json.dumps(["alice", "b/0", NOW, NOW]))
    monkeypatch.setattr(f"seeder.tracker.register.{bound}", 2 if bound == "MOST_MADE" else 2 * row)
    register = Register()
    for number in range(4):
        register.note(Made("alice", f"b/{number}", NOW, NOW + number))
        register.revoke(f"n{number}", NOW + number)
    kept = register.trimmed(NOW)
    assert {made.name for made in kept.all_made()} == {"b/2", "b/3"}
    assert kept.revoked == register.revoked


@given(steps, st.integers(0, 3 * DAY + EXPIRED_KEPT_FOR), st.integers(0, 3))
def test_trimming_lets_nobody_in_again_and_shuts_nobody_out(
    done: list[tuple[str, str, int]], now: int, most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seeder.tracker.register.MOST_MADE", most)
        register = register_of(done)
        kept = register.trimmed(now)
    assert kept.revoked == register.revoked
    for name in register.revoked:
        assert kept.is_shut_out(name) is register.is_shut_out(name)


def test_what_a_revoked_one_asked_for_at_a_node_that_didnt_know_is_revoked_too() -> None:
    here, there = Register(), Register()
    issue(here, "reader", by_operator=False)
    there.join(here)
    here.revoke("reader", NOW)
    later = issue(there, "reader", now=NOW + DAY // 2, by_operator=False)
    for register in (here, there):
        register.join(there)
        register.join(here)
        assert register.is_shut_out("reader")
        assert is_revoked(register, later)
    # Until the operator makes it a key: then what it asks for is good, and the others stay void.
    made = issue(here, "reader", now=NOW + DAY)
    there.join(here)
    asked = issue(there, "reader", now=NOW + DAY, by_operator=False)
    for key in (made, asked):
        assert not is_revoked(there, key)


def test_a_key_of_a_clock_that_is_ahead_is_revoked_at_a_node_that_didnt_know_of_it() -> None:
    here, there = Register(), Register()
    key = issue(there, "alice", now=NOW + CLOCKS_AHEAD)
    here.revoke("alice", NOW)
    here.join(there)
    assert is_revoked(here, key)
    assert here.is_shut_out("alice")


def test_a_key_that_is_followed_by_one_that_ends_sooner_can_still_be_revoked() -> None:
    register = Register()
    long = issue(register, "alice", valid=300 * DAY)
    issue(register, "alice", now=NOW + 1, valid=DAY)
    later = register.trimmed(NOW + 100 * DAY)
    assert later.knows("alice")
    later.revoke("alice", NOW + 100 * DAY)
    assert is_revoked(later, long)


def test_a_register_of_an_earlier_version_lets_in_whom_it_let_in() -> None:
    old = {
        "passkeys": 1,
        "made": [["a", "b/k", 20, 90], ["b", "b/k", 5, 90]],
        "revoked": {"a": [10, 10], "b": [10, 10]},
    }
    register = read_register(old)
    assert not register.is_shut_out("a")
    assert register.is_shut_out("b")


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
        {"passkeys": 1, "made": [], "revoked": {}, "welcomed": []},
        {"passkeys": 1, "made": [], "revoked": {}, "welcomed": {"a": True}},
    ],
)
def test_anything_else_is_no_register(document: Any) -> None:
    with pytest.raises(
        ValueError, match=r"it is no register|another version|want |a time|a name|unpack"
    ):
        read_register(document)

"""Which passkeys are good, and what is told of those that aren't."""

import logging

import pytest

from seeder.errors import AnnounceError
from seeder.tracker.holders import QUIET, Holders, Refused
from seeder.tracker.passkeys import Passkey
from tests.support.passkeys import DAY, NOON, Keys
from tests.tracker.announcing import HASH, packed

STRANGER = packed("192.0.2.9")


def judged(keys: Keys, key: bytes) -> Passkey | Refused:
    return keys.holders.judge(key, HASH)


def test_a_key_is_good_until_the_second_in_which_it_ends() -> None:
    keys = Keys()
    key = keys.make("alice", HASH)
    keys.now = NOON + DAY - 1
    passkey = judged(keys, key)
    assert passkey == Passkey("alice", NOON, NOON + DAY)
    assert keys.holders.is_good(passkey)
    keys.now = NOON + DAY
    assert judged(keys, key) is Refused.EXPIRED
    assert not keys.holders.is_good(passkey)
    # A clock that was wrong for a while takes nothing away for good.
    keys.now = NOON - 100 * DAY
    assert judged(keys, key) == passkey


def test_a_revocation_takes_the_keys_made_until_then_and_no_others() -> None:
    keys = Keys()
    old, new = keys.make("alice", HASH), keys.make("alice", HASH, issued=NOON + 1)
    passkey = judged(keys, old)
    assert isinstance(passkey, Passkey)
    keys.holders.revoke({"alice": NOON})
    assert judged(keys, old) is Refused.REVOKED
    assert not keys.holders.is_good(passkey)
    assert isinstance(judged(keys, new), Passkey)
    assert isinstance(judged(keys, keys.make("Alice", HASH)), Passkey)


def test_a_revoked_key_stays_so_when_it_has_expired() -> None:
    keys = Keys()
    keys.holders.revoke({"alice": NOON})
    keys.now = NOON + 2 * DAY
    assert judged(keys, keys.make("alice", HASH)) is Refused.REVOKED


def test_without_a_secret_or_a_register_no_key_is_good() -> None:
    keys = Keys()
    key = keys.make("alice", HASH)
    passkey = judged(keys, key)
    assert isinstance(passkey, Passkey)
    assert Holders(lambda: NOON).judge(key, HASH) is Refused.WRONG
    keys.holders.closed = True
    assert judged(keys, key) is Refused.WRONG
    assert not keys.holders.is_good(passkey)
    assert judged(keys, b"") is Refused.MISSING


def test_only_who_had_a_key_is_told_what_became_of_it() -> None:
    holders, unknown = Keys().holders, AnnounceError("unknown", retry_in="never")
    for why in (Refused.MISSING, Refused.WRONG):
        assert holders.refuse(why, unknown, STRANGER, 0.0) is unknown
    told = {why: holders.refuse(why, unknown, STRANGER, 0.0) for why in Refused}
    assert told[Refused.EXPIRED].reason == "your passkey has expired: get the torrent anew"
    assert told[Refused.EXPIRED].retry_in == "60"
    assert told[Refused.REVOKED].reason == "your passkey was revoked"
    # Each is raised once.
    again = holders.refuse(Refused.REVOKED, unknown, STRANGER, 0.0)
    assert again is not told[Refused.REVOKED]


def test_a_flood_of_wrong_keys_is_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    holders = Keys().holders
    for number in range(1000):
        holders.note(Refused.WRONG, STRANGER, number / 1000)
    assert len(caplog.records) == 1
    holders.note(Refused.EXPIRED, packed("2001:db8::1"), QUIET)
    assert [record.getMessage() for record in caplog.records] == [
        "private torrents: 1 refused without a good passkey, the last of them 192.0.2.9 (wrong)",
        "private torrents: 1000 refused without a good passkey, the last of them 2001:db8::1"
        " (expired)",
    ]
    assert holders.refusals == {Refused.WRONG: 1000, Refused.EXPIRED: 1}

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.ledger.counters import (
    COUNTERS,
    PURPOSES,
    UNATTRIBUTED,
    Account,
    AccountKey,
    Counters,
    Ledger,
    Tally,
)
from seeder.torrent.objects import Purpose
from tests.ledger.support import NELSON

counters = st.builds(Counters, *[st.integers(0, 2**60)] * len(COUNTERS))


def test_every_event_counts_in_its_own_place_only() -> None:
    events = {
        "requester_charged": Tally.requester_charged,
        "completed": Tally.completed,
        "peers_seen": Tally.peer_seen,
    }
    for name, event in events.items():
        tally = Tally()
        event(tally)
        event(tally)
        assert tally.counters == Counters(**{name: 2})
    sums = {
        "uploaded_bytes": Tally.uploaded,
        "protocol_bytes": Tally.protocol,
        "delivered_verified_bytes": Tally.delivered_verified,
        "delivered_claimed_bytes": Tally.delivered_claimed,
    }
    for name, add in sums.items():
        tally = Tally()
        add(tally, 3)
        add(tally, 4)
        assert tally.counters == Counters(**{name: 7})


@pytest.mark.parametrize("purpose", PURPOSES)
def test_the_origin_is_counted_by_purpose(purpose: Purpose) -> None:
    tally = Tally()
    tally.origin_request(purpose)
    tally.origin_request(purpose)
    tally.origin_received(purpose, 10)
    expected = {f"origin_requests_{purpose}": 2, f"origin_bytes_{purpose}": 10}
    assert tally.counters == Counters(**expected)
    assert tally.counters.origin_requests == 2
    assert tally.counters.origin_bytes == 10
    assert tally.counters.origin_requests_by_purpose() == {p: 2 * (p == purpose) for p in PURPOSES}
    assert tally.counters.origin_bytes_by_purpose() == {p: 10 * (p == purpose) for p in PURPOSES}


def test_a_purpose_nobody_knows_is_refused() -> None:
    with pytest.raises(AssertionError):
        Tally().origin_request("curiosity")  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        Tally().origin_received("curiosity", 1)  # type: ignore[arg-type]


@given(counters, counters)
def test_what_is_added_can_be_taken_away(one: Counters, other: Counters) -> None:
    both = one.plus(other)
    assert both.minus(other) == one
    assert both.values() == tuple(a + b for a, b in zip(one.values(), other.values(), strict=True))
    assert bool(both) == any(both.values())


def test_a_copy_does_not_follow_the_original() -> None:
    account = Account(key=NELSON)
    account.uploaded(1)
    copy = account.counters.copy()
    account.uploaded(1)
    assert (copy.uploaded_bytes, account.counters.uploaded_bytes) == (1, 2)


def test_no_counter_is_left_out_of_the_values() -> None:
    assert tuple(field.name for field in fields(Counters)) == COUNTERS
    assert Counters(*range(len(COUNTERS))).values() == tuple(range(len(COUNTERS)))


def test_an_account_takes_over_a_tally_once() -> None:
    account, tally = Account(key=NELSON), Tally()
    account.origin_request("metainfo")
    tally.origin_request("metainfo")
    tally.origin_received("metainfo", 500)
    account.absorb(tally)
    account.absorb(tally)
    assert account.counters == Counters(origin_requests_metainfo=2, origin_bytes_metainfo=500)
    assert not tally.counters


def test_a_ledger_opens_an_account_once_for_each_version() -> None:
    ledger = Ledger()
    account = ledger.account(NELSON)
    changed = ledger.account(AccountKey("default", "quotes", "Nelson", '"etag-2"'))
    assert ledger.account(NELSON) is account
    assert changed is not account
    assert ledger.accounts == (account, changed)


def test_totals_hold_every_account_and_the_unattributed_requests() -> None:
    ledger = Ledger()
    assert ledger.totals() == Counters()
    ledger.account(NELSON).uploaded(5)
    ledger.account(AccountKey("other", "b", "k", "v")).uploaded(6)
    ledger.unattributed.origin_request("metainfo")
    assert ledger.totals() == Counters(uploaded_bytes=11, origin_requests_metainfo=1)


EVENTS = st.one_of(
    st.tuples(st.sampled_from(["uploaded", "protocol", "delivered_verified"]), st.integers(0, 99)),
    st.tuples(st.sampled_from(["delivered_claimed"]), st.integers(0, 99)),
    st.tuples(st.sampled_from(["completed", "peer_seen", "requester_charged"])),
    st.tuples(st.just("origin_request"), st.sampled_from(PURPOSES)),
    st.tuples(st.just("origin_received"), st.sampled_from(PURPOSES), st.integers(0, 99)),
    st.tuples(st.just("add"), counters),
)


@given(st.lists(st.tuples(st.integers(0, 4), EVENTS)), st.sampled_from(["absorbed", "left"]))
def test_totals_are_the_sum_of_all_accounts_whatever_was_counted_on_which(
    events: list[tuple[int, tuple[object, ...]]], tally_is: str
) -> None:
    ledger = Ledger()
    one, other = ledger.account(NELSON), ledger.account(AccountKey("other", "b", "k", "v"))
    stranger = Tally()
    with ledger.tally() as tally:
        tallies = (one, other, ledger.unattributed, tally, stranger)
        for place, (name, *arguments) in events:
            getattr(tallies[place], str(name))(*arguments)
        counted = [each.counters for each in tallies[:4]]
        assert ledger.totals() == Counters(
            *map(sum, zip(*(c.values() for c in counted), strict=True))
        )
        if tally_is == "absorbed":
            one.absorb(tally)
            other.absorb(stranger)
    assert not tally.counters
    accounts = (ledger.unattributed, *ledger.accounts)
    sums = zip(*(account.counters.values() for account in accounts), strict=True)
    assert ledger.totals() == Counters(*map(sum, sums))


def test_totals_are_of_the_moment_in_which_they_were_asked_for() -> None:
    ledger = Ledger()
    before = ledger.totals()
    ledger.account(NELSON).uploaded(5)
    assert (before.uploaded_bytes, ledger.totals().uploaded_bytes) == (0, 5)


def test_the_unattributed_account_is_found_by_its_key_and_not_listed() -> None:
    ledger = Ledger()
    assert ledger.account(UNATTRIBUTED) is ledger.unattributed
    assert ledger.accounts == ()


def test_a_key_reads_as_bucket_and_key() -> None:
    assert str(NELSON) == "quotes/Nelson"


def test_an_open_tally_is_in_the_totals_and_counted_once_whatever_becomes_of_it() -> None:
    ledger = Ledger()
    account = ledger.account(NELSON)
    with ledger.tally() as tally:
        tally.origin_request("metainfo")
        assert ledger.totals() == Counters(origin_requests_metainfo=1)
        account.absorb(tally)

    def fail() -> None:
        with ledger.tally() as tally:
            tally.origin_request("metainfo")
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail()
    assert account.counters == ledger.unattributed.counters == Counters(origin_requests_metainfo=1)
    assert ledger.totals() == Counters(origin_requests_metainfo=2)

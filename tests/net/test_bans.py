"""What was said of networks, and what several nodes make of it."""

import json
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.net.bans import KEPT_FOR, Ban, Bans, read_ban, read_bans

A, B = ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")
BAN = st.builds(
    Ban,
    st.sampled_from((A, B)),
    st.floats(0, 1000).map(lambda at: round(at, 6)),
    st.none() | st.integers(0, 2000).map(float),
    st.sampled_from(("", "rude")),
    st.booleans(),
)


@given(
    st.lists(BAN, max_size=8).flatmap(lambda bans: st.tuples(st.just(bans), st.permutations(bans)))
)
def test_in_whatever_order_it_is_heard_the_same_holds(both: tuple[list[Ban], list[Ban]]) -> None:
    one, other = both
    assert Bans(one) == Bans((*other, *one))


@given(st.lists(BAN, max_size=8))
def test_a_document_has_all_of_it(bans: list[Ban]) -> None:
    made = Bans(bans)
    assert read_bans(json.loads(json.dumps(made.document()))) == made


def test_a_ban_holds_until_its_end_or_until_it_is_lifted() -> None:
    bans = Bans([Ban(A, at=10, until=20), Ban(B, at=10)])
    assert [each.network for each in bans.in_force(19.9)] == [A, B]
    assert [each.network for each in bans.in_force(20)] == [B]
    bans.hear(Ban(B, at=11, lifted=True))
    assert [each.network for each in bans.in_force(12)] == [A]
    assert bans.find(B, 12) is None


def test_what_is_said_now_counts_whatever_the_clock_says() -> None:
    bans = Bans([Ban(A, at=1000)])
    lifted = bans.after(Ban(A, at=5, lifted=True))
    assert bans.hear(lifted)
    assert bans.in_force(2000) == []


def test_what_is_over_is_forgotten_after_a_day() -> None:
    bans = Bans([Ban(A, at=10, until=20), Ban(B, at=10, lifted=True)])
    bans.trim(10 + KEPT_FOR)
    assert len(list(bans)) == 2
    bans.trim(21 + KEPT_FOR)
    assert list(bans) == []


@pytest.mark.parametrize(
    "row",
    [
        *([], 5, None, ["203.0.113.0/24", 1, None, ""], ["x", 1, None, "", False]),
        *(["203.0.113.7/24", 1, None, "", False], ["203.0.113.0/24", -1, None, "", False]),
        *(["203.0.113.0/24", True, None, "", False], ["203.0.113.0/24", 1, 1e300, "", False]),
        *(["203.0.113.0/24", 1, None, "x" * 201, False], ["203.0.113.0/24", 1, None, "", 0]),
    ],
)
def test_what_is_no_ban_is_refused(row: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_ban(row)


@pytest.mark.parametrize("document", [[], {}, {"bans": 2, "entries": []}, {"bans": 1}, None])
def test_what_is_no_list_of_bans_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match=r"it is no list|another version"):
        read_bans(document)

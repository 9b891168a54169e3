"""Each node knows which objects are its own, and where the others are to be had."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.cluster.split import FarSeeder, NodeCard, Split
from seeder.net.addresses import compact_endpoint
from seeder.torrent.objects import ObjectRef
from seeder.tracker.seeders import OwnSeeder
from tests.tracker.announcing import packed

REFS = [ObjectRef("default", "quotes", f"key-{number}") for number in range(200)]
CARDS = {
    "a": NodeCard("box-1", OwnSeeder(6881), None, "http://a.example.org"),
    "b": NodeCard("box-1", OwnSeeder(6882, port_v6=6892), None, "http://b.example.org"),
    "c": NodeCard("box-2", OwnSeeder(6881), packed("192.0.2.7"), None),
}
CLIENT, HERE = packed("198.51.100.1"), packed("203.0.113.7")


def split_of(own: str, replicas: int = 2, present: str = "abc") -> Split:
    split = Split(own, replicas, CARDS[own])
    split.owners = frozenset(CARDS)
    split.present = frozenset(present)
    split.cards = {name: card for name, card in CARDS.items() if name != own}
    return split


def owned_by(names: str, replicas: int = 2) -> ObjectRef:
    """Return an object that these nodes own, in this order."""
    split = split_of("a", replicas)
    return next(ref for ref in REFS if split.owners_of(ref) == tuple(names))


def test_a_node_alone_has_everything() -> None:
    split = Split("a", 2, CARDS["a"])
    assert all(map(split.is_ours, REFS))
    assert split.seeders_of(REFS[0]) == (None,)
    assert split.url_of(REFS[0]) is None


@pytest.mark.parametrize("replicas", [1, 2, 3, 4])
def test_every_object_is_with_as_many_nodes_as_wanted(replicas: int) -> None:
    splits = [split_of(own, replicas) for own in CARDS]
    for ref in REFS:
        assert sum(split.is_ours(ref) for split in splits) == min(replicas, 3)
        assert len({split.owners_of(ref) for split in splits}) == 1


def test_clients_are_sent_to_all_owners_by_any_node() -> None:
    ref = owned_by("bc")
    near, far = split_of("a").seeders_of(ref)
    # A node of our machine is where the client came to, at its own port.
    assert near is not None
    assert near.reached_at(HERE, CLIENT) == (compact_endpoint(HERE, 6882),)
    v6 = packed("2001:db8::7")
    assert near.reached_at(v6, packed("2001:db8::1")) == (compact_endpoint(v6, 6892),)
    # One of another machine is where that machine is.
    assert far is not None
    assert far.reached_at(HERE, CLIENT) == (compact_endpoint(packed("192.0.2.7"), 6881),)
    assert split_of("b").seeders_of(ref) == (None, far)
    assert split_of("c").seeders_of(ref)[1] is None


def test_what_the_operator_tells_of_a_far_node_goes_before_a_guess() -> None:
    endpoint = compact_endpoint(packed("192.0.2.99"), 4000)
    far = FarSeeder(OwnSeeder(6881, (endpoint,)), packed("192.0.2.7"))
    assert far.reached_at(HERE, CLIENT) == (endpoint,)


def test_a_private_address_of_a_far_node_is_told_to_its_like_alone() -> None:
    far = FarSeeder(OwnSeeder(6881), packed("10.0.0.7"))
    assert far.reached_at(HERE, CLIENT) == ()
    assert far.reached_at(HERE, packed("10.0.0.9")) == (compact_endpoint(far.address or b"", 6881),)


def test_nobody_is_sent_to_a_silent_node_yet_its_objects_stay() -> None:
    ref = owned_by("bc")
    split = split_of("a", present="ac")
    assert len(split.seeders_of(ref)) == 1
    assert not split.is_ours(ref)
    assert split_of("a", present="a").seeders_of(ref) == ()


def test_downloads_go_to_an_owner_that_has_a_url() -> None:
    assert split_of("c").url_of(owned_by("ab")) == "http://a.example.org"
    assert split_of("c", present="bc").url_of(owned_by("ab")) == "http://b.example.org"
    assert split_of("a").url_of(owned_by("cb")) == "http://b.example.org"
    assert split_of("a", 1).url_of(owned_by("c", 1)) is None
    assert split_of("a").url_of(owned_by("ab")) is None


@given(
    st.builds(
        NodeCard,
        host=st.text(),
        seeder=st.builds(
            OwnSeeder,
            st.integers(0, 65535),
            st.lists(st.binary(min_size=6, max_size=6), max_size=2).map(tuple),
            st.none() | st.integers(0, 65535),
        ),
        address=st.none() | st.binary(min_size=16, max_size=16),
        url=st.none() | st.text(max_size=100),
    )
)
def test_a_card_comes_as_it_was_sent(card: NodeCard) -> None:
    assert NodeCard.parse(card.encode()) == card


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["host", "ports", "endpoints", "address", "url"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_what_is_no_card_is_refused(told: object) -> None:
    try:
        NodeCard.parse(told)
    except (ValueError, KeyError, TypeError):
        return

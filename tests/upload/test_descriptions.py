"""Metadata, hashes and torrent files that an address may have, whatever the connection."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.net.addresses import networks_of
from seeder.net.buckets import SHARES
from seeder.units import DAY, MIB
from seeder.upload.descriptions import DESCRIPTIONS, LEAST, Descriptions, allowance

A, B = b"a" * 20, b"b" * 20
HERE, NEAR, THERE = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 9)), bytes((198, 51, 100, 1))


def test_an_address_has_so_much_of_each_torrent() -> None:
    had = Descriptions()
    assert had.admit(A, HERE, 60, 0.0, most=100)
    assert not had.admit(A, HERE, 60, 0.0, most=100)
    assert had.admit(A, HERE, 40, 0.0, most=100)
    assert not had.admit(A, HERE, 1, 0.0, most=100)
    assert had.admit(B, HERE, 100, 0.0, most=100)
    assert had.admit(A, NEAR, 100, 0.0, most=100)
    assert had.admit(A, THERE, 100, 0.0, most=100)


def test_half_of_it_is_forgotten_in_a_day() -> None:
    had = Descriptions()
    assert had.admit(A, HERE, 100, 0.0, most=100)
    assert not had.admit(A, HERE, 51, float(DAY), most=100)
    assert had.admit(A, HERE, 50, float(DAY), most=100)


def test_what_was_not_sent_is_given_back() -> None:
    had = Descriptions()
    assert had.admit(A, HERE, 100, 0.0, most=100)
    had.give_back(A, HERE, 70, 0.0)
    had.give_back(A, THERE, 70, 0.0)
    assert not had.admit(A, HERE, 71, 0.0, most=100)
    assert had.admit(A, HERE, 70, 0.0, most=100)


@pytest.mark.parametrize("width", [4, 6])
def test_the_networks_around_an_address_have_an_allowance_too(width: int) -> None:
    """Addresses of a /48, or of a /24, bring a multiple and no more."""
    had = Descriptions()
    if width == 4:
        addresses = (HERE[:3] + bytes((number,)) for number in range(256))
    else:
        addresses = (b"\xfd\0\0\1\0\2" + n.to_bytes(2) + bytes(8) for n in range(65_536))
    most = SHARES[len(networks_of(next(addresses))[-1])]
    assert sum(had.admit(A, address, 100, 0.0, most=100) for address in addresses) == most


def test_a_refusal_leaves_nothing_and_memory_is_bounded() -> None:
    had = Descriptions(most=10)
    for number in count():
        address = bytes((10, *divmod(number, 256), 1))
        had.admit(A, address, 200, 0.0, most=100)
        if number == 1000:
            break
    assert [len(each) for each in had._had] == [0, 0, 0]
    for number in range(1000):
        assert had.admit(A, bytes((10, *divmod(number, 256), 1)), 100, 0.0, most=100)
    assert [len(each) for each in had._had] == [10, 10, 0]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50), st.booleans()), max_size=30))
def test_no_more_is_admitted_than_allowed(events: list[tuple[int, int, bool]]) -> None:
    had, sent = Descriptions(), [0] * 4
    for number, size, sends in events:
        address = bytes((192, 0, 2, number))
        if had.admit(A, address, size, 0.0, most=100):
            sent[number] += size if sends else 0
            if not sends:
                had.give_back(A, address, size, 0.0)
    assert max(sent) <= 100


def test_thirty_people_behind_one_address_get_the_metadata_of_the_largest_torrent() -> None:
    metadata, copies = 4 * MIB, 4.0
    had, most = Descriptions(), allowance(metadata, copies)
    for _ in range(30):
        for _ in range(metadata // 16_384):
            assert had.admit(A, HERE, 16_384, 0.0, most=most)
    assert most == copies * DESCRIPTIONS * metadata
    assert allowance(1000, 4.0) == LEAST

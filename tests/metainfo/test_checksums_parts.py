"""Which parts of an object can be the pieces of its torrent."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.errors import MetainfoError
from seeder.metainfo.checksums import PartHashes
from seeder.s3.attributes import Part
from seeder.torrent.layout import LARGEST_PIECE_LENGTH, Layout
from seeder.units import KIB, MIB

DIGEST = hashlib.sha1(b"part").digest()


def fitted(
    sizes: Sequence[int], size: int | None = None, wanted: int | None = None
) -> tuple[Layout, bytes]:
    """Return what parts of these sizes make of an object, each with the SHA-1 of its number."""
    hashes = PartHashes(sum(sizes) if size is None else size, wanted)
    for number, length in enumerate(sizes, 1):
        hashes.add(Part(number, length, hashlib.sha1(b"%d" % number).digest()))
    return hashes.finish()


@given(
    st.integers(14, 27).map(lambda power: 1 << power),
    st.integers(1, 50),
    st.data(),
)
def test_even_parts_are_the_pieces(length: int, count: int, data: st.DataObject) -> None:
    last = data.draw(st.integers(1, length))
    sizes = [*[length] * count, last]
    layout, pieces = fitted(sizes, wanted=data.draw(st.sampled_from([None, length])))
    assert layout == Layout(sum(sizes), length)
    assert [layout.piece_size(index) for index in range(layout.piece_count)] == sizes
    numbers = range(1, len(sizes) + 1)
    assert pieces == b"".join(hashlib.sha1(b"%d" % number).digest() for number in numbers)


@given(st.integers(1, LARGEST_PIECE_LENGTH))
def test_an_only_part_is_one_piece_of_the_next_power_of_two(size: int) -> None:
    layout, pieces = fitted([size])
    assert (layout.size, layout.piece_count, len(pieces)) == (size, 1, 20)
    length = layout.piece_length
    assert length & (length - 1) == 0
    assert length == 16 * KIB or length // 2 < size


def test_an_only_part_takes_the_piece_length_of_the_configuration() -> None:
    assert fitted([5], wanted=MIB)[0] == Layout(5, MIB)


@given(st.lists(st.integers(1, 4).map(lambda count: count * 8 * MIB), min_size=2, max_size=6))
def test_parts_that_are_accepted_lie_where_the_pieces_lie(sizes: list[int]) -> None:
    fits = len(set(sizes[:-1])) == 1 and sizes[-1] <= sizes[0] != 24 * MIB
    if fits:
        layout, _ = fitted(sizes)
        assert [layout.piece_size(index) for index in range(layout.piece_count)] == sizes
    else:
        with pytest.raises(MetainfoError):
            fitted(sizes)


@pytest.mark.parametrize(
    ("sizes", "size", "wanted", "reason"),
    [
        ([8 * MIB, 5 * MIB, 8 * MIB], None, None, "uneven size: the first has 8388608 .* part 2"),
        ([8 * MIB, 8 * MIB, 9 * MIB], None, None, "uneven size.* part 3 9437184"),
        ([8 * MIB, 8 * MIB, 0], None, None, "uneven size.* part 3 0"),
        ([5 * MIB, 5 * MIB], None, None, "parts are 5242880 bytes, a piece length is a power of"),
        ([8 * KIB, 8 * KIB], None, None, "power of two from 16384 to 134217728"),
        ([256 * MIB, 256 * MIB], None, None, "power of two from 16384 to 134217728"),
        ([8 * MIB, 8 * MIB], None, MIB, "configuration says piece_length = 1048576"),
        ([8 * MIB], None, MIB, "one part of 8388608 bytes; a piece has 1048576 at most"),
        ([LARGEST_PIECE_LENGTH + 1], None, None, "a piece has 134217728 at most"),
        ([8 * MIB, 8 * MIB], 15 * MIB, None, "parts up to 2 have more than its"),
        ([8 * MIB, 8 * MIB], 25 * MIB, None, "its 2 parts have 16777216 bytes, the object"),
        ([], 5, None, "its 0 parts"),
    ],
)
def test_parts_that_are_no_pieces_are_refused_with_the_reason(
    sizes: list[int], size: int | None, wanted: int | None, reason: str
) -> None:
    with pytest.raises(MetainfoError, match=reason):
        fitted(sizes, size, wanted)


def test_a_part_without_a_sha1_is_refused() -> None:
    hashes = PartHashes(16 * MIB, None)
    hashes.add(Part(1, 8 * MIB, DIGEST))
    with pytest.raises(MetainfoError, match="no SHA-1 of part 2"):
        hashes.add(Part(2, 8 * MIB, None))


def test_parts_may_have_gaps_in_their_numbers_but_not_come_out_of_order() -> None:
    hashes = PartHashes(24 * MIB, None)
    hashes.add(Part(2, 8 * MIB, DIGEST))
    hashes.add(Part(7, 8 * MIB, DIGEST))
    with pytest.raises(MetainfoError, match="part 5 behind part 7"):
        hashes.add(Part(5, 8 * MIB, DIGEST))

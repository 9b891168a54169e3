import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.errors import MetainfoError
from seeder.torrent.layout import (
    LARGEST_PIECE_LENGTH,
    MOST_HYBRID_PIECES,
    MOST_PIECES,
    Layout,
    check_piece_count,
    default_piece_length,
)
from seeder.units import KIB, MIB, parse_size

layouts = st.builds(Layout, size=st.integers(0, 2000), piece_length=st.integers(1, 300))


@pytest.mark.parametrize(
    ("size", "length"),
    [
        (0, 64 * KIB),
        (1, 64 * KIB),
        (42_900_000, 64 * KIB),
        (42_900_001, 128 * KIB),
        (172_000_000, 128 * KIB),
        (687_000_000, 256 * KIB),
        (2_750_000_000, 512 * KIB),
        (11_000_000_000, 1 * MIB),
        (44_000_000_000, 2 * MIB),
        (176_000_000_000, 4 * MIB),
        (704_000_000_000, 8 * MIB),
        (704_000_000_001, 16 * MIB),
        (16 * MIB * MOST_PIECES, 16 * MIB),
        (16 * MIB * MOST_PIECES + 1, 32 * MIB),
    ],
)
def test_the_default_piece_length_follows_the_table(size: int, length: int) -> None:
    assert default_piece_length(size) == length


@given(st.integers(0, 2**50))
def test_a_default_piece_length_is_a_power_of_two_and_keeps_the_info_small(size: int) -> None:
    length = default_piece_length(size)
    assert length.bit_count() == 1
    assert length >= 64 * KIB
    assert Layout(size, length).piece_count <= MOST_PIECES or length == LARGEST_PIECE_LENGTH


@given(st.integers(0, 2**50), st.integers(0, 2**50))
def test_a_larger_object_never_has_a_smaller_default_piece(one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert default_piece_length(small) <= default_piece_length(large)


def test_the_table_ends_with_the_largest_piece_length_that_is_usual() -> None:
    assert default_piece_length(705_000_000_000) == 16 * MIB


@given(layouts)
def test_the_pieces_are_the_object_without_gap_or_overlap(layout: Layout) -> None:
    offset = 0
    for index in range(layout.piece_count):
        piece = layout.piece_range(index)
        assert piece.start == offset
        assert piece.length == layout.piece_size(index)
        offset = piece.stop
    assert offset == layout.size


@given(layouts)
def test_only_the_last_piece_is_short(layout: Layout) -> None:
    sizes = [layout.piece_size(index) for index in range(layout.piece_count)]
    assert all(size == layout.piece_length for size in sizes[:-1])
    assert all(1 <= size <= layout.piece_length for size in sizes[-1:])


def test_an_empty_object_has_no_pieces() -> None:
    layout = Layout(0, 16 * KIB)
    assert layout.piece_count == 0
    with pytest.raises(IndexError):
        layout.piece_size(0)


@pytest.mark.parametrize("index", [-1, 3, 4, 2**32])
def test_a_piece_outside_is_an_index_error(index: int) -> None:
    layout = Layout(5, 2)
    with pytest.raises(IndexError):
        layout.piece_size(index)
    with pytest.raises(IndexError):
        layout.piece_range(index)


@pytest.mark.parametrize(("size", "piece_length"), [(-1, 1), (1, 0), (1, -1)])
def test_a_layout_that_cannot_be_is_refused(size: int, piece_length: int) -> None:
    with pytest.raises(ValueError, match="not a layout"):
        Layout(size, piece_length)


def test_a_hybrid_has_fewer_pieces_where_its_torrent_file_would_grow_too_large() -> None:
    size = 199_000 * 16 * MIB
    assert default_piece_length(size) == 16 * MIB
    length = default_piece_length(size, MOST_HYBRID_PIECES)
    assert length == 32 * MIB
    assert -(-size // length) * (20 + 32) < 10_000_000


TIB = 2**40


@pytest.mark.parametrize("hybrid", [False, True])
def test_s3s_largest_objects_can_be_published(hybrid: bool) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html: 48.8 TiB."""
    size = int(48.8 * TIB) if not hybrid else 23 * TIB
    most = MOST_HYBRID_PIECES if hybrid else MOST_PIECES
    check_piece_count(Layout(size, default_piece_length(size, most)), hybrid=hybrid)


@pytest.mark.parametrize(
    ("size", "length", "hybrid", "advice"),
    [
        (10**18, 128 * MIB, False, "it can't be published"),
        (10**18, 128 * MIB, True, "it can't be published"),
        (2**63 - 1, 16 * KIB, False, "it can't be published"),
        (5 * TIB, 16 * KIB, False, 'set piece_length = "16 MiB" or more'),
        (TIB, MIB, False, 'set piece_length = "4 MiB" or more'),
        (TIB, MIB, True, 'set piece_length = "8 MiB" or more'),
        (40 * TIB, 128 * MIB, True, 'leave out format = "hybrid"'),
    ],
)
def test_more_pieces_than_clients_take_are_refused_with_advice(
    size: int, length: int, hybrid: bool, advice: str
) -> None:
    with pytest.raises(MetainfoError, match=f"{advice}$"):
        check_piece_count(Layout(size, length), hybrid=hybrid)
    if "piece_length" in advice:
        check_piece_count(Layout(size, parse_size(advice.split('"')[1])), hybrid=hybrid)

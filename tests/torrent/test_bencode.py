from contextlib import suppress

import bencode2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.errors import BencodeError
from seeder.torrent import bencode
from seeder.torrent.bencode import Value

integers = st.integers(bencode.SMALLEST_INTEGER, bencode.LARGEST_INTEGER)
values: st.SearchStrategy[Value] = st.recursive(
    integers | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.binary(max_size=9), inner),
    max_leaves=25,
)
# Mostly grammar, so that much of it is nearly or wholly valid.
near_bencode = st.lists(
    st.sampled_from([b"i", b"l", b"d", b"e", b"-", b"0", b"1", b"2:aa", b"1:", b"1:k", b"i7e"])
).map(b"".join)

SAMPLES: list[tuple[Value, bytes]] = [
    (0, b"i0e"),
    (-42, b"i-42e"),
    (2**63 - 1, b"i9223372036854775807e"),
    (-(2**63), b"i-9223372036854775808e"),
    (b"", b"0:"),
    (b"twelve bytes", b"12:twelve bytes"),
    ([], b"le"),
    ({}, b"de"),
    ([1, b"e", [b""]], b"li1e1:el0:ee"),
    ({b"b": 1, b"": [], b"a": {b"x": b"y"}}, b"d0:le1:ad1:x1:ye1:bi1ee"),
]

MALFORMED = [
    b"x",
    b"\xff",
    b" i1e",
    b"ie",
    b"i-e",
    b"i-0e",
    b"i00e",
    b"i03e",
    b"i-03e",
    b"i+3e",
    b"i 3e",
    b"i3 e",
    b"i1_0e",
    b"i1.5e",
    b"i0x1e",
    "i٣e".encode(),
    b"i9223372036854775808e",
    b"i-9223372036854775809e",
    b"i" + b"9" * 5_000_000 + b"e",
    b"01:a",
    b"00:",
    b"-1:a",
    b"+1:a",
    b"1 :a",
    b":a",
    b"1",
    b"1:",
    b"3:ab",
    b"99999999999:",
    b"9999999999:a",
    b"4294967296:a",
    b"18446744073709551617:a",
    b"9" * 5_000_000 + b":a",
    b"l",
    b"li1e",
    b"d",
    b"d1:a",
    b"d1:ae",
    b"di1ei2ee",
    b"dle1:ae",
    b"dde1:ae",
]


@given(values)
def test_what_is_encoded_decodes_to_itself(value: Value) -> None:
    assert bencode.decode(bencode.encode(value)) == value


@given(values)
def test_another_implementation_agrees_on_valid_input(value: Value) -> None:
    encoded = bencode.encode(value)
    assert bencode2.bencode(value) == encoded
    assert bencode2.bdecode(encoded) == value


@given(st.binary() | near_bencode)
def test_garbage_is_refused_or_is_the_one_encoding_of_its_value(data: bytes) -> None:
    try:
        value = bencode.decode(data)
    except BencodeError:
        return
    assert bencode.encode(value) == data


@given(st.binary() | near_bencode)
def test_garbage_raises_only_the_documented_error_elsewhere_too(data: bytes) -> None:
    for canonical in (True, False):
        try:
            value, end = bencode.decode_prefix(data, canonical=canonical)
            assert bencode.decode(data[:end], canonical=canonical) == value
            bencode.decode_dict_with_span(data, b"k", canonical=canonical)
        except BencodeError:
            pass


@given(values, st.data())
def test_a_damaged_byte_never_raises_anything_else(value: Value, data: st.DataObject) -> None:
    damaged = bytearray(bencode.encode(value))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BencodeError):
        bencode.decode(bytes(damaged))


@given(values)
def test_every_cut_is_refused(value: Value) -> None:
    encoded = bencode.encode(value)
    for end in range(len(encoded)):
        with pytest.raises(BencodeError):
            bencode.decode(encoded[:end])


@given(values, st.binary(min_size=1))
def test_trailing_bytes_are_refused_and_a_prefix_ends_before_them(
    value: Value, trailing: bytes
) -> None:
    encoded = bencode.encode(value)
    with pytest.raises(BencodeError):
        bencode.decode(encoded + trailing)
    assert bencode.decode_prefix(encoded + trailing) == (value, len(encoded))


@pytest.mark.parametrize(("value", "encoded"), SAMPLES)
def test_samples_in_both_directions(value: Value, encoded: bytes) -> None:
    assert bencode.encode(value) == encoded
    assert bencode.decode(encoded) == value


@pytest.mark.parametrize("data", MALFORMED, ids=lambda data: repr(data[:24]))
def test_malformed_bytes_are_refused_alone_and_inside(data: bytes) -> None:
    for whole in (data, b"l" + data, b"l" + data + b"e", b"d1:k" + data + b"e"):
        for canonical in (True, False):
            with pytest.raises(BencodeError):
                bencode.decode(whole, canonical=canonical)


@pytest.mark.parametrize("data", [b"", b"e", b"lee", b"dee", b"d1:ke", b"d1:kee"])
def test_an_end_is_no_value(data: bytes) -> None:
    with pytest.raises(BencodeError):
        bencode.decode(data)


@pytest.mark.parametrize("data", [b"3:ab", b"l9:ab", b"d1:k4294967296:ab"])
def test_a_string_past_the_end_is_no_prefix(data: bytes) -> None:
    with pytest.raises(BencodeError, match="past the end"):
        bencode.decode_prefix(data)


def test_the_error_names_the_offset() -> None:
    with pytest.raises(BencodeError, match=r"at byte 5$"):
        bencode.decode(b"l2:aai-0ee")


def test_unsorted_keys_are_only_admitted_when_not_canonical() -> None:
    unsorted = b"d1:bi1e1:ai2ee"
    with pytest.raises(BencodeError, match="out of order"):
        bencode.decode(unsorted)
    assert bencode.decode(unsorted, canonical=False) == {b"b": 1, b"a": 2}


def test_order_holds_in_every_inner_dictionary() -> None:
    with pytest.raises(BencodeError, match="out of order"):
        bencode.decode(b"d1:ald1:bi1e1:ai2eeee")


def test_a_shorter_key_sorts_first() -> None:
    assert bencode.decode(b"d1:ai1e2:aai2ee") == {b"a": 1, b"aa": 2}
    with pytest.raises(BencodeError):
        bencode.decode(b"d2:aai2e1:ai1ee")


@pytest.mark.parametrize("data", [b"d1:ai1e1:ai1ee", b"d1:ai1e1:bi1e1:ai1ee", b"d0:i1e0:i1ee"])
@pytest.mark.parametrize("canonical", [True, False])
def test_doubled_keys_are_never_admitted(data: bytes, canonical: bool) -> None:
    with pytest.raises(BencodeError, match="doubled"):
        bencode.decode(data, canonical=canonical)


@pytest.mark.parametrize(("opening", "closing"), [(b"l", b"e"), (b"d0:", b"e")])
def test_the_33rd_level_is_refused(opening: bytes, closing: bytes) -> None:
    bencode.decode(opening * 31 + b"le" + closing * 31)
    with pytest.raises(BencodeError, match="32 levels"):
        bencode.decode(opening * 32 + b"le" + closing * 32)
    with pytest.raises(BencodeError, match="32 levels"):
        bencode.decode(opening * 1_000_000)


@pytest.mark.parametrize("item", [b"le", b"i0e", b"0:"])
def test_millions_of_small_values_are_refused(item: bytes) -> None:
    fitting = bencode.MOST_VALUES - 1  # the list itself is one
    assert len(bencode.decode(b"l" + item * fitting + b"e")) == fitting  # type: ignore[arg-type]
    with pytest.raises(BencodeError, match="values"):
        bencode.decode(b"l" + item * (fitting + 1) + b"e")


@given(st.dictionaries(st.binary(max_size=3), values, min_size=1), st.data())
def test_a_span_is_the_raw_value(items: dict[bytes, Value], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(items)))
    encoded = bencode.encode(items)
    found, span = bencode.decode_dict_with_span(encoded, key)
    assert found == items
    assert span is not None
    assert encoded[slice(*span)] == bencode.encode(items[key])


def test_a_span_is_only_taken_in_the_outer_dictionary() -> None:
    data = b"d1:ad4:infoi1ee4:infoi2ee"
    assert bencode.decode_dict_with_span(data, b"info")[1] == (21, 24)
    assert data[21:24] == b"i2e"
    assert bencode.decode_dict_with_span(b"d1:ad4:infoi1eee", b"info")[1] is None


def test_a_span_keeps_an_unsorted_value_as_it_was_found() -> None:
    data = b"d4:infod1:bi1e1:ai2ee1:ale1:zlee"
    with pytest.raises(BencodeError, match="out of order"):
        bencode.decode_dict_with_span(data, b"info")
    _, span = bencode.decode_dict_with_span(data, b"info", canonical=False)
    assert span is not None
    assert data[slice(*span)] == b"d1:bi1e1:ai2ee"


@pytest.mark.parametrize("data", [b"", b"le", b"i1e", b"4:info", b"d", b"dei1e", b"de "])
def test_a_span_needs_one_whole_dictionary(data: bytes) -> None:
    with pytest.raises(BencodeError):
        bencode.decode_dict_with_span(data, b"info")


def test_keys_are_written_in_the_order_of_their_bytes() -> None:
    assert bencode.encode({b"\xff": 1, b"Z": 2, b"a": 3}) == b"d1:Zi2e1:ai3e1:\xffi1ee"


def test_tuples_are_written_as_lists() -> None:
    assert bencode.encode((1, (b"a",))) == b"li1el1:aee"


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_integers_beyond_64_bits_are_not_written(value: int) -> None:
    with pytest.raises(ValueError, match="64-bit"):
        bencode.encode([value])


@pytest.mark.parametrize("value", ["text", None, 1.5, {"key": 1}, {7: 1}, bytearray(b"a"), [None]])
def test_other_types_are_not_written(value: object) -> None:
    with pytest.raises(TypeError):
        bencode.encode(value)  # type: ignore[arg-type]

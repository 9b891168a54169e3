"""JSON documents: plain values or nothing, and a seal that finds what was flipped."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.plain_json import dump_json, parse_json


@pytest.mark.parametrize(
    "text",
    [
        b"NaN",
        b"-Infinity",
        b"[1e999]",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9223372036854775808",
        b"-" + b"9" * 10_000,
        b'"\\ud800"',
        b'{"\\uDfff": 1}',
        b"\xff",
        b"",
        b"\0" * 50,
    ],
)
def test_a_document_of_more_than_plain_values_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (json's own texts)
        parse_json(text)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63) + 1, 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_what_we_write_is_plain(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value


def test_a_flipped_bit_in_a_sealed_document_never_changes_what_it_says() -> None:
    document = {"object": ["a", "b"], "etag": "e", "size": 7}
    sealed = dump_json(document)
    assert parse_json(sealed + b"\n").items() >= document.items()
    assert parse_json(json.dumps(document).encode()) == document
    found = 0
    for at in range(len(sealed)):
        for bit in range(8):
            flipped = bytearray(sealed)
            flipped[at] ^= 1 << bit
            try:
                told = parse_json(bytes(flipped))
            except ValueError:
                found += 1
            else:
                # The name of the seal itself was hit.
                assert told.items() >= document.items()
    assert found > 8 * (len(sealed) - 12)

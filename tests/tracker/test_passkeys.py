"""Passkeys: what one says comes back, of its own torrent and its own secret alone."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.torrent.info import InfoHash
from seeder.tracker.passkeys import (
    LATEST_SECOND,
    LEAST_SECRET,
    LONGEST_HOLDER,
    Passkey,
    PasskeySigner,
    check_holder,
    hide_passkeys,
)

HASH, OTHER = InfoHash(b"h" * 20), InfoHash(b"o" * 20)
SIGNER = PasskeySigner(b"s" * LEAST_SECRET)
ALICE = Passkey("alice", 1_800_000_000, 1_800_086_400)
LONGEST_PATH = 150
"""Characters; the strictest client takes URLs of some 500."""


@st.composite
def passkeys(draw: st.DrawFn) -> Passkey:
    name = draw(st.text(min_size=1).filter(_is_name))
    return Passkey(name, draw(st.integers(0, LATEST_SECOND)), draw(st.integers(0, LATEST_SECOND)))


def _is_name(text: str) -> bool:
    try:
        return check_holder(text) == text
    except ValueError:
        return False


@given(passkeys(), st.binary(min_size=20, max_size=20).map(InfoHash))
def test_a_key_says_what_was_signed_and_stands_in_a_url_as_it_is(
    passkey: Passkey, info_hash: InfoHash
) -> None:
    key = SIGNER.sign(passkey, info_hash)
    assert set(key) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(key) < LONGEST_PATH
    assert SIGNER.read(key.encode(), info_hash) == passkey


def test_a_key_opens_no_other_torrent() -> None:
    assert SIGNER.read(SIGNER.sign(ALICE, HASH).encode(), OTHER) is None


def test_a_key_of_another_secret_is_none() -> None:
    assert PasskeySigner(b"t" * LEAST_SECRET).read(SIGNER.sign(ALICE, HASH).encode(), HASH) is None


def test_no_character_of_a_key_can_be_another() -> None:
    key = SIGNER.sign(ALICE, HASH).encode()
    for place in range(len(key)):
        for character in b"Ab0-_":
            changed = key[:place] + bytes((character,)) + key[place + 1 :]
            assert changed == key or SIGNER.read(changed, HASH) is None


@given(st.binary(max_size=200))
def test_what_is_no_key_is_none(garbage: bytes) -> None:
    assert SIGNER.read(garbage, HASH) is None


@pytest.mark.parametrize("spoil", [b"%b=", b"%b==", b" %b", b"%b\n", b"%b.", b"%b%%", b"%bA" * 9])
def test_one_key_has_one_spelling(spoil: bytes) -> None:
    key = SIGNER.sign(ALICE, HASH).encode()
    spelled = spoil.replace(b"%b", key).replace(b"%%", b"%")
    assert SIGNER.read(spelled, HASH) is None
    # The last character has bits that say nothing.
    others = [key[:-1] + bytes((each,)) for each in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop"]
    assert [each for each in others if SIGNER.read(each, HASH)] in ([], [key])


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes at least"):
        PasskeySigner(b"s" * 15)


@pytest.mark.parametrize(
    "name", ["alice", "Alice B.", "büro/3 #1?&=%", "日本", "x" * LONGEST_HOLDER]
)
def test_a_name_may_be_what_people_write(name: str) -> None:
    assert check_holder(name) == name


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a\nb", "a\0", "\u202ea", "x" * (LONGEST_HOLDER + 1), "ü" * 33]
)
def test_a_name_that_cannot_be_seen_or_is_too_long_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="want "):
        check_holder(name)


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str]:
    """Return a key that may be in use, and one of its spellings in a URL."""
    issued = draw(st.integers(1_600_000_000, LATEST_SECOND - 1))
    name = draw(st.text(min_size=1).filter(_is_name))
    key = SIGNER.sign(Passkey(name, issued, draw(st.integers(issued + 1, LATEST_SECOND))), HASH)
    spelled = key
    for _ in range(draw(st.integers(0, 3))):
        chosen = draw(st.sets(st.sampled_from(sorted(set(spelled)))))
        digits = draw(st.sampled_from(["%%%02X", "%%%02x"]))
        spelled = "".join(digits % ord(each) if each in chosen else each for each in spelled)
    return key, spelled


@given(
    spellings(),
    st.sampled_from(["", "GET http://t.example.org/announce/", "KeyError: '/-/", "key=", "x", "A"]),
    st.sampled_from(["", "/quotes/Nelson", "?info_hash=x", "'", " HTTP/1.1", "\n  File"]),
)
def test_no_key_is_shown_however_it_is_spelled(
    made: tuple[str, str], before: str, behind: str
) -> None:
    key, spelled = made
    shown = hide_passkeys(before + spelled + behind)
    assert "..." in shown
    assert shown.endswith(behind)
    for _ in range(4):
        assert key[-16:] not in shown
        shown = unquote(shown)


@pytest.mark.parametrize(
    "text",
    [
        "quotes/Nelson: serving 0123456789abcdef0123456789abcdef01234567, 5 bytes in 1 piece",
        "sha256 " + "aA0_-" * 30,
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "http://t.example.org/" + "%41" * 60,
        "AQ" * 100_000,
        "%25" * 50_000,
        "GET /announce?info_hash=" + "%" * 80 + "&peer_id=" + "%zz" * 40,
        "",
    ],
)
def test_what_is_no_key_is_shown_as_it_is(text: str) -> None:
    assert hide_passkeys(text) == text

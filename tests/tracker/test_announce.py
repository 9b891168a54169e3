"""What an announce and a scrape say, and how they are answered."""

from urllib.parse import quote_from_bytes

import bencode2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.errors import AnnounceError
from seeder.net.addresses import compact_endpoint
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import (
    LARGEST_COUNT,
    MOST_PARAMETERS,
    MOST_SCRAPED,
    AnnounceEvent,
    AnnounceReply,
    ScrapeCounts,
    encode_failure,
    encode_reply,
    encode_reply_listed,
    encode_scrape,
    parse_announce,
    parse_scrape,
)

HASH = bytes(range(0, 240, 12))
ID = b"-qB4500-(!*)~abc.-_x"
V4 = compact_endpoint(bytes([192, 0, 2, 1]), 6881)
V6 = compact_endpoint(bytes.fromhex("20010db8000000000000000000000001"), 51413)


def query(*more: str, info_hash: str | None = None, peer_id: str | None = None) -> bytes:
    """Return a raw query with a good hash, id and port, unless told otherwise, and `more`."""
    fields = [
        f"info_hash={quote_from_bytes(HASH) if info_hash is None else info_hash}",
        f"peer_id={quote_from_bytes(ID) if peer_id is None else peer_id}",
    ]
    if not any(field.startswith("port=") for field in more):
        fields.append("port=6881")
    return "&".join([*fields, *more]).encode("latin-1")


def test_an_announce_of_libtorrent_is_read() -> None:
    raw = (
        b"info_hash=%00%0c%18%240%3cHT%60lx%84%90%9c%a8%b4%c0%cc%d8%e4&peer_id=-qB4500-(!*)~abc.-_x"
        b"&port=6881&uploaded=5&downloaded=17&left=1000&corrupt=0&key=1A2B3C4D&event=started"
        b"&numwant=200&compact=1&no_peer_id=1&supportcrypto=1&redundant=0"
    )
    announce = parse_announce(raw)
    assert announce.info_hash == HASH
    assert isinstance(announce.info_hash, InfoHash)
    assert announce.peer_id == ID
    assert (announce.port, announce.downloaded, announce.left) == (6881, 17, 1000)
    assert (announce.event, announce.numwant, announce.key) == (
        AnnounceEvent.STARTED,
        200,
        bytes.fromhex("1A2B3C4D"),
    )
    assert announce.compact


def parsed(raw: bytes) -> object:
    """Return what a query is parsed to, or why it is refused."""
    try:
        return parse_announce(raw)
    except AnnounceError as refusal:
        return refusal.reason


GOOD_PARTS = (b"info_hash=" + b"h" * 20, b"peer_id=" + b"p" * 20, b"port=1", b"left=7", b"key=a")
ODD_PARTS = (
    b"",
    b"=",
    b"left",
    b"=left",
    b"left=",
    b"left=1=2",
    b"left==",
    b"numwant=5",
    b"port=2",
)


@given(st.lists(st.sampled_from((*GOOD_PARTS, *ODD_PARTS)), max_size=12).map(b"&".join))
def test_a_query_is_read_the_same_whether_or_not_it_can_be_cut_at_once(raw: bytes) -> None:
    """A parameter without a value has it read one parameter after the other."""
    assert parsed(raw) == parsed(raw + b"&nothing")


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=20, max_size=20), st.data())
def test_binary_fields_survive_every_way_to_escape_them(
    info_hash: bytes, peer_id: bytes, data: st.DataObject
) -> None:
    def escaped(value: bytes) -> bytes:
        parts = []
        for byte in value:
            ways = [b"%%%02x" % byte, b"%%%02X" % byte]
            # What would end the value, or begin an escape, can't stand for itself.
            if byte not in b"%&":
                ways.append(bytes([byte]))
            parts.append(data.draw(st.sampled_from(ways)))
        return b"".join(parts)

    raw = b"info_hash=%b&peer_id=%b&port=1" % (escaped(info_hash), escaped(peer_id))
    announce = parse_announce(raw)
    assert (announce.info_hash, announce.peer_id) == (info_hash, peer_id)


def test_a_plus_is_a_plus() -> None:
    assert parse_announce(query(peer_id="+" * 20)).peer_id == b"+" * 20


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "info_hash is missing"),
        (b"&&&==&", "info_hash is missing"),
        (b"info_hash", "info_hash must be 20 bytes, not 0"),
        (query(info_hash=""), "info_hash must be 20 bytes, not 0"),
        (query(info_hash="a" * 19), "info_hash must be 20 bytes, not 19"),
        (query(info_hash="a" * 21), "info_hash must be 20 bytes, not 21"),
        (query(info_hash="a" * 40), "info_hash must be 20 bytes, not 40"),
        (query(info_hash="%zz" + "a" * 17), "info_hash has a broken percent escape"),
        (query(info_hash="a" * 18 + "%4"), "info_hash has a broken percent escape"),
        (query(info_hash="a" * 19 + "%"), "info_hash has a broken percent escape"),
        (query("info_hash=" + "b" * 20), "info_hash is given twice"),
        (query("peer_id=" + "b" * 20), "peer_id is given twice"),
        (query("port=1", "port=2"), "port is given twice"),
        (query(peer_id="short"), "peer_id must be 20 bytes, not 5"),
        (b"info_hash=" + b"a" * 20 + b"&port=1", "peer_id is missing"),
        (query(*["x=1"] * MOST_PARAMETERS), f"more than {MOST_PARAMETERS} parameters"),
    ],
)
def test_an_announce_without_a_good_identity_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(AnnounceError) as caught:
        parse_announce(raw)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "port", ["", "0", "65536", "80abc", "-1", "+80", " 80", "8_0", "٣", "9" * 5000, "1e3"]
)
def test_a_port_is_a_number_from_1_to_65535(port: str) -> None:
    encoded = f"port={port}".encode().decode("latin-1")
    with pytest.raises(AnnounceError, match="port must be"):
        parse_announce(query(encoded))
    assert parse_announce(query(encoded, "event=stopped")).port == 0


@pytest.mark.parametrize("port", ["1", "65535", "00080"])
def test_a_port_at_the_edge_is_a_port(port: str) -> None:
    assert parse_announce(query(f"port={port}")).port == int(port)


@pytest.mark.parametrize(
    ("value", "left", "downloaded"),
    [
        ("0", 0, 0),
        ("16384", 16384, 16384),
        ("-1", None, 0),
        ("", None, 0),
        ("abc", None, 0),
        ("1.5", None, 0),
        (str(2**64), LARGEST_COUNT, LARGEST_COUNT),
        ("1" + "0" * 30, LARGEST_COUNT, LARGEST_COUNT),
        ("9" * 5000, LARGEST_COUNT, LARGEST_COUNT),
    ],
)
def test_counts_saturate_and_nonsense_is_unknown(
    value: str, left: int | None, downloaded: int
) -> None:
    announce = parse_announce(query(f"left={value}", f"downloaded={value}"))
    assert (announce.left, announce.downloaded) == (left, downloaded)


@pytest.mark.parametrize(
    ("value", "numwant"),
    [
        ("0", 0),
        ("30", 30),
        ("1000000000", 10**9),
        ("-1", None),
        ("-5", None),
        ("", None),
        ("x", None),
    ],
)
def test_a_numwant_that_is_no_count_means_the_default(value: str, numwant: int | None) -> None:
    assert parse_announce(query(f"numwant={value}")).numwant == numwant


@pytest.mark.parametrize("event", list(AnnounceEvent))
def test_every_event_is_known(event: AnnounceEvent) -> None:
    assert parse_announce(query(f"event={event.value}")).event is event


@pytest.mark.parametrize("event", ["STARTED", "start", "completed%20", "\x00"])
def test_an_unknown_event_is_none(event: str) -> None:
    assert parse_announce(query(f"event={event}")).event is AnnounceEvent.NONE


def test_only_an_explicit_0_asks_for_the_long_form() -> None:
    assert parse_announce(query()).compact
    assert parse_announce(query("compact=1")).compact
    assert parse_announce(query("compact=")).compact
    assert not parse_announce(query("compact=0")).compact


def test_a_key_is_bytes_and_bounded() -> None:
    assert parse_announce(query("key=%00%ff%41")).key == b"\x00\xffA"
    assert len(parse_announce(query("key=" + "a" * 1000)).key) <= 64


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("1A2b3C4d", "1a2b3c4d"),
        ("c4d", "00000c4d"),
        ("0", ""),
        ("00000000", ""),
        ("", ""),
        ("-1", "2d31"),
        ("+1", "2b31"),
        ("1_0", "315f30"),
        ("xyz", "78797a"),
        ("123456789", "313233343536373839"),
    ],
)
def test_a_key_in_hexadecimal_is_the_number_that_a_client_sends_by_udp(
    written: str, key: str
) -> None:
    assert parse_announce(query(f"key={written}")).key.hex() == key


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_worse(raw: bytes) -> None:
    for parse in (parse_announce, parse_scrape):
        for candidate in (raw, b"info_hash=" + raw, query() + b"&" + raw):
            try:
                parse(candidate)
            except AnnounceError as error:
                decoded = bencode2.bdecode(encode_failure(error))
                assert decoded == {b"failure reason": error.reason.encode()}  # noqa: PT017


def test_a_scrape_names_each_hash_once_and_at_most_64() -> None:
    two = b"info_hash=%b&info_hash=%b&info_hash=%b" % (b"a" * 20, b"b" * 20, b"a" * 20)
    assert parse_scrape(two) == [b"a" * 20, b"b" * 20]
    many = b"&".join(b"info_hash=%020d" % number for number in range(10_000))
    assert parse_scrape(many) == [b"%020d" % number for number in range(MOST_SCRAPED)]


@pytest.mark.parametrize("raw", [b"", b"info_hash=", b"info_hash=%zz" + b"a" * 17, b"x=1"])
def test_a_scrape_of_nothing_or_of_everything_is_refused(raw: bytes) -> None:
    with pytest.raises(AnnounceError):
        parse_scrape(raw)


REPLY = AnnounceReply(
    source=bytes([198, 51, 100, 1]),
    complete=3,
    incomplete=4,
    downloaded=5,
    interval=1800,
    min_interval=900,
    peers=V4,
    peers6=V6,
)


def test_a_compact_reply_is_canonical_and_complete() -> None:
    raw = encode_reply(REPLY)
    assert bencode2.bdecode(raw) == {
        b"complete": 3,
        b"downloaded": 5,
        b"external ip": bytes([198, 51, 100, 1]),
        b"incomplete": 4,
        b"interval": 1800,
        b"min interval": 900,
        b"peers": V4,
        b"peers6": V6,
    }
    assert bencode2.bencode(bencode2.bdecode(raw)) == raw


def test_a_reply_without_peers_still_has_the_key() -> None:
    decoded = bencode2.bdecode(encode_reply(REPLY._replace(peers=b"", peers6=b"")))
    assert decoded[b"peers"] == b""
    assert b"peers6" not in decoded


def test_a_listed_reply_names_both_families_and_no_ids() -> None:
    raw = encode_reply_listed(REPLY)
    decoded = bencode2.bdecode(raw)
    assert decoded[b"peers"] == [
        {b"ip": b"192.0.2.1", b"port": 6881},
        {b"ip": b"2001:db8::1", b"port": 51413},
    ]
    assert b"peers6" not in decoded
    assert bencode2.bencode(decoded) == raw


@given(
    st.lists(st.binary(min_size=6, max_size=6)),
    st.lists(st.binary(min_size=18, max_size=18)),
    st.sampled_from([4, 16]).flatmap(lambda length: st.binary(min_size=length, max_size=length)),
)
def test_any_reply_decodes(peers: list[bytes], peers6: list[bytes], source: bytes) -> None:
    reply = REPLY._replace(peers=b"".join(peers), peers6=b"".join(peers6), source=source)
    assert list(reply.endpoints()) == [*peers, *peers6]
    decoded = bencode2.bdecode(encode_reply(reply))
    assert decoded[b"peers"] == b"".join(peers)
    assert decoded.get(b"peers6", b"") == b"".join(peers6)
    assert decoded[b"external ip"] == source
    assert len(bencode2.bdecode(encode_reply_listed(reply))[b"peers"]) == len(peers + peers6)


def test_a_failure_for_good_says_never() -> None:
    decoded = bencode2.bdecode(encode_failure(AnnounceError("gone", retry_in="never")))
    assert decoded == {b"failure reason": b"gone", b"retry in": b"never"}


@pytest.mark.parametrize(
    ("minutes", "later", "seconds", "told"),
    [(5, 0, 300, 5), (1, 0, 300, 1), (1, 7, 307, 2), (1, 120, 420, 3), (10, 5, 605, 11)],
)
def test_a_failure_for_a_while_says_when_in_both_ways(
    minutes: int, later: int, seconds: int, told: int
) -> None:
    error = AnnounceError("later", retry_in=str(minutes))
    assert bencode2.bdecode(encode_failure(error, later=later)) == {
        b"failure reason": b"later",
        b"interval": seconds,
        b"min interval": seconds,
        b"retry in": b"%d" % told,
    }


def test_a_failure_may_be_long_and_in_any_language() -> None:
    decoded = bencode2.bdecode(encode_failure(AnnounceError("a" + "ß" * 10_000)))
    assert decoded[b"failure reason"].decode() == "a" + "ß" * 249


def test_a_scrape_is_answered_in_order_of_the_hashes() -> None:
    a, b = InfoHash(b"a" * 20), InfoHash(b"b" * 20)
    raw = encode_scrape({b: ScrapeCounts(1, 2, 3), a: ScrapeCounts()}, 900)
    decoded = bencode2.bdecode(raw)
    assert decoded == {
        b"files": {
            a: {b"complete": 0, b"downloaded": 0, b"incomplete": 0},
            b: {b"complete": 1, b"downloaded": 2, b"incomplete": 3},
        },
        b"flags": {b"min_request_interval": 900},
    }
    assert bencode2.bencode(decoded) == raw

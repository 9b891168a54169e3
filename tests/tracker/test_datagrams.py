"""Datagrams of the UDP tracker: each field at its place, and what is no request is none."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceReply, AnnounceRequest, ScrapeCounts
from seeder.tracker.datagrams import (
    EPOCH,
    LARGEST_REQUEST,
    MOST_IN_DATAGRAM,
    ConnectionIds,
    ConnectRequest,
    DatagramAnnounce,
    DatagramScrape,
    encode_announced,
    encode_connected,
    encode_refused,
    encode_scraped,
    parse_datagram,
)
from tests.support.memory import leaves_memory_flat
from tests.tracker.announcing import HASH, packed, peer_id

MAGIC = 0x41727101980
CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
ID, TRANSACTION = 0x0123456789ABCDEF, 0xCAFEBABE
V4, V6 = packed("203.0.113.9"), packed("2001:db8::9")
SECRET = b"s" * 32


def announce_of(
    *,
    event: int = 2,
    numwant: int = -1,
    port: int = 6881,
    left: int = 5,
    address: bytes = bytes(4),
    behind: bytes = b"",
) -> bytes:
    """Return an announce as BEP 15 lays it out."""
    return (
        struct.pack(">QII", ID, ANNOUNCE, TRANSACTION)
        + HASH
        + peer_id("a")
        + struct.pack(">QQQI", 7, left, 9, event)
        + address
        + struct.pack(">IiH", 0x11223344, numwant, port)
        + behind
    )


def read_announce(data: bytes) -> AnnounceRequest:
    found = parse_datagram(data)
    assert isinstance(found, DatagramAnnounce)
    assert (found.connection, found.transaction) == (ID, TRANSACTION)
    return found.announce


def test_a_client_asks_for_a_connection_id() -> None:
    data = struct.pack(">QII", MAGIC, CONNECT, TRANSACTION)
    assert parse_datagram(data) == ConnectRequest(TRANSACTION)
    assert parse_datagram(data + b"more") == ConnectRequest(TRANSACTION)
    assert encode_connected(TRANSACTION, ID) == struct.pack(">IIQ", CONNECT, TRANSACTION, ID)


@pytest.mark.parametrize("magic", [0, MAGIC + 1, ID])
def test_a_connect_without_the_magic_number_is_no_request(magic: int) -> None:
    assert parse_datagram(struct.pack(">QII", magic, CONNECT, TRANSACTION)) is None


def test_each_field_of_an_announce_is_at_its_place() -> None:
    assert read_announce(announce_of(numwant=30)) == AnnounceRequest(
        HASH,
        peer_id("a"),
        6881,
        downloaded=7,
        left=5,
        event=AnnounceEvent.STARTED,
        numwant=30,
        key=bytes.fromhex("11223344"),
        uploaded=9,
    )


def test_a_key_of_zeros_is_none() -> None:
    """What clients send that have none: it must not make them one client, to be stopped by all."""
    data = bytearray(announce_of())
    data[88:92] = bytes(4)
    assert read_announce(bytes(data)).key == b""


@pytest.mark.parametrize(
    ("number", "event"),
    [
        (0, AnnounceEvent.NONE),
        (1, AnnounceEvent.COMPLETED),
        (2, AnnounceEvent.STARTED),
        (3, AnnounceEvent.STOPPED),
        (4, AnnounceEvent.PAUSED),
        (5, AnnounceEvent.NONE),
        (2**32 - 1, AnnounceEvent.NONE),
    ],
)
def test_events_have_numbers(number: int, event: AnnounceEvent) -> None:
    assert read_announce(announce_of(event=number)).event is event


@pytest.mark.parametrize(("numwant", "wanted"), [(-1, None), (-(2**31), None), (0, 0), (9, 9)])
def test_a_negative_numwant_is_as_many_as_the_tracker_likes(
    numwant: int, wanted: int | None
) -> None:
    assert read_announce(announce_of(numwant=numwant)).numwant == wanted


@pytest.mark.parametrize(
    "behind",
    [b"\0", b"\1\1", b"\2\x09/announce", b"\2\xffshort", b"\2", b"\x63\x02ab", bytes(1000)],
)
def test_options_behind_an_announce_change_nothing(behind: bytes) -> None:
    """BEP 41, and what lies past the end of an option."""
    assert read_announce(announce_of(behind=behind)) == read_announce(announce_of())


@pytest.mark.parametrize(
    "behind",
    [
        b"\2\x0d/announce/KEY",
        b"\2\x0d/announce/KEY\0junk",
        b"\1\2\x05/anno\1\1\2\x08unce/KEY\1",
        b"\x63\x02ab\2\x0d/announce/KEY",
        b"\2\x12/announce/KEY?a=/b",
        b"\2\x0f//announce/KEY/",
        b"\2\x0d/announce/KEY\2\xffshort",
    ],
)
def test_the_path_of_an_announce_may_have_a_passkey(behind: bytes) -> None:
    """BEP 41, in one piece or several, among other options."""
    assert read_announce(announce_of(behind=behind)).passkey == b"KEY"


@pytest.mark.parametrize(
    "behind", [b"\2\x09/announce", b"\2\x0a/announce/", b"\2\x04/KEY", b"\2\x0c/scrape/KEY0"]
)
def test_another_path_has_no_passkey(behind: bytes) -> None:
    assert read_announce(announce_of(behind=behind)).passkey == b""


@given(st.binary(max_size=400))
def test_any_options_are_read_to_an_end(behind: bytes) -> None:
    found = read_announce(announce_of(behind=behind))
    assert found._replace(passkey=b"") == read_announce(announce_of())


def test_the_address_that_an_announce_names_is_not_read() -> None:
    assert read_announce(announce_of(address=b"\1\2\3\4")) == read_announce(announce_of())


@given(st.integers(0, 97))
def test_a_short_announce_is_no_request(length: int) -> None:
    assert parse_datagram(announce_of()[:length]) is None


def test_a_scrape_has_whole_hashes_and_not_too_many() -> None:
    head = struct.pack(">QII", ID, SCRAPE, TRANSACTION)
    hashes = [InfoHash(bytes([number]) * 20) for number in range(100)]
    found = parse_datagram(head + b"".join(hashes[:2]) + b"x" * 19)
    assert found == DatagramScrape(ID, TRANSACTION, hashes[:2])
    many = parse_datagram((head + b"".join(hashes))[:LARGEST_REQUEST])
    assert many == DatagramScrape(ID, TRANSACTION, hashes[:MOST_IN_DATAGRAM])
    assert parse_datagram(head) is None
    assert parse_datagram(head + b"x" * 19) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_none(data: bytes) -> None:
    parse_datagram(data)


@pytest.mark.parametrize("action", [ERROR, 4, 2**32 - 1])
def test_other_actions_are_no_requests(action: int) -> None:
    assert parse_datagram(struct.pack(">QII", ID, action, TRANSACTION) + bytes(100)) is None


def reply_of(source: bytes, peers: int = 0, peers6: int = 0) -> AnnounceReply:
    return AnnounceReply(source, 3, 4, 5, 1800, 900, b"\1" * 6 * peers, b"\2" * 18 * peers6)


def test_a_reply_has_the_endpoints_of_the_askers_family_and_no_byte_more() -> None:
    head = struct.pack(">IIIII", ANNOUNCE, TRANSACTION, 1800, 4, 3)
    assert encode_announced(TRANSACTION, reply_of(V4, 2, 1)) == head + b"\1" * 12
    assert encode_announced(TRANSACTION, reply_of(V6, 2, 1)) == head + b"\2" * 18
    assert encode_announced(TRANSACTION, reply_of(V6, 2)) == head


@pytest.mark.parametrize(("source", "most"), [(V4, 200), (V6, 66)])
def test_a_reply_fits_the_smallest_mtu(source: bytes, most: int) -> None:
    reply = encode_announced(TRANSACTION, reply_of(source, 201, 201))
    assert len(reply) == 20 + most * (len(source) + 2)
    assert len(reply) <= 1280 - 40 - 8


def test_a_scrape_is_answered_in_the_order_of_its_hashes() -> None:
    counts = [ScrapeCounts(1, 2, 3), ScrapeCounts(4, 2**40, 6)]
    assert encode_scraped(TRANSACTION, counts) == struct.pack(
        ">IIIIIIII", SCRAPE, TRANSACTION, 1, 2, 3, 4, 2**32 - 1, 6
    )


def test_a_refusal_is_cut_to_what_it_may_have() -> None:
    whole = struct.pack(">II", ERROR, TRANSACTION) + b"come later"
    assert encode_refused(TRANSACTION, "come later") == whole
    assert encode_refused(TRANSACTION, "come later", most=16) == whole[:16]


@given(st.sampled_from([V4, V6]), st.integers(-(10**9), 10**12), st.integers(0, 120_000))
def test_a_connection_id_is_good_for_two_minutes(address: bytes, now: int, later: int) -> None:
    ids = ConnectionIds(SECRET)
    issued = ids.issue(address, now / 1000)
    assert ids.is_good(issued, address, (now + later) / 1000)


@given(st.floats(0, 1e9), st.floats(3 * EPOCH, 1e6))
def test_a_connection_id_is_good_for_no_more_than_three(now: float, later: float) -> None:
    ids = ConnectionIds(SECRET)
    assert not ids.is_good(ids.issue(V4, now), V4, now + later)
    assert not ids.is_good(ids.issue(V4, now + later), V4, now)


def test_an_id_that_has_proven_an_address_is_good_no_longer_than_another() -> None:
    # So many clients that all of them are forgotten meanwhile, some, or none.
    for others in (0, 5, 9, 50):
        ids = ConnectionIds(SECRET, most=10)
        given_out = ids.issue(V4, 1000.0)
        for _ in range(2):
            assert ids.is_good(given_out, V4, 1000.0)
        for number in range(others):
            address = bytes((198, 51, 100, number))
            assert ids.is_good(ids.issue(address, 1000.0), address, 1000.0)
        assert ids.is_good(given_out, V4, 1000.0 + 2 * EPOCH)
        assert not ids.is_good(given_out, packed("203.0.113.8"), 1000.0)
        assert not ids.is_good(given_out ^ 1 << 40, V4, 1000.0)
        for later in (3, 4, 5, 8):
            assert not ids.is_good(given_out, V4, 1000.0 + later * EPOCH)
        newer = ids.issue(V4, 1000.0 + 4 * EPOCH)
        assert ids.is_good(newer, V4, 1000.0 + 4 * EPOCH)
        assert not ids.is_good(newer, V4, 1000.0)


def test_addresses_that_are_proven_take_no_more_memory_than_there_is_for_them() -> None:
    ids = ConnectionIds(SECRET, most=1000)

    def prove(number: int) -> None:
        address = number.to_bytes(4, "big")
        assert ids.is_good(ids.issue(address, 1000.0), address, 1000.0)

    leaves_memory_flat(prove, 20_000)


def test_who_only_asks_for_ids_takes_no_more_memory_and_nobody_s_proof() -> None:
    ids = ConnectionIds(SECRET, most=1000)
    given_out = ids.issue(V4, 1000.0)
    assert ids.is_good(given_out, V4, 1000.0)
    leaves_memory_flat(lambda number: ids.issue(number.to_bytes(4, "big"), 1000.0), 20_000)
    # That is remembered, and no code is made for it.
    ids.secret = b"t" * 32
    assert ids.is_good(given_out, V4, 1000.0)


def test_ids_are_made_by_the_secret_that_there_is() -> None:
    ids, other = ConnectionIds(SECRET), ConnectionIds(b"t" * 32)
    before = ids.issue(V4, 1000.0)
    ids.secret = other.secret
    assert ids.issue(V4, 1000.0) == other.issue(V4, 1000.0)
    assert not ids.is_good(before, V4, 1000.0)
    assert ids.is_good(other.issue(V4, 1000.0), V4, 1000.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([V4, V6, packed("203.0.113.8")]),
            st.booleans(),
            st.sampled_from([0.0, 1.0, EPOCH, -EPOCH, 3 * EPOCH, 4 * EPOCH]),
        ),
        max_size=30,
    )
)
def test_what_is_remembered_of_ids_changes_none_and_makes_none_good(
    steps: list[tuple[bytes, bool, float]],
) -> None:
    ids, now, issued = ConnectionIds(SECRET, most=2), 1000.0, list[tuple[bytes, int]]()
    for address, asks, elapsed in steps:
        now += elapsed
        if asks:
            assert ids.issue(address, now) == ConnectionIds(SECRET).issue(address, now)
            issued.append((address, ids.issue(address, now)))
        for _, connection in issued:
            fresh = ConnectionIds(SECRET).is_good(connection, address, now)
            assert ids.is_good(connection, address, now) == fresh


@given(st.floats(1000, 1e9), st.floats(-EPOCH, 2 * EPOCH))
def test_a_connection_id_of_a_node_whose_clock_is_a_minute_ahead_is_good(
    now: float, later: float
) -> None:
    ours, theirs = ConnectionIds(SECRET), ConnectionIds(SECRET)
    ours.shared = True
    assert ours.is_good(theirs.issue(V4, now), V4, now + later)
    assert not ours.is_good(theirs.issue(V4, now), V4, now - 2 * EPOCH)
    assert not ours.is_good(theirs.issue(V4, now), V4, now + 3 * EPOCH)


def test_a_connection_id_is_good_from_its_address_and_by_its_secret_alone() -> None:
    ids = ConnectionIds(SECRET)
    given_out = ids.issue(V4, 1000.0)
    assert not ids.is_good(given_out, packed("203.0.113.8"), 1000.0)
    assert not ids.is_good(given_out, V6, 1000.0)
    assert not ConnectionIds(b"t" * 32).is_good(given_out, V4, 1000.0)


@given(st.integers(0, 63))
def test_a_connection_id_with_another_bit_is_not_good(bit: int) -> None:
    ids = ConnectionIds(SECRET)
    assert not ids.is_good(ids.issue(V4, 1000.0) ^ 1 << bit, V4, 1000.0)

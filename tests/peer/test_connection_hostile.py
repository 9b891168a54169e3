"""The hostile inputs that the protocol's state machine has an answer to, one test each."""

import pytest

from seeder.errors import WireError
from seeder.peer import messages
from seeder.peer.connection import CANCEL_BURST, MOST_UNSENT, NOISE_BURST
from seeder.peer.messages import BLOCK_SIZE, Block, MessageId
from seeder.peer.protocol import Arrived, Phase
from seeder.peer.requests import REQUEST_QUEUE
from seeder.torrent import bencode
from seeder.torrent.layout import Layout
from seeder.units import KIB
from tests.peer.wire import (
    INFO_HASH,
    OUR_ID,
    FakeTorrent,
    answers,
    cancel_message,
    connect,
    greeting,
    opened,
    piece_header,
    receive,
    rejects,
    requests,
    taken,
)

KEEP_ALIVE = bytes(4)
LARGE = FakeTorrent(layout=Layout(size=2**20, piece_length=2**18))
FIXED_LENGTHS = [(0, 1), (1, 1), (2, 1), (3, 1), (4, 5), (6, 13), (8, 13), (9, 3)]


def test_01_a_length_of_4_gib_closes_on_the_prefix() -> None:
    with pytest.raises(WireError, match="message-too-long"):
        receive(opened(), b"\xff\xff\xff\xff")


def test_02_a_handshake_that_trickles_in_goes_no_further() -> None:
    wire = connect()
    for i in range(47):
        assert wire.receive(greeting()[i : i + 1], float(i)) == []
    assert wire.phase is Phase.HANDSHAKE
    assert wire.data_to_send() == b""


@pytest.mark.parametrize("fast", [True, False])
def test_03_a_peer_that_never_reads_costs_a_bounded_buffer(fast: bool) -> None:
    wire = opened(LARGE, fast=fast)

    def ask_and_cancel() -> None:
        for second in range(20_000):
            block = (0, second % 16 * BLOCK_SIZE, 100)
            receive(wire, requests([block]), cancel_message(block), now=float(second))

    if fast:
        with pytest.raises(WireError, match="answers-unread"):
            ask_and_cancel()
    else:
        ask_and_cancel()
    assert len(wire.data_to_send()) < MOST_UNSENT + 128 * KIB


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"\x13BitTorrent Protocol",
        b"\0",
        b"\xff",
    ],
)
def test_04_anything_but_bittorrent_closes_at_its_first_wrong_byte(start: bytes) -> None:
    wire = connect()
    with pytest.raises(WireError, match="not-bittorrent"):
        receive(wire, *(start[i : i + 1] for i in range(len(start))))
    assert wire.data_to_send() == b""


@pytest.mark.parametrize("info_hash", [bytes(20), bytes(reversed(INFO_HASH))])
def test_05_an_unknown_torrent_closes_without_an_answer(info_hash: bytes) -> None:
    wire = connect()
    with pytest.raises(WireError, match="unknown-torrent"):
        receive(wire, greeting(info_hash=info_hash))
    assert wire.data_to_send() == b""


def test_06_the_v2_bit_is_ignored_on_a_v1_torrent() -> None:
    wire = connect()
    reserved = bytes((0, 0, 0, 0, 0, 0x10, 0, 0x14))
    receive(wire, messages.PROTOCOL + reserved + greeting()[28:])
    assert wire.phase is Phase.OPENING
    assert wire.data_to_send()[20:28] == bytes((0, 0, 0, 0, 0, 0x10, 0, 0x04))


def test_07_our_own_peer_id_closes() -> None:
    with pytest.raises(WireError, match="self-connection"):
        receive(connect(), greeting(peer=OUR_ID))


@pytest.mark.parametrize(("identifier", "length"), FIXED_LENGTHS)
def test_08_a_wrong_fixed_length_closes(identifier: int, length: int) -> None:
    with pytest.raises(WireError, match="wrong-length"):
        receive(opened(), messages.message(identifier, bytes(length)))


@pytest.mark.parametrize("bits", [b"", b"\xff", b"\0\0\0", b"\0\x10", b"\xff\xff"])
def test_09_a_bitfield_of_wrong_length_or_with_spare_bits_closes(bits: bytes) -> None:
    with pytest.raises(WireError, match="bad-bitfield"):
        receive(opened(), messages.message(MessageId.BITFIELD, bits))


def test_10_of_have_all_and_bitfields_by_turns_the_last_wins_until_there_are_too_many() -> None:
    wire = opened()
    have_all = messages.message(MessageId.HAVE_ALL)
    bitfield = messages.message(MessageId.BITFIELD, b"\x80\0")
    events = receive(wire, have_all, bitfield, have_all, bitfield)
    assert events == [Arrived(True), Arrived(b"\x80\0"), Arrived(True), Arrived(b"\x80\0")]
    with pytest.raises(WireError, match="bitfield-flood"):
        receive(wire, have_all)


@pytest.mark.parametrize("index", [11, 2**31, 2**32 - 1])
def test_11_a_have_out_of_range_closes(index: int) -> None:
    with pytest.raises(WireError, match="have-out-of-range"):
        receive(opened(), messages.have(index))


@pytest.mark.parametrize(("identifier", "length"), [(13, 4), (14, 0), (15, 0), (16, 12), (17, 4)])
def test_12_a_fast_message_without_fast_closes(identifier: int, length: int) -> None:
    wire = opened(fast=False)
    with pytest.raises(WireError, match="fast-not-negotiated"):
        receive(wire, messages.message(identifier, bytes(length)))


@pytest.mark.parametrize(
    "block",
    [
        (4, 0, 1),
        (2**32 - 1, 0, 1),
        (0, 2**18, 1),
        (0, 2**18 - 1, 2),
        (0, 2**32 - 1, 2**32 - 1),
        (0, 0, 0),
        (0, 0, 128 * KIB + 1),
        (0, 0, 2**32 - 1),
    ],
)
def test_13_a_bad_request_is_rejected_and_the_tenth_closes(block: Block) -> None:
    wire = opened(LARGE)
    receive(wire, requests([block] * 9))
    assert rejects(wire) == [block] * 9
    assert wire.wanted == {}
    with pytest.raises(WireError, match="bad-requests"):
        receive(wire, requests([block]))


def test_13_the_largest_block_is_served() -> None:
    wire = opened(LARGE)
    receive(wire, requests([(0, 128 * KIB, 128 * KIB)]))
    assert taken(wire, 0) == [(0, 128 * KIB, 128 * KIB)]


def test_14_a_doubled_request_gets_one_answer() -> None:
    wire = opened()
    receive(wire, requests([(0, 0, 10)] * 3), requests([(0, 0, 10)]))
    assert wire.wanted_count == 1
    assert taken(wire, 0) == [(0, 0, 10)]
    assert answers(wire) == []


def test_14_a_request_for_the_same_begin_with_another_length_gets_its_own() -> None:
    wire = opened()
    receive(wire, requests([(0, 0, 10), (0, 0, 20)]))
    assert rejects(wire) == [(0, 0, 20)]
    assert taken(wire, 0) == [(0, 0, 10)]


def test_15_a_flood_of_requests_is_rejected_and_closes_at_twice_the_queue() -> None:
    wire = opened(LARGE)
    blocks = [(0, begin, 1) for begin in range(2 * REQUEST_QUEUE)]
    receive(wire, requests(blocks))
    assert rejects(wire) == blocks[REQUEST_QUEUE:]
    assert wire.wanted_count == REQUEST_QUEUE
    with pytest.raises(WireError, match="request-flood"):
        receive(wire, requests([(1, 0, 1)]))


def test_16_requests_while_choked_are_rejected() -> None:
    wire = opened(choking=True)
    receive(wire, requests([(0, 0, 10), (1, 0, 10)]))
    assert rejects(wire) == [(0, 0, 10), (1, 0, 10)]
    assert (wire.wanted, wire.wanted_count) == ({}, 0)


def test_16_requests_while_choked_without_fast_are_dropped() -> None:
    wire = opened(fast=False, choking=True)
    receive(wire, requests([(0, 0, 10)]))
    assert answers(wire) == []
    assert wire.wanted == {}


@pytest.mark.parametrize("block", [(0, 10, 10), (0, 0, 9), (1, 0, 10), (99, 0, 10)])
def test_17_an_unknown_cancel_is_ignored(block: Block) -> None:
    wire = opened()
    receive(wire, requests([(0, 0, 10)]), cancel_message(block))
    assert answers(wire) == []
    assert wire.wanted == {0: {0: 10}}


def test_18_asking_and_cancelling_by_turns_ends() -> None:
    wire, block = opened(), (0, 0, 10)
    for _ in range(CANCEL_BURST):
        receive(wire, requests([block]), cancel_message(block))
        wire.data_to_send()
    with pytest.raises(WireError, match="cancel-flood"):
        receive(wire, requests([block]), cancel_message(block))


def test_18_cancelling_a_whole_queue_twice_in_ten_seconds_is_no_flood() -> None:
    wire = opened(LARGE)
    for now in (0.0, 5.0, 10.0):
        blocks = [(0, begin, 1) for begin in range(REQUEST_QUEUE)]
        receive(wire, requests(blocks), *map(cancel_message, blocks), now=now)
        assert rejects(wire) == blocks


def test_19_requests_all_over_the_object_stay_within_the_queue() -> None:
    wire = opened(FakeTorrent(layout=Layout(size=10_000, piece_length=1)))
    receive(wire, requests((index, 0, 1) for index in range(2 * REQUEST_QUEUE)))
    assert len(wire.wanted) == wire.wanted_count == REQUEST_QUEUE


def test_20_a_piece_sent_to_us_closes() -> None:
    with pytest.raises(WireError, match="piece-to-a-seed"):
        receive(opened(), piece_header(0, 0, 2) + b"ab")


@pytest.mark.parametrize("identifier", [10, 12, 18, 19, 99, 255])
def test_21_an_unknown_id_is_ignored(identifier: int) -> None:
    wire = opened()
    assert receive(wire, messages.message(identifier, b"xyz"), requests([(0, 0, 10)])) == []
    assert wire.wanted == {0: {0: 10}}
    assert answers(wire) == []


@pytest.mark.parametrize(
    "message",
    [
        KEEP_ALIVE,
        messages.message(MessageId.CHOKE),
        messages.message(MessageId.INTERESTED),
        messages.message(MessageId.PORT, b"\0\0"),
        messages.message(MessageId.SUGGEST, bytes(4)),
        messages.message(99),
        messages.extended(0x63, b""),
    ],
)
def test_22_a_flood_of_messages_that_bring_nothing_closes(message: bytes) -> None:
    wire = opened()
    receive(wire, message * NOISE_BURST)
    with pytest.raises(WireError, match="message-flood"):
        receive(wire, message)


def test_22_a_flood_of_haves_beyond_one_a_piece_closes() -> None:
    wire = opened()
    receive(wire, messages.have(1) * (NOISE_BURST + 11))
    with pytest.raises(WireError, match="message-flood"):
        receive(wire, messages.have(1))


def test_22_a_flood_of_bitfields_after_the_first_request_closes() -> None:
    wire = opened()
    receive(wire, requests([(0, 0, 100)]))
    bitfield = messages.message(MessageId.BITFIELD, b"\x80\0")
    receive(wire, bitfield * NOISE_BURST)
    with pytest.raises(WireError, match="message-flood"):
        receive(wire, bitfield)


def test_22_messages_at_a_usual_pace_are_no_flood() -> None:
    wire = opened()
    for second in range(200):
        receive(wire, KEEP_ALIVE * 100, now=float(second))


@pytest.mark.parametrize("identifier", [21, 22, 23])
def test_23_a_hash_request_without_v2_is_ignored(identifier: int) -> None:
    wire = opened()
    assert receive(wire, messages.message(identifier, bytes(48))) == []
    assert answers(wire) == []


@pytest.mark.parametrize("payload", [b"", b"le", b"i1e", b"l" * 40 + b"e" * 40, b"d1:m", b"\xff"])
def test_24_an_extended_handshake_that_is_no_dictionary_closes(payload: bytes) -> None:
    with pytest.raises(WireError, match="bad-extended-handshake"):
        receive(opened(), messages.extended(0, payload))


@pytest.mark.parametrize("identifier", [-1, 256, 2**62, b"x", [], {}])
def test_25_an_impossible_extension_id_is_not_used(identifier: bencode.Value) -> None:
    wire = opened()
    hello = bencode.encode({b"m": {b"ut_metadata": identifier}})
    ask = messages.extended(2, bencode.encode({b"msg_type": 0, b"piece": 0}))
    receive(wire, messages.extended(0, hello), ask)
    assert not wire.owes_metadata
    assert answers(wire) == []


def test_25_thousands_of_extensions_are_read_and_forgotten() -> None:
    wire = opened()
    names: dict[bytes, bencode.Value] = {b"x%04d" % i: i % 256 for i in range(4000)}
    receive(wire, messages.extended(0, bencode.encode({b"m": names})))
    assert answers(wire) == []


@pytest.mark.parametrize("reqq", [0, -1, 2**63 - 1, b"", []])
def test_26_a_strange_reqq_or_port_changes_nothing(reqq: bencode.Value) -> None:
    wire = opened()
    receive(wire, messages.extended(0, bencode.encode({b"reqq": reqq, b"p": 70_000, b"v": 5})))
    receive(wire, requests([(0, 0, 10)]))
    assert taken(wire, 0) == [(0, 0, 10)]


@pytest.mark.parametrize("size", [-1, 0, 2**62, b"big"])
def test_27_a_metadata_size_from_a_peer_is_ignored(size: bencode.Value) -> None:
    wire = opened()
    receive(wire, messages.extended(0, bencode.encode({b"metadata_size": size})))
    assert answers(wire) == []


@pytest.mark.parametrize("index", [-1, 3, 2**31, -(2**63), 2**63 - 1])
def test_28_metadata_out_of_range_is_rejected(index: int) -> None:
    wire = opened()
    hello = bencode.encode({b"m": {b"ut_metadata": 7}})
    ask = bencode.encode({b"msg_type": 0, b"piece": index})
    receive(wire, messages.extended(0, hello), messages.extended(2, ask))
    reject = bencode.encode({b"msg_type": 2, b"piece": index})
    assert [message.payload for message in answers(wire)] == [b"\x07" + reject]
    assert not wire.owes_metadata


def test_28_a_flood_of_metadata_requests_closes() -> None:
    wire = opened()
    receive(wire, messages.extended(0, bencode.encode({b"m": {b"ut_metadata": 7}})))
    ask = messages.extended(2, bencode.encode({b"msg_type": 0, b"piece": 0}))
    for _ in range(NOISE_BURST - 1):
        receive(wire, ask)
        wire.data_to_send()
    with pytest.raises(WireError, match="message-flood"):
        receive(wire, ask)


def test_29_peer_exchange_that_nobody_asked_for_is_dropped() -> None:
    wire = opened()
    assert receive(wire, messages.extended(1, b"d5:added7:1234567e")) == []
    assert answers(wire) == []


def test_30_extended_handshakes_again_and_again_close() -> None:
    wire = opened()
    hello = messages.extended(0, b"de")
    receive(wire, hello * 10)
    with pytest.raises(WireError, match="extended-handshake-flood"):
        receive(wire, hello)


@pytest.mark.parametrize("value", [b"i0e", b"0:", b"le", b"de"])
def test_31_a_request_for_metadata_of_thousands_of_values_closes(value: bytes) -> None:
    wire = opened()
    receive(wire, messages.extended(0, bencode.encode({b"m": {b"ut_metadata": 7}})))
    stuffed = b"d1:al" + value * (60_000 // len(value)) + b"ee"
    with pytest.raises(WireError, match=r"bad-metadata-message.*more than 100 values"):
        receive(wire, messages.extended(2, stuffed))

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.errors import WireError
from seeder.peer import messages
from seeder.peer.messages import (
    INFO_HASH_END,
    KEEP_ALIVE_ID,
    PIECE_HEADER,
    PIECE_HEADER_LENGTH,
    Block,
    Message,
    MessageId,
    Requests,
)
from tests.peer.wire import HANDSHAKE_LENGTH, cancel_message, request_message

LIMIT = 64 * 1024
U32 = st.integers(0, 2**32 - 1)
BLOCKS = st.tuples(U32, U32, U32)
FIXED = {0: 1, 1: 1, 2: 1, 3: 1, 4: 5, 6: 13, 8: 13, 9: 3, 13: 5, 14: 1, 15: 1, 16: 13, 17: 5}

# What a message is on the wire, and what it is read as.
CASES: list[tuple[bytes, Requests | Message]] = [
    (b"\0\0\0\0", Message(KEEP_ALIVE_ID, b"")),
    (b"\0\0\0\x01\0", Message(MessageId.CHOKE, b"")),
    (b"\0\0\0\x01\x01", Message(MessageId.UNCHOKE, b"")),
    (b"\0\0\0\x01\x02", Message(MessageId.INTERESTED, b"")),
    (b"\0\0\0\x01\x03", Message(MessageId.NOT_INTERESTED, b"")),
    (b"\0\0\0\x05\x04\0\0\x01\x02", Message(MessageId.HAVE, b"\0\0\x01\x02")),
    (b"\0\0\0\x03\x05\xff\xe0", Message(MessageId.BITFIELD, b"\xff\xe0")),
    (b"\0\0\0\x01\x05", Message(MessageId.BITFIELD, b"")),
    (
        b"\0\0\0\x0d\x06\0\0\0\x01\0\0\x40\0\0\0\x20\0",
        Requests([(1, 0x4000, 0x2000)]),
    ),
    (
        b"\0\0\0\x0b\x07\0\0\0\x01\0\0\x40\0ab",
        Message(MessageId.PIECE, b"\0\0\0\x01\0\0\x40\0ab"),
    ),
    (
        b"\0\0\0\x0d\x08\0\0\0\x01\0\0\x40\0\0\0\x20\0",
        Message(MessageId.CANCEL, b"\0\0\0\x01\0\0\x40\0\0\0\x20\0"),
    ),
    (b"\0\0\0\x03\x09\x1a\xe1", Message(MessageId.PORT, b"\x1a\xe1")),
    (b"\0\0\0\x05\x0d\0\0\0\x07", Message(MessageId.SUGGEST, b"\0\0\0\x07")),
    (b"\0\0\0\x01\x0e", Message(MessageId.HAVE_ALL, b"")),
    (b"\0\0\0\x01\x0f", Message(MessageId.HAVE_NONE, b"")),
    (
        b"\0\0\0\x0d\x10\0\0\0\x01\0\0\x40\0\0\0\x20\0",
        Message(MessageId.REJECT, b"\0\0\0\x01\0\0\x40\0\0\0\x20\0"),
    ),
    (b"\0\0\0\x05\x11\0\0\0\x07", Message(MessageId.ALLOWED_FAST, b"\0\0\0\x07")),
    (b"\0\0\0\x04\x14\0de", Message(MessageId.EXTENDED, b"\0de")),
    (b"\0\0\0\x01\x14", Message(MessageId.EXTENDED, b"")),
    (b"\0\0\0\x03\xc8xy", Message(200, b"xy")),
]
IDS = [f"{type(value).__name__}-{wire[4:5].hex() or 'keep-alive'}" for wire, value in CASES]


def flat(parsed: Sequence[Requests | Message]) -> Iterator[Block | Message]:
    """Runs of requests depend on how the bytes arrive; the requests themselves don't."""
    for item in parsed:
        if isinstance(item, Requests):
            yield from item.blocks
        else:
            yield item


def parse_in_chunks(chunks: Sequence[bytes]) -> tuple[list[Block | Message], bytes]:
    found: list[Block | Message] = []
    rest = b""
    for chunk in chunks:
        rest += chunk
        parsed, used = messages.parse(rest, LIMIT)
        found.extend(flat(parsed))
        rest = rest[used:]
    return found, rest


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[Block | Message]]:
    wire: list[bytes] = []
    expected: list[Block | Message] = []
    for _ in range(draw(st.integers(0, 12))):
        if draw(st.booleans()):
            for block in draw(st.lists(BLOCKS, min_size=1, max_size=5)):
                wire.append(request_message(block))
                expected.append(block)
            continue
        identifier = draw(st.integers(0, 255).filter(lambda value: value != 6))
        length = FIXED.get(identifier, draw(st.integers(1, 40))) - 1
        payload = draw(st.binary(min_size=length, max_size=length))
        wire.append(messages.message(identifier, payload))
        expected.append(Message(identifier, payload))
    return b"".join(wire), expected


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize(("wire", "value"), CASES, ids=IDS)
def test_a_message_that_arrives_whole_is_read(wire: bytes, value: Requests | Message) -> None:
    assert messages.parse(wire, LIMIT) == ([value], len(wire))


@pytest.mark.parametrize(("wire", "value"), CASES, ids=IDS)
def test_a_message_that_arrives_byte_by_byte_is_read_once(
    wire: bytes, value: Requests | Message
) -> None:
    for end in range(len(wire)):
        assert messages.parse(wire[:end], LIMIT) == ([], 0)
    found, rest = parse_in_chunks([wire[i : i + 1] for i in range(len(wire))])
    assert found == list(flat([value]))
    assert rest == b""


@pytest.mark.parametrize(
    "trailing", [b"\0", b"\0\0\0", b"\0\0\0\x0d\x06\0\0", b"\0\0\0\x03\x05\xff"]
)
@pytest.mark.parametrize(("wire", "value"), CASES, ids=IDS)
def test_the_start_of_a_next_message_stays_for_later(
    wire: bytes, value: Requests | Message, trailing: bytes
) -> None:
    assert messages.parse(wire + trailing, LIMIT) == ([value], len(wire))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_buffer_is_read(kind: type[bytes]) -> None:
    wire = b"".join(wire for wire, _ in CASES)
    parsed, used = messages.parse(kind(wire), LIMIT)
    assert list(flat(parsed)) == list(flat([value for _, value in CASES]))
    assert used == len(wire)


def test_a_run_of_requests_is_one_value() -> None:
    blocks = [(index, 0, 16384) for index in range(500)]
    wire = b"".join(map(request_message, blocks))
    run, have = messages.parse(wire + messages.have(3) + wire, LIMIT)[0][:2]
    assert run == Requests(blocks)
    assert have == Message(MessageId.HAVE, b"\0\0\0\x03")


def test_a_cancel_or_a_reject_behind_a_request_ends_its_run() -> None:
    block = (1, 2, 3)
    for other in (cancel_message(block), messages.reject([block])):
        parsed, _ = messages.parse(request_message(block) + other + request_message(block), LIMIT)
        kinds = [MessageId.REQUEST if isinstance(item, Requests) else item.id for item in parsed]
        assert kinds == [MessageId.REQUEST, other[4], MessageId.REQUEST]


def test_a_request_that_is_cut_off_ends_its_run() -> None:
    wire = request_message((1, 2, 3)) * 3
    assert messages.parse(wire[:-1], LIMIT) == ([Requests([(1, 2, 3)] * 2)], 34)


@given(streams(), st.lists(st.integers(0, 2**16), max_size=8))
def test_messages_survive_any_chunking(
    stream: tuple[bytes, list[Block | Message]], places: list[int]
) -> None:
    wire, expected = stream
    assert parse_in_chunks(cut(wire, places)) == (expected, b"")


@given(st.binary(max_size=200), st.integers(0, 300))
def test_garbage_raises_only_a_wire_error(data: bytes, limit: int) -> None:
    try:
        parsed, used = messages.parse(data, limit)
    except WireError:
        return
    assert 0 <= used <= len(data)
    assert len(parsed) <= used // 4


@given(st.binary(max_size=100).filter(lambda data: data[:20] != messages.PROTOCOL))
def test_a_garbage_handshake_raises_only_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError, match="not-bittorrent"):
        messages.parse_handshake(data)


@pytest.mark.parametrize("prefix", [b"\xff\xff\xff\xff", b"\0\x01\0\x01"])
def test_a_length_beyond_the_limit_is_refused_on_the_prefix(prefix: bytes) -> None:
    with pytest.raises(WireError, match=r"message-too-long: .* at most 65536"):
        messages.parse(prefix, LIMIT)


def test_a_length_at_the_limit_is_waited_for() -> None:
    wire = messages.message(20, bytes(LIMIT - 1))
    assert messages.parse(wire[:-1], LIMIT) == ([], 0)
    assert messages.parse(wire, LIMIT)[1] == len(wire)


@pytest.mark.parametrize(
    ("identifier", "length"),
    [
        (identifier, length + off_by)
        for identifier, length in FIXED.items()
        for off_by in (-1, 1)
        if length + off_by  # a message of no bytes is a keep-alive
    ],
)
def test_a_fixed_length_that_is_wrong_is_refused_on_the_id(identifier: int, length: int) -> None:
    with pytest.raises(WireError, match=f"wrong-length: message {identifier} of {length} bytes"):
        messages.parse(struct.pack(">IB", length, identifier), LIMIT)


def test_what_came_before_a_wrong_length_is_not_lost_by_how_it_arrived() -> None:
    wire = request_message((0, 0, 1)) + struct.pack(">IB", 12, 6)
    with pytest.raises(WireError, match="wrong-length"):
        messages.parse(wire, LIMIT)
    assert messages.parse(wire[:-1], LIMIT) == ([Requests([(0, 0, 1)])], 17)


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=20, max_size=20))
def test_our_handshake_reads_as_what_it_offers(info_hash: bytes, peer_id: bytes) -> None:
    wire = messages.handshake(info_hash, peer_id)
    assert len(wire) == HANDSHAKE_LENGTH
    greeting = messages.parse_handshake(wire[:INFO_HASH_END])
    assert greeting.info_hash == info_hash
    assert greeting.extended
    assert greeting.fast
    assert greeting.reserved == bytes((0, 0, 0, 0, 0, 0x10, 0, 0x04))
    assert wire.endswith(peer_id)


def test_reserved_bits_are_read_one_by_one() -> None:
    start, end = messages.PROTOCOL, bytes(20)
    plain = messages.parse_handshake(start + bytes(8) + end)
    assert (plain.extended, plain.fast) == (False, False)
    others = messages.parse_handshake(start + b"\xff\xff\xff\xff\xff\xef\xff\xfb" + end)
    assert (others.extended, others.fast) == (False, False)


@given(BLOCKS)
def test_a_block_comes_back_as_it_was_sent(block: Block) -> None:
    assert messages.parse(request_message(block), LIMIT)[0] == [Requests([block])]
    [cancel] = messages.parse(cancel_message(block), LIMIT)[0]
    [reject] = messages.parse(messages.reject([block]), LIMIT)[0]
    assert isinstance(cancel, Message)
    assert isinstance(reject, Message)
    assert (cancel.id, cancel.block()) == (MessageId.CANCEL, block)
    assert (reject.id, reject.block()) == (MessageId.REJECT, block)


def test_a_reject_is_sent_for_every_block() -> None:
    blocks = [(0, 0, 1), (0, 1, 1), (7, 0, 5)]
    parsed, _ = messages.parse(messages.reject(blocks), LIMIT)
    assert [item.block() for item in parsed if isinstance(item, Message)] == blocks
    assert messages.reject([]) == b""


@given(U32)
def test_a_have_comes_back_as_it_was_sent(index: int) -> None:
    [have] = messages.parse(messages.have(index), LIMIT)[0]
    assert isinstance(have, Message)
    assert (have.id, have.index()) == (MessageId.HAVE, index)


@given(U32, U32, st.binary(max_size=64))
def test_a_piece_header_and_its_block_are_one_message(index: int, begin: int, data: bytes) -> None:
    header = PIECE_HEADER.pack(9 + len(data), MessageId.PIECE, index, begin)
    assert len(header) == PIECE_HEADER_LENGTH
    [piece] = messages.parse(header + data, LIMIT)[0]
    assert piece == Message(MessageId.PIECE, struct.pack(">II", index, begin) + data)


def test_an_extended_message_carries_its_own_id() -> None:
    [found] = messages.parse(messages.extended(3, b"de"), LIMIT)[0]
    assert found == Message(MessageId.EXTENDED, b"\x03de")


@given(st.integers(0, 100))
def test_our_full_bitfield_has_every_piece_and_no_spare_bit(piece_count: int) -> None:
    wire = messages.full_bitfield(piece_count)
    [found] = messages.parse(wire, LIMIT)[0]
    assert isinstance(found, Message)
    assert found.id == MessageId.BITFIELD
    assert messages.bitfield_fits(found.payload, piece_count)
    bits = "".join(f"{byte:08b}" for byte in found.payload)
    assert bits == ("1" * piece_count).ljust(-(-piece_count // 8) * 8, "0")


@given(st.binary(max_size=6), st.integers(0, 50))
def test_a_bitfield_fits_when_its_length_does_and_no_spare_bit_is_set(
    bits: bytes, piece_count: int
) -> None:
    text = "".join(f"{byte:08b}" for byte in bits)
    expected = len(bits) == -(-piece_count // 8) and "1" not in text[piece_count:]
    assert messages.bitfield_fits(bits, piece_count) == expected

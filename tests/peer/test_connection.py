import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seeder.errors import WireError
from seeder.peer import messages
from seeder.peer.connection import Identity, PeerConnection
from seeder.peer.messages import Block, Message, MessageId
from seeder.peer.protocol import (
    Arrived,
    Event,
    Gained,
    Greeted,
    Grown,
    Identified,
    Introduced,
    Phase,
    WantsNothing,
)
from seeder.peer.requests import REQUEST_QUEUE
from seeder.torrent import bencode
from seeder.torrent.layout import Layout
from tests.peer.wire import (
    INFO_HASH,
    OUR_ID,
    PEER_ID,
    FakeTorrent,
    answers,
    cancel_message,
    connect,
    greeting,
    holds,
    opened,
    read,
    receive,
    rejects,
    request_message,
    requests,
    taken,
)

BITFIELD = messages.message(MessageId.BITFIELD, b"\x80\x00")
HAVE_ALL = messages.message(MessageId.HAVE_ALL)
CHOKE, UNCHOKE = Message(MessageId.CHOKE, b""), Message(MessageId.UNCHOKE, b"")


# -- opening


def test_the_handshake_is_answered_before_the_peer_id_arrives() -> None:
    wire = connect()
    [event] = wire.receive(greeting()[:48], 0.0)
    assert isinstance(event, Greeted)
    assert event.torrent.info_hash == INFO_HASH
    assert wire.data_to_send().startswith(messages.handshake(INFO_HASH, OUR_ID))
    assert wire.receive(greeting()[48:], 0.0) == [Identified(PEER_ID)]


def test_the_answer_is_handshake_then_extensions_then_have_all() -> None:
    wire = connect()
    wire.receive(greeting(), 0.0)
    wire.unchoke()
    ids = [message.id for message in read(wire.data_to_send()[68:])]
    assert ids == [MessageId.EXTENDED, MessageId.HAVE_ALL, MessageId.UNCHOKE]


def test_a_peer_without_extensions_gets_a_bitfield_and_nothing_else() -> None:
    wire = connect()
    wire.receive(greeting(fast=False, extended=False), 0.0)
    assert read(wire.data_to_send()[68:]) == [Message(MessageId.BITFIELD, b"\xff\xe0")]


@pytest.mark.parametrize(("fast", "ids"), [(True, [MessageId.HAVE_ALL]), (False, [])])
def test_an_empty_object_has_no_bitfield(fast: bool, ids: list[MessageId]) -> None:
    wire = connect(FakeTorrent(layout=Layout(0, 1000)))
    wire.receive(greeting(fast=fast, extended=False), 0.0)
    assert [message.id for message in read(wire.data_to_send()[68:])] == ids


def test_an_empty_object_has_no_block_to_request() -> None:
    wire = opened(FakeTorrent(layout=Layout(0, 1000)))
    receive(wire, requests([(0, 0, 1)]))
    assert rejects(wire) == [(0, 0, 1)]


STREAM = (
    greeting()
    + messages.extended(0, bencode.encode({b"v": b"abc", b"m": {b"ut_metadata": 7}}))
    + BITFIELD
    + messages.message(MessageId.INTERESTED)
    + messages.have(3)
    + bytes(4)
    + messages.extended(2, bencode.encode({b"msg_type": 0, b"piece": 9}))
    + messages.have(9)
    + messages.extended(3, b"\x01")
)
EVENTS: list[Event] = [
    Greeted(FakeTorrent()),
    Identified(PEER_ID),
    Introduced("abc"),
    Arrived(b"\x80\x00"),
    Gained(3),
    Gained(9),
    WantsNothing(),
]


@given(st.lists(st.integers(1, 200), max_size=12))
def test_a_conversation_means_the_same_under_any_chunking(sizes: list[int]) -> None:
    wire, rest, events, sent = connect(), STREAM, [], b""
    for size in [*sizes, len(STREAM)]:
        events += wire.receive(rest[:size], 0.0)
        sent += wire.data_to_send()
        rest = rest[size:]
    assert events == EVENTS
    whole = connect()
    assert whole.receive(memoryview(STREAM), 0.0) == EVENTS
    assert whole.data_to_send() == sent


def test_a_conversation_byte_by_byte_means_the_same() -> None:
    wire = connect()
    assert receive(wire, *(STREAM[i : i + 1] for i in range(len(STREAM)))) == EVENTS


def test_the_buffer_that_was_received_may_be_used_again() -> None:
    wire, scratch = opened(), bytearray(requests([(1, 2, 3)])[:9])
    wire.receive(memoryview(scratch), 0.0)
    scratch[:] = bytes(9)
    wire.receive(requests([(1, 2, 3)])[9:], 0.0)
    assert wire.wanted == {1: {2: 3}}


@settings(max_examples=300)
@given(st.booleans(), st.lists(st.binary(max_size=60), max_size=6))
def test_garbage_raises_only_a_wire_error(handshaken: bool, chunks: list[bytes]) -> None:
    wire = opened() if handshaken else connect()
    try:
        receive(wire, *chunks)
    except WireError as error:
        assert error.reason  # noqa: PT017


GARBLED = st.one_of(
    st.builds(messages.message, st.integers(0, 30), st.binary(max_size=20)),
    st.builds(messages.extended, st.integers(0, 5), st.binary(max_size=40)),
    st.builds(request_message, st.tuples(*[st.integers(0, 2000)] * 3)),
)


@settings(max_examples=300)
@given(st.booleans(), st.lists(GARBLED, max_size=10))
def test_well_framed_garbage_raises_only_a_wire_error(fast: bool, parts: list[bytes]) -> None:
    wire = opened(fast=fast)
    try:
        receive(wire, *parts)
    except WireError as error:
        assert error.reason  # noqa: PT017
    answers(wire)


def test_a_bitfield_as_large_as_the_torrent_needs_is_taken() -> None:
    layout = Layout(size=800_000, piece_length=1)
    wire = opened(FakeTorrent(layout=layout), fast=False)
    bits = bytes(100_000)
    assert receive(wire, messages.message(MessageId.BITFIELD, bits)) == [Arrived(bits)]


def test_after_a_have_an_opener_takes_nothing_back() -> None:
    wire = opened()
    events = receive(wire, messages.have(3), BITFIELD, HAVE_ALL)
    assert events == [Gained(3), Grown(b"\x80\0"), Grown(True)]


def test_a_bitfield_after_a_request_tells_what_the_peer_has_gained() -> None:
    wire = opened()
    assert receive(wire, BITFIELD, requests([(0, 0, 100)]), BITFIELD) == [
        Arrived(b"\x80\0"),
        Grown(b"\x80\0"),
    ]
    # aria2 sends one instead of several HAVEs, again and again.
    assert receive(wire, *[BITFIELD] * 100) == [Grown(b"\x80\0")] * 100


def test_interest_is_what_the_peer_said_last() -> None:
    wire = opened()
    assert not wire.interested
    receive(wire, messages.message(MessageId.INTERESTED))
    assert wire.interested
    receive(wire, messages.message(MessageId.NOT_INTERESTED))
    assert not wire.interested


def test_interest_is_answered_by_an_unchoke_even_if_there_was_one() -> None:
    wire = opened()
    interested = messages.message(MessageId.INTERESTED)
    receive(wire, interested)
    assert answers(wire) == [UNCHOKE]
    receive(wire, interested)
    assert answers(wire) == [UNCHOKE]
    wire.choke()
    receive(wire, interested)
    assert answers(wire) == [CHOKE]


def test_a_silent_peer_that_is_interested_is_unchoked_anew_every_eleven_seconds() -> None:
    wire = opened(fast=False)
    receive(wire, requests([(0, 0, 100)]))
    wire.nudge(0.0, 60.0)
    assert answers(wire) == []  # it waits for what it has asked for
    taken(wire, 0)
    wire.nudge(50.0, 60.0)
    assert answers(wire) == []
    wire.nudge(50.0, 61.5)
    assert answers(wire) == [CHOKE, UNCHOKE]
    wire.nudge(50.0, 72.0)
    assert answers(wire) == []
    wire.nudge(50.0, 73.0)
    assert answers(wire) == [CHOKE, UNCHOKE]


@pytest.mark.parametrize(
    ("fast", "said"),
    [(True, MessageId.INTERESTED), (False, MessageId.NOT_INTERESTED)],
    ids=["with the fast extension", "not interested"],
)
def test_who_needs_no_nudge_gets_none(fast: bool, said: MessageId) -> None:
    wire = opened(fast=fast)
    receive(wire, messages.message(said))
    answers(wire)
    wire.nudge(0.0, 100.0)
    assert answers(wire) == []


def test_a_request_without_interested_counts_as_interest() -> None:
    wire = opened()
    receive(wire, requests([(0, 0, 100)]))
    assert wire.interested
    assert wire.wanted == {0: {0: 100}}


# -- requests


def test_requests_wait_by_piece_in_the_order_they_came() -> None:
    wire = opened()
    receive(wire, requests([(5, 0, 10), (2, 30, 10), (5, 20, 10), (5, 10, 10)]))
    assert list(wire.wanted) == [5, 2]
    assert wire.newly_wanted == [5, 2]
    assert wire.wanted_count == 4
    assert taken(wire, 5, 2) == [(5, 0, 10), (5, 20, 10)]
    assert taken(wire, 5) == [(5, 10, 10)]
    assert taken(wire, 2) == [(2, 30, 10)]
    assert wire.wanted_count == 0
    assert answers(wire) == []


@given(
    st.integers(1, 400),
    st.integers(1, 100),
    st.tuples(st.integers(0, 10), st.integers(0, 120), st.integers(0, 120)),
)
def test_a_request_is_accepted_exactly_when_the_layout_holds_it(
    size: int, piece_length: int, block: Block
) -> None:
    layout = Layout(size, piece_length)
    wire = opened(FakeTorrent(layout=layout))
    receive(wire, requests([block]))
    if holds(layout, block):
        assert taken(wire, block[0]) == [block]
    else:
        assert rejects(wire) == [block]
        assert wire.wanted == {}


def test_a_cancel_of_a_queued_request_is_answered_by_a_reject() -> None:
    wire = opened()
    receive(wire, requests([(0, 0, 10), (0, 10, 10)]), cancel_message((0, 0, 10)))
    assert rejects(wire) == [(0, 0, 10)]
    receive(wire, cancel_message((0, 10, 10)))
    assert rejects(wire) == [(0, 10, 10)]
    assert (wire.wanted, wire.wanted_count) == ({}, 0)


def test_a_cancel_of_a_block_that_is_being_sent_is_let_go() -> None:
    wire = opened()
    receive(wire, requests([(0, 0, 10)]))
    assert taken(wire, 0) == [(0, 0, 10)]
    receive(wire, cancel_message((0, 0, 10)))
    assert answers(wire) == []


def test_a_rejected_piece_is_rejected_block_by_block() -> None:
    wire = opened()
    receive(wire, requests([(0, 0, 10), (1, 0, 10), (0, 10, 10)]))
    wire.reject_piece(0)
    wire.reject_piece(7)
    assert rejects(wire) == [(0, 0, 10), (0, 10, 10)]
    assert (wire.wanted, wire.wanted_count) == ({1: {0: 10}}, 1)


def test_a_choke_comes_before_the_rejects_of_what_is_queued() -> None:
    wire = opened()
    receive(wire, requests([(0, 0, 10), (1, 0, 10)]))
    wire.choke()
    wire.choke()
    assert [message.id for message in answers(wire)] == [0, 16, 16]
    assert (wire.wanted, wire.wanted_count) == ({}, 0)
    wire.unchoke()
    wire.unchoke()
    assert [message.id for message in answers(wire)] == [MessageId.UNCHOKE]


def test_without_fast_a_choke_drops_what_is_queued_without_a_word() -> None:
    wire = opened(fast=False)
    receive(wire, requests([(0, 0, 10), (1, 0, 10)]), cancel_message((1, 0, 10)))
    wire.choke()
    assert [message.id for message in answers(wire)] == [MessageId.CHOKE]
    assert (wire.wanted, wire.wanted_count) == ({}, 0)


def test_a_full_queue_still_gives_one_answer_to_a_doubled_request() -> None:
    wire = opened(FakeTorrent(layout=Layout(3000, 3000)))
    receive(wire, requests((0, begin, 1) for begin in range(REQUEST_QUEUE)))
    receive(wire, requests([(0, 0, 1), (0, 2500, 1)]))
    assert rejects(wire) == [(0, 2500, 1)]
    assert len(taken(wire, 0)) == REQUEST_QUEUE


def test_requests_over_the_queue_never_close_a_peer_that_is_served() -> None:
    wire = opened(FakeTorrent(layout=Layout(10_000, 10_000)))
    receive(wire, requests((0, begin, 1) for begin in range(2 * REQUEST_QUEUE)))
    taken(wire, 0, 1)
    receive(wire, requests((0, begin, 1) for begin in range(5000, 5001 + REQUEST_QUEUE)))
    assert wire.wanted_count == REQUEST_QUEUE
    assert len(rejects(wire)) == 2 * REQUEST_QUEUE


def test_a_keep_alive_is_four_zero_bytes() -> None:
    wire = opened()
    wire.keep_alive()
    assert wire.data_to_send() == bytes(4)


def test_requests_given_back_come_first_and_are_counted() -> None:
    wire = opened()
    receive(wire, requests([(0, 0, 10), (0, 10, 10), (1, 0, 10)]))
    blocks = wire.take(0, 2)
    receive(wire, requests([(0, 20, 10)]))
    wire.give_back(0, blocks[1:])
    assert wire.wanted_count == 3
    assert list(wire.wanted) == [0, 1]
    assert taken(wire, 0) == [(0, 10, 10), (0, 20, 10)]


def test_what_is_taken_and_given_back_again_and_again_hides_no_flood() -> None:
    wire = opened(FakeTorrent(layout=Layout(10_000, 10_000)))
    receive(wire, requests([(0, begin, 1) for begin in range(REQUEST_QUEUE)]))
    for begin in range(REQUEST_QUEUE, 2 * REQUEST_QUEUE, 10):
        wire.give_back(0, wire.take(0, 64))
        receive(wire, requests([(0, begin + more, 1) for more in range(10)]))
    wire.give_back(0, wire.take(0, 64))
    with pytest.raises(WireError, match="request-flood"):
        receive(wire, requests([(0, 9000, 1), (0, 9001, 1)]))


def test_requests_given_back_after_a_choke_are_turned_down() -> None:
    wire = opened()
    receive(wire, requests([(0, 0, 10), (0, 10, 10)]))
    blocks = wire.take(0, 2)
    wire.choke()
    wire.data_to_send()
    wire.give_back(0, blocks)
    assert rejects(wire) == [(0, 0, 10), (0, 10, 10)]
    assert (wire.wanted, wire.wanted_count) == ({}, 0)


def test_a_closed_phase_takes_no_part() -> None:
    wire: PeerConnection = opened()
    wire.phase = Phase.CLOSED
    assert receive(wire, requests([(0, 0, 1)])) == []
    assert answers(wire) == []


# -- metainfo that isn't at hand


@given(st.lists(st.integers(1, 90), max_size=5))
def test_a_handshake_waits_for_metainfo_and_goes_on_where_it_stopped(cuts: list[int]) -> None:
    torrent = FakeTorrent(at_hand=False)
    wire, plain = connect(torrent), connect()
    said = greeting() + BITFIELD + requests([(0, 0, 10)])
    parts = [said[begin:end] for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), 200])]  # noqa: B905
    assert receive(wire, *parts) == []
    assert wire.sought is torrent
    assert wire.data_to_send() == b""
    assert wire.phase is Phase.HANDSHAKE
    object.__setattr__(torrent, "at_hand", True)
    events, expected = wire.receive(b"", 0.0), plain.receive(said, 0.0)
    assert wire.sought is None
    assert list(map(type, events)) == list(map(type, expected))
    assert wire.data_to_send() == plain.data_to_send()


def test_a_torrent_that_goes_while_its_metainfo_is_read_is_unknown() -> None:
    torrent = FakeTorrent(at_hand=False)
    served: dict[bytes, FakeTorrent] = {torrent.info_hash: torrent}
    wire = PeerConnection(Identity(OUR_ID, "seeder/0", bytes(4)), served.get, 0.0)
    wire.receive(greeting(), 0.0)
    assert wire.sought is torrent
    served.clear()
    with pytest.raises(WireError, match="unknown-torrent"):
        wire.receive(b"", 0.0)

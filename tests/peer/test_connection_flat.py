"""Whatever a stranger is refused on the wire, 200,000 times, leaves nothing behind."""

import tracemalloc
from collections.abc import Callable

import pytest

from seeder.errors import WireError
from seeder.peer import messages
from seeder.peer.connection import PeerConnection
from seeder.peer.encryption import EncryptionLayer
from seeder.peer.messages import MessageId
from seeder.peer.mse import Responder
from seeder.peer.protocol import WantsHashes
from seeder.torrent import bencode
from seeder.torrent.merkle import HashRequest
from seeder.units import KIB
from tests.peer.wire import (
    OUR_ID,
    FakeTorrent,
    cancel_message,
    connect,
    greeting,
    hash_request_message,
    opened,
    request_message,
)
from tests.support.memory import leaves_memory_flat
from tests.torrent.trees import WholeTree

TIMES = 200_000
AT_ONCE = 10
TREE = WholeTree(bytes(40_000), 16_384)
METADATA = messages.extended(0, bencode.encode({b"m": {b"ut_metadata": 7}}))


def answered(
    wire: PeerConnection, *data: bytes, start: Callable[[PeerConnection], object] = lambda _: None
) -> None:
    """Give a connection the same messages again and again, as slowly as is allowed."""
    start(wire)
    wire.data_to_send()
    together = b"".join(data) * AT_ONCE

    def once(number: int) -> None:
        events = wire.receive(together, 10.0 * number)
        wire.newly_wanted.clear()
        for event in events:
            if isinstance(event, WantsHashes):
                wire.reject_hashes(event.request)
        while wire.owes_metadata:
            wire.answer_metadata(lambda _: False)
        assert wire.data_to_send()

    leaves_memory_flat(once, TIMES // AT_ONCE)


def metadata(index: int) -> bytes:
    return messages.extended(2, bencode.encode({b"msg_type": 0, b"piece": index}))


def test_choked_requests() -> None:
    answered(opened(choking=True), request_message((1, 0, 100)))


def test_requests_for_pieces_that_were_taken_back() -> None:
    wire = opened()
    wire.receive(messages.extended(0, bencode.encode({b"m": {b"lt_donthave": 9}})), 0.0)
    assert wire.lose(1)
    answered(wire, request_message((1, 0, 100)))


def test_requests_for_hidden_pieces() -> None:
    wire = connect(FakeTorrent())
    wire._hides = lambda _: True
    wire.receive(greeting(), 0.0)
    answered(wire, request_message((1, 0, 100)), start=PeerConnection.unchoke)


def test_requests_that_are_cancelled() -> None:
    block = (1, 0, 100)
    answered(opened(), request_message(block), cancel_message(block))


def test_requests_beyond_the_queue_and_of_other_lengths() -> None:
    wire = opened()
    wire.receive(request_message((1, 0, 100)), 0.0)
    answered(wire, request_message((1, 0, 99)))


def test_metadata_that_is_not_there() -> None:
    wire = opened()
    wire.receive(METADATA, 0.0)
    answered(wire, metadata(99_999))


def test_metadata_that_the_address_may_not_have() -> None:
    wire = opened(FakeTorrent(raw_info=bytes(16_384 * 60_000)))
    wire.receive(METADATA, 0.0)
    answered(wire, metadata(0))


def test_hashes_that_are_turned_down() -> None:
    wire = opened(FakeTorrent(hashes=TREE))
    answered(wire, hash_request_message(HashRequest(bytes(32), 0, 0, 2, 0)))


def test_interest_that_comes_and_goes() -> None:
    interested = messages.message(MessageId.INTERESTED)
    answered(opened(), interested, messages.message(MessageId.NOT_INTERESTED))


@pytest.mark.parametrize(
    ("opening", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n", "not-bittorrent"),
        (greeting(info_hash=b"\x01" * 20), "unknown-torrent"),
        (greeting(peer=OUR_ID), "self-connection"),
        (greeting() + b"\xff\xff\xff\xff\x00", "message-too-long"),
        (greeting() + request_message((99, 0, 1)) * 10, "choked"),
        (greeting(fast=False) + messages.message(MessageId.HAVE_ALL), "fast-not-negotiated"),
        (greeting() + messages.have(9999), "have-out-of-range"),
        (greeting() + messages.message(MessageId.BITFIELD, b"\xff"), "bad-bitfield"),
        (greeting() + messages.extended(0, b"i1e"), "bad-extended-handshake"),
        (greeting() + METADATA + messages.extended(2, b"x"), "bad-metadata-message"),
    ],
)
def test_connections_that_are_refused(opening: bytes, reason: str) -> None:
    def once(number: int) -> None:
        wire = connect()
        found = "choked"
        try:
            wire.receive(opening, float(number))
        except WireError as error:
            found = error.reason
        assert found == reason

    leaves_memory_flat(once, TIMES // 10)


def _no_room() -> Responder:
    raise WireError("mse-flood")


@pytest.mark.parametrize("policy", [None, "require"])
def test_connections_that_are_not_to_be_encrypted(policy: str | None) -> None:
    opening = bytes(range(96)) if policy != "require" else greeting()

    def once(_: int) -> None:
        layer = EncryptionLayer(policy, _no_room)  # type: ignore[arg-type]
        with pytest.raises(WireError):
            layer.receive(opening)

    leaves_memory_flat(once, TIMES // 10)


def test_what_a_connection_begins_with_is_not_kept_for_its_life() -> None:
    """It may be as much as one read brings."""
    layer = EncryptionLayer("allow", _no_room)
    opening = memoryview(messages.PROTOCOL + bytes(64 * KIB))
    tracemalloc.start()
    try:
        assert len(layer.receive(opening)) == len(opening)
        assert tracemalloc.get_traced_memory()[0] < KIB
    finally:
        tracemalloc.stop()


def test_one_exception_that_is_raised_again_and_again_is_seen() -> None:
    shared = WireError("flood")

    def once(_: int) -> None:
        with pytest.raises(WireError):
            raise shared

    with pytest.raises(AssertionError, match="blocks in 10 times 100 calls"):
        leaves_memory_flat(once, 1000)

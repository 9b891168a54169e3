import pytest

from seeder.errors import WireError
from seeder.peer import messages
from seeder.peer.extensions import (
    LONGEST_CLIENT_NAME,
    LT_DONTHAVE,
    METADATA_COPIES,
    UPLOAD_ONLY,
    UT_METADATA,
    UT_PEX,
    client_of,
)
from seeder.peer.messages import BLOCK_SIZE, MessageId
from seeder.peer.protocol import Introduced, WantsNothing
from seeder.torrent import bencode
from tests.peer.wire import FakeTorrent, answers, connect, greeting, opened, read, receive

HELLO = messages.extended(0, bencode.encode({b"m": {b"ut_metadata": 7}}))
RAW = FakeTorrent().raw_info


def introduction(*, private: bool = False) -> tuple[bytes, dict[bytes, bencode.Value]]:
    """Return our extended handshake as it is on the wire, and what it says."""
    wire = connect(FakeTorrent(private=private))
    wire.receive(greeting(), 0.0)
    message = read(wire.data_to_send()[68:])[0]
    assert message.id == MessageId.EXTENDED
    assert message.payload[0] == 0
    told = bencode.decode(message.payload[1:])
    assert isinstance(told, dict)
    return message.payload, told


def ask(index: bencode.Value, kind: int = 0) -> bytes:
    return messages.extended(UT_METADATA, bencode.encode({b"msg_type": kind, b"piece": index}))


def test_our_extended_handshake_says_what_clients_look_for() -> None:
    payload, told = introduction()
    assert len(payload) < 1000
    assert told == {
        b"complete_ago": 0,
        b"m": {
            b"lt_donthave": LT_DONTHAVE,
            b"upload_only": UPLOAD_ONLY,
            b"ut_metadata": UT_METADATA,
            b"ut_pex": UT_PEX,
        },
        b"metadata_size": len(RAW),
        b"reqq": 2000,
        b"upload_only": 1,
        b"v": b"seeder/0",
        b"yourip": bytes((127, 0, 0, 1)),
    }


def test_a_private_torrent_does_not_offer_its_metadata() -> None:
    _, told = introduction(private=True)
    assert told[b"m"] == {b"upload_only": UPLOAD_ONLY, b"lt_donthave": LT_DONTHAVE}
    assert told[b"metadata_size"] == len(RAW)


def test_a_private_torrent_does_not_give_its_metadata() -> None:
    wire = opened(FakeTorrent(private=True))
    receive(wire, HELLO, ask(0))
    assert not wire.owes_metadata
    assert [message.payload for message in answers(wire)] == [b"\x07d8:msg_typei2e5:piecei0ee"]


def test_metadata_comes_part_by_part_when_the_session_has_room() -> None:
    wire = opened()
    receive(wire, HELLO, ask(2), ask(0), ask(1))
    assert answers(wire) == []
    for index in (2, 0, 1):
        assert wire.owes_metadata
        wire.answer_metadata(lambda _: True)
        [message] = answers(wire)
        told, end = bencode.decode_prefix(message.payload[1:])
        assert told == {b"msg_type": 1, b"piece": index, b"total_size": len(RAW)}
        part = RAW[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE]
        assert (message.payload[:1], message.payload[1 + end :]) == (b"\x07", part)
    assert not wire.owes_metadata


@pytest.mark.parametrize("size", [1, BLOCK_SIZE, BLOCK_SIZE + 1, 40_000])
def test_a_peer_gets_a_few_copies_of_the_metadata_and_then_rejects(size: int) -> None:
    wire = opened(FakeTorrent(raw_info=bytes(size)))
    parts = -(-size // BLOCK_SIZE)
    receive(wire, HELLO, *(ask(index) for _ in range(METADATA_COPIES) for index in range(parts)))
    assert answers(wire) == []
    receive(wire, ask(0))
    assert b"msg_typei2e" in answers(wire)[0].payload
    for _ in range(METADATA_COPIES * parts):
        assert wire.owes_metadata
        wire.answer_metadata(lambda _: True)
    assert not wire.owes_metadata


def test_metadata_that_the_peer_may_not_have_is_turned_down() -> None:
    wire = opened()
    asked: list[int] = []
    receive(wire, HELLO, ask(2), ask(0))

    def admit(size: int) -> bool:
        asked.append(size)
        return False

    wire.answer_metadata(admit)
    [message] = answers(wire)
    assert message.payload == b"\x07d8:msg_typei2e5:piecei2ee"
    assert asked == [len(RAW) - 2 * BLOCK_SIZE]
    wire.answer_metadata(lambda _: True)
    assert answers(wire)[0].payload.endswith(RAW[:BLOCK_SIZE])


def test_a_peer_that_takes_its_id_for_metadata_back_is_owed_none() -> None:
    wire = opened()
    ask = bencode.encode({b"msg_type": 0, b"piece": 0})
    wire.receive(HELLO + messages.extended(UT_METADATA, ask), 0.0)
    assert wire.owes_metadata
    wire.receive(messages.extended(0, bencode.encode({b"m": {b"ut_metadata": 0}})), 0.0)
    assert not wire.owes_metadata
    assert answers(wire) == []


def test_metadata_is_not_sent_to_a_peer_that_gave_no_id_for_it() -> None:
    wire = opened()
    receive(wire, ask(0))
    assert not wire.owes_metadata
    assert answers(wire) == []


def test_a_peer_may_switch_metadata_off_again() -> None:
    wire = opened()
    receive(wire, HELLO, messages.extended(0, bencode.encode({b"m": {b"ut_metadata": 0}})), ask(0))
    assert not wire.owes_metadata
    assert answers(wire) == []


def test_a_later_handshake_without_the_id_keeps_the_earlier_one() -> None:
    wire = opened()
    receive(wire, HELLO, messages.extended(0, bencode.encode({b"m": {b"ut_pex": 1}})), ask(0))
    assert wire.owes_metadata


@pytest.mark.parametrize("kind", [1, 2, 3, -1])
def test_a_metadata_message_that_is_no_request_is_ignored(kind: int) -> None:
    wire = opened()
    receive(wire, HELLO, ask(0, kind))
    assert not wire.owes_metadata
    assert answers(wire) == []


@pytest.mark.parametrize("index", [b"0", [], {}])
def test_a_metadata_request_without_a_number_is_ignored(index: bencode.Value) -> None:
    wire = opened()
    receive(wire, HELLO, ask(index), messages.extended(UT_METADATA, b"le"))
    assert not wire.owes_metadata
    assert answers(wire) == []


def test_a_metadata_message_that_is_no_bencode_closes() -> None:
    with pytest.raises(WireError, match="bad-metadata-message"):
        receive(opened(), HELLO, messages.extended(UT_METADATA, b"d8:msg"))


def test_a_metadata_message_may_carry_bytes_behind_its_dictionary() -> None:
    wire = opened()
    receive(wire, HELLO, messages.message(MessageId.EXTENDED, ask(0)[5:] + b"trailing"))
    assert wire.owes_metadata


@pytest.mark.parametrize(
    ("name", "client"),
    [
        (b"qBittorrent/5.0.1", "qBittorrent/5.0.1"),
        (b"a\x00b\nc\x1b[31m", "a?b?c?[31m"),
        ("µTorrent".encode(), "??Torrent"),
        (b"x" * 1000, "x" * LONGEST_CLIENT_NAME),
        (b"", ""),
    ],
)
def test_a_client_name_is_short_and_printable(name: bytes, client: str) -> None:
    hello = messages.extended(0, bencode.encode({b"v": name}))
    assert receive(opened(), hello) == [Introduced(client)]


@pytest.mark.parametrize(
    ("message", "says_so"),
    [
        (messages.extended(0, b"d11:upload_onlyi1ee"), True),
        (messages.extended(0, b"d11:upload_onlyi0ee"), False),
        (messages.extended(0, b"d11:upload_only1:1e"), False),
        (messages.extended(UPLOAD_ONLY, b"\x01"), True),
        (messages.extended(UPLOAD_ONLY, b"\x00"), False),
        (messages.extended(UPLOAD_ONLY, b""), False),
    ],
)
def test_upload_only_is_understood_in_both_places(message: bytes, says_so: bool) -> None:
    assert (WantsNothing() in receive(opened(), message)) is says_so


def test_an_extended_message_without_an_id_is_ignored() -> None:
    assert receive(opened(), messages.message(MessageId.EXTENDED)) == []


@pytest.mark.parametrize(
    ("peer_id", "client"),
    [
        (b"-WW0300-bDQ7xk2DvMSA", "WW0300"),
        (b"-lt0D80-" + bytes(12), "lt0D80"),
        (b"M7-9-2--" + bytes(12), ""),
        (b"-\r\n0000-" + bytes(12), ""),
        (b"", ""),
    ],
)
def test_a_peer_id_names_its_client_in_the_style_of_azureus(peer_id: bytes, client: str) -> None:
    assert client_of(peer_id) == client

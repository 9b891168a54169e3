"""What peers send: messages, a whole conversation behind its handshake, extensions (BEP 10)."""

import contextlib
import random
from collections import Counter
from dataclasses import replace

from seeder.errors import WireError
from seeder.peer import messages
from seeder.peer.connection import LONGEST_MESSAGE, MOST_UNSENT, Identity, PeerConnection
from seeder.peer.extensions import METADATA_COPIES, Extensions
from seeder.peer.messages import Block, MessageId, Requests
from seeder.peer.protocol import Event, Introduced, Phase, WantsHashes
from seeder.peer.requests import REQUEST_QUEUE
from seeder.torrent import bencode
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import HashRequest, hashes_for
from tests.fuzz.inputs import Choices, chunks, target
from tests.peer.states import broken_rules_of_wire
from tests.peer.wire import (
    INFO_HASH,
    OUR_ID,
    FakeTorrent,
    cancel_message,
    greeting,
    hash_request_message,
    holds,
    read,
    requests,
)
from tests.torrent.trees import WholeTree, proves

_TREE = WholeTree(bytes(5 * 16384 + 7), 16384)
_LAYOUT = _TREE.shape.layout
_PLAIN = FakeTorrent(layout=_LAYOUT)
_PRIVATE = replace(_PLAIN, private=True)
_HYBRID = replace(_PLAIN, hashes=_TREE, short_v2_hash=bytes(20))
_ODD = FakeTorrent(layout=Layout(10 * 1000 + 7, 1000))
_TORRENTS = (_PLAIN, _PRIVATE, _HYBRID, _ODD)

_INTRODUCTION = messages.extended(
    0, b"d1:md11:lt_donthavei9e11:ut_metadatai7e6:ut_pexi3ee1:pi6881e1:v4:fuzze"
)
_SPEECH = (
    messages.message(MessageId.INTERESTED)
    + requests([(0, 0, 1000), (1, 0, 16384), (9, 0, 7), (0, 0, 1000)])
    + cancel_message((0, 0, 1000))
    + messages.have(1)
    + messages.message(MessageId.BITFIELD, b"\xfc")
    + messages.message(MessageId.HAVE_ALL)
    + _INTRODUCTION
    + messages.extended(2, b"d8:msg_typei0e5:piecei1ee")
    + messages.extended(1, b"d5:added6:abcdefe")
    + messages.extended(4, bytes(4))
    + messages.extended(3, b"\x01")
    + hash_request_message(HashRequest(_TREE.root, 0, 0, 4, 2))
    + messages.message(MessageId.PORT, b"\x1a\xe1")
    + bytes(4)
)


def _flat(parsed: list[Requests | messages.Message]) -> list[object]:
    """Return messages with each run of requests taken apart: runs depend on how bytes arrive."""
    flat: list[object] = []
    for each in parsed:
        if isinstance(each, Requests):
            flat += each.blocks
        else:
            flat.append(each)
    return flat


@target(b"\0" + _SPEECH, b"\7" + _SPEECH, b"\1" + requests([(0, 0, 1)] * 5), b"\2\xff\xff\xff\xff")
def messages_(data: bytes) -> None:
    """The codec says the same however the bytes arrive, and drops none."""
    rng, stream = random.Random(data[:1]), data[1:]
    whole, reason = _parsed([stream])
    parts, broken = _parsed(chunks(stream, rng))
    assert reason == broken
    if reason is None:
        assert _flat(whole) == _flat(parts)


def _parsed(parts: list[bytes]) -> tuple[list[Requests | messages.Message], str | None]:
    found: list[Requests | messages.Message] = []
    rest = b""
    for part in parts:
        rest += part
        try:
            parsed, used = messages.parse(rest, LONGEST_MESSAGE)
        except WireError as error:
            return found, error.reason
        assert 0 <= used <= len(rest)
        found += parsed
        rest = rest[used:]
        assert len(rest) < 4 + LONGEST_MESSAGE
    return found, None


@target(
    b"", greeting(), greeting(fast=False, extended=False), greeting(info_hash=bytes(20)), b"\x13Bit"
)
def handshake(data: bytes) -> None:
    """The first bytes of a connection."""
    whole, first = _conversation(_HYBRID, [data])
    parts, second = _conversation(_HYBRID, chunks(data, random.Random(len(data))))
    if "answers-unread" not in (first, second):
        assert (first is None) == (second is None)
        assert first or whole == parts


def _connection(torrent: FakeTorrent, *, hides: bool = False) -> PeerConnection:
    names = {torrent.info_hash: torrent, torrent.short_v2_hash: torrent}
    identity = Identity(OUR_ID, "seeder/0", bytes((127, 0, 0, 1)))
    return PeerConnection(identity, names.get, 0.0, hides=lambda _: hides)


def _conversation(
    torrent: FakeTorrent, parts: list[bytes], opening: bytes = b""
) -> tuple[list[Event] | None, str | None]:
    """Return what a connection makes of what it is told, while nobody reads its answers."""
    wire = _connection(torrent)
    found: list[Event] = []
    try:
        for part in (opening, *parts):
            found += wire.receive(memoryview(part), 0.0)
    except WireError as error:
        return None, error.reason
    return found, None


@target(
    *(bytes((flags, schedule)) + _SPEECH for flags in (0, 1, 2, 3, 10, 34) for schedule in (0, 1)),
    b"\x05\x07" + _INTRODUCTION * 3 + requests([(1, 0, 16384)] * 40),
    b"\x23\x11" + _SPEECH * 2,
    blown_up=128 * 1024,
)
def connection(data: bytes) -> None:
    """A peer behind its handshake says anything, while the session does what it likes."""
    choices = Choices(data)
    flags, schedule = choices.number(), choices.number()
    torrent = _TORRENTS[flags & 3]
    fast, extended = not flags & 4, not flags & 8
    hides, choked = bool(flags & 16), bool(flags & 32)
    stream = choices.rest()
    hello = greeting(fast=fast, extended=extended)
    rng = random.Random(schedule)
    whole, first = _conversation(torrent, [stream], hello)
    parts, second = _conversation(torrent, chunks(stream, rng), hello)
    if "answers-unread" not in (first, second):
        # Whether too much is unread is looked at once for each arrival; and what can't be parsed is
        # found before all that came with it.
        assert (first is None) == (second is None)
        assert first or whole == parts
    wire = _connection(torrent, hides=hides)
    with contextlib.suppress(WireError):
        _Session(wire, torrent, rng, fast=fast).talk(hello, stream, choked=choked)
    assert not broken_rules_of_wire(wire)


class _Session:
    """Serves a connection at random, and holds it to what the peer was told and asked for."""

    def __init__(
        self, wire: PeerConnection, torrent: FakeTorrent, rng: random.Random, *, fast: bool
    ) -> None:
        self._wire = wire
        self._torrent = torrent
        self._rng = rng
        self._fast = fast
        self._asked: Counter[Block] = Counter()
        self._answered: Counter[Block] = Counter()
        self._heard = b""
        self._introduced = False
        self._taken: list[tuple[int, list[tuple[int, int]]]] = []
        self._now = 0.0

    def talk(self, hello: bytes, stream: bytes, *, choked: bool) -> None:
        wire = self._wire
        wire.receive(hello, self._now)
        answer = wire.data_to_send()
        assert answer[:20] == messages.PROTOCOL
        assert answer[28:48] in (INFO_HASH, self._torrent.short_v2_hash)
        self._read(answer[68:])
        if not choked:
            wire.unchoke()
        for part in chunks(stream, self._rng):
            self._now += self._rng.choice((0.0, 0.1, 5.0))
            self._listen(part)
            for event in wire.receive(part, self._now):
                if isinstance(event, WantsHashes):
                    self._look_up(event.request)
            self._check()
            for _ in range(self._rng.randrange(3)):
                self._act()
                self._check()
        self._read(wire.data_to_send())

    def _listen(self, part: bytes) -> None:
        """Note what the peer asks for, by a reading of our own."""
        self._heard += part
        parsed, used = messages.parse(self._heard, 2**32)
        self._heard = self._heard[used:]
        for each in parsed:
            if isinstance(each, Requests):
                self._asked.update(each.blocks)

    def _act(self) -> None:
        wire, rng = self._wire, self._rng
        pieces = self._torrent.layout.piece_count
        match rng.randrange(12):
            case 0:
                wire.unchoke()
            case 1:
                wire.choke()
            case 2 | 3 if wire.wanted:
                index = rng.choice(list(wire.wanted))
                taken = wire.take(index, 1 + rng.randrange(20))
                self._taken.append((index, taken))
            case 4 if self._taken:
                index, taken = self._taken.pop()
                if rng.randrange(2):
                    wire.give_back(index, taken)
                else:
                    self._serve(index, taken)
            case 5:
                wire.lose(rng.randrange(pieces))
            case 6:
                wire.regain(rng.randrange(pieces))
            case 7 if wire.shown is not None:
                wire.show({rng.randrange(pieces)} - wire.shown)
            case 8 if not rng.randrange(8):
                wire.retire(range(pieces))
            case 9:
                wire.nudge(0.0, self._now)
            case 10 if wire.owes_metadata:
                wire.answer_metadata(lambda _: bool(rng.randrange(3)))
            case _:
                self._read(wire.data_to_send())

    def _serve(self, index: int, taken: list[tuple[int, int]]) -> None:
        for begin, length in taken:
            block = index, begin, length
            assert holds(self._torrent.layout, block)
            self._answered[block] += 1
            assert self._answered[block] <= self._asked[block], f"{block} wasn't asked for"

    def _read(self, data: bytes) -> None:
        """Read what goes out as a peer does."""
        for told in read(data):
            if told.id == MessageId.EXTENDED and not told.payload[0]:
                assert not self._introduced
                self._introduced = True
            if told.id == MessageId.REJECT:
                assert self._fast
                block = told.block()
                self._answered[block] += 1
                assert self._answered[block] <= self._asked[block], f"{block} wasn't asked for"

    def _look_up(self, request: HashRequest) -> None:
        fault = _TREE.shape.fault(request, _TREE.root, has_leaves=True)
        if fault is not None:
            self._wire.reject_hashes(request)
        else:
            assert proves(request, hashes_for(request, _TREE.shape, _TREE.read), _TREE)

    def _check(self) -> None:
        wire = self._wire
        assert wire.phase in (Phase.OPENING, Phase.OPEN)
        assert wire.wanted_count == sum(map(len, wire.wanted.values()))
        # What was taken and given back comes on top.
        assert wire.wanted_count <= 2 * REQUEST_QUEUE
        assert len(wire._rest) < 4 + LONGEST_MESSAGE
        assert len(wire._out) <= 2 * MOST_UNSENT + LONGEST_MESSAGE
        for index, begins in wire.wanted.items():
            for begin, length in begins.items():
                assert holds(self._torrent.layout, (index, begin, length))
        extensions = wire._extensions
        if extensions is not None:
            parts = -(-len(self._torrent.raw_info) // messages.BLOCK_SIZE)
            assert len(extensions.metadata_wanted) <= METADATA_COPIES * parts


def _told(*payloads: bytes, private: bool = False) -> bytes:
    """Return extended messages as the input of `extensions`."""
    return bytes((private,)) + b"".join(bytes((len(each),)) + each for each in payloads)


_ASKS = b"\2d8:msg_typei0e5:piecei1ee"


@target(
    _told(b"\0d1:md11:lt_donthavei9e11:ut_metadatai7e6:ut_pexi3ee1:pi6881e1:v4:fuzze", _ASKS),
    _told(b"\0d1:md11:ut_metadatai7eee", *[_ASKS] * 5, b"\2d8:msg_typei0e5:piecei9ee"),
    _told(b"\0d1:md11:ut_metadatai7eee", _ASKS, b"\0d1:md11:ut_metadatai0eee"),
    _told(b"\0de", b"\4\0\0\0\0", b"\1de", b"\3\1", private=True),
)
def extensions(data: bytes) -> None:
    """BEP 9, 10, 11, 21 and 54: each message as the connection hands it over."""
    choices = Choices(data)
    private = choices.flag()
    raw_info = bytes(40_000)
    out = bytearray()
    made = Extensions(raw_info, private=private, out=out)
    parts = -(-len(raw_info) // messages.BLOCK_SIZE)
    with contextlib.suppress(WireError):
        while choices:
            for event in made.receive(choices.text()):
                if isinstance(event, Introduced):
                    assert event.client.isascii()
                    assert event.client.isprintable() or not event.client
                    assert event.listen_port is None or 0 < event.listen_port < 65536
            assert 0 <= made.donthave_id <= 255
            assert 0 <= made.pex_id <= 255
            assert not (private and (made.pex_id or made.metadata_wanted))
            assert len(made.metadata_wanted) <= METADATA_COPIES * parts
            if len(made.metadata_wanted) > 2:
                made.answer_metadata(lambda _: len(made.metadata_wanted) % 3 > 0)
    while made.metadata_wanted:
        made.answer_metadata(lambda _: True)
    for told in read(bytes(out)):
        assert told.id == MessageId.EXTENDED
        assert told.payload[0], "0 is the extended handshake's"
        answer, end = bencode.decode_prefix(told.payload[1:])
        assert isinstance(answer, dict)
        part = told.payload[1 + end :]
        if answer[b"msg_type"] == 1:
            assert part
            assert answer[b"total_size"] == len(raw_info)
        else:
            assert answer[b"msg_type"] == 2
            assert not part

"""One peer asked for one piece, as a downloader asks: greet, get metadata if needed, request."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from seeder.commands.sought import Sought
from seeder.errors import BencodeError, FetchFailed, MetainfoError, WireError
from seeder.net.addresses import HostPort
from seeder.peer import messages
from seeder.peer.extensions import client_of
from seeder.peer.messages import BLOCK_SIZE, Message, MessageId
from seeder.torrent import bencode
from seeder.torrent.info import LARGEST_TORRENT_FILE
from seeder.torrent.layout import sha1
from seeder.units import KIB

_HANDSHAKE = 68
_LARGEST_MESSAGE = 1024 * KIB
"""A bitfield of 8 million pieces."""
_PIPELINED = 64
"""Blocks that are requested at a time."""
_READ = 64 * KIB
_MOST_SINGLE = 500_000
"""As many pieces as the largest torrent file has hashes."""
_UT_METADATA = 1
"""Our id for parts of the info dictionary (BEP 9, 10)."""


@dataclass(slots=True)
class Taste:
    """What a peer did; times are seconds since the dial."""

    address: HostPort
    client: str = ""
    ours: bool = False
    """Whether it is a seeder of this kind, by its peer id (BEP 20)."""
    connected: float | None = None
    greeted: float | None = None
    pieces: int = 0
    """That it said to have."""
    verified: float | None = None
    wrong: bool = False
    """Whether it gave bytes that haven't the piece's hash."""
    problem: str = ""


@dataclass(slots=True)
class _Has:
    """The pieces that a peer has said to have, kept so that no message costs much to take."""

    all: bool = False
    bits: bytes = b""
    single: set[int] = field(default_factory=set)
    lowest: int | None = None
    """Of the single ones."""

    def add(self, index: int) -> None:
        if len(self.single) < _MOST_SINGLE:
            self.single.add(index)
            self.lowest = index if self.lowest is None else min(index, self.lowest)

    def first(self, count: int) -> int | None:
        """Return the first piece of `count` that the peer has."""
        if self.all:
            return 0
        found = [] if self.lowest is None else [self.lowest]
        rest = self.bits.lstrip(b"\0")
        if rest:
            found.append(8 * (len(self.bits) - len(rest)) + 8 - rest[0].bit_length())
        return min((each for each in found if each < count), default=None)

    def number(self, count: int) -> int:
        """Return how many of `count` pieces the peer has."""
        if self.all:
            return count
        bits = int.from_bytes(self.bits[: -(-count // 8)], "big").bit_count()
        return min(count, bits + len(self.single))


class Taster:
    """Asks peers for pieces of one torrent; what the first one tells of it is kept for the next."""

    def __init__(
        self,
        sought: Sought,
        peer_id: bytes,
        connect: Callable[[HostPort], Awaitable[trio.SocketStream]],
    ) -> None:
        self.sought = sought
        self._peer_id = peer_id
        self._connect = connect

    async def taste(self, taste: Taste, seconds: float) -> None:
        """Fill in what a peer does within so many seconds; never raises."""
        began = trio.current_time()
        step = "doesn't answer the handshake"
        with trio.move_on_after(seconds) as limit:
            try:
                stream = await self._connect(taste.address)
            except FetchFailed as error:
                taste.problem = str(error)
                return
            try:
                taste.connected = trio.current_time() - began
                await _Talk(self, stream, taste, began, self._peer_id).run()
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
                taste.problem = (
                    "hangs up on the handshake: it hasn't this torrent, or takes encryption alone"
                    if taste.greeted is None
                    else "hangs up"
                )
            except (WireError, MetainfoError, BencodeError) as error:
                taste.problem = f"breaks the protocol: {error}"
            finally:
                await trio.aclose_forcefully(stream)
        if limit.cancelled_caught:
            if taste.connected is None:
                step = "can't be connected to"
            elif taste.greeted is not None:
                step = "sends no piece: it is choked, or waits for something"
            taste.problem = f"{step} within {seconds:.0f} s"


class _Talk:
    """The conversation with one peer."""

    def __init__(
        self, taster: Taster, stream: trio.SocketStream, taste: Taste, began: float, peer_id: bytes
    ) -> None:
        self._taster = taster
        self._stream = stream
        self._taste = taste
        self._began = began
        self._peer_id = peer_id
        self._rest = bytearray()
        self._has = _Has()
        self._choked = True
        self._metadata_id = 0
        self._info: bytearray | None = None
        self._info_parts: set[int] = set()
        self._index: int | None = None
        self._piece = bytearray()
        self._asked: list[int] = []
        self._got: set[int] = set()

    async def run(self) -> None:
        """Go on until the piece is here or the peer is of no use."""
        try:
            await self._talk()
        finally:
            described = self._taster.sought.described
            if described is not None:
                self._taste.pieces = self._has.number(described.layout.piece_count)

    async def _talk(self) -> None:
        sought, taste = self._taster.sought, self._taste
        await self._stream.send_all(messages.handshake(sought.info_hash, self._peer_id))
        while len(self._rest) < _HANDSHAKE:
            await self._receive()
        greeted = messages.parse_handshake(self._rest)
        if greeted.info_hash != sought.info_hash:
            raise WireError("wrong-hash", "it answers with another torrent's")
        taste.greeted = trio.current_time() - self._began
        told_id = bytes(self._rest[48:_HANDSHAKE])
        taste.client, taste.ours = client_of(told_id), told_id.startswith(b"-SB")
        del self._rest[:_HANDSHAKE]
        if greeted.extended:
            offer = bencode.encode({b"m": {b"ut_metadata": _UT_METADATA}, b"reqq": _PIPELINED})
            await self._stream.send_all(messages.extended(0, offer))
        await self._stream.send_all(messages.message(MessageId.INTERESTED))
        while taste.verified is None and not taste.wrong:
            found, used = messages.parse(self._rest, _LARGEST_MESSAGE)
            del self._rest[:used]
            for each in found:
                if isinstance(each, Message):
                    await self._take(each)
            if taste.verified is not None or taste.wrong or taste.problem:
                return
            await self._receive()

    async def _receive(self) -> None:
        data = await self._stream.receive_some(_READ)
        if not data:
            raise EOFError
        self._rest += data

    async def _take(self, told: Message) -> None:
        match told.id:
            case MessageId.CHOKE:
                self._choked, self._index = True, None
            case MessageId.UNCHOKE:
                self._choked = False
            case MessageId.BITFIELD:
                self._has.bits = told.payload
            case MessageId.HAVE:
                self._has.add(told.index())
            case MessageId.HAVE_ALL:
                self._has.all = True
            case MessageId.REJECT:
                if self._index is not None and told.payload[:4] == self._index.to_bytes(4, "big"):
                    self._taste.problem = "rejects the request of a piece that it said to have"
                return
            case MessageId.PIECE:
                self._take_block(told.payload)
            case MessageId.EXTENDED:
                await self._take_extended(told.payload)
        await self._go_on()

    async def _go_on(self) -> None:
        described = self._taster.sought.described
        if described is None or self._taste.problem:
            return
        count = described.layout.piece_count
        if self._index is None and not self._choked and count:
            self._index = self._has.first(count)
            self._asked, self._got = [], set()
            if self._index is not None:
                self._piece = bytearray(described.layout.piece_size(self._index))
        if self._index is None or self._choked:
            return
        blocks = range(0, len(self._piece), BLOCK_SIZE)
        batch = bytearray()
        while len(self._asked) < len(blocks) and len(self._asked) - len(self._got) < _PIPELINED:
            begin = blocks[len(self._asked)]
            length = min(BLOCK_SIZE, len(self._piece) - begin)
            asked = b"".join(each.to_bytes(4, "big") for each in (self._index, begin, length))
            batch += messages.message(MessageId.REQUEST, asked)
            self._asked.append(begin)
        if batch:
            await self._stream.send_all(batch)
        if len(self._got) == len(blocks):
            if sha1(self._piece) == described.hash_of(self._index):
                self._taste.verified = trio.current_time() - self._began
            else:
                self._taste.wrong = True
                self._taste.problem = f"gives wrong bytes for piece {self._index}"

    def _take_block(self, payload: bytes) -> None:
        index, begin = int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")
        data = payload[8:]
        if index != self._index or begin not in self._asked:
            return
        if len(data) != min(BLOCK_SIZE, len(self._piece) - begin):
            raise WireError("wrong-length", f"a block of {len(data)} bytes")
        self._piece[begin : begin + len(data)] = data
        self._got.add(begin)

    async def _take_extended(self, payload: bytes) -> None:
        number, body = payload[:1], payload[1:]
        if number == b"\0":
            told = bencode.decode(body, canonical=False)
            names = told.get(b"m") if isinstance(told, dict) else None
            if not isinstance(told, dict) or not isinstance(names, dict):
                return
            identifier, size = names.get(b"ut_metadata"), told.get(b"metadata_size")
            fits = isinstance(size, int) and 0 < size <= LARGEST_TORRENT_FILE
            wanted = self._taster.sought.described is None and self._info is None
            if wanted and fits and isinstance(identifier, int) and 0 < identifier < 256:
                assert isinstance(size, int)
                self._metadata_id = identifier
                self._info = bytearray(size)
                await self._ask_part(0)
        elif number == bytes((_UT_METADATA,)) and self._info is not None:
            told, end = bencode.decode_prefix(body, canonical=False)
            part = told.get(b"piece") if isinstance(told, dict) else None
            if not isinstance(told, dict) or not isinstance(part, int):
                return
            if told.get(b"msg_type") == 2:
                self._taste.problem = "doesn't send the torrent's metadata"
            elif told.get(b"msg_type") == 1:
                await self._take_part(part, body[end:])

    async def _ask_part(self, part: int) -> None:
        asked = bencode.encode({b"msg_type": 0, b"piece": part})
        await self._stream.send_all(messages.extended(self._metadata_id, asked))

    async def _take_part(self, part: int, data: bytes) -> None:
        assert self._info is not None
        begin = part * BLOCK_SIZE
        if part != len(self._info_parts) or len(data) != min(BLOCK_SIZE, len(self._info) - begin):
            raise WireError("bad-metadata-message", f"part {part} of {len(data)} bytes")
        self._info[begin : begin + len(data)] = data
        self._info_parts.add(part)
        if begin + len(data) < len(self._info):
            await self._ask_part(part + 1)
        elif self._taster.sought.described is None:
            self._taster.sought = self._taster.sought.with_info(bytes(self._info))

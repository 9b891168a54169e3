"""A hub on a loopback socket with a cache behind it, and a peer to talk to it."""

import hashlib
import random
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import trio

from seeder.cache.pieces import PieceCache
from seeder.config.public import PeerSettings
from seeder.errors import SeederError
from seeder.ledger.counters import Tally
from seeder.ledger.limits import Level
from seeder.metainfo.trees import TreeBuilder
from seeder.net.passes import Passes
from seeder.net.sockets import listen
from seeder.peer import messages
from seeder.peer.hub import Hub
from seeder.peer.messages import BLOCK_SIZE, Block, Message, MessageId, Requests
from seeder.peer.session import Session
from seeder.torrent.info import build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.torrent import Torrent
from seeder.units import MIB
from seeder.upload.plans import SuperSeeds
from seeder.upload.uploads import Uploads
from tests.cache.fakes import get_piece
from tests.peer.states import Watch
from tests.peer.wire import OUR_ID, PEER_ID, greeting, request_message

PIECE_LENGTH = 64 * 1024
HAVE_ALL = Message(MessageId.HAVE_ALL, b"")
UNCHOKE = Message(MessageId.UNCHOKE, b"")


def make_data(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def make_torrent(
    data: bytes,
    piece_length: int = PIECE_LENGTH,
    key: str = "data.bin",
    *,
    tree_path: Path | None = None,
) -> Torrent:
    """Return a torrent of `data`; a hybrid if there is a path to write its tree to."""
    layout = Layout(len(data), piece_length)
    parts = [data[start : start + piece_length] for start in range(0, len(data), piece_length)]
    pieces = b"".join(hashlib.sha1(part).digest() for part in parts)
    tree = None
    if tree_path is not None:
        builder = TreeBuilder(tree_path, Shape(layout))
        builder.add(0, parts)
        tree = builder.finish()
    root = tree.root if tree else None
    info = parse_info(build_info(name=key, layout=layout, pieces=pieces, root=root))
    pinned = PinnedObject(ObjectRef("default", "b", key), '"e"', len(data))
    return Torrent(info, pinned, "build", tree)


@dataclass
class Steady:
    """What uploads are told of S3; by default it is there."""

    away: bool = False
    """Whether it is away, and reads wait for it."""
    next_try: float = 0.0
    """Seconds until it is asked again."""

    def is_busy(self) -> bool:
        return False

    def hopes(self, torrent: Torrent) -> bool:
        return self.away

    def next_try_in(self, torrent: Torrent) -> float:
        return self.next_try


class Source:
    """An origin that can be held up and made to fail, by piece; counts what it is asked."""

    def __init__(self, objects: dict[bytes, bytes]) -> None:
        self.reads: Counter[int] = Counter()
        self.held_up: dict[int, trio.Event] = {}
        self.errors: dict[int, SeederError] = {}
        self._objects = objects

    async def read_pieces(
        self, torrent: Torrent, first: int, count: int, take: Callable[[bytearray], None]
    ) -> None:
        indices = range(first, first + count)
        self.reads.update(indices)
        await trio.lowlevel.checkpoint()
        for index in indices:
            if index in self.held_up:
                await self.held_up[index].wait()
            if index in self.errors:
                raise self.errors[index]
        for index in indices:
            wanted = torrent.layout.piece_range(index)
            take(bytearray(self._objects[torrent.info_hash][wanted.start : wanted.stop]))

    def hold_up(self, *indices: int) -> None:
        for index in indices:
            self.held_up[index] = trio.Event()

    def release(self) -> None:
        for event in self.held_up.values():
            event.set()
        self.held_up.clear()


class Limits(PeerSettings):
    """The section [peer]; what it doesn't say is as little of a limit as can be."""

    connections: int = 100
    connections_per_torrent: int = 100
    connections_per_address: int = 50
    upload_slots: int | Literal["auto", "unlimited"] = "unlimited"
    thrifty: bool = False
    copies_per_address: float | None = None
    origin_copies_per_address: float | None = None


@dataclass
class Node:
    """A running hub, and what its tests look at."""

    hub: Hub
    uploads: Uploads
    cache: PieceCache[Torrent]
    source: Source
    torrents: dict[bytes, Torrent]
    tallies: dict[bytes, Tally]
    elsewhere: Tally
    """What belongs to no torrent."""
    address: tuple[str, int]
    watch: Watch
    visits: deque[tuple[bytes, bytes, int]]
    """Whom the tracker was told of: info hash, packed address, peers of it at once."""
    stop: trio.CancelScope = field(default_factory=trio.CancelScope)
    stopped: trio.Event = field(default_factory=trio.Event)

    @property
    def torrent(self) -> Torrent:
        """The first torrent, which most tests have alone."""
        return next(iter(self.torrents.values()))

    @property
    def tally(self) -> Tally:
        return self.tallies[self.torrent.info_hash]

    @property
    def closes(self) -> dict[str, int]:
        return self.hub.statistics().closes

    @property
    def super_seeds(self) -> SuperSeeds:
        return self.uploads.super_seeds

    def sessions(self) -> list[Session]:
        """Return the sessions, oldest first."""
        return sorted(self.hub._registry.sessions, key=lambda session: session.guest.opened_at)

    def tick(self, seconds: float) -> None:
        """Let every session believe that it is `seconds` later."""
        for session in self.sessions():
            session.tick(trio.current_time() + seconds)

    def make_room(self, now: float) -> None:
        self.hub._registry.make_room(now)

    def hold_back(self, level: Level) -> None:
        """Keep to a level of the budget, as the daemon does."""
        if level < Level.CACHE_ONLY:
            self.hub.regain()
        self.uploads.hold_back(level)

    def connected(self, info_hash: bytes) -> int:
        """Return how many peers of a torrent have said who they are."""
        return len(self.uploads.connections._peers.of(info_hash))

    async def warm(self, *indices: int) -> None:
        """Bring pieces of the first torrent into memory."""
        for index in indices or range(self.torrent.layout.piece_count):
            await get_piece(self.cache, self.torrent, index)

    async def wait_connected(self, count: int) -> None:
        await wait_until(lambda: self.hub.statistics().connected == count)

    async def wait_closed(self, reason: str, count: int = 1) -> None:
        await wait_until(lambda: self.closes.get(reason, 0) == count)

    @asynccontextmanager
    async def connection(self) -> "AsyncIterator[Peer]":
        """Connect a peer that has said nothing yet."""
        async with Peer.connect(self.address) as peer:
            yield peer

    @asynccontextmanager
    async def peer(
        self,
        *,
        fast: bool = True,
        torrent: Torrent | None = None,
        peer_id: bytes = PEER_ID,
        host: str = "127.0.0.1",
        receive_buffer: int | None = None,
    ) -> "AsyncIterator[Peer]":
        """Connect a peer that has read everything up to the unchoke."""
        async with Peer.connect(self.address, host, receive_buffer) as peer:
            served = torrent or self.torrent
            info_hash, v2 = served.info_hash, served.hashes is not None
            await peer.send(greeting(fast=fast, extended=False, info_hash=info_hash, peer=peer_id))
            assert await peer.read_exactly(68) == messages.handshake(info_hash, OUR_ID, v2=v2)
            if fast:
                assert await peer.read() == HAVE_ALL
            else:
                opener = await peer.read()
                assert opener.id == MessageId.BITFIELD
            assert await peer.read() == UNCHOKE
            yield peer


@asynccontextmanager
async def serving(
    directory: Path,
    *objects: tuple[bytes, int],
    limits: Limits | None = None,
    memory: int = 64 * MIB,
    disk: int = 0,
    send_buffer: int | None = None,
    tally: type[Tally] = Tally,
    host: str = "127.0.0.1",
    super_seeding: bool = False,
    hybrid: bool = False,
    passes: Passes | None = None,
) -> AsyncIterator[Node]:
    """Run a hub for objects, each (bytes, piece length), and stop it behind the block."""
    before = trio.lowlevel.current_statistics().tasks_living
    torrents = [
        make_torrent(
            data,
            length,
            f"object-{i}",
            tree_path=directory / f"{i}.tree" if hybrid else None,
        )
        for i, (data, length) in enumerate(objects)
    ]
    data = {bytes(torrent.info_hash): objects[i][0] for i, torrent in enumerate(torrents)}
    by_hash = {bytes(torrent.info_hash): torrent for torrent in torrents}
    aliases: dict[bytes | None, bytes] = {
        torrent.short_v2_hash: bytes(torrent.info_hash) for torrent in torrents
    }

    def find(name: bytes) -> Torrent | None:
        return by_hash.get(aliases.get(name, name))

    tallies = {bytes(torrent.info_hash): tally() for torrent in torrents}
    elsewhere = tally()
    source = Source(data)
    cache: PieceCache[Torrent] = PieceCache(
        source,
        directory,
        memory=memory,
        disk=disk,
        on_fault=lambda *_: None,
        on_recovery=lambda *_: None,
        clock=trio.current_time,
    )
    uploads = Uploads(
        limits or Limits(),
        cache=cache,
        account=lambda torrent: tallies[torrent.info_hash],
        unattributed=elsewhere,
        super_seeds=SuperSeeds(
            enabled=super_seeding,
            other_seeds=lambda _: 0,
            cache_bytes=memory,
            held=cache.held,
            rng=random.Random(1),
        ),
        origins=Steady(),
    )
    visits: deque[tuple[bytes, bytes, int]] = deque(maxlen=16)
    hub = Hub(
        uploads,
        find=find,
        visited=lambda *visit: visits.append(visit),
        peer_id=OUR_ID,
        client="seeder/0",
        passes=passes,
    )
    for torrent in torrents:
        hub.add_torrent(torrent)
    listener = listen(host, 0, "peer")
    if send_buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    name = listener.getsockname()
    address = str(name[0]), int(name[1])
    node = Node(
        hub, uploads, cache, source, by_hash, tallies, elsewhere, address, Watch(hub), visits
    )

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        with node.stop:
            await hub.serve([listener], task_status=task_status)
        node.stopped.set()

    trio.lowlevel.add_instrument(node.watch)
    async with trio.open_nursery() as nursery:
        await nursery.start(cache.run)
        nursery.start_soon(uploads.run)
        await nursery.start(serve)
        try:
            yield node
        finally:
            source.release()
            node.stop.cancel()
            with trio.CancelScope(shield=True):
                await node.stopped.wait()
            nursery.cancel_scope.cancel()
    trio.lowlevel.remove_instrument(node.watch)
    assert node.watch.broken == set()  # see seeder/peer/STATES.md
    assert hub.statistics().connected == 0
    assert trio.lowlevel.current_statistics().tasks_living == before


async def wait_until(condition: Callable[[], bool]) -> None:
    """Poll until `condition` holds."""
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - there is nothing to be told by
            await trio.sleep(0.002)


class Peer:
    """The other end: a plain client that says exactly what it is told to."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.arrived = bytearray()

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, address: tuple[str, int], host: str = "127.0.0.1", receive_buffer: int | None = None
    ) -> AsyncIterator[Self]:
        family = trio.socket.AF_INET6 if ":" in address[0] else trio.socket.AF_INET
        sock = trio.socket.socket(family)
        if receive_buffer is not None:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
        if ":" not in address[0]:
            await sock.bind((host, 0))
        with trio.fail_after(60):
            await sock.connect(address)
            async with trio.SocketStream(sock) as stream:
                yield cls(stream)

    async def send(self, *data: bytes) -> None:
        await self.stream.send_all(b"".join(data))

    async def request(self, *blocks: Block) -> None:
        await self.send(*map(request_message, blocks))

    async def read_exactly(self, count: int) -> bytes:
        """Return that many bytes; EOFError when the connection ends before."""
        while len(self.arrived) < count:
            try:
                more = await self.stream.receive_some(2**20)
            except trio.BrokenResourceError:
                more = b""
            if not more:
                raise EOFError(f"the connection ended after {len(self.arrived)} of {count} bytes")
            self.arrived += more
        data = bytes(self.arrived[:count])
        del self.arrived[:count]
        return data

    async def read(self) -> Message:
        """Return the next message; EOFError at the end."""
        length = int.from_bytes(await self.read_exactly(4))
        body = await self.read_exactly(length)
        [item], _ = messages.parse(length.to_bytes(4) + body, 2**20)
        assert not isinstance(item, Requests)
        return item

    async def read_block(self) -> tuple[Block, bytes]:
        """Return the next block and its bytes; nothing else may come."""
        message = await self.read()
        assert message.id == MessageId.PIECE, message
        index, begin = (int.from_bytes(message.payload[at : at + 4]) for at in (0, 4))
        return (index, begin, len(message.payload) - 8), message.payload[8:]

    async def read_to_the_end(self) -> bytes:
        """Return what comes until the connection ends."""
        with suppress(trio.BrokenResourceError):
            async for more in self.stream:
                self.arrived += more
        return bytes(self.arrived)

    async def download(self, torrent: Torrent, blocks: Sequence[Block], *, ahead: int) -> bytes:
        """Request blocks, up to `ahead` at a time, and return the object's bytes."""
        found = bytearray(torrent.layout.size)
        await self.request(*blocks[:ahead])
        for following in [*blocks[ahead:], *[None] * min(ahead, len(blocks))]:
            (index, begin, length), data = await self.read_block()
            start = index * torrent.layout.piece_length + begin
            found[start : start + length] = data
            if following is not None:
                await self.request(following)
        return bytes(found)


def blocks_of(torrent: Torrent, index: int | None = None, size: int = BLOCK_SIZE) -> list[Block]:
    """Return the blocks of a piece, or of all of them."""
    layout = torrent.layout
    return [
        (piece, begin, min(size, layout.piece_size(piece) - begin))
        for piece in (range(layout.piece_count) if index is None else [index])
        for begin in range(0, layout.piece_size(piece), size)
    ]

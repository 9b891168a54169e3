"""One peer's connection on the network: reads, answers, and sends blocks in batches.

The hot path is one read that brings dozens of requests and one sendmsg that takes up to a mebibyte
of headers and views of cached pieces; nothing is copied and nothing is awaited a block. Sending is
tried at once where the requests were read; only a full socket or a cold piece needs a later turn.
Pieces that are not in memory are asked of the cache, a few at a time, while resident ones go out.
"""

import errno
import logging
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from seeder.cache.pieces import PieceCache
from seeder.errors import SeederError, WireError
from seeder.ledger.delivery import Delivery
from seeder.peer import connection, extensions, messages
from seeder.peer.connection import Identity, PeerConnection, Phase
from seeder.sockets import Address
from seeder.torrent.catalog import Torrent
from seeder.torrent.layout import KIB, MIB

_LOG = logging.getLogger(__name__)

RECEIVE_SIZE = 64 * KIB
BATCH_BLOCKS = 64
"""Of 16 KiB: a mebibyte a sendmsg, and far from the kernel's limit of 1024 buffers."""
BATCHES_A_TURN = 4
"""Then the other peers get theirs."""
FETCH_AHEAD = 8 * MIB
MOST_FETCHES = 16
"""Cold pieces that one peer may have under way: this many bytes, and this many pieces."""

HANDSHAKE_DEADLINE = 15.0
IDLE_DEADLINE = 180.0
WRITE_DEADLINE = 60.0
KEEP_ALIVE_EVERY = 100.0
PATIENCE = 10.0
"""A cold piece that takes longer is turned down: clients wait 20 s before they give up on us."""
PIN_DEADLINE = 2.0
"""A peer this slow gets a copy of its batch, so that it doesn't hold whole pieces in memory."""

_GONE = {errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTUNREACH}


class UploadAccount(Protocol):
    """Where a torrent's traffic is booked."""

    def uploaded(self, count: int) -> None: ...
    def delivered_verified(self, count: int) -> None: ...
    def peer_seen(self) -> None: ...


@dataclass(slots=True)
class Supplies:
    """What every session shares."""

    cache: PieceCache[Torrent]
    find: Callable[[bytes], Torrent | None]
    account: Callable[[Torrent], UploadAccount]
    peer_id: bytes
    client: str
    admit: Callable[["Session"], str | None]
    """Asked when the peer is identified; a reason refuses it."""
    start_drain: Callable[["Session"], None]
    closes: Counter[str]
    scratch: memoryview = field(default_factory=lambda: memoryview(bytearray(RECEIVE_SIZE)))
    """One receive buffer for all: what was read is used up before anything else runs."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Blocks of one piece in the batch under way: (begin, length) each."""

    index: int
    blocks: list[tuple[int, int]]

    @property
    def payload(self) -> int:
        return sum(length for _, length in self.blocks)


class Session:
    """A peer from accept to close; `run` is its life."""

    def __init__(self, sock: socket.socket, address: Address, supplies: Supplies) -> None:
        now = trio.current_time()
        self.address = address
        self.peer_id = b""
        self.client = ""
        self.opened_at = now
        self.uploaded = 0
        self.delivered = 0
        self.reason: str | None = None
        self.torrent: Torrent | None = None
        self._sock = sock
        self._supplies = supplies
        your_ip = socket.inet_pton(sock.family, address[0].partition("%")[0])
        identity = Identity(supplies.peer_id, supplies.client, your_ip)
        self.wire = PeerConnection(identity, supplies.find, now)
        self._scope = trio.CancelScope()
        self._account: UploadAccount | None = None
        self._delivery: Delivery | None = None
        self._out: list[bytes | memoryview] = []
        self._runs: list[_Run] = []
        self._held: dict[int, bytes | bytearray] = {}
        self._fetching: dict[int, float] = {}
        self._draining = False
        self._finishing = False
        self._received_at = now
        self._sent_at = now
        self._choked_at = 0.0

    # -- life

    async def run(self) -> None:
        """Serve the peer until it leaves, breaks the protocol, or `end` is called."""
        try:
            with self._scope:
                await self._receive()
        except WireError as error:
            self._note(error.reason, str(error))
        except trio.ClosedResourceError:
            self._note("closed")
        except OSError as error:
            self._note("connection-lost" if error.errno in _GONE else "socket-error", str(error))
        finally:
            self._close()

    def end(self, reason: str) -> None:
        """Close the connection for `reason`."""
        self._note(reason)
        self._scope.cancel()

    def finish(self) -> None:
        """Close as soon as the batch under way is out."""
        self._finishing = True
        if not self._draining:
            self.end("shutdown")

    def _note(self, reason: str, detail: str = "") -> None:
        if self.reason is None:
            self.reason = reason
            if detail:
                _LOG.debug("peer %s:%d: %s", *self.address, detail)

    def _close(self) -> None:
        self._settle_unfinished()
        torrent = self.torrent
        if torrent is not None:
            for index in self._fetching:
                self._supplies.cache.forget(torrent, index, self._piece_arrived)
        self._out.clear()
        self._held.clear()
        self._fetching.clear()
        self.wire.phase = Phase.CLOSED
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()
        reason = self.reason or "closed"
        self._supplies.closes[reason] += 1
        level = logging.INFO if self.peer_id else logging.DEBUG
        _LOG.log(
            level,
            'peer %s:%d closed: %s, client "%s", uploaded %d bytes, it gained %d bytes in %.1f s',
            *self.address,
            reason,
            self.client,
            self.uploaded,
            self.delivered,
            trio.current_time() - self.opened_at,
        )

    # -- input

    async def _receive(self) -> None:
        scratch = self._supplies.scratch
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                count = self._sock.recv_into(scratch)
            except (BlockingIOError, InterruptedError):
                continue
            if count == 0:
                self._note("left")
                return
            now = trio.current_time()
            self._received_at = now
            for event in self.wire.receive(scratch[:count], now):
                self._handle(event)
            if not self._draining:
                self._send()

    def _handle(self, event: connection.Event) -> None:
        match event:
            case connection.Gained(index):
                self._credit(self._delivery_of().have(index))
            case connection.Arrived(pieces):
                self._delivery_of().arrived_with(pieces)
            case connection.Greeted(torrent):
                assert isinstance(torrent, Torrent)
                self.torrent = torrent
                self._account = self._supplies.account(torrent)
                self._delivery = Delivery(torrent.layout)
            case connection.Identified(peer_id):
                self._identify(peer_id)
            case extensions.Introduced(client):
                self.client = client or self.client
            case extensions.WantsNothing():
                raise WireError("upload-only")
        if self.torrent and self.torrent.layout.piece_count and self._delivery_of().complete:
            # Two seeds have nothing to say to each other (BEP 21).
            raise WireError("seed")

    def _identify(self, peer_id: bytes) -> None:
        self.peer_id = peer_id
        refused = self._supplies.admit(self)
        if refused is not None:
            raise WireError(refused)
        assert self.torrent is not None
        assert self._account is not None
        self._account.peer_seen()
        _LOG.info("peer %s:%d opened: %s", *self.address, self.torrent.pinned.ref)
        self.wire.unchoke()

    def _delivery_of(self) -> Delivery:
        assert self._delivery is not None
        return self._delivery

    def _credit(self, count: int) -> None:
        if count and self._account is not None:
            self.delivered += count
            self._account.delivered_verified(count)

    # -- output

    def _send(self) -> None:
        """Send as much as goes without waiting; leave the rest to a drain task."""
        if self._send_turn():
            self._draining = True
            self._supplies.start_drain(self)

    async def drain(self) -> None:
        """Send until nothing sendable is left, waiting for the socket."""
        try:
            while True:
                await trio.lowlevel.wait_writable(self._sock)
                if not self._send_turn():
                    break
        except trio.ClosedResourceError:
            return
        except OSError as error:
            self._note("connection-lost", str(error))
            self._scope.cancel()
        finally:
            self._draining = False
        if self._finishing:
            self.end("shutdown")

    def _send_turn(self) -> bool:
        """Send some batches; True when more is ready but the socket is full or the turn over."""
        for _ in range(BATCHES_A_TURN):
            if not self._out and (self._finishing or not self._fill()):
                return False
            if not self._flush():
                return True
        return True

    def _fill(self) -> bool:
        """Gather the next batch: what the protocol owes, then blocks of resident pieces."""
        wire, out = self.wire, self._out
        if wire.owes_metadata:
            wire.send_metadata()
        control = wire.data_to_send()
        if control:
            out.append(control)
        torrent = self.torrent
        if not wire.wanted or torrent is None:
            return bool(out)
        peek, held = self._supplies.cache.peek, self._held
        room = BATCH_BLOCKS
        for index in tuple(wire.wanted):
            piece = held.get(index) or peek(torrent, index)
            if piece is None:
                self._fetch(torrent, index)
                continue
            blocks = wire.take(index, room)
            if index not in wire.wanted:
                held.pop(index, None)
            view = memoryview(piece)
            for begin, length in blocks:
                out.append(messages.piece_header(index, begin, length))
                out.append(view[begin : begin + length])
            run = _Run(index, blocks)
            self._runs.append(run)
            room -= max(len(blocks), run.payload // messages.BLOCK_SIZE)
            if room <= 0:
                break
        return bool(out)

    def _flush(self) -> bool:
        """Write the batch; False when the socket took only a part of it."""
        out = self._out
        try:
            count = self._sock.sendmsg(out)
        except (BlockingIOError, InterruptedError):
            return False
        self._sent_at = trio.current_time()
        for position, buffer in enumerate(out):
            size = len(buffer)
            if count < size:
                out[position] = memoryview(buffer)[count:]
                del out[:position]
                return False
            count -= size
        out.clear()
        for run in self._runs:
            self._book(run.index, run.payload)
        self._runs.clear()
        return True

    def _book(self, index: int, payload: int) -> None:
        assert self._account is not None
        self.uploaded += payload
        self._account.uploaded(payload)
        self._credit(self._delivery_of().sent(index, payload))

    def _settle_unfinished(self) -> None:
        """Book the part of a broken-off batch that did reach the socket."""
        unsent = sum(len(buffer) for buffer in self._out)
        for run in reversed(self._runs):
            payload = 0
            for _, length in reversed(run.blocks):
                payload += max(0, length - unsent)
                unsent = max(0, unsent - length - messages.PIECE_HEADER_LENGTH)
            if payload:
                self._book(run.index, payload)
        self._runs.clear()

    # -- cold pieces

    def _fetch(self, torrent: Torrent, index: int) -> None:
        fetching = self._fetching
        if index in fetching:
            return
        if len(fetching) >= max(1, min(MOST_FETCHES, FETCH_AHEAD // torrent.layout.piece_length)):
            return
        fetching[index] = trio.current_time()
        self._supplies.cache.request(torrent, index, self._piece_arrived)

    def _piece_arrived(
        self, index: int, piece: bytes | bytearray | None, error: SeederError | None
    ) -> None:
        if self._fetching.pop(index, None) is None:
            return
        if piece is not None and index in self.wire.wanted:
            self._held[index] = piece
        elif error is not None:
            self._turn_down(index)
        self._send_outside()

    def _turn_down(self, index: int) -> None:
        if self.wire.fast:
            self.wire.reject_piece(index)
        else:
            # Without the fast extension a choke is the only way to say "ask somebody else".
            self.wire.choke()
            self._choked_at = trio.current_time()

    def _send_outside(self) -> None:
        """Send from a task that isn't this session's: its troubles end this session only."""
        if self._draining:
            return
        try:
            self._send()
        except OSError as error:
            self._note("connection-lost", str(error))
            self._scope.cancel()

    # -- time

    def tick(self, now: float) -> None:
        """Keep the deadlines; called about once a second."""
        if self.wire.phase in (Phase.HANDSHAKE, Phase.PEER_ID):
            if now - self.opened_at > HANDSHAKE_DEADLINE:
                self.end("handshake-timeout")
            return
        if self._out:
            if now - self._sent_at > WRITE_DEADLINE:
                self.end("write-timeout")
            elif now - self._sent_at > PIN_DEADLINE and len(self._out) > 1:
                self._out = [b"".join(self._out)]
        elif now - self._received_at > IDLE_DEADLINE:
            self.end("idle")
        elif now - self._sent_at > KEEP_ALIVE_EVERY:
            self.wire.keep_alive()
        for index, asked_at in tuple(self._fetching.items()):
            if now - asked_at > PATIENCE and index in self.wire.wanted:
                self._fetching[index] = now
                self._turn_down(index)
        if self.wire.choking and now - self._choked_at > PATIENCE:
            self.wire.unchoke()
        self._send_outside()

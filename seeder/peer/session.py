"""One peer's connection on the network: its life, what it sends us, and what comes of that.

The hot path is one read that brings dozens of requests and one sendmsg that takes up to a mebibyte
of headers and views of cached pieces; no block is copied, and none is awaited by itself. Sending is
tried at once where the requests were read; only a full socket or a cold piece needs a later turn.
"""

import logging
import socket
from dataclasses import dataclass
from functools import partial
from typing import Protocol, assert_never

import trio

from seeder.errors import PieceMismatch, SeederError, WireError
from seeder.net.addresses import Networks, SocketAddress
from seeder.net.passes import Passes
from seeder.peer import protocol as events
from seeder.peer.batch import Scratch
from seeder.peer.connection import PeerConnection
from seeder.peer.encryption import EncryptionLayer
from seeder.peer.exchanges import KeyExchanges
from seeder.peer.extensions import client_of
from seeder.peer.guest import PeerGuest
from seeder.peer.hashes import HashLookups
from seeder.peer.input import Input
from seeder.peer.lifetime import Deadlines
from seeder.peer.log import SessionLog
from seeder.peer.output import Output
from seeder.peer.pex import Roster
from seeder.peer.progress import PeerProgress
from seeder.peer.protocol import Phase
from seeder.peer.standing import PeerStanding
from seeder.torrent.torrent import Torrent
from seeder.upload.plans import Viewer
from seeder.upload.thrift import Availability
from seeder.upload.uploads import Uploads

_LOG = logging.getLogger(__name__)

NEWS_AFTER = 1.0
"""Seconds after which a peer that wants nothing is logged at INFO all the same: by then a seed has
said that it is one."""


class Host(Protocol):
    """What a session asks of the registry, which has all sessions."""

    def admit(self, session: "Session") -> str | None:
        """Register a session whose peer id has come, or return why not."""

    def roster(self, torrent: Torrent) -> Roster:
        """Return the torrent's peers that others may hear of."""

    def availability(self, torrent: Torrent) -> Availability[Viewer] | None:
        """Return which of its pieces the torrent's peers have; None unless we are thrifty."""

    def knows_port(self, session: "Session", port: int) -> None:
        """Take note of the port that a session's peer says it listens on."""

    def lose(self, torrent: Torrent, index: int) -> None:
        """Take a piece that can't be had for a while back from all peers of the torrent."""


@dataclass(frozen=True, slots=True, eq=False)
class Premises:
    """What all sessions of a hub work with."""

    host: Host
    uploads: Uploads
    nursery: trio.Nursery
    """Where they run."""
    exchanges: KeyExchanges
    passes: Passes
    scratch: Scratch


class Session:
    """A peer's connection from accept to close; `run` is its life, in a task of the nursery.

    Its further tasks run there, too: one that sends while the socket is full, and one that looks up
    hashes. Its states, and what changes them, are in seeder/peer/STATES.md.
    """

    __slots__ = (
        "_deadlines",
        "_encryption",
        "_host",
        "_input",
        "_log",
        "_nursery",
        "_output",
        "_scope",
        "_sock",
        "_uploads",
        "guest",
        "wire",
    )

    def __init__(
        self,
        sock: socket.socket,
        address: SocketAddress,
        networks: Networks,
        *,
        wire: PeerConnection,
        encryption: EncryptionLayer,
        premises: Premises,
    ) -> None:
        now = trio.current_time()
        uploads, passes, scratch = premises.uploads, premises.passes, premises.scratch
        self.wire = wire
        self._log = SessionLog(_LOG, address)
        self.guest = PeerGuest(
            address, networks, wire, uploads, self._log, end=self.end, resume=self.resume, now=now
        )
        self._sock = sock
        self._encryption = encryption
        self._input = Input(
            sock, networks, encryption, premises.exchanges, passes=passes, buffer=scratch.incoming
        )
        self._output = Output(
            sock,
            self.guest,
            encryption,
            self._start_drain,
            passes=passes,
            scratch=scratch,
            now=now,
        )
        self._deadlines = Deadlines(self.guest, self._output, now)
        self._host = premises.host
        self._uploads = uploads
        self._nursery = premises.nursery
        self._scope = trio.CancelScope()

    # -- life

    async def run(self) -> None:
        """Serve the peer until it leaves, breaks the protocol, or `end` is called."""
        try:
            with self._scope:
                await self._receive()
        except Exception as error:
            self._fail(error)
        finally:
            self._close()

    @property
    def reason(self) -> str | None:
        """Why the connection ends, once it does."""
        return self._log.reason

    def end(self, reason: str) -> None:
        """Close the connection for `reason`."""
        self._log.note(reason)
        self._scope.cancel()

    def outstays(self, now: float) -> float:
        """Return for how many seconds too long the peer has held a place without using it, or 0."""
        return 0.0 if self.reason is not None else self._deadlines.outstays(now)

    def standing(self) -> PeerStanding | None:
        """Return how the peer stands; None until it has named a torrent."""
        return self.guest.standing(encrypted=self._encryption.encrypt is not None)

    def retire(self, reason: str) -> None:
        """Take back what the peer believes we have (BEP 54), and close at the next tick."""
        if self._scope.cancel_called or self._output.finishing:
            return
        if self.guest.is_stranger:
            self.end(reason)
            return
        try:
            self.wire.retire(self._known_progress.lacking())
        except Exception as error:
            self._fail(error)  # the others of its torrent have to be told, too
            return
        self._deadlines.retire(reason, trio.current_time())
        self.resume()

    def finish(self) -> None:
        """Send nothing after the batch under way; then hang up, and close when the peer does."""
        self._log.note("shutdown")
        self._output.finishing = True
        if self.guest.is_stranger:
            self._scope.cancel()
        elif not self._output.draining:
            self._hang_up()

    def _hang_up(self) -> None:
        # Closing while requests still come in would reset the connection, and what the system has
        # not delivered yet would be lost.
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """End the session for `error`, in whichever task it was met."""
        self._log.fail(error)
        self._scope.cancel()

    def _close(self) -> None:
        self.wire.phase = Phase.CLOSED
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()
        output = self._output
        if output.feed is not None:
            output.feed.close()
        if output.lookups is not None:
            output.lookups.close()
        guest, now = self.guest, trio.current_time()
        try:
            output.settle()
        except Exception as error:
            self._fail(error)
        try:
            guest.leave(now)
        except Exception as error:
            self._fail(error)
        gained = 0 if guest.progress is None else guest.progress.delivered
        self._log.closed(guest.client, guest.uploaded, gained, now - guest.opened_at)

    # -- input

    async def _receive(self) -> None:
        wire = self.wire
        while (data := await self._input.read()) is not None:
            if self._output.finishing:
                continue
            now = self._deadlines.received_at = trio.current_time()
            clear = self._encryption.receive(data)
            if self._encryption.waits:
                behind = await self._input.exchange_keys()
                if behind is None:
                    break
                clear, now = behind, trio.current_time()
                self._deadlines.received_at = now
            self._hear(clear, now)
            # An idle peer's frame would hold what it said last, such as its bitfield.
            del clear
            if wire.sought is not None:
                await self._fetch_info(wire.sought)
            if wire.interested and not self._log.is_news:
                self._note_opened()
            self._answer()
        self._log.note("left")

    async def _fetch_info(self, sought: events.Served) -> None:
        """Have the metainfo read from disk, then go on with the handshake that waits for it."""
        assert isinstance(sought, Torrent)
        self.guest.info = await sought.fetch_info()
        now = self._deadlines.received_at = trio.current_time()
        self._hear(b"", now)

    def _hear(self, data: bytes | bytearray | memoryview, now: float) -> None:
        if self._scope.cancel_called:
            # It was ended in the pass of the loop that woke its task: its place is another's now,
            # and what it says mustn't take it again.
            return
        for event in self.wire.receive(data, now):
            self._handle(event, now)

    def _answer(self) -> None:
        """Send what can be sent now; if the socket is full, ask for the cold pieces meanwhile."""
        output, wire = self._output, self.wire
        if wire.newly_wanted:
            self._known_progress.asked_for(wire.newly_wanted)
        output.send()
        if wire.newly_wanted:
            if output.draining:
                output.look_ahead(wire.newly_wanted)
            wire.newly_wanted.clear()

    def _handle(self, event: events.Event, now: float) -> None:
        match event:
            case events.Gained(index):
                self._known_progress.gained(index, now)
            case events.Arrived(pieces):
                self._known_progress.arrived_with(pieces, now)
            case events.Grown(pieces):
                self._known_progress.grown_to(pieces, now)
            case events.Greeted(torrent):
                assert isinstance(torrent, Torrent)
                self._greet(torrent, now)
            case events.Identified(peer_id):
                self._identify(peer_id, now)
            case events.Introduced(client=client, listen_port=listen_port):
                self.guest.client = client or self.guest.client
                if listen_port is not None:
                    self.guest.takes_connections_at(listen_port)
                    self._host.knows_port(self, listen_port)
            case events.WantsNothing():
                self._deadlines.farewell = "upload-only"
            case events.WantsHashes(request):
                assert self._output.lookups is not None
                self._output.lookups.ask(request)
            case _:
                assert_never(event)
        progress = self.guest.progress
        if progress is not None and progress.complete:
            self._deadlines.farewell = "seed"

    def _greet(self, torrent: Torrent, now: float) -> None:
        """Get ready to serve a torrent."""
        uploads, host, guest, output = self._uploads, self._host, self.guest, self._output
        if not uploads.overhead.may_greet(guest.packed_address, self.wire.unsent, now):
            raise WireError("greeting-flood")
        progress = guest.arrive(torrent, host.roster(torrent), host.availability(torrent), now)
        if progress.thrift is not None and self.wire.shown is None:
            output.withholds = progress.thrift.withholds
        output.feed = uploads.feed(
            guest,
            torrent,
            self.wire.wanted,
            tell=self._piece_came,
            taken=lambda: progress.uploaded,
        )
        if torrent.hashes is not None:
            output.lookups = HashLookups(
                torrent.hashes,
                admit=guest.may_describe,
                start=partial(self._nursery.start_soon, self._look_up),
                reject=self.wire.reject_hashes,
                tell=self.resume,
                lost=torrent.lose,
            )

    def _identify(self, peer_id: bytes, now: float) -> None:
        guest = self.guest
        guest.peer_id = peer_id
        refused = self._host.admit(self)
        if refused is not None:
            raise WireError(refused)
        guest.client = client_of(peer_id)
        if self.wire.shown is not None:
            self._known_progress.view(now)
            self.wire.end_opening()
        self._uploads.slots.come(guest, now)

    def _note_opened(self) -> None:
        """Log that the peer is here, and count it."""
        torrent = self.guest.torrent
        assert torrent is not None
        self._uploads.account(torrent).peer_seen()
        self._log.opened(torrent.pinned.ref)

    @property
    def _known_progress(self) -> PeerProgress:
        assert self.guest.progress is not None
        return self.guest.progress

    # -- output

    async def _drain(self) -> None:
        try:
            await self._output.drain()
        except Exception as error:
            self._fail(error)
        if self._output.finishing and self.wire.phase is not Phase.CLOSED:
            self._hang_up()

    async def _look_up(self) -> None:
        assert self._output.lookups is not None
        try:
            await self._output.lookups.run()
        except Exception as error:
            self._fail(error)

    def resume(self) -> None:
        """Send what can be sent now.

        For speed a plain call, in whichever task finds that something can be: the timer of the
        upload limits, the choker's tick, a look-up of hashes, another session that shows a piece.
        """
        try:
            self._output.send()
        except Exception as failure:
            self._fail(failure)

    def _start_drain(self) -> None:
        """Have the rest sent in a task, as the socket takes it."""
        self._nursery.start_soon(self._drain)

    # -- cold pieces

    def _piece_came(self, index: int, error: SeederError | None) -> None:
        """Take note of a piece that was cold.

        For speed a plain call, in the task of the cache that fetched the piece: it sends the blocks
        there and then. An error ends this session, not that task.
        """
        if self._scope.cancel_called:
            return
        try:
            if isinstance(error, PieceMismatch) and self.guest.torrent is not None:
                self._host.lose(self.guest.torrent, index)
            if error is not None:
                self.guest.refusals.failed(index, error, trio.current_time())
            self._output.send()
        except Exception as failure:
            self._fail(failure)

    # -- time

    def tick(self, now: float) -> None:
        """Keep the deadlines; the hub calls this about once a second."""
        if self._scope.cancel_called:
            return
        try:
            self._keep_deadlines(now)
        except Exception as error:
            self._fail(error)

    def _keep_deadlines(self, now: float) -> None:
        guest, output = self.guest, self._output
        reason = self._deadlines.keep(now)
        if reason is not None:
            self.end(reason)
            return
        if guest.is_stranger:
            return
        if not self._log.is_news and now - guest.opened_at > NEWS_AFTER:
            self._note_opened()
        guest.hear_of_others(now)
        self._known_progress.weigh(now)
        guest.refusals.review(output.feed, self._deadlines.received_at, now)
        output.send()

"""One peer's connection on the network: its life, what it sends us, and what comes of that.

The hot path is one read that brings dozens of requests and one sendmsg that takes up to a mebibyte
of headers and views of cached pieces; no block is copied, and none is awaited by itself. Sending is
tried at once where the requests were read; only a full socket or a cold piece needs a later turn.
"""

import logging
import random
import socket
from collections.abc import Sequence
from functools import partial
from typing import Protocol, assert_never

import trio

from seeder.errors import PieceMismatch, SeederError, WireError
from seeder.net.addresses import Networks, SocketAddress, compact_endpoint
from seeder.net.sockets import packed_address
from seeder.peer import protocol as events
from seeder.peer.batch import Scratch
from seeder.peer.connection import PeerConnection
from seeder.peer.encryption import EncryptionLayer
from seeder.peer.exchanges import KeyExchanges
from seeder.peer.extensions import client_of
from seeder.peer.hashes import HashLookups
from seeder.peer.input import Input
from seeder.peer.lifetime import Deadlines, SessionLog
from seeder.peer.output import Output
from seeder.peer.pex import Roster, RosterEntry
from seeder.peer.progress import PeerProgress
from seeder.peer.protocol import Phase
from seeder.peer.refusals import Refusals
from seeder.peer.standing import PeerStanding
from seeder.torrent.catalog import Torrent
from seeder.torrent.info import Info
from seeder.upload.plans import Viewer
from seeder.upload.rates import Chain
from seeder.upload.thrift import Availability
from seeder.upload.uploads import Uploads

_LOG = logging.getLogger(__name__)

NEWS_AFTER = 1.0
"""Seconds after which a peer that wants nothing is logged at INFO all the same: by then a seed has
said that it is one."""
LEAVE_DEADLINE = 10.0
"""Seconds that the batch under way has to get out when the torrent goes."""


class Host(Protocol):
    """What a session asks of the registry, which has all sessions."""

    def admit(self, session: "Session") -> str | None:
        """Register a session whose peer id has come, or return why not."""

    def roster(self, torrent: Torrent) -> Roster:
        """Return the torrent's peers that others may hear of."""

    def availability(self, torrent: Torrent) -> Availability[Viewer] | None:
        """Return which of its pieces the torrent's peers have; None unless we are thrifty."""

    def lose(self, torrent: Torrent, index: int) -> None:
        """Take a piece that can't be had for a while back from all peers of the torrent."""


class Session:
    """A peer from accept to close; `run` is its life, in a task of `nursery`.

    Its further tasks run there, too: one that sends while the socket is full, and one that looks up
    hashes. Its states, and what changes them, are in seeder/peer/STATES.md.
    """

    def __init__(
        self,
        sock: socket.socket,
        address: SocketAddress,
        networks: Networks,
        *,
        wire: PeerConnection,
        encryption: EncryptionLayer,
        exchanges: KeyExchanges,
        host: Host,
        uploads: Uploads,
        nursery: trio.Nursery,
        scratch: Scratch,
    ) -> None:
        now = trio.current_time()
        self.address = address
        self.networks = networks
        self.peer_id = b""
        self.client = ""
        self.opened_at = now
        self.torrent: Torrent | None = None
        self.wire = wire
        self._packed_address = packed_address(address[0])
        self._sock = sock
        self._encryption = encryption
        self._input = Input(sock, networks, encryption, exchanges, scratch.incoming)
        self._host = host
        self._uploads = uploads
        self._nursery = nursery
        self._scope = trio.CancelScope()
        self._progress: PeerProgress | None = None
        self._info: Info | None = None
        """Held, so that it stays at hand."""
        self._lookups: HashLookups | None = None
        self._output = Output(sock, wire, encryption, self, scratch=scratch, now=now)
        self._log = SessionLog(_LOG, address)
        self._deadlines = Deadlines(wire, self._output, now)
        self._refusals = Refusals(wire, self.resume)
        self._slow = False
        """Whether the peer shares the small rate that is left for its address."""
        self._roster_entry: RosterEntry | None = None
        self._farewell: str | None = None
        """Why to close at the next tick: the peer needs nothing (BEP 21), or the torrent goes.

        Not at once: what a peer announces in its last moments counts as delivered.
        """
        self._leave_by = 0.0
        """Until when a batch under way may delay that (s)."""

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

    def worth(self, now: float) -> tuple[int, float]:
        """Return what the peer is worth: less if it didn't say who it is, or wants nothing.

        Else it is worth the bytes a second that it has taken.
        """
        age = now - self.opened_at
        if self._deadlines.is_stranger or self.reason is not None:
            return 0, -age
        if not self.interested:
            return 1, -age
        return 2, self.uploaded / (age + 1.0)

    def take_limits(self, now: float) -> None:
        """Keep to the present upload limits; a session that was in line is woken by the caller."""
        if self.torrent is None:
            return
        rates, output = self._uploads.rates, self._output
        if output.chain is not None:
            rates.waiting.discard(output.chain)
        group = self.networks[0] if self._slow else None
        output.chain = rates.chain(self.torrent.info_hash, now, slow=group)

    def retire(self, reason: str) -> None:
        """Take back what the peer believes we have (BEP 54), and close at the next tick."""
        if self._scope.cancel_called or self._output.finishing:
            return
        if self.torrent is None or self.wire.phase is Phase.PEER_ID:
            self.end(reason)
            return
        self.wire.retire(self._known_progress.lacking())
        self._farewell, self._leave_by = reason, trio.current_time() + LEAVE_DEADLINE
        self.resume()

    def lose(self, index: int) -> None:
        """Take back a piece that can't be had for a while (BEP 54)."""
        self._refusals.lose(index, trio.current_time())

    def rebook(self) -> None:
        """Book what is sent from now on where the torrent's traffic is booked now."""
        if self._progress is not None and self.torrent is not None:
            self._progress.rebook(self._uploads.account(self.torrent))

    def regain(self) -> None:
        """Tell the peer that the pieces taken back from it can be had again."""
        self._refusals.regain()

    def finish(self) -> None:
        """Send nothing after the batch under way; then hang up, and close when the peer does."""
        self._log.note("shutdown")
        self._output.finishing = True
        if self._deadlines.is_stranger:
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
        if output.chain is not None:
            self._uploads.rates.waiting.discard(output.chain)
        if self._roster_entry is not None:
            self._roster_entry.leave()
        if self._lookups is not None:
            self._lookups.close()
        now = trio.current_time()
        try:
            output.settle()
            if self._progress is not None:
                self._progress.leave(now)
        except Exception as error:
            self._fail(error)
        self._uploads.leave(self, now)
        gained = 0 if self._progress is None else self._progress.delivered
        self._log.closed(self.client, self.uploaded, gained, now - self.opened_at)

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
            for event in wire.receive(clear, now):
                self._handle(event, now)
            if wire.sought is not None:
                await self._fetch_info(wire.sought)
            if wire.interested and not self._log.is_news:
                self._note_opened()
            self._answer()
        self._log.note("left")

    async def _fetch_info(self, sought: events.Served) -> None:
        """Have the metainfo read from disk, then go on with the handshake that waits for it."""
        assert isinstance(sought, Torrent)
        self._info = await sought.fetch_info()
        now = self._deadlines.received_at = trio.current_time()
        for event in self.wire.receive(b"", now):
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
                self.client = client or self.client
                if listen_port is not None and self._roster_entry is not None:
                    endpoint = compact_endpoint(self._packed_address, listen_port)
                    self._roster_entry.takes_connections_at(endpoint)
            case events.WantsNothing():
                self._farewell = "upload-only"
            case events.WantsHashes(request):
                assert self._lookups is not None
                self._lookups.ask(request)
            case _:
                assert_never(event)
        if self._progress is not None and self._progress.complete:
            self._farewell = "seed"

    def _greet(self, torrent: Torrent, now: float) -> None:
        """Get ready to serve a torrent."""
        uploads, output = self._uploads, self._output
        if not uploads.overhead.may_greet(self._packed_address, self.wire.unsent, now):
            raise WireError("greeting-flood")
        self.torrent = torrent
        self._info = torrent.info
        self._roster_entry = RosterEntry(self._host.roster(torrent), self, self._packed_address)
        progress = self._progress = PeerProgress(
            torrent,
            self,
            account=uploads.account(torrent),
            availability=self._host.availability(torrent),
            super_seeds=uploads.super_seeds,
            overlap=uploads.overlap,
            spreads=uploads.spreads,
            doubt=partial(uploads.doubt, torrent),
            group=self.networks[0],
            now=now,
        )
        if progress.thrift is not None and self.wire.shown is None:
            output.withholds = progress.thrift.withholds
        uploads.join(self)
        output.chain = uploads.rates.chain(torrent.info_hash, now)
        output.feed = uploads.feed(
            self,
            torrent,
            self.wire.wanted,
            tell=self._piece_came,
            taken=lambda: progress.uploaded,
        )
        if torrent.hashes is not None:
            self._lookups = HashLookups(
                torrent.hashes,
                admit=self.may_describe,
                start=partial(self._nursery.start_soon, self._look_up),
                reject=self.wire.reject_hashes,
                tell=self.resume,
                lost=torrent.lose,
            )
            output.lookups = self._lookups

    def _identify(self, peer_id: bytes, now: float) -> None:
        self.peer_id = peer_id
        refused = self._host.admit(self)
        if refused is not None:
            raise WireError(refused)
        self.client = client_of(peer_id)
        if self.wire.shown is not None:
            self._known_progress.view(now)
            self.wire.end_opening()
        self._uploads.slots.come(self, now)

    def _note_opened(self) -> None:
        """Log that the peer is here, and count it."""
        assert self.torrent is not None
        self._uploads.account(self.torrent).peer_seen()
        self._log.opened(self.torrent.pinned.ref)

    def show(self, indices: list[int]) -> None:
        """Tell the peer of pieces that it may request from now on (super-seeding).

        Called in the task of the session whose peer has just got a piece, or left, or by the tick.
        """
        self.wire.show(indices)
        self.resume()

    @property
    def _known_progress(self) -> PeerProgress:
        assert self._progress is not None
        return self._progress

    @property
    def uploaded(self) -> int:
        """Bytes of pieces that we sent it."""
        return 0 if self._progress is None else self._progress.uploaded

    def standing(self) -> PeerStanding | None:
        """Return how the peer stands; None until it has named a torrent."""
        progress, torrent = self._progress, self.torrent
        if progress is None or torrent is None:
            return None
        return PeerStanding(
            self.address,
            self.client,
            torrent,
            progress.share,
            progress.uploaded,
            encrypted=self._encryption.encrypt is not None,
            choked=self.wire.choking,
            interested=self.interested,
            opened_at=self.opened_at,
            identity=id(self),
        )

    def counts(self, edges: Sequence[int]) -> list[int]:
        """Return how many pieces the peer says that it has between one of `edges` and the next."""
        return self._known_progress.counts(edges)

    # -- choking

    @property
    def needs(self) -> int:
        """Bytes that the peer lacks, at most."""
        return 0 if self._progress is None else self._progress.needs

    @property
    def interested(self) -> bool:
        """Whether the peer wants something from us."""
        return self.wire.interested or bool(self.wire.wanted)

    def serve(self) -> None:
        """Let the peer request."""
        self._refusals.serve(trio.current_time())

    def hold(self) -> None:
        """Let the peer request nothing until `serve`."""
        self._refusals.hold()

    def slow_down(self, *, slow: bool) -> None:
        """Change whether the peer shares the small rate that is left for its address."""
        self._slow = slow
        self.take_limits(trio.current_time())
        self.resume()

    # -- output

    async def _drain(self) -> None:
        try:
            await self._output.drain()
        except Exception as error:
            self._fail(error)
        if self._output.finishing and self.wire.phase is not Phase.CLOSED:
            self._hang_up()

    async def _look_up(self) -> None:
        assert self._lookups is not None
        try:
            await self._lookups.run()
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

    def start_drain(self) -> None:
        """Have the rest sent in a task, as the socket takes it."""
        self._nursery.start_soon(self._drain)

    def wait_in_line(self, chain: Chain, most: int, now: float) -> None:
        """Have `resume` called when the upload limits allow it again."""
        self._uploads.wait_in_line(self, chain, most, now)

    def may_leave(self, size: int, now: float) -> bool:
        """Tell whether `size` bytes of small messages needn't wait for the upload limits."""
        return self._uploads.overhead.may_leave(self._packed_address, size, now)

    def may_describe(self, size: int) -> bool:
        """Tell whether the peer may have `size` bytes of metadata or hashes, and count them."""
        assert self.torrent is not None
        return self._uploads.may_describe(self.torrent, self._packed_address, size)

    def sent_besides(self, count: int) -> None:
        """Book `count` bytes that the socket took and that were no payload."""
        if self._progress is None:
            self._uploads.overhead.protocol(count)
        else:
            self._progress.sent_besides(count)

    def sent(self, index: int, payload: int) -> None:
        """Book `payload` bytes of piece `index` that the socket took."""
        self._deadlines.served_at = self._output.sent_at
        shown = self._known_progress.sent(index, payload, self._output.sent_at)
        if shown:
            # Goes with the next batch: the output looks for one after each that went out.
            self.wire.show(shown)

    # -- cold pieces

    def _piece_came(self, index: int, error: SeederError | None) -> None:
        """Take note of a piece that was cold.

        For speed a plain call, in the task of the cache that fetched the piece: it sends the blocks
        there and then. An error ends this session, not that task.
        """
        if self._scope.cancel_called:
            return
        try:
            if isinstance(error, PieceMismatch) and self.torrent is not None:
                self._host.lose(self.torrent, index)
            if error is not None:
                self._refusals.failed(index, error, trio.current_time())
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
        if self._deadlines.is_stranger:
            if self._deadlines.is_late(now):
                self.end("handshake-timeout")
            return
        output = self._output
        if self._farewell is not None and not (output.draining and now < self._leave_by):
            self.end(self._farewell)
            return
        if not self._log.is_news and now - self.opened_at > NEWS_AFTER:
            self._note_opened()
        reason = self._deadlines.keep(now)
        if reason is not None:
            self.end(reason)
        if self._roster_entry is not None and self.peer_id:
            self.wire.send_pex(partial(self._roster_entry.message, now, random.random))
        self._known_progress.weigh(now)
        self._refusals.review(output.feed, self._deadlines.received_at, now)
        output.send()

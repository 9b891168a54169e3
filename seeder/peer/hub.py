"""The peer listener: admits connections, keeps them apart by torrent, and ends them."""

import logging
import random
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from seeder.cache.pieces import PieceCache
from seeder.errors import ConfigError, WireError
from seeder.ledger.budget import Level
from seeder.net.addresses import SocketAddress, address_group
from seeder.net.buckets import TokenBucket
from seeder.net.sockets import accept, close_all
from seeder.peer.download import Download, Downloads
from seeder.peer.encryption import Encryption, Opening
from seeder.peer.mse import (
    LONGEST_PAD,
    PRIVATE_KEY_LENGTH,
    Policy,
    Responder,
    SkeyIndex,
    rc4_available,
)
from seeder.peer.progress import UploadAccount
from seeder.peer.registry import Neighbours
from seeder.peer.session import Session
from seeder.peer.supplies import Supplies
from seeder.torrent.catalog import Torrent
from seeder.upload.rates import Limits, Rates
from seeder.upload.slots import Slots, UploadSlots
from seeder.upload.standing import Patience
from seeder.upload.superseed import Spreading, Viewer
from seeder.upload.thrift import Availability

_LOG = logging.getLogger(__name__)

TICK = 1.0
EXCHANGE_BURST, EXCHANGES_PER_SECOND = 200, 100
"""Key exchanges of encrypted connections, of all peers together."""
SLOTS_HELD_BACK = 4
"""Peers that are served at a time while a budget is nearly spent."""
ROOM = 0.02
"""Of the places, once all are taken, those that are cleared at a tick of who is of no use."""
SILENT = 10.0
"""Seconds without a byte after which a peer id may come back from another address."""
GOODBYE = 3.0
"""Seconds that a batch under way has to get out when we stop."""


class PeerLimits(Protocol):
    """The part of the peer section that the hub keeps to."""

    @property
    def connections(self) -> int: ...
    @property
    def connections_per_torrent(self) -> int: ...
    @property
    def connections_per_address(self) -> int: ...
    @property
    def upload_rate(self) -> float | None: ...
    @property
    def upload_rate_per_torrent(self) -> float | None: ...
    @property
    def upload_rate_per_peer(self) -> float | None: ...
    @property
    def upload_slots(self) -> UploadSlots: ...
    @property
    def thrifty(self) -> bool: ...
    @property
    def copies_per_address(self) -> float | None: ...
    @property
    def origin_copies_per_address(self) -> float | None: ...
    @property
    def encryption(self) -> Encryption: ...


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """Connections now, connections ever, and closes by reason."""

    connected: int
    accepted: int
    closes: dict[str, int]


class Hub:
    """Every peer connection of the node.

    `find` gives the live torrent of an info hash, `account` where its traffic is booked,
    `origin_is_busy` tells whether reads from S3 wait for a connection.
    """

    def __init__(
        self,
        limits: PeerLimits,
        *,
        cache: PieceCache[Torrent],
        find: Callable[[bytes], Torrent | None],
        account: Callable[[Torrent], UploadAccount],
        peer_id: bytes,
        client: str,
        spreading: Spreading,
        origin_is_busy: Callable[[], bool],
    ) -> None:
        self.limits = limits
        self._origin_is_busy = origin_is_busy
        self._sessions: set[Session] = set()
        self._skeys = SkeyIndex()
        self._exchanges = TokenBucket(EXCHANGE_BURST, EXCHANGES_PER_SECOND, trio.current_time())
        self._encryption = _usable(limits.encryption)
        self._limits: Limits[Session | Download] = Limits(_rates(limits))
        self._pace = trio.Event()
        self._neighbours = Neighbours()
        self._by_torrent: dict[bytes, dict[bytes, Session]] = {}
        self._by_address: Counter[str] = Counter()
        self._accepted = 0
        self._nursery: trio.Nursery | None = None
        self._stopping = trio.Event()
        self._supplies = Supplies(
            cache=cache,
            find=find,
            account=account,
            peer_id=peer_id,
            client=client,
            admit=self._admit,
            start_drain=self._start_drain,
            start_lookups=self._start_lookups,
            closes=Counter(),
            lost=self._lost,
            spreading=spreading,
            slots=self._new_slots(),
            roster=self._neighbours.roster,
            availability=self._availability,
            limits=self._limits,
            set_pace=self._set_pace,
            open=lambda: Opening(self._encryption, self._respond),
        )
        self.downloads = Downloads(
            self._supplies, limits, peers=self.connected, by_address=self._by_address
        )
        """Those over HTTP, under the same limits as the peers."""

    async def serve(
        self,
        listeners: Sequence[socket.socket],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve peers until cancelled; then let the batches under way out, at most 3 s."""
        async with trio.open_nursery() as nursery:
            keeping = trio.CancelScope()
            await nursery.start(self._keep_sessions, keeping)
            # Whoever cancels `serve` from now on ends the accepting; sessions end with a goodbye.
            # A shield from the beginning would wait for ever if that comes meanwhile.
            keeping.shield = True
            try:
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        # Accepted sockets inherit it.
                        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        accepting.start_soon(accept, listener, self._take)
                    accepting.start_soon(self._tick)
                    accepting.start_soon(self._keep_pace)
                    task_status.started()
            finally:
                close_all(listeners)
                self._stopping.set()

    async def _keep_sessions(
        self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]
    ) -> None:
        with scope:
            async with trio.open_nursery() as sessions:
                self._nursery = sessions
                task_status.started()
                await self._stopping.wait()
                sessions.cancel_scope.deadline = trio.current_time() + GOODBYE
                for session in tuple(self._sessions):
                    session.finish()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(TICK)
            now = trio.current_time()
            for session in tuple(self._sessions):
                session.tick(now)
            self.downloads.tick(now)
            self._supplies.slots.review(now)
            self._supplies.spreading.tick(now)
            self.make_room(now)

    def make_room(self, now: float) -> None:
        """Where all places are taken, let some go who are of no use: others may want to come."""
        _clear(self._sessions, self.limits.connections, now)
        for peers in self._by_torrent.values():
            _clear(peers.values(), self.limits.connections_per_torrent, now)

    def change(self, limits: PeerLimits) -> None:
        """Keep to other upload rates and numbers of connections from now on; who is here stays."""
        self.limits = limits
        now = trio.current_time()
        waiting = self._limits.change(_rates(limits), now)
        self._supplies.slots.change(limits.upload_slots, _patience(limits))
        self.downloads.change(limits, now)
        for session in self._sessions:
            session.take_limits(now)
        for each in waiting:
            each.resume()

    def _new_slots(self) -> Slots:
        return Slots(
            self.limits.upload_slots,
            patience=_patience(self.limits),
            is_scarce=self._is_scarce,
            chance=random.random,
        )

    def _is_scarce(self) -> bool:
        return self._limits.is_short(trio.current_time()) or self._origin_is_busy()

    def _set_pace(self) -> None:
        self._pace.set()

    async def _keep_pace(self) -> None:
        """Wake the sessions whose turn it is to send, under upload limits."""
        waiting = self._limits.waiting
        while True:
            self._pace = trio.Event()
            for session in waiting.due(trio.current_time()):
                session.resume()
            with trio.move_on_at(waiting.next_at):
                await self._pace.wait()

    # -- connections

    def _take(self, sock: socket.socket, address: SocketAddress) -> None:
        self._accepted += 1
        group = address_group(address[0])
        refused = None
        if len(self._sessions) >= self.limits.connections:
            refused = "too-many-connections"
        elif self._by_address[group] >= self.limits.connections_per_address:
            refused = "too-many-from-address"
        if refused is not None:
            self._supplies.closes[refused] += 1
            sock.close()
            return
        session = Session(sock, address, group, self._supplies)
        self._sessions.add(session)
        self._by_address[group] += 1
        assert self._nursery is not None
        self._nursery.start_soon(self._run, session, group)

    async def _run(self, session: Session, group: str) -> None:
        try:
            await session.run()
        except Exception:
            # A fault of ours in one session: the others must not pay for it.
            _LOG.exception("peer %s:%d: internal error", *session.address)
        finally:
            self._sessions.discard(session)
            self._by_address[group] -= 1
            if not self._by_address[group]:
                del self._by_address[group]
            self._leave(session)

    def _respond(self) -> Responder:
        # Each handshake costs two exponentiations of a quarter of a millisecond (case 32).
        if not self._exchanges.take(trio.current_time()):
            raise WireError("mse-flood")
        policy: Policy = "require" if self._encryption == "require" else "allow"
        return Responder(
            self._skeys.find,
            policy,
            private_key=secrets.token_bytes(PRIVATE_KEY_LENGTH),
            pad_b=secrets.token_bytes(secrets.randbelow(LONGEST_PAD + 1)),
        )

    def _availability(self, torrent: Torrent) -> Availability[Viewer] | None:
        return self._neighbours.availability(torrent) if self.limits.thrifty else None

    def _start_drain(self, session: Session) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(session.drain)

    def _start_lookups(self, session: Session) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(session.look_up)

    def _admit(self, session: Session) -> str | None:
        """Register an identified session, or return why not.

        Of two with one peer id the newer one stays: a peer that comes back knows more than we do
        of what became of its connection. From another address it has to wait until the older one
        is silent: peer ids are no secret, and nobody shall throw others out by them.
        """
        assert session.torrent is not None
        info_hash = session.torrent.info_hash
        peers = self._by_torrent.get(info_hash, {})
        older = peers.get(session.peer_id)
        if older is not None:
            same = address_group(older.address[0]) == address_group(session.address[0])
            if not same and older.silent_for(trio.current_time()) < SILENT:
                return "duplicate-peer-id"
            older.end("replaced")
        elif len(peers) >= self.limits.connections_per_torrent:
            return "too-many-for-torrent"
        self._by_torrent.setdefault(info_hash, peers)[session.peer_id] = session
        return None

    def _leave(self, session: Session) -> None:
        if session.torrent is None:
            return
        peers = self._by_torrent.get(session.torrent.info_hash)
        if peers is not None and peers.get(session.peer_id) is session:
            del peers[session.peer_id]
            if not peers:
                del self._by_torrent[session.torrent.info_hash]

    def connect(self, torrent: Torrent) -> None:
        """Let encrypted connections name a torrent; plain ones find it by themselves."""
        self._skeys.add(torrent.info_hash)
        if torrent.short_v2_hash is not None:
            self._skeys.add(torrent.short_v2_hash)

    def disconnect(self, torrent: Torrent, reason: str) -> None:
        """Take a torrent back from its peers, let them go, and let no new one name it."""
        self._skeys.discard(torrent.info_hash)
        if torrent.short_v2_hash is not None:
            self._skeys.discard(torrent.short_v2_hash)
        for session in tuple(self._sessions):
            if session.torrent is torrent:
                session.retire(reason)
        self.downloads.end(torrent)

    def _lost(self, torrent: Torrent, index: int) -> None:
        for session in tuple(self._by_torrent.get(torrent.info_hash, {}).values()):
            session.lose(index)

    def hold_back(self, level: Level) -> None:
        """Serve as many peers at a time as the budget allows."""
        most = None if level < Level.FEWER_SLOTS else SLOTS_HELD_BACK
        self._supplies.slots.most = 0 if level >= Level.TRACKER_ONLY else most
        if level < Level.CACHE_ONLY:
            for session in tuple(self._sessions):
                session.regain()
        self.downloads.allow(allowed=level < Level.TRACKER_ONLY)

    @property
    def places(self) -> int | None:
        """How many peers may be served at a time; None is all."""
        return self._supplies.slots.places

    def connected(self, info_hash: bytes | None = None) -> int:
        """Return how many identified peers a torrent has, or all connections of peers."""
        if info_hash is None:
            return len(self._sessions)
        return len(self._by_torrent.get(info_hash, ()))

    def statistics(self) -> HubStatistics:
        return HubStatistics(
            connected=len(self._sessions),
            accepted=self._accepted,
            closes=dict(self._supplies.closes),
        )


def _usable(encryption: Encryption) -> Encryption:
    """Return what can be done of what is wished for; ConfigError if it can't."""
    if encryption == "off" or rc4_available():
        return encryption
    if encryption == "require":
        raise ConfigError(
            ['peer.encryption = "require": this OpenSSL has no RC4, which peers encrypt with']
        )
    _LOG.warning("this OpenSSL has no RC4: encrypted peer connections are refused")
    return "off"


def _rates(limits: PeerLimits) -> Rates:
    return Rates(limits.upload_rate, limits.upload_rate_per_torrent, limits.upload_rate_per_peer)


def _patience(limits: PeerLimits) -> Patience:
    return Patience(limits.copies_per_address, limits.origin_copies_per_address)


def _clear(sessions: Collection[Session], places: int, now: float) -> None:
    """End those of least use, a few at a time, once all `places` are taken."""
    if len(sessions) < places:
        return
    useless = {session: session.outstays(now) for session in sessions}
    ranked = sorted((each for each in useless if useless[each] > 0), key=useless.__getitem__)
    for session in ranked[-max(1, int(places * ROOM)) :]:
        session.end("made-room")

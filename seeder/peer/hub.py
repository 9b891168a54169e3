"""The peer listener: it takes connections in, gives each a session, and ends them when we stop."""

import logging
import secrets
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import inf
from operator import add
from typing import Literal, TypeAlias, get_args

import trio

from seeder.config.public import Encryption
from seeder.errors import ConfigError, WireError
from seeder.net.addresses import Networks, SocketAddress, networks_of
from seeder.net.doors import Door
from seeder.net.guards import sparing_others
from seeder.net.passes import Passes
from seeder.net.sockets import accept, close_all, packed_address
from seeder.peer.batch import Scratch
from seeder.peer.connection import Identity, PeerConnection
from seeder.peer.doorkeeper import Doorkeeper
from seeder.peer.encryption import EncryptionLayer
from seeder.peer.exchanges import KeyExchanges
from seeder.peer.mse import (
    LONGEST_PAD,
    PRIVATE_KEY_LENGTH,
    MsePolicy,
    Responder,
    SkeyIndex,
    rc4_available,
)
from seeder.peer.protocol import Phase
from seeder.peer.registry import Registry
from seeder.peer.session import Premises, Session
from seeder.peer.standing import Departure, PeerStanding, PieceCounts
from seeder.torrent.torrent import Torrent
from seeder.upload.uploads import TICK, Uploads

_LOG = logging.getLogger(__name__)

DEPARTURES = 100
"""Peers that are remembered after they left."""
MOST_COUNTED = 100
"""Peers that are asked what they have, to tell how available a torrent's pieces are."""
GOODBYE = 3.0
"""Seconds that a batch under way has to get out when we stop."""


ConnectionState: TypeAlias = Literal["handshake", "served", "choked", "idle", "ending"]
CONNECTION_STATES: tuple[ConnectionState, ...] = get_args(ConnectionState)
"""In this order: the peer hasn't said who it is; it wants something and may request; it wants
something and may not; it wants nothing; it is being let go."""


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """Connections now, connections ever, and closes by reason."""

    connected: int
    accepted: int
    closes: dict[str, int]
    refusals: dict[str, int]
    """Those of the closes that came before a session had begun."""
    states: dict[ConnectionState, int]
    """The present connections, by what they are about."""


class Hub:
    """Every peer connection of the node.

    `find` gives the live torrent of an info hash. `visited` is told of each peer that shook hands,
    in its session's task: the torrent's info hash, the peer's packed address, and how many peers of
    that address are here for the torrent. `membership` says who may have private torrents; None is
    everybody. `peer_id` and `client` are how we introduce ourselves. `door` lets connections in.
    `passes` leave room for others; by default nobody is in haste.
    """

    def __init__(
        self,
        uploads: Uploads,
        *,
        find: Callable[[bytes], Torrent | None],
        visited: Callable[[bytes, bytes, int], None],
        membership: Doorkeeper | None = None,
        peer_id: bytes,
        client: str,
        door: Door | None = None,
        passes: Passes | None = None,
    ) -> None:
        self._uploads = uploads
        self._door = door or Door()
        self._passes = passes or Passes(lambda: -inf)
        self._find = find
        self._peer_id = peer_id
        self._client = client
        self._membership = membership
        self._registry = Registry(uploads, visited, membership)
        self._mse_policy = _policy_of(uploads.settings.encryption)
        """How MSE answers a peer that speaks it; None refuses it."""
        self._skeys = SkeyIndex()
        self._exchanges = KeyExchanges()
        self._accepted = 0
        self._closes: Counter[str] = Counter()
        self.departures: deque[Departure] = deque(maxlen=DEPARTURES)
        """The peers that left last, the latest at the end."""
        self._refusals: Counter[str] = Counter()
        self._premises: Premises | None = None
        """What sessions are given, while we serve."""
        self._stopping = trio.Event()

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
            # From now on a cancel of `serve` ends the accepting only; sessions end with a goodbye.
            # Shielded earlier, a cancel that comes during the start would never be delivered.
            keeping.shield = True
            try:
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        # Accepted sockets inherit it.
                        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        accepting.start_soon(accept, listener, self._take)
                    accepting.start_soon(self._tick)
                    accepting.start_soon(self._exchanges.run)
                    task_status.started()
            finally:
                close_all(listeners)
                self._stopping.set()

    async def _keep_sessions(
        self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]
    ) -> None:
        with scope:
            async with trio.open_nursery() as around:
                around.start_soon(self._passes.run)
                async with trio.open_nursery() as sessions:
                    self._premises = Premises(
                        self._registry,
                        self._uploads,
                        sessions,
                        self._exchanges,
                        self._passes,
                        Scratch(),
                    )
                    task_status.started()
                    await self._stopping.wait()
                    sessions.cancel_scope.deadline = trio.current_time() + GOODBYE
                    for session in tuple(self._registry.sessions):
                        session.finish()
                around.cancel_scope.cancel()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(TICK)
            self._registry.tick(trio.current_time())

    # -- connections

    def _take(self, sock: socket.socket, address: SocketAddress) -> None:
        self._accepted += 1
        packed = packed_address(address[0])
        networks = networks_of(packed)
        refused = "address-denied" if self._door.turns_away(packed) else None
        if refused is None and self._uploads.spent is not None:
            refused = "budget-spent"
        refused = refused or self._uploads.connections.admit_peer(networks)
        if refused is not None:
            self._closes[refused] += 1
            self._refusals[refused] += 1
            sock.close()
            return
        sock.setblocking(False)
        assert self._premises is not None
        session = Session(
            sock,
            address,
            networks,
            wire=self._new_wire(sock, address, networks),
            encryption=EncryptionLayer(self._mse_policy, partial(self._respond, networks)),
            premises=self._premises,
        )
        self._registry.add(session)
        self._premises.nursery.start_soon(self._run, session)

    async def _run(self, session: Session) -> None:
        with sparing_others(_LOG, "peer %s:%d", *session.guest.address):
            try:
                await session.run()
            finally:
                self._closes[session.reason or "closed"] += 1
                self._registry.remove(session)
                self._note_departure(session)

    def _note_departure(self, session: Session) -> None:
        standing = session.standing()
        if standing is not None:
            self.departures.append(
                Departure(
                    standing.address,
                    standing.client,
                    standing.torrent.pinned.ref,
                    session.reason or "closed",
                    standing.uploaded,
                    trio.current_time(),
                )
            )

    def _new_wire(
        self, sock: socket.socket, address: SocketAddress, networks: Networks
    ) -> PeerConnection:
        ip = socket.inet_pton(sock.family, address[0].partition("%")[0])
        return PeerConnection(
            Identity(self._peer_id, self._client, ip),
            partial(self._find_for, networks),
            trio.current_time(),
            hides=self._uploads.super_seeds.hides,
        )

    def _find_for(self, networks: Networks, info_hash: bytes) -> Torrent | None:
        """Return the torrent that a peer from an address names, if it may know of it."""
        torrent, membership = self._find(info_hash), self._membership
        if torrent is None or not torrent.private or membership is None:
            return torrent
        if not membership.may_come(torrent.info_hash, networks):
            raise WireError("not-a-member")
        return torrent

    def _find_skey(self, networks: Networks, hashed: bytes) -> bytes | None:
        """Return the info hash that an encrypted peer names, if it may know of the torrent."""
        found = self._skeys.find(hashed)
        if found is not None and self._find_for(networks, found) is None:
            return None
        return found

    def _respond(self, networks: Networks) -> Responder:
        assert self._mse_policy is not None
        return Responder(
            partial(self._find_skey, networks),
            self._mse_policy,
            private_key=secrets.token_bytes(PRIVATE_KEY_LENGTH),
            pad_b=secrets.token_bytes(secrets.randbelow(LONGEST_PAD + 1)),
        )

    # -- torrents

    def add_torrent(self, torrent: Torrent) -> None:
        """Let encrypted connections name a torrent; plain ones find it by themselves."""
        self._skeys.add(torrent.info_hash)
        if torrent.short_v2_hash is not None:
            self._skeys.add(torrent.short_v2_hash)

    def remove_torrent(self, torrent: Torrent, reason: str) -> None:
        """Take a torrent back from its peers, let them go, and let no new one name it."""
        self._skeys.discard(torrent.info_hash)
        if torrent.short_v2_hash is not None:
            self._skeys.discard(torrent.short_v2_hash)
        for session in tuple(self._registry.sessions):
            if session.guest.torrent is torrent:
                session.retire(reason)

    def end_denied(self) -> None:
        """Let the peers go whose addresses aren't let in any more."""
        for session in tuple(self._registry.sessions):
            if not self._door.admits(packed_address(session.guest.address[0])):
                session.end("address-denied")

    def rebook(self, torrent: Torrent) -> None:
        """Have what a torrent's peers get from now on booked where its traffic is booked now."""
        for session in self._registry.sessions:
            if session.guest.torrent is torrent:
                session.guest.rebook()

    def regain(self) -> None:
        """Tell all peers that the pieces taken back from them can be had again."""
        for session in tuple(self._registry.sessions):
            session.guest.regain()

    # -- how they stand

    @property
    def places(self) -> int:
        """How many peers may be connected."""
        return self._uploads.settings.connections

    def peers(self) -> Iterator[PeerStanding]:
        """Yield how every peer stands that has named a torrent; none may come or go meanwhile."""
        return filter(None, (session.standing() for session in self._registry.sessions))

    async def copies(self, torrent: Torrent, edges: Sequence[int]) -> PieceCounts:
        """Return how often a torrent's pieces are there between one of `edges` and the next.

        At most `MOST_COUNTED` peers are asked.
        """
        sums = [0] * (len(edges) - 1)
        asked = 0
        for session in tuple(self._registry.of(torrent)):
            if asked == MOST_COUNTED:
                break
            if session.guest.progress is not None:
                asked += 1
                sums = list(map(add, sums, session.guest.progress.counts(edges)))
                await trio.lowlevel.checkpoint()
        widths = (stop - start for start, stop in pairwise(edges))
        return PieceCounts(
            asked, [total / width for total, width in zip(sums, widths, strict=True)]
        )

    def statistics(self) -> HubStatistics:
        return HubStatistics(
            connected=len(self._registry.sessions),
            accepted=self._accepted,
            closes=dict(self._closes),
            refusals=dict(self._refusals),
            states=dict(Counter(_state_of(session.wire) for session in self._registry.sessions)),
        )


def _state_of(wire: PeerConnection) -> ConnectionState:
    match wire.phase:
        case Phase.HANDSHAKE | Phase.PEER_ID:
            return "handshake"
        case Phase.CLOSED:
            return "ending"
    if not wire.interested:
        return "idle"
    return "choked" if wire.choking else "served"


def _policy_of(encryption: Encryption) -> MsePolicy | None:
    """Return how MSE answers peers, None to refuse it; ConfigError for "require" without RC4."""
    if encryption == "off":
        return None
    if rc4_available():
        return encryption
    if encryption == "require":
        raise ConfigError(
            ['peer.encryption = "require": this OpenSSL has no RC4, which peers encrypt with']
        )
    _LOG.warning("this OpenSSL has no RC4: encrypted peer connections are refused")
    return None

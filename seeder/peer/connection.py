"""One peer's side of the wire protocol as a state machine (BEP 3, 6, 9, 10, 21, 52, 54).

`receive` takes bytes as they arrive and returns what the session has to know; whatever the
protocol itself must answer (handshake, rejects, metadata) collects in `data_to_send`. Requests
that were accepted wait in `wanted`, by piece, until the session takes them to send their blocks, or
rejects them.

No I/O.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from seeder.errors import WireError
from seeder.net.buckets import TokenBucket
from seeder.peer import messages
from seeder.peer.extensions import Extensions
from seeder.peer.messages import Block, Message, MessageId, Requests
from seeder.peer.protocol import (
    NEXT,
    Arrived,
    Event,
    Gained,
    Greeted,
    Grown,
    Identified,
    Kind,
    Phase,
    Served,
    WantsHashes,
    kind_of,
)
from seeder.peer.requests import REQUEST_QUEUE, RequestQueue
from seeder.torrent.merkle import HashRequest
from seeder.units import KIB

MOST_OPENERS = 4
"""Bitfields and the like that count as what the peer arrived with; BEP 3 allows one."""
NOISE_BURST = 2000
NOISE_PER_SECOND = 100
"""Messages that cost us work and bring nothing: so many at once, then so many per second."""
CANCEL_BURST = 2 * REQUEST_QUEUE
CANCELS_PER_SECOND = 500
"""A peer that has all pieces cancels its queue once; a peer that requests and cancels in turn never
stops."""
NUDGE_AFTER = 11.0
"""Seconds of silence after which a peer without the fast extension may be an rTorrent that waits
for an unchoke."""
LONGEST_MESSAGE = 64 * KIB
"""Bytes that a message may have, unless the torrent's bitfield is longer."""
MOST_TAKEN_BACK = 1000
"""Pieces of a retired torrent that are taken back one by one; closing tells the rest."""
MOST_UNSENT = 64 * KIB
"""Answers that may wait for a peer that doesn't read, beyond the longest message.

To turn down its whole queue takes 34 KB."""


@dataclass(frozen=True, slots=True)
class Identity:
    """How we present ourselves to one peer."""

    peer_id: bytes
    client: str
    """The `v` of the extended handshake."""
    your_ip: bytes
    """The peer's own address, 4 or 16 bytes (BEP 10 `yourip`)."""


class PeerConnection:
    """The protocol state of one incoming connection.

    `wanted`, `newly_wanted`, `take` and `reject_piece` are those of its `RequestQueue`, bound here
    so that filling a batch costs no extra hop. `find` gives the torrent of an info hash, `hides`
    tells whether its pieces are shown one by one; both are called once, at the handshake. Every
    method may raise WireError, whose `reason` ends the session.
    """

    __slots__ = (
        "_asked",
        "_cancels",
        "_extensions",
        "_find",
        "_haves",
        "_hides",
        "_identity",
        "_limit",
        "_noise",
        "_nudged_at",
        "_openers",
        "_opening",
        "_out",
        "_piece_count",
        "_requests",
        "_rest",
        "_unchoke_waits",
        "choking",
        "fast",
        "interested",
        "lost",
        "newly_wanted",
        "phase",
        "reject_piece",
        "retired",
        "shown",
        "sought",
        "take",
        "torrent",
        "wanted",
    )

    def __init__(
        self,
        identity: Identity,
        find: Callable[[bytes], Served | None],
        now: float,
        *,
        hides: Callable[[Served], bool] = lambda _: False,
    ) -> None:
        self._identity = identity
        self.phase = Phase.HANDSHAKE
        self.torrent: Served | None = None
        self.sought: Served | None = None
        """The torrent that the handshake named while its metainfo isn't in memory.

        Once it is, `receive(b"")` goes on.
        """
        self.fast = False
        self.choking = True
        self._unchoke_waits = False
        """Whether the peer is unchoked as soon as it is shown anything."""
        self._opening = True
        self._nudged_at = now
        self.interested = False
        self.shown: set[int] | None = None
        """Pieces that the peer was told of, while super-seeding (BEP 16); None: all."""
        self.lost: set[int] = set()
        """Pieces that the peer was told we don't have any more (BEP 54), until `regain`."""
        self.retired = False
        """Whether the torrent has gone, so that nothing is served any more."""
        self._find = find
        self._hides = hides
        self._extensions: Extensions | None = None
        self._rest = b""
        self._out = bytearray()
        self._limit = LONGEST_MESSAGE
        self._piece_count = 0
        self._requests = RequestQueue(self._out)
        self.wanted = self._requests.wanted
        self.newly_wanted = self._requests.newly_wanted
        self.take = self._requests.take
        self.reject_piece = self._requests.reject_piece
        self._openers = 0
        self._haves = 0
        self._asked = False
        self._noise = TokenBucket(NOISE_BURST, NOISE_PER_SECOND, now)
        self._cancels = TokenBucket(CANCEL_BURST, CANCELS_PER_SECOND, now)

    # -- input

    def receive(self, data: bytes | bytearray | memoryview, now: float) -> list[Event]:
        """Take what arrived and return what it means; WireError ends the session."""
        if self._rest:
            data = self._rest + bytes(data)
        events: list[Event] = []
        if self.phase in (Phase.HANDSHAKE, Phase.PEER_ID):
            data = self._receive_handshake(data, events)
        if self.phase in (Phase.OPENING, Phase.OPEN):
            parsed, used = messages.parse(data, self._limit)
            for message in parsed:
                if isinstance(message, Requests):
                    self.phase = NEXT[self.phase, Kind.OTHER]
                    self._receive_requests(message.blocks)
                else:
                    self._receive_message(message, now, events)
            data = data[used:]
            if len(self._out) > self._limit + MOST_UNSENT:
                raise WireError("answers-unread", f"{len(self._out)} bytes")
        self._rest = bytes(data)
        return events

    def _receive_handshake(
        self, data: bytes | bytearray | memoryview, events: list[Event]
    ) -> bytes | bytearray | memoryview:
        if self.phase is Phase.HANDSHAKE:
            if len(data) >= 20 or bytes(data) != messages.PROTOCOL[: len(data)]:
                messages.parse_handshake(data)  # refuses anything but BitTorrent
            if len(data) < messages.INFO_HASH_END:
                return data
            greeting = messages.parse_handshake(data)
            torrent = self._find(greeting.info_hash)
            if torrent is None:
                raise WireError("unknown-torrent", greeting.info_hash.hex())
            self.sought = None if torrent.at_hand else torrent
            if self.sought is not None:
                return data
            self._greet(torrent, greeting, events)
            data = data[messages.INFO_HASH_END :]
        if len(data) < 20:
            return data
        peer_id = bytes(data[:20])
        if peer_id == self._identity.peer_id:
            raise WireError("self-connection")
        self.phase = Phase.OPENING
        events.append(Identified(peer_id))
        return data[20:]

    def _greet(self, torrent: Served, greeting: messages.Handshake, events: list[Event]) -> None:
        self.torrent = torrent
        self.fast = greeting.fast
        self.phase = Phase.PEER_ID
        self._piece_count = pieces = torrent.layout.piece_count
        self._requests.open(torrent.layout, fast=greeting.fast)
        self._limit = max(LONGEST_MESSAGE, 1 + -(-pieces // 8))
        self._extensions = Extensions(torrent.raw_info, private=torrent.private, out=self._out)
        identity = self._identity
        answer = greeting.info_hash
        if greeting.v2 and torrent.short_v2_hash is not None:
            # Not only an offer: a libtorrent that dialled by the v1 hash, and has heard of us by
            # the v2 one in the meantime, takes no other answer.
            answer = torrent.short_v2_hash
        self._out += messages.handshake(
            answer, identity.peer_id, v2=torrent.hashes is not None and answer == torrent.info_hash
        )
        if self._hides(torrent):
            self.shown = set()
        if greeting.extended:
            self._extensions.introduce(
                identity.client,
                identity.your_ip,
                request_queue=REQUEST_QUEUE,
                upload_only=self.shown is None,
            )
        if self.fast:
            self._out += messages.message(
                MessageId.HAVE_ALL if self.shown is None else MessageId.HAVE_NONE
            )
        elif pieces and self.shown is None:
            self._out += messages.full_bitfield(pieces)
        events.append(Greeted(torrent))

    def _receive_message(self, message: Message, now: float, events: list[Event]) -> None:
        kind = kind_of(message.id)
        self.phase = NEXT[self.phase, kind]
        if message.id in messages.FAST_IDS and not self.fast:
            raise WireError("fast-not-negotiated", f"message {message.id}")
        if message.id == MessageId.HAVE:
            self._receive_have(message, now, events)
        elif kind is Kind.OPENER:
            self._receive_opener(message, now, events)
        elif message.id == MessageId.CANCEL:
            self._receive_cancel(message.block(), now)
        elif kind is Kind.EXTENDED:
            assert self._extensions is not None
            self._count_noise(now)
            events.extend(self._extensions.receive(message.payload))
        elif message.id == MessageId.PIECE:
            raise WireError("piece-to-a-seed")
        elif message.id == MessageId.HASH_REQUEST and self._has_hashes:
            self._count_noise(now)
            events.append(WantsHashes(message.hash_request()))
        elif message.id == MessageId.HASHES and self._has_hashes:
            raise WireError("hashes-to-a-seed")
        else:
            if message.id in (MessageId.INTERESTED, MessageId.NOT_INTERESTED):
                self.interested = message.id == MessageId.INTERESTED
            self._count_noise(now)
            if message.id == MessageId.INTERESTED and not self.choking:
                # Said again: WebTorrent misses an unchoke in the same segment as the handshake, and
                # an rTorrent that had run out of pieces to want waits for one.
                self._out += messages.message(MessageId.UNCHOKE)

    @property
    def _has_hashes(self) -> bool:
        return self.torrent is not None and self.torrent.hashes is not None

    def _count_noise(self, now: float) -> None:
        if not self._noise.take(now):
            raise WireError("message-flood")

    def _receive_have(self, message: Message, now: float, events: list[Event]) -> None:
        index = message.index()
        if index >= self._piece_count:
            raise WireError("have-out-of-range", str(index))
        self._haves += 1
        if self._haves > self._piece_count:
            # An honest peer sends one for each piece at most.
            self._count_noise(now)
        events.append(Gained(index))

    def _receive_opener(self, message: Message, now: float, events: list[Event]) -> None:
        pieces: bytes | bool = message.id == MessageId.HAVE_ALL
        if message.id == MessageId.BITFIELD:
            pieces = message.payload
            if not messages.bitfield_fits(pieces, self._piece_count):
                raise WireError("bad-bitfield", f"{len(pieces)} bytes")
        if self._haves or self._asked:
            # Counted as what it arrived with, this would undo its gains, to be counted once more.
            self._count_noise(now)
            events.append(Grown(pieces))
            return
        self._openers += 1
        if self._openers > MOST_OPENERS:
            raise WireError("bitfield-flood")
        events.append(Arrived(pieces))

    # -- requests

    def _receive_requests(self, blocks: list[Block]) -> None:
        self.interested = True
        if self.choking:
            self._requests.turn_down(blocks)
            return
        self._asked = True
        if self.shown is not None or self.lost:
            blocks = self._only_known(blocks)
        self._requests.add(blocks)

    def _receive_cancel(self, block: Block, now: float) -> None:
        if not self._cancels.take(now):
            raise WireError("cancel-flood")
        self._requests.cancel(block)

    def _only_known(self, blocks: list[Block]) -> list[Block]:
        """Turn down requests for pieces that are hidden or taken back; return the others."""
        shown, lost = self.shown, self.lost
        known: list[Block] = []
        unknown: list[Block] = []
        for block in blocks:
            index = block[0]
            away = index in lost or (shown is not None and index not in shown)
            # The caller judges an index beyond the torrent.
            (unknown if away and index < self._piece_count else known).append(block)
        self._requests.turn_down(unknown)
        return known

    @property
    def wanted_count(self) -> int:
        """How many requests are in `wanted`."""
        return self._requests.count

    def give_back(self, index: int, blocks: Sequence[tuple[int, int]]) -> None:
        """Queue requests again that `take` took and nobody answered, unless refused by now."""
        refused = self.choking or index in self.lost
        self._requests.give_back(index, blocks, refused=refused)

    def show(self, indices: Collection[int]) -> None:
        """Tell the peer of pieces that were hidden from it; it may request them from now on."""
        assert self.shown is not None
        if self.retired or not indices:
            return
        if self._opening and not (self.shown or self.fast):
            # As the first message after the handshake, like any peer that has a part.
            self._out += messages.bitfield(self._piece_count, indices)
        else:
            self._out += b"".join(map(messages.have, indices))
        for index in indices:
            self.shown.add(index)
        if self._unchoke_waits:
            self.unchoke()

    def end_opening(self) -> None:
        """Take note that something else than a bitfield may have been said: too late for one."""
        self._opening = False

    # -- taking back (BEP 54)

    def lose(self, index: int) -> bool:
        """Take a piece back and turn down what is wanted of it; False if the peer can't be told."""
        if not self._takes_back(index):
            return False
        self.reject_piece(index)
        self._take_back(index)
        return True

    def regain(self, index: int) -> None:
        """Tell the peer that a lost piece can be had again."""
        if index in self.lost and not self.retired:
            self.lost.discard(index)
            self._out += messages.have(index)

    def retire(self, lacking: Iterable[int]) -> None:
        """Take everything back: what is queued is turned down, and nothing is served any more.

        The peer is told of MOST_TAKEN_BACK pieces at most: those that it wanted, then others that
        it lacks.
        """
        wanted = list(self.wanted)
        self.choke()
        self.retired = True
        if self._extensions is not None and self._extensions.donthave_id:
            told = filter(self._takes_back, chain(wanted, lacking))
            for index in islice(told, MOST_TAKEN_BACK):
                self._take_back(index)

    def _takes_back(self, index: int) -> bool:
        believed = index not in self.lost and (self.shown is None or index in self.shown)
        return believed and self._extensions is not None and bool(self._extensions.donthave_id)

    def _take_back(self, index: int) -> None:
        assert self._extensions is not None
        self.lost.add(index)
        self._extensions.send_donthave(index)

    def reject_hashes(self, request: HashRequest) -> None:
        """Turn a request for hashes down (BEP 52)."""
        self._out += messages.hash_reject(request)

    # -- choking

    def unchoke(self) -> None:
        """Let the peer request, unless the torrent has gone, and once it was shown anything.

        An rTorrent that finds nothing to want when it is unchoked ignores us for ten seconds.
        """
        if self.choking and not self.retired:
            self._unchoke_waits = self.shown is not None and not self.shown
            if self._unchoke_waits:
                return
            self.choking = False
            self._out += messages.message(MessageId.UNCHOKE)

    def choke(self) -> None:
        """Stop serving the peer; everything queued is turned down (BEP 6)."""
        self._unchoke_waits = False
        if not self.choking:
            self.choking = True
            self._out += messages.message(MessageId.CHOKE)
            for index in list(self.wanted):
                self.reject_piece(index)

    def nudge(self, silent_since: float, now: float) -> None:
        """Choke and unchoke a peer that is interested, but has asked for nothing for NUDGE_AFTER.

        An rTorrent that runs out of pieces to want ignores any unchoke for the next ten seconds,
        even if it wants some again by then. `silent_since` and `now` are in seconds.
        """
        waits = self.interested and not (self.choking or self.wanted or self.fast)
        if waits and now - max(silent_since, self._nudged_at) > NUDGE_AFTER:
            self._nudged_at = now
            self.choke()
            self.unchoke()

    # -- output

    @property
    def unsent(self) -> int:
        """How many bytes the protocol owes the peer, but for metadata."""
        return len(self._out)

    @property
    def owes_metadata(self) -> bool:
        """Whether the peer waits for parts of the info dictionary (BEP 9)."""
        return self._extensions is not None and bool(self._extensions.metadata_wanted)

    def send_pex(self, tell: Callable[[], bytes | None]) -> None:
        """Queue what `tell` has for a peer that takes peer exchange."""
        if self._extensions is not None and self._extensions.pex_id:
            payload = tell()
            if payload is not None:
                self._extensions.send_pex(payload)

    def answer_metadata(self, admit: Callable[[int], bool]) -> None:
        """Queue the part of the info dictionary that the peer has waited for longest.

        It is turned down unless `admit` lets the peer have its bytes.
        """
        assert self._extensions is not None
        self._extensions.answer_metadata(admit)

    def keep_alive(self) -> None:
        """Queue four zero bytes (BEP 3)."""
        self._out += bytes(4)

    def data_to_send(self) -> bytes:
        """Return what the protocol owes the peer, and forget it."""
        data = bytes(self._out)
        self._out.clear()
        return data

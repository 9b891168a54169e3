"""The pieces that one peer wants: from memory or a warm disk, or asked of the cache.

A few cold pieces are on their way at a time, the others stand in line; a piece that came stays
here until its requests are answered or it is on disk. So one peer holds a bounded part of the
memory, whatever it asks for, and whatever the cache evicts meanwhile. The cache may read ahead what
the peer will probably ask for next, as far as that takes no other's room.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence

from seeder.cache.files import Read
from seeder.cache.pieces import PieceCache
from seeder.errors import BudgetSpent, SeederError
from seeder.torrent.layout import Layout
from seeder.torrent.torrent import Torrent
from seeder.units import MIB

EXTENT = 8 * MIB
"""Bytes from a cold piece on that are fetched with it; S3 is at its best from 8 to 16 MiB."""
WINDOW_AHEAD = 128 * MIB
"""Bytes ahead of a peer that reads in order: sixteen connections, an extent each."""
TRUST = 64
"""Bytes that may be read ahead for a peer in all, for each byte that it has taken.

With pieces of 1 MiB, one block of 16 KiB already makes S3 send 64 times its size.
"""
IN_ORDER_AFTER = 4
"""Pieces in order after which a peer counts as reading in order."""
_NEAR = 16
"""Pieces by which the order may be off: cold ones come in any order."""

MOST_HELD = 256 * MIB
"""Bytes of cold pieces on their way to peers or waiting to be sent, of all peers together."""
MOST_BYTES_OF_PEER = 8 * MIB
MOST_PIECES_OF_PEER = 16
"""Limits of the cold pieces of one peer that are on their way or wait to be sent."""
PIECE_PATIENCE = 10.0
"""Seconds; a cold piece that takes longer is turned down: clients wait 20 s before they give up on
us."""
PATIENCE_IN_LINE = 2 * PIECE_PATIENCE
FAILURE_PAUSE = 10.0
"""Seconds before a piece that failed is asked for again on behalf of one peer."""

_Held = tuple[bytes, int]
"""Info hash and piece index."""


class ReadAhead:
    """Guesses which pieces one peer will want next.

    `taken` is always how many bytes it was sent so far. Nothing is guessed from piece `stop` on.
    """

    __slots__ = ("_guessed", "_layout", "_next", "_reached", "_row", "_stop")

    def __init__(self, layout: Layout, stop: int | None = None) -> None:
        self._layout = layout
        self._stop = layout.piece_count if stop is None else stop
        self._guessed = 0
        self._next = 0
        self._row = 0
        self._reached = 0

    def fetched(self, size: int) -> None:
        """Take note that so many bytes are on their way for a guess."""
        self._guessed += size

    def failed(self, size: int) -> None:
        """Take note that so many of these bytes didn't come."""
        self._guessed -= size

    def given(self, index: int, taken: int) -> range:
        """Return the pieces that are worth fetching now that the peer is sent this one."""
        step = index - self._next
        if abs(step) > _NEAR:
            self._row = self._reached = 0
            self._next = index + 1
        elif step >= 0:
            self._row += 1
            self._next = index + 1
        return self._onward(taken) if self._row >= IN_ORDER_AFTER else range(0)

    def missed(self, index: int, taken: int) -> range:
        """Return the extent that begins with this cold piece, so that it comes first."""
        most = self._pieces(min(EXTENT, TRUST * taken - self._guessed))
        return range(index, min(index + most, self._stop))

    def _onward(self, taken: int) -> range:
        """Return what comes next, in steps of an extent, as soon as the window allows."""
        count = self._stop
        window = self._pieces(min(TRUST * taken, WINDOW_AHEAD))
        start = max(self._next, self._reached)
        stop = min(self._next + window, start + self._pieces(TRUST * taken - self._guessed), count)
        if stop < count and stop - start < max(1, min(self._pieces(EXTENT), window // 2)):
            return range(0)
        self._reached = max(start, stop)
        return range(start, stop)

    def _pieces(self, size: int) -> int:
        return size // self._layout.piece_length


class HeldPieces:
    """Counts what all feeds hold or have on the way: each piece once, up to `most` bytes.

    A network (/48 or IPv4 /24) may take as much as it leaves free: half of all if it is alone, an
    n-th where n - 1 networks want more than they get. So there is room for a newcomer, whoever
    else reads slowly (the dynamic thresholds of Choudhury and Hahne, for buffers that queues
    share). Where there is none, further cold pieces queue; pieces in memory or on disk need none.
    """

    def __init__(self, most: int = MOST_HELD) -> None:
        self.used = 0
        """Bytes."""
        self._most = most
        self._takers: dict[_Held, tuple[int, bytes]] = {}
        """How many feeds have a piece, and the network of the first one."""
        self._shares: Counter[bytes] = Counter()
        """Bytes by network."""

    def take(self, key: _Held, size: int, network: bytes) -> bool:
        """Count a piece for one more feed; False if there is no room. The first always has some."""
        takers, first = self._takers.get(key, (0, network))
        if not takers:
            share = self._shares[network]
            if self.used and share + size > self._most - self.used:
                return False
            self.used += size
            self._shares[network] = share + size
        self._takers[key] = takers + 1, first
        return True

    def give(self, key: _Held, size: int) -> None:
        """Count a piece for one feed less."""
        takers, network = self._takers.pop(key)
        if takers > 1:
            self._takers[key] = takers - 1, network
            return
        self.used -= size
        self._shares[network] -= size
        if not self._shares[network]:
            del self._shares[network]


def _both(first: Callable[[int], None], then: Callable[[int], None]) -> Callable[[int], None]:
    def call(size: int) -> None:
        first(size)
        then(size)

    return call


class Feed:
    """Finds one peer's pieces; `wanted` are the indices that it has requests for.

    `tell` is called, later, when a piece has come (None) or failed (the error). `taken` returns the
    bytes that the peer was sent so far, `clock` seconds. `may_read` tells whether so many more may
    be read from S3 for this peer, and notes that they are. `network` is the widest that it is in.
    Nothing from piece `stop` on is read ahead. `unread` is told how many of the bytes that
    `may_read` has noted S3 didn't send; that may come after `close`. `waits` tells whether S3 is
    away, and reads wait for it.

    These are plain calls for speed, no channels and no tasks: `tell` runs in the task of the cache
    that fetched the piece, `taken` and `may_read` in the one that looks for pieces, at most once a
    piece each.
    """

    __slots__ = (
        "_all_held",
        "_cache",
        "_clock",
        "_failed",
        "_fetching",
        "_given",
        "_guessed",
        "_held",
        "_hopeless",
        "_line",
        "_may_read",
        "_most",
        "_network",
        "_read_ahead",
        "_taken",
        "_tell",
        "_torrent",
        "_unread",
        "_unread_ahead",
        "_waits",
        "_wanted",
        "waiting",
    )

    def __init__(
        self,
        cache: PieceCache[Torrent],
        torrent: Torrent,
        wanted: Container[int],
        *,
        tell: Callable[[int, SeederError | None], None],
        taken: Callable[[], int],
        may_read: Callable[[int], bool],
        unread: Callable[[int], None],
        waits: Callable[[], bool],
        clock: Callable[[], float],
        held: HeldPieces,
        network: bytes,
        stop: int | None = None,
    ) -> None:
        self.waiting: dict[int, float] = {}
        """Cold pieces, and since when they are waited for."""
        self._cache = cache
        self._torrent = torrent
        self._wanted = wanted
        self._tell = tell
        self._taken = taken
        self._may_read = may_read
        self._unread = unread
        self._waits = waits
        self._clock = clock
        self._all_held = held
        self._network = network
        self._most = max(
            1, min(MOST_PIECES_OF_PEER, MOST_BYTES_OF_PEER // torrent.layout.piece_length)
        )
        self._line: list[int] = []
        self._fetching: set[int] = set()
        self._held: dict[int, bytes | bytearray] = {}
        self._failed: dict[int, float] = {}
        self._read_ahead = ReadAhead(torrent.layout, stop)
        self._unread_ahead = _both(self._read_ahead.failed, unread)
        self._given = -1
        self._guessed: list[range] = []
        self._hopeless: set[int] = set()
        """Failed pieces that S3 isn't asked for: requests for them are soon turned down."""

    def find(self, index: int) -> bytes | bytearray | None:
        """Return a piece that is in memory, or None."""
        piece = self._held.get(index)
        if piece is None:
            piece = self._cache.peek(self._torrent, index)
        if piece is not None:
            self._give(index)
        return piece

    def is_on_disk(self, index: int) -> bool:
        """Tell whether `read` may work."""
        return self._cache.is_on_disk(self._torrent, index)

    def is_at_hand(self, index: int) -> bool:
        """Tell whether a piece can be had without S3."""
        cache, torrent = self._cache, self._torrent
        return cache.peek(torrent, index) is not None or cache.is_cached(torrent, index)

    def read(self, index: int, reads: Sequence[Read]) -> bool:
        """Fill the buffers from a piece on disk, without waiting; False if that can't be."""
        done = self._cache.read_cached(self._torrent, index, reads)
        if done:
            self._give(index)
        return done

    def _give(self, index: int) -> None:
        """Take note that the peer is sent a piece that is at hand; called for each batch of it."""
        if index != self._given:
            self._given = index
            self._guessed.append(self._read_ahead.given(index, self._taken()))

    def line_up(self, index: int) -> None:
        """Put a cold piece in line, for `fetch` to ask for it."""
        if index not in self.waiting:
            self.waiting[index] = self._clock()
            if index not in self._failed:
                self._line.append(index)

    def look_ahead(self, indices: Iterable[int]) -> None:
        """Ask for those of `indices` that are cold, though none of them can be sent yet."""
        for index in indices:
            if index not in self._held and not self.is_at_hand(index):
                self.line_up(index)
        self.fetch()

    def fetch(self) -> None:
        """Ask the cache for the pieces in line, as far as the limits go."""
        for index in tuple(self._held):
            if index not in self._wanted or self._cache.is_on_disk(self._torrent, index):
                del self._held[index]
                self._release(index)
        line, fetching = self._line, self._fetching
        while line and len(fetching) + len(self._held) < self._most:
            index = line[0]
            if index in self.waiting and index not in fetching:
                if index not in self._wanted:
                    del self.waiting[index]
                elif self._reserve(index):
                    self._ask(index)
                else:
                    break
            line.pop(0)
        # In the same turn, so that they share a GET with what was asked for.
        while self._guessed:
            guessed = self._guessed.pop()
            if guessed and self._may_read(0):
                size = self._cache.read_ahead(self._torrent, guessed, self._unread_ahead)
                self._may_read(size)
                self._read_ahead.fetched(size)

    def _ask(self, index: int) -> None:
        """Ask the cache for a piece that has room, unless S3 may not be read for this peer."""
        if self._cache.is_cold(self._torrent, index) and not self._may_read(self._size(index)):
            self._release(index)
            self._failed[index] = self._clock()
            self._hopeless.add(index)
            return
        self._fetching.add(index)
        if self._cache.request(self._torrent, index, self._arrived, self._unread):
            self._guessed.append(self._read_ahead.missed(index, self._taken()))

    def _reserve(self, index: int) -> bool:
        return self._all_held.take(
            (self._torrent.info_hash, index), self._size(index), self._network
        )

    def _release(self, index: int) -> None:
        # By the info hash: what a torrent is cached as changes with the ETag of the same bytes.
        self._all_held.give((self._torrent.info_hash, index), self._size(index))

    def _size(self, index: int) -> int:
        return self._torrent.layout.piece_size(index)

    def _arrived(
        self, index: int, piece: bytes | bytearray | None, error: SeederError | None
    ) -> None:
        # For speed a plain call: the cache's `Waiter`, in the task that fetched the piece.
        self._fetching.discard(index)
        self.waiting.pop(index, None)
        if error is not None:
            self._failed[index] = self._clock()
            if isinstance(error, BudgetSpent):
                self._hopeless.add(index)
        if piece is not None and index in self._wanted:
            self._held[index] = piece
        else:
            self._release(index)
        self._tell(index, error)

    def is_hopeless(self, index: int) -> bool:
        """Tell whether S3 isn't asked for a piece at present on behalf of this peer."""
        return index in self._hopeless

    def overdue(self, now: float) -> list[int]:
        """Return the wanted pieces that took too long; they may be asked for again."""
        late: list[int] = []
        if self.waiting and self._waits():
            # The peer's requests stay: turned down, it would come back long after S3.
            self.waiting.update((index, now) for index in self.waiting if index not in self._failed)
        for index, since in tuple(self.waiting.items()):
            wanted, fetched = index in self._wanted, index in self._fetching
            in_line = not fetched and index not in self._failed
            too_long = (
                now - since > (PATIENCE_IN_LINE if in_line else PIECE_PATIENCE)
                or index in self._hopeless
            )
            if wanted and too_long:
                late.append(index)
            if fetched:
                self.waiting[index] = now if too_long else since
            elif too_long or not wanted or self.is_at_hand(index):
                # Turned down, cancelled, or brought here for another peer.
                del self.waiting[index]
        self._line = [index for index in self._line if index in self.waiting]
        if self._line:
            # Other feeds may have made room, and nothing tells of that.
            self.fetch()
        for index, at in tuple(self._failed.items()):
            if now - at > FAILURE_PAUSE and index not in self.waiting:
                del self._failed[index]
                self._hopeless.discard(index)
        return late

    def close(self) -> None:
        """Wait for nothing any more; fetches under way go on."""
        for index in self._fetching:
            self._cache.forget(self._torrent, index, self._arrived)
        for index in (*self._fetching, *self._held):
            self._release(index)
        self._fetching.clear()
        self._held.clear()

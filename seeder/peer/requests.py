"""One peer's accepted requests, until each of them is answered exactly once (BEP 6).

Requests wait by piece, in the order they came; those taken and not answered come back to the front.
Those not accepted are rejected at once, if the peer has the fast extension.

No I/O.
"""

from collections.abc import Sequence
from itertools import islice

from seeder.errors import WireError
from seeder.peer import messages
from seeder.peer.messages import Block
from seeder.torrent.layout import Layout
from seeder.units import KIB

REQUEST_QUEUE = 2000
"""Our `reqq`: reqq x 16 KiB / RTT is the most that one peer can get."""
LARGEST_BLOCK = 128 * KIB
"""Bytes; a longer request is bad."""
MOST_BAD_REQUESTS = 10
"""With this many the session ends."""


class RequestQueue:
    """The requests of one peer; rejects go to `out`. WireError ends the session."""

    __slots__ = (
        "_answered",
        "_bad_requests",
        "_fast",
        "_last_length",
        "_out",
        "_overflow",
        "_piece_count",
        "_piece_length",
        "count",
        "newly_wanted",
        "wanted",
    )

    def __init__(self, out: bytearray) -> None:
        self.wanted: dict[int, dict[int, int]] = {}
        """Piece index -> begin -> length, in the order they came."""
        self.newly_wanted: list[int] = []
        """Pieces that came into `wanted`, until the session has looked at them."""
        self.count = 0
        """Requests in `wanted`."""
        self._out = out
        self._fast = False
        self._piece_count = self._piece_length = self._last_length = 0
        self._bad_requests = 0
        self._overflow = 0
        self._answered = 0
        """Requests taken and not given back since the queue last overflowed."""

    def open(self, layout: Layout, *, fast: bool) -> None:
        """Take the torrent's layout, and whether the peer has the fast extension (rejects)."""
        self._fast = fast
        self._piece_count = pieces = layout.piece_count
        self._piece_length = layout.piece_length
        self._last_length = layout.piece_size(pieces - 1) if pieces else 0

    def add(self, blocks: list[Block]) -> None:
        """Accept requests, doubled ones once; turn down those that are bad or too many."""
        # This runs once per block, and a call in it would double its cost.
        last, usual, last_length = self._piece_count - 1, self._piece_length, self._last_length
        wanted, count = self.wanted, self.count
        try:
            for block in blocks:
                index, begin, length = block
                end = usual if index < last else last_length if index == last else 0
                if not 0 < length <= LARGEST_BLOCK or begin + length > end:
                    self._refuse_bad(block)
                    continue
                begins = wanted.get(index)
                if begins is not None and begin in begins:
                    # Doubled: one answer. With another length it is turned down, its own answer.
                    if begins[begin] != length:
                        self.turn_down([block])
                elif count >= REQUEST_QUEUE:
                    self._refuse_overflow(block)
                else:
                    count += 1
                    if begins is None:
                        wanted[index] = {begin: length}
                        self.newly_wanted.append(index)
                    else:
                        begins[begin] = length
        finally:
            self.count = count

    def _refuse_bad(self, block: Block) -> None:
        self._bad_requests += 1
        if self._bad_requests >= MOST_BAD_REQUESTS:
            raise WireError("bad-requests", f"the last was {block}")
        self.turn_down([block])

    def _refuse_overflow(self, block: Block) -> None:
        if self._answered > 0:
            self._overflow = self._answered = 0
        self._overflow += 1
        if self._overflow > REQUEST_QUEUE:
            raise WireError("request-flood")
        self.turn_down([block])

    def turn_down(self, blocks: list[Block]) -> None:
        """Reject requests that aren't in the queue."""
        # Without the fast extension there is no word for "no" but silence and choke.
        if self._fast and blocks:
            self._out += messages.reject(blocks)

    def cancel(self, block: Block) -> None:
        """Turn down one request, if it still waits."""
        index, begin, length = block
        begins = self.wanted.get(index)
        if begins is None or begins.get(begin) != length:
            return
        del begins[begin]
        if not begins:
            del self.wanted[index]
        self.count -= 1
        self.turn_down([block])

    def take(self, index: int, most: int) -> list[tuple[int, int]]:
        """Take the requests of piece `index` to answer them: (begin, length), at most `most`."""
        begins = self.wanted[index]
        if len(begins) <= most:
            del self.wanted[index]
            taken = list(begins.items())
        else:
            taken = list(islice(begins.items(), most))
            for begin, _ in taken:
                del begins[begin]
        self.count -= len(taken)
        self._answered += len(taken)
        return taken

    def give_back(
        self, index: int, blocks: Sequence[tuple[int, int]], *, refused: bool = False
    ) -> None:
        """Queue requests again that `take` took and nobody answered, before all others.

        If they are `refused` by now, turn them down instead.
        """
        self._answered -= len(blocks)
        if refused:
            self.turn_down([(index, begin, length) for begin, length in blocks])
            return
        wanted, begins = self.wanted, dict(blocks)
        for begin, length in wanted.pop(index, {}).items():
            # Asked for again in the meantime: one answer, unless it's another block.
            self.count -= 1
            if begins.setdefault(begin, length) != length:
                self.turn_down([(index, begin, length)])
        self.count += len(begins)
        others = list(wanted.items())
        wanted.clear()
        wanted[index] = begins
        wanted.update(others)

    def reject_piece(self, index: int) -> None:
        """Turn down whatever is wanted of piece `index`."""
        begins = self.wanted.pop(index, None)
        if begins is None:
            return
        self.count -= len(begins)
        self.turn_down([(index, begin, length) for begin, length in begins.items()])

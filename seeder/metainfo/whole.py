"""The MD5 of a whole object while its pieces are hashed: what S3 says that its bytes are.

The ETag of an object that was uploaded in one piece is its MD5, unless S3 encrypts it with keys of
KMS or of a customer (S3's API reference, Object: ETag); some servers have other ETags. So an ETag
that differs is a reason to look again, and no proof.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence

import trio

from seeder.cache.memory import Piece
from seeder.torrent.layout import Layout
from seeder.torrent.objects import PinnedObject
from seeder.units import MIB

MOST_HELD = 64 * MIB
"""Bytes of pieces that wait for those before them; reading waits where there are more."""

_MD5 = re.compile(r'(?:W/)?"([0-9a-f]{32})"', re.IGNORECASE)


class EtagMeaning:
    """Whether the ETags of an origin are MD5s, as far as is known."""

    def __init__(self) -> None:
        self._fitted = False
        self._misfitted = False

    def md5_of(self, pinned: PinnedObject) -> bytes | None:
        """Return the MD5 in an object's ETag; None where it has none, or it wouldn't mean one."""
        found = _MD5.fullmatch(pinned.etag)
        if found is None or (self._misfitted and not self._fitted):
            return None
        return bytes.fromhex(found[1])

    def fits(self) -> None:
        """Take note of an ETag that is the MD5 of its object."""
        self._fitted = True

    def misfits(self) -> None:
        """Take note of one that isn't, whatever way the object is read."""
        self._misfitted = True


class WholeDigest:
    """The MD5 of an object, from runs of pieces that come in any order.

    `recall` returns a piece that isn't read because its hash is known; None if it isn't at hand.
    """

    def __init__(
        self,
        expected: bytes,
        layout: Layout,
        recall: Callable[[int], Awaitable[Piece | None]],
        known: Callable[[int], bool],
    ) -> None:
        self._expected = expected
        self._layout = layout
        self._recall = recall
        self._known = known
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._next = 0
        """The piece that is due."""
        self._held: dict[int, Sequence[Piece]] = {}
        """Runs that came early, by their first piece."""
        self._size = 0
        self._busy = False
        self._given_up = False
        self._moved = trio.Event()

    @property
    def differs(self) -> bool:
        """Whether all pieces came, and have another MD5."""
        whole = self._next == self._layout.piece_count and not self._given_up
        return whole and self._md5.digest() != self._expected

    @property
    def fits(self) -> bool:
        """Whether all pieces came, and have the MD5."""
        return self._md5.digest() == self._expected and not self._given_up

    def give_up(self) -> None:
        """Take no pieces any more: some are missing."""
        self._given_up = True
        self._held.clear()
        self._size = 0
        self._moved.set()

    async def add(self, first: int, pieces: Sequence[Piece]) -> None:
        """Take a run of pieces; wait while too much waits for earlier ones."""
        if self._given_up:
            return
        self._held[first] = pieces
        self._size += sum(map(len, pieces))
        if not self._busy:
            self._busy = True
            try:
                await self._go_on()
            finally:
                self._busy = False
        while self._size > MOST_HELD and first in self._held:
            await self._moved.wait()

    async def finish(self) -> None:
        """Take the known pieces at the end."""
        await self._go_on()

    async def _go_on(self) -> None:
        while self._next < self._layout.piece_count and not self._given_up:
            pieces = self._held.pop(self._next, None)
            if pieces is None:
                if not self._known(self._next):
                    return
                piece = await self._recall(self._next)
                if piece is None:
                    self.give_up()
                    return
                pieces = (piece,)
            else:
                self._size -= sum(map(len, pieces))
            await trio.to_thread.run_sync(self._update, pieces)
            self._next += len(pieces)
            self._moved.set()
            self._moved = trio.Event()

    def _update(self, pieces: Sequence[Piece]) -> None:
        for index, piece in enumerate(pieces, self._next):
            # In a bundle, the last piece is filled up with zeros.
            self._md5.update(memoryview(piece)[: self._layout.piece_size(index)])

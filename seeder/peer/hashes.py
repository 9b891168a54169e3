"""Answers to one peer's requests for hashes (BEP 52), read from what is kept on disk.

A peer's requests are looked up one at a time, in threads, each when the answer before it is on its
way: a peer that reads slowly, or asks for a lot, delays only itself.
"""

from collections import deque
from collections.abc import Callable

import trio

from seeder.errors import MetainfoError, StorageError
from seeder.peer import messages
from seeder.torrent.merkle import NODE_LENGTH, HashRequest, KeptHashes, hashes_for

MOST_WAITING = 64
"""Requests of one peer; libtorrent sends one for 512 pieces, and again after three seconds."""
COPIES = 4
"""How many times one connection may have all hashes that there are; its address has an allowance of
its own (`seeder.upload.descriptions`)."""
LEAST_HASHES = 4096
"""Hashes that a peer may have in any case: it may ask for those of a small file again and again."""


class HashLookups:
    """One peer's requests for hashes.

    `admit` tells whether the peer may have so many bytes, and counts them; `reject` turns a request
    down. `start` starts `run` as a task of the session's nursery, which calls `tell` when there is
    something to send, and `lost` when what is kept is damaged.
    """

    def __init__(
        self,
        kept: KeptHashes,
        *,
        admit: Callable[[int], bool],
        start: Callable[[], None],
        reject: Callable[[HashRequest], None],
        tell: Callable[[], None],
        lost: Callable[[MetainfoError], None],
    ) -> None:
        self._kept = kept
        self._admit = admit
        self._start = start
        self._reject = reject
        self._tell = tell
        self._lost = lost
        self._waiting: deque[HashRequest] = deque()
        self._answer = b""
        self._running = False
        self._closed = False
        all_hashes = kept.shape.leaf_count + kept.shape.layout.piece_count
        self._hashes_left = max(LEAST_HASHES, COPIES * all_hashes)

    def ask(self, request: HashRequest) -> None:
        """Take in a request: it is looked up, or turned down at once."""
        kept = self._kept
        fault = kept.shape.fault(request, kept.root, has_leaves=kept.has_leaves)
        cost = request.length + request.proofs
        full = len(self._waiting) >= MOST_WAITING or cost > self._hashes_left
        if fault or full or not self._admit(cost * NODE_LENGTH):
            self._reject(request)
            return
        self._hashes_left -= cost
        self._waiting.append(request)
        self._go_on()

    @property
    def ready(self) -> int:
        """How many bytes an answer has that is ready to be sent; 0 while there is none."""
        return len(self._answer)

    def take(self) -> bytes:
        """Return the message that is ready to be sent, if any, and go on to the next request."""
        ready, self._answer = self._answer, b""
        if ready:
            self._go_on()
        return ready

    def close(self) -> None:
        """Look up nothing more."""
        self._closed = True
        self._waiting.clear()

    def _go_on(self) -> None:
        if self._waiting and not (self._running or self._answer or self._closed):
            self._running = True
            self._start()

    async def run(self) -> None:
        """Look up the waiting requests, until none is left or an answer waits to be sent."""
        try:
            while self._waiting and not self._answer:
                request = self._waiting.popleft()
                try:
                    found = await trio.to_thread.run_sync(
                        hashes_for, request, self._kept.shape, self._kept.read
                    )
                except StorageError:
                    self._reject(request)
                except MetainfoError as error:
                    self._reject(request)
                    # This may end the torrent, and close the session.
                    self._lost(error)
                else:
                    self._answer = messages.hashes(request, found)
                if self._closed:
                    return
                self._tell()
        finally:
            self._running = False

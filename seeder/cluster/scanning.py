"""All that the store has of peers and of completions, read bit by bit."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

import trio

from seeder.cluster import records
from seeder.cluster.keys import Keys
from seeder.cluster.scripts import NAMES, SCAN, SIZES
from seeder.cluster.store import Reply, Store, listed, numbered, texted
from seeder.errors import StoreAway
from seeder.torrent.info import InfoHash

SPAN = 900
"""Seconds of peers that share a key, with which they expire."""
SHARDS = 16
"""Keys among which the peers of one span are spread, so that none is too large to be dropped."""
SCANNED = 500
"""Peers that are read at a time."""
AT_ONCE = 8
"""Reads under way at the same time."""

Pairs: TypeAlias = Sequence[tuple[bytes, bytes]]


class Scan:
    """Reads the keys of the shared swarms; StoreAway, and ValueError for what no node writes."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    async def peers(
        self, oldest: int, newest: int, take: Callable[[Pairs], Awaitable[None]]
    ) -> None:
        """Have `take` take names and values of all peers heard of between two moments (Unix s)."""
        for span in range(oldest // SPAN, newest // SPAN + 1):
            keys = [self._keys.peers(span, shard) for shard in range(SHARDS)]
            sizes = map(numbered, listed(await self._store.run(SIZES, keys)))
            await self._scan([key for key, size in zip(keys, sizes, strict=True) if size], take)

    async def _scan(self, keys: Sequence[bytes], take: Callable[[Pairs], Awaitable[None]]) -> None:
        room = trio.CapacityLimiter(AT_ONCE)
        failures: list[StoreAway | ValueError] = []

        async def scan(key: bytes) -> None:
            cursor = b"0"
            async with room:
                while not failures:
                    try:
                        cursor, pairs = await self._some(key, cursor)
                    except (StoreAway, ValueError) as error:
                        failures.append(error)
                        return
                    await take(pairs)
                    if cursor == b"0":
                        return

        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(scan, key)
        if failures:
            raise failures[0].with_traceback(None)

    async def counts(self, mine: str) -> AsyncIterator[tuple[bytes, InfoHash, int]]:
        """Yield the completions that each other node has counted, by node and torrent."""
        for node in map(texted, listed(await self._store.run(NAMES, [self._keys.counters]))):
            if node == mine.encode():
                continue
            key, cursor = self._keys.completed(node), b"0"
            while True:
                cursor, pairs = await self._some(key, cursor)
                for name, value in pairs:
                    with suppress(ValueError):
                        yield node, *records.unpack_count(name, value)
                if cursor == b"0":
                    break

    async def _some(self, key: bytes, cursor: bytes) -> tuple[bytes, Pairs]:
        after, found = listed(await self._store.run(SCAN, [key], (cursor, SCANNED)))
        parts: Sequence[Reply] = listed(found)
        pairs = zip(map(texted, parts[::2]), map(texted, parts[1::2]), strict=True)
        return texted(after), list(pairs)

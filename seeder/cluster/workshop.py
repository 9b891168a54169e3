"""Metainfo is made once for all nodes: who makes it has a lease, and what was made is in the store.

It stays there for a while only. Every node keeps what it knows on its disk; one that lacks it says
so, and any node that has it puts it there again.

What is made is some bytes with a name to the store; `seeder.publish.makers` knows what they are.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from secrets import token_hex

import trio

from seeder.cluster.keys import Keys
from seeder.cluster.store import Script, Store, listed, numbered, texted
from seeder.errors import SeederError, StoreAway
from seeder.net.guards import Lapses
from seeder.units import MIB

_LOG = logging.getLogger(__name__)

KEPT = 600
"""Seconds for which the store has what was made, or was wanted again."""
LEASE_SECONDS = 15.0
"""Seconds after which another node may make what a node that died was making."""
LEASE_RENEWED = LEASE_SECONDS / 3
POLL = 1.0
"""Seconds between two looks for what others make."""
WANTED = 10
"""Seconds for which a node's want stands; it is said again at each look."""
LARGEST = 256 * MIB
"""Bytes of what is shared: Redis takes 512 MiB. What is larger each owner makes for itself."""
_MOST_AT_ONCE = 200
"""Names in one look, and wants that are met at a time."""

# KEYS: what was made, the lease, the wants. ARGV: token, lease (ms), whether we may make it, name,
# how long the wants stand.
_CLAIM = Script("""
local made = redis.call('GET', KEYS[1])
if made then return made end
if ARGV[3] == '1' and redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
redis.call('ZADD', KEYS[3], redis.call('TIME')[1], ARGV[4])
redis.call('EXPIRE', KEYS[3], ARGV[5])
return 0
""")
# KEYS: the wants, then by turns what was made and its lease. ARGV: how long wants stand, the names.
_LOOK = Script("""
local found, now = {}, redis.call('TIME')[1]
for i = 2, #KEYS, 2 do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    table.insert(found, 2)
  else
    redis.call('ZADD', KEYS[1], now, ARGV[i / 2 + 1])
    table.insert(found, redis.call('EXISTS', KEYS[i + 1]))
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return found
""")
# KEYS: what was made, the lease, the wants. ARGV: token, bytes, kept (s), name.
_PUT = Script("""
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('ZREM', KEYS[3], ARGV[4])
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
""")
# KEYS: the lease. ARGV: token, lease (ms); 0 gives it up.
_HOLD = Script("""
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] and ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
elseif holder == ARGV[1] or not holder then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
""")
# KEYS: the wants. ARGV: how long they stand, the most to return.
_WANTS = Script("""
local now = redis.call('TIME')[1]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
return redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1)
""")


@dataclass(slots=True, eq=False)
class _Waiter:
    may_make: Callable[[], bool]
    woken: trio.Event = field(default_factory=trio.Event)


class Workshop:
    """What this node makes for the others, and they for this one; `run` has to run for it.

    `export` returns what has a name if this node has it; it may be called for any name.
    """

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._token = token_hex(8)
        self._waiters: dict[str, set[_Waiter]] = {}
        self.export: Callable[[str], Awaitable[bytes | None]] | None = None

    def _of(self, name: str) -> list[bytes]:
        return [self._keys.made(name), self._keys.lease(name), self._keys.wants]

    async def claim(self, name: str, *, may_make: bool) -> bytes | bool:
        """Return what others made, or whether it is ours to make; then `holding` has to follow.

        While the store is away it is ours if it may be.
        """
        arguments = (self._token, int(1000 * LEASE_SECONDS), int(may_make), name, WANTED)
        try:
            reply = await self._store.run(_CLAIM, self._of(name), arguments)
            return reply if isinstance(reply, bytes) else numbered(reply) == 1
        except (StoreAway, ValueError):
            return may_make

    @asynccontextmanager
    async def holding(self, name: str) -> AsyncIterator[None]:
        """Keep the lease for the length of the block, whose SeederError comes out as it is."""
        failed: list[SeederError] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._renew, name)
            try:
                yield
            except SeederError as error:
                failed.append(error)  # the nursery would wrap it, and nobody know it again
            finally:
                nursery.cancel_scope.cancel()
                with trio.move_on_after(1, shield=True), suppress(StoreAway):
                    await self._store.run(_HOLD, [self._keys.lease(name)], (self._token, 0))
        if failed:
            raise failed.pop()  # else it would be kept by its own traceback

    async def _renew(self, name: str) -> None:
        while True:
            await trio.sleep(LEASE_RENEWED)
            with suppress(StoreAway):
                lease = int(1000 * LEASE_SECONDS)
                await self._store.run(_HOLD, [self._keys.lease(name)], (self._token, lease))

    async def put(self, name: str, made: bytes) -> None:
        """Give what was made to all, as far as the store takes it."""
        if len(made) <= LARGEST:
            with suppress(StoreAway):
                await self._store.run(_PUT, self._of(name), (self._token, made, KEPT, name))

    async def wait(self, name: str, may_make: Callable[[], bool]) -> None:
        """Return when it may have been made, or when nobody makes it and we may."""
        waiter = _Waiter(may_make)
        waiters = self._waiters.setdefault(name, set())
        waiters.add(waiter)
        try:
            await waiter.woken.wait()
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(name, None)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look for what others make, and for what they want, until cancelled."""
        task_status.started()
        lapses = Lapses(_LOG, "what the nodes make for each other")
        while True:
            await trio.sleep(POLL)
            async with lapses.spared():
                await self._look_at_all()

    async def _look_at_all(self) -> None:
        try:
            names = list(self._waiters)
            for begin in range(0, len(names), _MOST_AT_ONCE):
                await self._look(names[begin : begin + _MOST_AT_ONCE])
            await self._meet_wants()
        except (StoreAway, ValueError):
            # Nobody can be waited for; `claim` then says that it is ours.
            for waiter in chain.from_iterable(self._waiters.values()):
                if waiter.may_make():
                    waiter.woken.set()

    async def _look(self, names: list[str]) -> None:
        keys = [key for name in names for key in self._of(name)[:2]]
        reply = await self._store.run(_LOOK, [self._keys.wants, *keys], (WANTED, *names))
        for name, found in zip(names, listed(reply), strict=True):
            state = numbered(found)
            for waiter in tuple(self._waiters.get(name, ())):
                if state == 2 or (state == 0 and waiter.may_make()):
                    waiter.woken.set()

    async def _meet_wants(self) -> None:
        if self.export is None:
            return
        reply = await self._store.run(_WANTS, [self._keys.wants], (WANTED, _MOST_AT_ONCE))
        for each in listed(reply):
            name = texted(each).decode(errors="replace")
            if name not in self._waiters:
                made = await self.export(name)
                if made is not None:
                    await self.put(name, made)

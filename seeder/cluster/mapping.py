"""A map that every node has whole, made one with the others' through the store.

Each node keeps it in its state directory, and goes by that. What is new there is told to the store;
what others have told comes back, once a second. Whose map it is says in Lua which of two values for
a name counts, so whatever is lost is told again, and nothing that is told twice or late changes
anything. When the store was away, has lost what it held or was set back, every node tells all that
it has.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import trio

from seeder.cluster.health import Health
from seeder.cluster.keys import MapKeys
from seeder.cluster.members import Membership
from seeder.cluster.store import Argument, Script, Store, listed, numbered, texted
from seeder.net.slices import Slices

_LOG = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks for what others have told."""
BATCH = 300
"""Names that are told and read at a time: some milliseconds of Redis' time."""
FAREWELL = 1.0
"""Seconds in which a node that stops may tell what is left."""
_KEPT = 7 * 86_400
"""Seconds after which the store forgets the map of a cluster that has ended."""

Name = TypeVar("Name")
Value = TypeVar("Value")


def map_script(rules: str) -> Script:
    """Return the script of a map with these rules.

    They are Lua functions: `merged(value, old)` returns what counts of a value that is told and the
    one that there is, which may be nil; `end_of(name, value)` from when on nobody has to know of it
    (Unix s), nil for ever; and `room_of(name, most)`, which may be left out, how many names there
    may be for this one to come in.
    """
    return Script(_HEAD + rules + _BODY)


_HEAD = """
-- KEYS: names and values, names by the number of their last change, and by when they end (Unix s).
-- ARGV: number of the last change that the node has read, most to return, most names that there may
-- be, seconds kept, then names and values. Changes are numbered by microseconds (Unix), so that
-- what is told after a loss has greater numbers than before. The name '' has the last number,
-- whatever has ended, and none has the same: a batch may end between any two.
local function room_of(name, most) return most end
"""

_BODY = """
local time = redis.call('TIME')
local function top()
  return tonumber(redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2] or 0)
end
local number = math.max(top(), time[1] * 1000000 + time[2])
local over = redis.call('ZRANGE', KEYS[3], '-inf', time[1], 'BYSCORE', 'LIMIT', 0, 100)
for _, name in ipairs(over) do
  for i = 1, 3 do redis.call(i == 1 and 'HDEL' or 'ZREM', KEYS[i], name) end
end
local size, began = redis.call('HLEN', KEYS[1]), number
for i = 5, #ARGV, 2 do
  local name = ARGV[i]
  local old = redis.call('HGET', KEYS[1], name)
  local value = merged(ARGV[i + 1], old)
  if value ~= old and (old or size < room_of(name, tonumber(ARGV[3]))) then
    number = number + 1
    redis.call('HSET', KEYS[1], name, value)
    redis.call('ZADD', KEYS[2], string.format('%.0f', number), name)
    local last = end_of(name, value)
    if last then redis.call('ZADD', KEYS[3], string.format('%.0f', last), name)
    else redis.call('ZREM', KEYS[3], name) end
    if not old then size = size + 1 end
  end
end
if number > began then redis.call('ZADD', KEYS[2], string.format('%.0f', number + 1), '') end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[4]) end
local found = redis.call('ZRANGE', KEYS[2], '(' .. ARGV[1], '+inf', 'BYSCORE',
  'LIMIT', 0, ARGV[2], 'WITHSCORES')
local pairs, last = {}, ARGV[1]
for i = 1, #found, 2 do
  table.insert(pairs, found[i])
  table.insert(pairs, redis.call('HGET', KEYS[1], found[i]) or '')
  last = found[i + 1]
end
return {string.format('%.0f', top()), last, pairs}
"""


@dataclass(frozen=True, slots=True)
class MapRules(Generic[Name, Value]):
    """Which map is shared, and how."""

    part: str
    """What it is called in the log."""
    script: Script
    most: int
    """Names that there may be in the store."""
    pack: Callable[[Name, Value], tuple[bytes, bytes]]
    """Returns a name and a value as the store has them."""
    ours: Callable[[], Mapping[Name, Value]]
    """Returns all that this node has; asked when the store may know nothing of it."""
    hear: Callable[[bytes, bytes], None]
    """Takes in a name and a value of the store; ValueError if they are none."""
    heard: Callable[[], None]
    """Called when several were taken in."""


class SharedMap(Generic[Name, Value]):
    """Tells the store what this node has of a map, and this node what the store has.

    `run` has to run for it.
    """

    def __init__(
        self,
        rules: MapRules[Name, Value],
        keys: MapKeys,
        *,
        store: Store,
        health: Health,
        membership: Membership,
    ) -> None:
        self._rules = rules
        self._keys = [keys.values, keys.changes, keys.ends]
        self._store = store
        self._health = health
        self._news: deque[Mapping[Name, Value]] = deque()
        self._untold: dict[Name, Value] = {}
        self._after = 0
        """The number of the last change that was read."""
        self._doubted = False
        self._hurried = trio.Event()
        membership.era_listeners.append(self.begin_anew)

    @property
    def has_untold(self) -> bool:
        """Whether the store may not know all that it was to be told."""
        return bool(self._untold or self._news)

    def tell(self, said: Mapping[Name, Value]) -> None:
        """Have the others know of these, at the next look; any thread may call this."""
        if said:
            self._news.append(said)

    def hurry(self) -> None:
        """Tell now what is to be told."""
        if self.has_untold:
            self._hurried.set()

    def begin_anew(self) -> None:
        """Take it that the store knows nothing, and that we know nothing of it."""
        self._after = 0
        self._news.clear()
        self._untold = dict(self._rules.ours())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell and hear until cancelled; then tell what is left.

        It has started when the store has answered, or failed to, for the first time.
        """
        await self._try_exchange()
        task_status.started()
        try:
            while True:
                with trio.move_on_after(LOOK_EVERY):
                    await self._hurried.wait()
                self._hurried = trio.Event()
                await self._try_exchange()
        finally:
            if self.has_untold and self._health.up:
                with trio.move_on_after(FAREWELL, shield=True):
                    await self._try_exchange()

    async def _try_exchange(self) -> None:
        if not await self._health.attempt(self._rules.part, self._exchange_all()):
            # It may come back with less than it had.
            self.begin_anew()

    async def _exchange_all(self) -> None:
        while await self._exchange():
            pass

    async def _exchange(self) -> bool:
        """Tell and hear a batch; return whether there is more. StoreAway, ValueError."""
        rules = self._rules
        while self._news:
            self._untold.update(self._news.popleft())
        told = dict(islice(self._untold.items(), BATCH))
        written = (part for pair in told.items() for part in rules.pack(*pair))
        arguments: list[Argument] = [self._after, BATCH, rules.most, _KEPT, *written]
        top, last, found = listed(await self._store.run(rules.script, self._keys, arguments))
        if numbered(top) < self._after:
            # Redis was started with what it had some time ago.
            self.begin_anew()
            return True
        for name, each in told.items():
            if self._untold.get(name) is each:
                del self._untold[name]
        parts = [texted(part) for part in listed(found)]
        await self._hear(zip(parts[::2], parts[1::2], strict=True))
        self._after = numbered(last)
        return self.has_untold or len(parts) == 2 * BATCH

    async def _hear(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        slices = Slices()
        for name, value in pairs:
            if not name or not value:
                continue  # it has ended
            try:
                self._rules.hear(name, value)
            except ValueError as error:
                if not self._doubted:
                    part = self._rules.part
                    _LOG.warning("%s: the store of the cluster has what is none: %s", part, error)
                self._doubted = True
            except Exception:
                # A fault of ours with one of them: the others are heard.
                _LOG.exception("%s of the cluster: internal error", self._rules.part)
            if slices.is_over:
                await slices.turn()
        self._rules.heard()

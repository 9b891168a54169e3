"""The entries that were added at any node, known to all nodes.

Of two words on one name the later one counts (`seeder.config.added`), by the clock of the cluster.
"""

import json
from collections.abc import Iterable, Mapping

import trio

from seeder.cluster.health import Health
from seeder.cluster.keys import Keys
from seeder.cluster.mapping import MapRules, SharedMap, map_script
from seeder.cluster.members import Membership
from seeder.cluster.store import Store
from seeder.config.added import MOST_ADDED, REMOVALS_KEPT, Addition, EntryName, read_addition
from seeder.config.fields import SourceFile
from seeder.plain_json import parse_json

# A value is "TIME REMOVED LINE"; of two the later counts, of the same time a removal, and then the
# greater line.
_SCRIPT = map_script(
    """
local function parts(value)
  local at, gone, line = string.match(value, '^(%d+) ([01]) (.*)$')
  if at and #at <= 16 then return tonumber(at), gone, line end
end
local function merged(value, old)
  local at, gone, line = parts(value)
  local before, was_gone, other = parts(old or '')
  if not at then return old or value end
  if not before or at > before then return value end
  if at < before or gone < was_gone then return old end
  if gone > was_gone or line > other then return value end
  return old
end
local function end_of(name, value)
  local at, gone = parts(value)
  if gone == '1' then return (at + KEPT) / 1000000 end
end
""".replace("KEPT", str(REMOVALS_KEPT))
)


class SharedEntries:
    """Tells the store what was added at this node, and this node what the store has.

    `run` has to run for it. `source` is what entries of other nodes are checked against.
    """

    def __init__(
        self,
        source: SourceFile,
        *,
        store: Store,
        keys: Keys,
        health: Health,
        membership: Membership,
    ) -> None:
        self._source = source
        self._ours: Mapping[EntryName, Addition] = {}
        self._news: dict[EntryName, Addition] = {}
        self._heard = trio.Event()
        rules = MapRules(
            "entries",
            _SCRIPT,
            2 * MOST_ADDED,
            _packed,
            lambda: self._ours,
            self._hear,
            self._pass_on,
        )
        self._map = SharedMap(
            rules, keys.entries, store=store, health=health, membership=membership
        )

    def share(self, ours: Mapping[EntryName, Addition]) -> None:
        """Have the others know all that this node has, which is looked up again when needed."""
        self._ours = ours
        self._map.begin_anew()

    def tell(self, said: Iterable[Addition]) -> None:
        """Have the others know what was said at this node."""
        self._map.tell({each.name: each for each in said})
        self._map.hurry()

    async def wait_news(self) -> list[Addition]:
        """Return what others have told, once there is anything that this node doesn't know."""
        while not self._news:
            await self._heard.wait()
            self._heard = trio.Event()
        news, self._news = self._news, {}
        return list(news.values())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell and hear until cancelled; then tell what is left.

        It has started when the store has answered, or failed to, for the first time.
        """
        await self._map.run(task_status=task_status)

    def _hear(self, name: bytes, value: bytes) -> None:
        _, _, line = value.split(b" ", 2)
        each = read_addition(parse_json(line), self._source)
        known = self._news.get(each.name) or self._ours.get(each.name)
        if each.is_newer(known):
            self._news[each.name] = each

    def _pass_on(self) -> None:
        if self._news:
            self._heard.set()


def _packed(name: EntryName, addition: Addition) -> tuple[bytes, bytes]:
    """Return an addition as the store has it: its time, whether it is gone, and its line."""
    ref, is_followed = name
    key = json.dumps([ref.origin, ref.bucket, ref.key, ref.version_id, is_followed])
    return key.encode(), b"%d %d %s" % (addition.at, addition.entry is None, addition.line())

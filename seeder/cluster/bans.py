"""The bans of all nodes as one: what is said at one holds at all, within a second or two.

Of two words on a network the later one counts (`seeder.net.bans`).
"""

import json
from collections.abc import Callable, Iterable, Mapping

import trio

from seeder.cluster.health import Health
from seeder.cluster.keys import Keys
from seeder.cluster.mapping import MapRules, SharedMap, map_script
from seeder.cluster.members import Membership
from seeder.cluster.store import Store
from seeder.net.addresses import IPNetwork
from seeder.net.bans import MOST_BANS, Ban, Bans, read_ban
from seeder.net.epoch import Epoch

# A value is "AT END JSON"; END is 0 where there is none.
_SCRIPT = map_script("""
local function parts(value)
  local at, last = string.match(value, '^(%S+) (%S+) ')
  return tonumber(at or '') or 0, tonumber(last or '') or 0
end
local function merged(value, old)
  if old and parts(value) <= parts(old) then return old end
  return value
end
local function end_of(name, value)
  local _, last = parts(value)
  if last > 0 then return last end
end
""")


class SharedBans:
    """Tells the store what this node knows, and `heard` what the store has; `run` has to run."""

    def __init__(
        self,
        *,
        store: Store,
        keys: Keys,
        health: Health,
        membership: Membership,
        heard: Callable[[Iterable[Ban]], object],
    ) -> None:
        self._heard = heard
        self._epoch = Epoch()
        self._known = Bans()
        """What this node knows, and what it heard."""
        self._news: list[Ban] = []
        rules = MapRules(
            "bans", _SCRIPT, 2 * MOST_BANS, _packed, self._ours, self._hear, self._pass_on
        )
        self._map = SharedMap(rules, keys.bans, store=store, health=health, membership=membership)

    def offer(self, bans: Iterable[Ban]) -> None:
        """Have the others know what this node knows."""
        self._map.tell({each.network: each for each in bans if self._known.hear(each)})
        self._map.hurry()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell and hear until cancelled; then tell what is left.

        It has started when the store has answered, or failed to, for the first time.
        """
        await self._map.run(task_status=task_status)

    def _ours(self) -> Mapping[IPNetwork, Ban]:
        return {each.network: each for each in self._known}

    def _hear(self, name: bytes, value: bytes) -> None:
        try:
            ban = read_ban(json.loads(value.split(b" ", 2)[2]))
        except IndexError:
            raise ValueError(f"{name!r:.80} has no ban") from None
        self._known.hear(ban)
        self._news.append(ban)

    def _pass_on(self) -> None:
        news, self._news = self._news, []
        if news:
            self._known.trim(self._epoch.least())
            self._heard(news)


def _packed(network: IPNetwork, ban: Ban) -> tuple[bytes, bytes]:
    """Return a ban as the store has it: when it was said, when it may be forgotten, and all."""
    end = ban.forgettable_at()
    value = f"{ban.at:.6f} {0 if end is None else end:.0f} {json.dumps(ban.row())}"
    return str(network).encode(), value.encode()

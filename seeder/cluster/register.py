"""The register of passkeys of all nodes as one, and the secrets by which passkeys are signed.

Of an entry the greater numbers count (`seeder.tracker.register`), and of a secret, when it was
first told.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import trio

from seeder.cluster.health import Health
from seeder.cluster.keys import Keys
from seeder.cluster.mapping import MapRules, SharedMap, map_script
from seeder.cluster.members import Membership
from seeder.cluster.store import Store
from seeder.tracker.passkeys import check_holder, is_secret
from seeder.tracker.register import (
    EXPIRED_KEPT_FOR,
    MOST_MADE,
    Register,
    checked_made,
    checked_moment,
    checked_revocation,
)

_MOST_SECRETS = 16
_MADE, _REVOKED, _WELCOMED = b"m", b"r", b"w"

# A value is two numbers, and of each the greatest counts.
_ENTRIES = map_script(
    """
local function pair(value)
  local one, other = string.match(value, '^(%d+) (%d+)$')
  if one and #one <= 10 and #other <= 10 then return tonumber(one), tonumber(other) end
  return 0, 0
end
local function is_made(name) return string.sub(name, 1, 1) == 'm' end
local function merged(value, old)
  if not old then return value end
  local one, other = pair(value)
  local former, latter = pair(old)
  return string.format('%.0f %.0f', math.max(one, former), math.max(other, latter))
end
local function end_of(name, value)
  local _, expires = pair(value)
  if is_made(name) then return expires + KEPT end
end
local function room_of(name, most) return is_made(name) and most or 10 * most end
""".replace("KEPT", str(EXPIRED_KEPT_FOR))
)
# A value is when the secret was first told (Unix us, by Redis' clock).
_SECRETS = map_script("""
local function merged(value, old)
  local time = redis.call('TIME')
  return old or string.format('%.0f', time[1] * 1000000 + time[2])
end
local function end_of(name, value) end
""")

Pair: TypeAlias = tuple[int, int]


class SharedRegister:
    """Tells the store what this node's register has, and this node what the store has.

    `run` has to run for it.
    """

    def __init__(self, *, store: Store, keys: Keys, health: Health, membership: Membership) -> None:
        self._offered: Mapping[bytes, Pair] = {}
        """What this node has."""
        self._known: dict[bytes, Pair] = {}
        """What the store has, as far as it was heard."""
        self._news: Register | None = None
        self._ours: Mapping[bytes, None] = {}
        self._told: dict[str, int] = {}
        """When each secret was first told."""
        self.secrets: tuple[str, ...] = ()
        """Of all nodes, the one first that all sign with; empty as long as none is known."""
        self.listeners: list[Callable[[], None]] = []
        """Called when there is news of other nodes."""
        entries = MapRules(
            "passkeys",
            _ENTRIES,
            MOST_MADE,
            _packed,
            self._all_offered,
            self._hear,
            self._pass_on,
        )
        secrets = MapRules(
            "secrets of passkeys",
            _SECRETS,
            _MOST_SECRETS,
            lambda secret, _: (secret, b"0"),
            lambda: self._ours,
            self._hear_secret,
            self._pass_on_secrets,
        )
        self._entries = SharedMap(
            entries, keys.passkeys, store=store, health=health, membership=membership
        )
        self._secrets = SharedMap(
            secrets, keys.passkey_secrets, store=store, health=health, membership=membership
        )

    def offer(self, register: Register) -> None:
        """Have the others know what a register has; any thread may call this, one at a time."""
        self._offered, known = dict(_entries_of(register)), self._known
        self._entries.tell(
            {name: x for name, x in self._offered.items() if _is_news(x, known.get(name))}
        )

    def offer_secrets(self, secrets: tuple[str, ...]) -> None:
        """Have the others know what this node signs passkeys with; any thread may call this."""
        before, self._ours = self._ours, dict.fromkeys(each.encode() for each in secrets)
        self._secrets.tell(dict.fromkeys(self._ours.keys() - before.keys()))

    def hurry(self) -> None:
        """Tell soon what was offered, if it isn't known yet."""
        self._entries.hurry()
        self._secrets.hurry()

    def take_news(self) -> Register | None:
        """Return what others have told since the last call, if anything."""
        news, self._news = self._news, None
        return news

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell and hear until cancelled; then tell what is left.

        It has started when the store has answered, or failed to, for the first time.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self._entries.run)
            await nursery.start(self._secrets.run)
            task_status.started()

    def _all_offered(self) -> Mapping[bytes, Pair]:
        self._known = {}
        return self._offered

    def _hear(self, name: bytes, value: bytes) -> None:
        each, said = _parse(name, value)
        self._known[name] = each
        if _is_news(each, self._offered.get(name)):
            self._news = self._news or Register()
            self._news.join(said)

    def _pass_on(self) -> None:
        if self._news is not None:
            self._tell_listeners()

    def _hear_secret(self, name: bytes, value: bytes) -> None:
        secret = name.decode(errors="replace")
        if not is_secret(secret):
            raise ValueError("one of them is no secret")
        self._told[secret] = int(value)

    def _pass_on_secrets(self) -> None:
        found = sorted(self._told, key=lambda each: (self._told[each], each))[:_MOST_SECRETS]
        self._told = {each: self._told[each] for each in found}
        if tuple(found) != self.secrets:
            self.secrets = tuple(found)
            self._tell_listeners()

    def _tell_listeners(self) -> None:
        for listener in self.listeners:
            listener()


def _entries_of(register: Register) -> Iterator[tuple[bytes, Pair]]:
    """Yield what a register has as the store has it: names and pairs of numbers."""
    for made in register.all_made():
        name = b"%s%s\0%s" % (_MADE, made.holder.encode(), made.name.encode())
        yield name, (made.issued, made.expires)
    for holder, revocation in register.revoked.items():
        yield _REVOKED + holder.encode(), (revocation.until, revocation.at)
    for holder, issued in register.welcomed.items():
        yield _WELCOMED + holder.encode(), (issued, 0)


def _packed(name: bytes, each: Pair) -> tuple[bytes, bytes]:
    return name, b"%d %d" % each


def _is_news(entry: Pair, known: Pair | None) -> bool:
    """Tell whether an entry says more than what is known."""
    return known is None or entry[0] > known[0] or entry[1] > known[1]


def _parse(name: bytes, value: bytes) -> tuple[Pair, Register]:
    """Return an entry of the store, also as a register; ValueError if it is none."""
    first, _, second = value.partition(b" ")
    each = checked_moment(int(first)), checked_moment(int(second))
    holder, _, what = name[1:].decode().partition("\0")
    said = Register()
    if name.startswith(_MADE):
        said.note(checked_made(holder, what, *each))
    elif name.startswith(_REVOKED):
        said.note_revoked(check_holder(holder), checked_revocation(*each))
    elif name.startswith(_WELCOMED):
        said.welcome(check_holder(holder), each[0])
    else:
        raise ValueError(f"{name!r:.80} is no entry")
    return each, said

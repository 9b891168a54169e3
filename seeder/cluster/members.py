"""Who the nodes of the cluster are: each says every few seconds that it is there.

One script writes what this node says and returns what all have said lately, by the store's clock.
While the store is away, the members stay as they were known last.

What others know of a node is in its `Member`: where its peer listener and its HTTP listener are
reached, and a few values that any part may `tell` (JSON, `LARGEST` bytes of it in all).
"""

import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from seeder.cluster.clock import MICRO, SharedClock
from seeder.cluster.health import Health
from seeder.cluster.keys import Keys
from seeder.cluster.store import Reply, Script, Store, listed, numbered, texted
from seeder.plain_json import parse_json

_LOG = logging.getLogger(__name__)

BEAT = 2.0
"""Seconds between two times that a node says that it is there."""
SILENCE = 8.0
"""Seconds after which one that says nothing is no member any more."""
FAREWELL = 2.0
"""Seconds in which a node that stops may say so."""
LARGEST = 4096
"""Bytes of what a node tells the others."""
MOST_MEMBERS = 1000
FORMAT = 2
"""Of what nodes tell each other by way of the store. It grows whenever a node of the version before
would miss any of it; versions that tell none are 1. 2: bans and what passkeys are signed with under
their present keys, and bytes that are owed."""
_KEPT = 7 * 86_400
"""Seconds after which the store forgets the members of a cluster that has ended."""

# A member is "MS TOKEN RUN JSON". A name is taken while another token, or another run that came
# later, holds it; a run of the same token takes over from the one before, which has died: both
# have the lock of one state directory. ARGV: name, token, run, JSON, silence, whether this run
# holds the name, whether it leaves, kept, an era to begin if there is none.
_BEAT = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local silence = tonumber(ARGV[5])
local taken = ''
local mine = redis.call('HGET', KEYS[1], ARGV[1])
if mine then
  local at, token, run, json = string.match(mine, '^(%d+) (%S+) (%S+) (.*)$')
  if at and now - at < silence and run ~= ARGV[3] and (token ~= ARGV[2] or ARGV[6] == '1') then
    taken = json
  end
end
if taken == '' then
  if ARGV[7] == '1' then
    redis.call('HDEL', KEYS[1], ARGV[1])
  else
    local said = string.format('%.0f %s %s %s', now, ARGV[2], ARGV[3], ARGV[4])
    redis.call('HSET', KEYS[1], ARGV[1], said)
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[8])
redis.call('SET', KEYS[2], ARGV[9], 'NX')
redis.call('EXPIRE', KEYS[2], ARGV[8])
local result = {time[1], time[2], taken, redis.call('GET', KEYS[2])}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local at, json = string.match(all[i + 1], '^(%d+) %S+ %S+ (.*)$')
  if not at or now - at >= silence then
    redis.call('HDEL', KEYS[1], all[i])
  else
    table.insert(result, all[i])
    table.insert(result, json)
  end
end
return result
""")


@dataclass(frozen=True, slots=True)
class Member:
    """A node of the cluster, as it says of itself."""

    name: str
    peer: tuple[str, ...] = ()
    """HOST:PORT of its peer listener, as others reach it: one of each address family."""
    http: tuple[str, ...] = ()
    """The same of its public HTTP listener."""
    admin: tuple[str, ...] = ()
    """The same of its status page; empty if it has none."""
    told: Mapping[str, object] = field(default_factory=dict)
    """What its parts tell the others."""
    format: int = FORMAT
    """Of what it tells: see `FORMAT`."""

    def document(self) -> dict[str, object]:
        """Return all but the name for JSON."""
        return {
            "peer": list(self.peer),
            "http": list(self.http),
            "admin": list(self.admin),
            "told": dict(self.told),
            "format": self.format,
        }


class Membership:
    """This node among the others; `run` has to run for them to know of it."""

    def __init__(
        self, name: str, token: str, *, store: Store, keys: Keys, clock: SharedClock, health: Health
    ) -> None:
        """`token` is that of the state directory, the same for each run with it."""
        self.name = name
        self.refused: str | None = None
        """Why this node isn't a member: another one has its name; None while it is."""
        self._token = token
        self._run = secrets.token_hex(8)
        self._store = store
        self._keys = [keys.nodes, keys.era]
        self._clock = clock
        self._health = health
        self._mine = Member(name)
        self._others: dict[str, Member] = {}
        self._holds = False
        self._era: bytes | None = None
        self._heard = 0.0
        """When the store last answered (s, our clock)."""
        self._patient_until = 0.0
        """Until when others stay members that the store doesn't know of."""
        self._hurried = trio.Event()
        self._apart: dict[str, int] = {}
        """Members of other formats, of which that was said."""
        self.era_listeners: list[Callable[[], None]] = []
        """Called when the store has lost what it held, in the task that beats."""
        self.listeners: list[Callable[[], None]] = []
        """Called when `members` has changed, by who told or in the task that beats."""

    @property
    def members(self) -> tuple[Member, ...]:
        """Every member, by name; this node is one unless its name is another's."""
        mine = {} if self.refused else {self.name: self._mine}
        all_of_them = self._others | mine
        return tuple(all_of_them[name] for name in sorted(all_of_them))

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names, sorted."""
        return tuple(member.name for member in self.members)

    @property
    def is_patient(self) -> bool:
        """Whether others may be there of which a store that was away doesn't know yet."""
        return trio.current_time() < self._patient_until

    def reached_at(
        self, *, peer: Sequence[str], http: Sequence[str], admin: Sequence[str] = ()
    ) -> None:
        """Say where this node is reached: see `Member`."""
        told = self._mine.told
        self._become(Member(self.name, tuple(peer), tuple(http), tuple(admin), told))

    def tell(self, name: str, value: object) -> None:
        """Have the others know a value of JSON by a name, soon; None takes it back.

        ValueError if it makes more than `LARGEST` bytes of what this node tells.
        """
        told = {key: each for key, each in self._mine.told.items() if key != name}
        if value is not None:
            told[name] = value
        mine = self._mine
        self._become(Member(self.name, mine.peer, mine.http, mine.admin, told))

    def _become(self, mine: Member) -> None:
        if mine == self._mine:
            return
        if len(json.dumps(mine.document())) > LARGEST:
            raise ValueError(f"a node can't tell the others more than {LARGEST} bytes of itself")
        self._mine = mine
        self._hurried.set()
        self._note_change()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Say that this node is there, until cancelled; then say that it leaves.

        It has started when the store has answered, or failed to, for the first time.
        """
        try:
            await self._try_beat()
            task_status.started()
            while True:
                with trio.move_on_after(BEAT):
                    await self._hurried.wait()
                self._hurried = trio.Event()
                await self._try_beat()
        finally:
            if self._holds:
                with trio.move_on_after(FAREWELL, shield=True):
                    await self._try_beat(leave=True)

    async def _try_beat(self, *, leave: bool = False) -> None:
        await self._health.attempt("members", self._beat(leave))

    async def _beat(self, leave: bool) -> None:
        clock = trio.current_time
        asked = clock()
        reply = await self._store.run(
            _BEAT,
            self._keys,
            (
                self.name,
                self._token,
                self._run,
                json.dumps(self._mine.document()),
                int(1000 * SILENCE),
                int(self._holds),
                int(leave),
                _KEPT,
                secrets.token_hex(8),
            ),
        )
        seconds, micro, taken, era, *said = listed(reply)
        self._clock.note(asked, clock(), numbered(seconds) * MICRO + numbered(micro))
        self._take_era(texted(era))
        if self._heard and clock() - self._heard > SILENCE / 2:
            self._be_patient()
        self._heard = clock()
        self._take_name(texted(taken))
        self._take_members(said)

    def _take_name(self, taken: bytes) -> None:
        before = self.refused
        self._holds = not taken
        self.refused = None
        if taken:
            other = _member(self.name, taken)
            where = f" at {other.http[0]}" if other.http else ""
            self.refused = (
                f'another node{where} calls itself "{self.name}": give each a cluster.name of its'
                " own"
            )
        if self.refused != before:
            self._note_change()
            if self.refused:
                _LOG.error("this node takes no part in the cluster: %s", self.refused)
            else:
                _LOG.info('no other node calls itself "%s" any more', self.name)

    def _take_members(self, said: Sequence[Reply]) -> None:
        others: dict[str, Member] = {}
        pairs = zip(said[::2], said[1::2], strict=True)
        for called, text in list(pairs)[:MOST_MEMBERS]:
            member = _member(texted(called).decode(errors="replace"), texted(text))
            if self.refused or member.name != self.name:
                others[member.name] = member
        if self.is_patient:
            others = self._others | others
        before, self._others = self._others, others
        if before == others:
            return
        for name in sorted(others.keys() - before.keys()):
            _LOG.info('node "%s" is a member of the cluster', name)
        for name in sorted(before.keys() - others.keys()):
            _LOG.info('node "%s" is no member of the cluster any more', name)
        self._tell_formats()
        self._note_change()

    def _tell_formats(self) -> None:
        """Say once of each member of another format that not all is shared with it."""
        before = self._apart
        self._apart = {
            name: each.format for name, each in self._others.items() if each.format != FORMAT
        }
        for name, format_ in sorted(self._apart.items()):
            if before.get(name) != format_:
                which = "an older" if format_ < FORMAT else "a newer"
                _LOG.warning(
                    'node "%s" is of %s version of seeder (it tells by format %d, this one by'
                    " %d): the two don't share everything, such as bans and claims that are counted"
                    " once, until both are of the same",
                    name,
                    which,
                    format_,
                    FORMAT,
                )

    def _take_era(self, era: bytes) -> None:
        before, self._era = self._era, era
        if before not in (None, era):
            self._be_patient()
            _LOG.warning("the store of the cluster has lost what it held: the nodes fill it anew")
            for listener in self.era_listeners:
                listener()

    def _be_patient(self) -> None:
        """Let the others come back to a store that was away, or that has forgotten them."""
        self._patient_until = trio.current_time() + SILENCE

    def _note_change(self) -> None:
        for listener in self.listeners:
            listener()


def _member(name: str, text: bytes) -> Member:
    """Return what a node says of itself; of what isn't right, nothing."""
    try:
        document = parse_json(text)
        if not isinstance(document, dict):
            return Member(name)
        told, format_ = document.get("told"), document.get("format")
        peer, http, admin = (_texts(document.get(key)) for key in ("peer", "http", "admin"))
        return Member(
            name,
            peer,
            http,
            admin,
            told if isinstance(told, dict) else {},
            format_ if type(format_) is int else 1,
        )
    except (ValueError, RecursionError):
        return Member(name)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(each for each in value if isinstance(each, str))

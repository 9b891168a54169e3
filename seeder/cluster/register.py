"""The register of passkeys of all nodes as one, and the secrets by which passkeys are signed.

Each node keeps the whole register in its state directory, and goes by that. What is new there is
told to the store; what others have told comes back, once a second. Of an entry the greater numbers
count (`seeder.tracker.register`), so whatever is lost is told again, and nothing that is told twice
or late changes anything. When the store was away, has lost what it held or was set back, every node
tells all that it has.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeAlias

import trio

from seeder.cluster.health import Health
from seeder.cluster.keys import Keys
from seeder.cluster.members import Membership
from seeder.cluster.scripts import REGISTER
from seeder.cluster.store import Reply, Store, listed, numbered, reason_of, texted
from seeder.errors import StoreAway
from seeder.tracker.passkeys import check_holder, is_secret
from seeder.tracker.register import (
    KEPT_FOR,
    MOST_MADE,
    Register,
    checked_made,
    checked_moment,
    checked_revocation,
)

_LOG = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks for what others have told."""
BATCH = 300
"""Entries that are told and read at a time: some milliseconds of Redis' time."""
FAREWELL = 1.0
"""Seconds in which a node that stops may tell what is left."""
_KEPT = 7 * 86_400
"""Seconds after which the store forgets the register of a cluster that has ended."""
_MADE, _REVOKED, _WELCOMED = b"m", b"r", b"w"

Pair: TypeAlias = tuple[int, int]


class SharedRegister:
    """Tells the store what this node's register has, and this node what the store has.

    `run` has to run for it.
    """

    def __init__(self, *, store: Store, keys: Keys, health: Health, membership: Membership) -> None:
        self._store = store
        self._keys = [
            keys.passkeys,
            keys.passkey_changes,
            keys.passkey_ends,
            keys.passkey_secrets,
        ]
        self._health = health
        self._offered: Mapping[bytes, Pair] = {}
        """What this node has."""
        self._known: dict[bytes, Pair] = {}
        """What the store has, as far as we know."""
        self._untold: dict[bytes, Pair] = {}
        self._after = 0
        """The number of the last change that was read."""
        self._news: Register | None = None
        self._ours: tuple[str, ...] = ()
        self._doubted = False
        self._hurried = trio.Event()
        self.secrets: tuple[str, ...] = ()
        """Of all nodes, the one first that all sign with; empty as long as none is known."""
        self.listeners: list[Callable[[], None]] = []
        """Called when there is news of other nodes."""
        membership.era_listeners.append(self._begin_anew)

    def offer(self, register: Register) -> None:
        """Have the others know what a register has; any thread may call this, one at a time."""
        offered = dict(_entries_of(register))
        known = self._known
        untold = {name: each for name, each in offered.items() if _is_news(each, known.get(name))}
        self._offered, self._untold = offered, untold

    def offer_secrets(self, secrets: tuple[str, ...]) -> None:
        """Have the others know what this node signs passkeys with."""
        self._ours = secrets

    def hurry(self) -> None:
        """Tell soon what was offered, if it isn't known yet."""
        if self._untold or not set(self._ours) <= set(self.secrets):
            self._hurried.set()

    def take_news(self) -> Register | None:
        """Return what others have told since the last call, if anything."""
        news, self._news = self._news, None
        return news

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
            if self._untold and self._health.up:
                with trio.move_on_after(FAREWELL, shield=True):
                    await self._try_exchange()

    def _begin_anew(self) -> None:
        """Take it that the store knows nothing, and that we know nothing of it."""
        self._after = 0
        self._known = {}
        self._untold = dict(self._offered)

    async def _try_exchange(self) -> None:
        try:
            while await self._exchange():
                pass
        except (StoreAway, ValueError) as error:
            # It may come back with less than it had.
            self._begin_anew()
            self._health.failed("passkeys", reason_of(error))
        else:
            self._health.works("passkeys")

    async def _exchange(self) -> bool:
        """Tell and hear a batch; return whether there is more. StoreAway, ValueError."""
        told = dict(islice(self._untold.items(), BATCH))
        reply = listed(
            await self._store.run(
                REGISTER,
                self._keys,
                (
                    self._after,
                    BATCH,
                    MOST_MADE,
                    _KEPT,
                    KEPT_FOR,
                    len(self._ours),
                    *self._ours,
                    *(part for name, each in told.items() for part in (name, b"%d %d" % each)),
                ),
            )
        )
        top, last, secrets, entries = reply
        if numbered(top) < self._after:
            # Redis was started with what it had some time ago.
            self._begin_anew()
            return True
        for name, each in told.items():
            self._known[name] = each
            if self._untold.get(name) == each:
                del self._untold[name]
        found = [texted(part) for part in listed(entries)]
        self._hear(zip(found[::2], found[1::2], strict=True))
        self._hear_secrets(listed(secrets))
        self._after = numbered(last)
        return bool(self._untold) or len(found) == 2 * BATCH

    def _hear(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        before, news = self._news, self._news or Register()
        for name, value in entries:
            try:
                each = _parse(name, value, news, self._offered)
            except ValueError as error:
                if not self._doubted:
                    _LOG.warning("passkeys: the store of the cluster has what is none: %s", error)
                self._doubted = True
                continue
            self._known[name] = each
        if before is None and (news.made or news.revoked or news.welcomed):
            self._news = news
        if self._news is not None:
            self._tell_listeners()

    def _hear_secrets(self, secrets: list[Reply]) -> None:
        heard = [texted(each).decode(errors="replace") for each in secrets]
        found = tuple(each for each in heard if is_secret(each))
        if found != self.secrets:
            self.secrets = found
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


def _is_news(entry: Pair, known: Pair | None) -> bool:
    """Tell whether an entry says more than what is known."""
    return known is None or entry[0] > known[0] or entry[1] > known[1]


def _parse(name: bytes, value: bytes, news: Register, offered: Mapping[bytes, Pair]) -> Pair:
    """Return an entry of the store, and note it in `news` if it says more than what is `offered`.

    ValueError if it is none.
    """
    first, _, second = value.partition(b" ")
    each = checked_moment(int(first)), checked_moment(int(second))
    holder, _, what = name[1:].decode().partition("\0")
    part = Register()
    if name.startswith(_MADE):
        part.note(checked_made(holder, what, *each))
    elif name.startswith(_REVOKED):
        part.note_revoked(check_holder(holder), checked_revocation(*each))
    elif name.startswith(_WELCOMED):
        part.welcome(check_holder(holder), each[0])
    else:
        raise ValueError(f"{name!r:.80} is no entry")
    if _is_news(each, offered.get(name)):
        news.join(part)
    return each

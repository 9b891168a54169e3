"""The bans of all nodes as one: what is said at one holds at all, within a second or two.

Each node keeps all of them in its state directory, and goes by that. Of two words on a network the
later one counts (`seeder.net.bans`), so whatever is lost is told again, and nothing that is told
twice or late changes anything.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable

import trio

from seeder.cluster.health import Health
from seeder.cluster.keys import Keys
from seeder.cluster.members import Membership
from seeder.cluster.scripts import BANS
from seeder.cluster.store import Reply, Store, listed, numbered, reason_of, texted
from seeder.errors import StoreAway
from seeder.net.addresses import IPNetwork
from seeder.net.bans import MOST_BANS, Ban, Bans, read_ban

_LOG = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks for what others have said."""
BATCH = 200
"""Bans that are told at a time."""
_KEPT = 7 * 86_400
"""Seconds after which the store forgets the bans of a cluster that has ended."""


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
        self._store = store
        self._keys = [keys.bans, keys.ban_changes]
        self._health = health
        self._heard = heard
        self._known = Bans()
        """What this node knows, and what it heard."""
        self._untold: dict[IPNetwork, Ban] = {}
        self._after = 0
        """The number of the last change that was read."""
        self._hurried = trio.Event()
        self._doubted = False
        membership.era_listeners.append(self._begin_anew)

    def offer(self, bans: Iterable[Ban]) -> None:
        """Have the others know what this node knows."""
        for each in bans:
            if self._known.hear(each):
                self._untold[each.network] = each
        if self._untold:
            self._hurried.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell and hear until cancelled; it has started after the first try."""
        await self._try_exchange()
        task_status.started()
        while True:
            with trio.move_on_after(LOOK_EVERY):
                await self._hurried.wait()
            self._hurried = trio.Event()
            await self._try_exchange()

    def _begin_anew(self) -> None:
        """Take it that the store knows nothing, and that we know nothing of it."""
        self._after = 0
        self._untold = {each.network: each for each in self._known}

    async def _try_exchange(self) -> None:
        try:
            while await self._exchange():
                pass
        except (StoreAway, ValueError) as error:
            # It may come back with less than it had.
            self._begin_anew()
            self._health.failed("bans", reason_of(error))
        else:
            self._health.works("bans")

    async def _exchange(self) -> bool:
        """Tell a batch and hear what is new; return if there is more. StoreAway, ValueError."""
        told = dict(list(self._untold.items())[:BATCH])
        entries = [part for each in told.values() for part in _entry(each)]
        reply = listed(
            await self._store.run(BANS, self._keys, (self._after, MOST_BANS, _KEPT, *entries))
        )
        number, found = reply
        if numbered(number) < self._after:
            # Redis was started with what it had some time ago.
            self._begin_anew()
            return True
        for network, each in told.items():
            if self._untold.get(network) == each:
                del self._untold[network]
        self._after = numbered(number)
        self._hear(listed(found)[1::2])
        return bool(self._untold)

    def _hear(self, values: Iterable[Reply]) -> None:
        heard = []
        for value in values:
            try:
                ban = read_ban(json.loads(texted(value).split(b" ", 2)[2]))
            except (IndexError, ValueError) as error:
                if not self._doubted:
                    _LOG.warning("bans: the store of the cluster has what is none: %s", error)
                self._doubted = True
                continue
            heard.append(ban)
            self._known.hear(ban)
        if heard:
            self._known.trim(time.time())
            self._heard(heard)


def _entry(ban: Ban) -> tuple[bytes, bytes]:
    """Return a ban as the store has it: when it was said, when it may be forgotten, and all."""
    end = ban.forgettable_at()
    value = f"{ban.at:.6f} {0 if end is None else end:.0f} {json.dumps(ban.row())}"
    return str(ban.network).encode(), value.encode()

"""The entries that were added at any node, known to all nodes.

Each node keeps all of them in its state directory, and goes by that. What is new there is told to
the store; what others have told comes back, once a second. Of two words on one name the later one
counts (`seeder.config.added`), by the clock of the cluster, so whatever is lost is told again, and
nothing that is told twice or late changes anything. When the store was away, has lost what it held
or was set back, every node tells all that it has.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from itertools import islice

import trio

from seeder.cluster.health import Health
from seeder.cluster.keys import Keys
from seeder.cluster.members import Membership
from seeder.cluster.scripts import ENTRIES
from seeder.cluster.store import Store, listed, numbered, reason_of, texted
from seeder.config.added import MOST_ADDED, REMOVALS_KEPT, Addition, EntryName, read_addition
from seeder.config.fields import SourceFile
from seeder.errors import StoreAway
from seeder.files import parse_json
from seeder.net.slices import Slices

_LOG = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks for what others have told."""
BATCH = 300
"""Entries that are told and read at a time: some milliseconds of Redis' time."""
FAREWELL = 1.0
"""Seconds in which a node that stops may tell what is left."""
_KEPT = 7 * 86_400
"""Seconds after which the store forgets the entries of a cluster that has ended."""


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
        self._store = store
        self._keys = [keys.entries, keys.entry_changes, keys.entry_ends]
        self._health = health
        self._ours: Mapping[EntryName, Addition] = {}
        self._untold: dict[EntryName, Addition] = {}
        self._after = 0
        """The number of the last change that was read."""
        self._news: dict[EntryName, Addition] = {}
        self._doubted = False
        self._hurried = trio.Event()
        self._heard = trio.Event()
        membership.era_listeners.append(self._begin_anew)

    def share(self, ours: Mapping[EntryName, Addition]) -> None:
        """Have the others know all that this node has, which is looked up again when needed."""
        self._ours = ours
        self._begin_anew()

    def tell(self, said: Iterable[Addition]) -> None:
        """Have the others know what was said at this node."""
        self._untold.update((each.name, each) for each in said)
        self._hurried.set()

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
        self._untold = dict(self._ours)

    async def _try_exchange(self) -> None:
        try:
            while await self._exchange():
                pass
        except (StoreAway, ValueError) as error:
            # It may come back with less than it had.
            self._begin_anew()
            self._health.failed("entries", reason_of(error))
        else:
            self._health.works("entries")

    async def _exchange(self) -> bool:
        """Tell and hear a batch; return whether there is more. StoreAway, ValueError."""
        told = dict(islice(self._untold.items(), BATCH))
        reply = listed(
            await self._store.run(
                ENTRIES,
                self._keys,
                (
                    self._after,
                    BATCH,
                    2 * MOST_ADDED,
                    _KEPT,
                    REMOVALS_KEPT,
                    *(part for each in told.values() for part in _written(each)),
                ),
            )
        )
        top, last, entries = reply
        if numbered(top) < self._after:
            # Redis was started with what it had some time ago.
            self._begin_anew()
            return True
        for name, each in told.items():
            if self._untold.get(name) is each:
                del self._untold[name]
        found = [texted(part) for part in listed(entries)]
        await self._hear(found)
        self._after = numbered(last)
        return bool(self._untold) or len(found) == BATCH

    async def _hear(self, lines: Iterable[bytes]) -> None:
        slices = Slices()
        for line in lines:
            try:
                each = read_addition(parse_json(line), self._source)
            except ValueError as error:
                if not self._doubted:
                    _LOG.warning("entries: the store of the cluster has what is none: %s", error)
                self._doubted = True
                continue
            known = self._news.get(each.name) or self._ours.get(each.name)
            if each.is_newer(known):
                self._news[each.name] = each
                self._heard.set()
            if slices.is_over:
                await slices.turn()


def _written(addition: Addition) -> tuple[bytes, int, int, bytes]:
    """Return an addition as the store has it: its name, its time, whether it is gone, its line."""
    ref, is_followed = addition.name
    name = json.dumps([ref.origin, ref.bucket, ref.key, ref.version_id, is_followed])
    return name.encode(), addition.at, int(addition.entry is None), addition.line()

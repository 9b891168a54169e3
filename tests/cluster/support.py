"""Nodes of a cluster, as far as this room goes."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import trio
import trio.testing

from seeder.cluster.cluster import Cluster, make_cluster
from seeder.cluster.store import Store
from seeder.config.node import ClusterSettings
from seeder.errors import StoreAway
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceReply, AnnounceRequest
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from tests.tracker.announcing import Ledger

POLICY = SwarmPolicy()


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A node that runs until `stop`, or until the test ends."""

    cluster: Cluster
    scope: trio.CancelScope
    ended: trio.Event
    also: trio.CancelScope
    """Of what runs on it, and ends before it."""

    @property
    def names(self) -> tuple[str, ...]:
        return self.cluster.membership.names

    async def run_also(
        self,
        part: Callable[..., Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run a part of the node, which has started when it says so, until the node stops."""
        with self.also:
            await part(task_status=task_status)

    async def stop(self) -> None:
        """End it in good order."""
        self.also.cancel()
        await trio.testing.wait_all_tasks_blocked(0.01)
        self.scope.cancel()
        await self.ended.wait()


class Tracker:
    """A node's swarms, shared with the others' while the node runs."""

    def __init__(self, node: RunningNode, policy: SwarmPolicy) -> None:
        self.node = node
        self.swarms = Swarms(policy, OwnSeeder(6881), rng=random.Random(1))
        self.exchange = node.cluster.share(self.swarms)
        self.counts: dict[InfoHash, Ledger] = {}

    def open(self, info_hash: InfoHash, size: int = 1000) -> Ledger:
        """Open a torrent's swarm, as one that is served."""
        counts = self.counts.setdefault(info_hash, Ledger())
        self.swarms.open(info_hash, size=size, claims=counts)
        return counts

    def announce(
        self,
        info_hash: InfoHash,
        client: int,
        event: AnnounceEvent = AnnounceEvent.NONE,
        *,
        port: int = 7000,
        **request: Any,
    ) -> AnnounceReply:
        """Announce for the client of this number: it has an address and a peer id of its own."""
        source = bytes((10, *client.to_bytes(3, "big")))
        peer_id = b"-TT0000-%012d" % client
        request = {"left": 1000, "key": b"secret", **request}
        asked = AnnounceRequest(info_hash, peer_id, port, event=event, **request)
        return self.swarms.announce(asked, source, None, trio.current_time())

    def clients(self, info_hash: InfoHash) -> set[int]:
        """Return the numbers of the clients that are listed."""
        swarm = self.swarms._kept_swarm(info_hash)
        assert swarm is not None
        return {int.from_bytes(endpoint[1:4], "big") for endpoint in swarm.endpoints()}


class MakeTracker(Protocol):
    """Starts a node by this name, with swarms."""

    async def __call__(self, name: str, policy: SwarmPolicy = ..., **settings: Any) -> Tracker: ...


class MakeNode(Protocol):
    """Starts a node by this name; `state` names its state directory."""

    async def __call__(self, name: str, state: str = "", **settings: Any) -> RunningNode: ...


def make_node(url: str, nursery: trio.Nursery, directory: Path) -> MakeNode:
    """Return a maker of nodes that run in the nursery."""

    async def make(name: str, state: str = "", **settings: Any) -> RunningNode:
        settings = {"store": url, "name": name, **settings}
        cluster = make_cluster(ClusterSettings(**settings), "unnamed", directory / (state or name))
        assert cluster is not None
        scope, ended = trio.CancelScope(), trio.Event()

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            try:
                with scope:
                    await cluster.run(task_status=task_status)
            finally:
                ended.set()

        await nursery.start(run)
        return RunningNode(cluster, scope, ended, trio.CancelScope())

    return make


def make_tracker(node: MakeNode, nursery: trio.Nursery) -> MakeTracker:
    """Return a maker of nodes with swarms that run in the nursery."""

    async def make(name: str, policy: SwarmPolicy = POLICY, **settings: Any) -> Tracker:
        tracker = Tracker(await node(name, **settings), policy)
        nursery.start_soon(tracker.node.run_also, tracker.exchange.run)
        return tracker

    return make


class Unsteady:
    """A store that loses and doubles what is asked, by turns."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = 0

    async def run(self, *words: Any) -> Any:
        self._turn += 1
        if self._turn % 4 == 1:
            raise StoreAway("was lost on the way")
        reply = await self._store.run(*words)
        if self._turn % 4 == 2:
            raise StoreAway("its answer was lost on the way")
        if self._turn % 4 == 3:
            reply = await self._store.run(*words)
        return reply

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def until(condition: Callable[[], bool], what: str = "what was waited for") -> None:
    """Wait until a condition holds; AssertionError after a minute."""
    with trio.move_on_after(60):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert condition(), what

"""Nodes of a cluster, as far as this room goes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import trio

from seeder.cluster.cluster import Cluster, make_cluster
from seeder.config.sections import ClusterSettings


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A node that runs until `stop`, or until the test ends."""

    cluster: Cluster
    scope: trio.CancelScope
    ended: trio.Event

    @property
    def names(self) -> tuple[str, ...]:
        return self.cluster.membership.names

    async def stop(self) -> None:
        """End it in good order."""
        self.scope.cancel()
        await self.ended.wait()


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
        return RunningNode(cluster, scope, ended)

    return make


async def until(condition: Callable[[], bool], what: str = "what was waited for") -> None:
    """Wait until a condition holds; AssertionError after a minute."""
    with trio.move_on_after(60):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert condition(), what

"""A real Redis for each test that wants one, and nodes that share it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from seeder.cluster import exchange, mapping, members
from tests.cluster.lab import Wire
from tests.cluster.support import MakeNode, MakeTracker, make_node, make_tracker
from tests.support.redis import RedisServer


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nodes say more often that they are there."""
    monkeypatch.setattr(members, "BEAT", 0.05)
    monkeypatch.setattr(members, "SILENCE", 3.0)
    monkeypatch.setattr(exchange, "TELL_EVERY", 0.02)
    monkeypatch.setattr(exchange, "RETRY", 0.05)
    monkeypatch.setattr(exchange, "WAIT", 0.2)
    monkeypatch.setattr(mapping, "LOOK_EVERY", 0.05)


@pytest.fixture
def node(redis: RedisServer, nursery: trio.Nursery, tmp_path: Path) -> MakeNode:
    """Return a maker of nodes that take part in a cluster over that Redis."""
    return make_node(redis.url, nursery, tmp_path)


@pytest.fixture
def tracker(node: MakeNode, nursery: trio.Nursery) -> MakeTracker:
    """Return a maker of nodes with swarms."""
    return make_tracker(node, nursery)


@pytest.fixture
def wires(redis: RedisServer) -> Iterator[list[Wire]]:
    """Return three connections to that Redis, for nodes whose every step the test takes."""
    made = [Wire(redis.socket) for _ in range(3)]
    yield made
    for wire in made:
        wire.close()

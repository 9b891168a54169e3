"""What a node tells the others of is told once the store takes it, whatever came between."""

import pytest

from seeder.net.addresses import compact_endpoint
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest
from seeder.tracker.policy import SwarmPolicy
from tests.cluster.lab import LabNode, Wire

ONE = InfoHash(b"1" * 20)
HERE, VISITOR = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 7))


@pytest.fixture
def nodes(wires: list[Wire]) -> list[LabNode]:
    made = [
        LabNode(name, ("a", "b"), SwarmPolicy(), wire, {ONE: 1000}, 0.0)
        for name, wire in zip(("a", "b"), wires, strict=False)
    ]
    for node in made:
        node.at(1000.0)
        node.open()
        node.hear_time()
        node.hear()
        node.read()
    return made


def knows_visitor(node: LabNode) -> bool:
    return node.swarms._visits.of(ONE, VISITOR, 1000.0) is not None


@pytest.mark.parametrize("everything", [False, True])
def test_a_visit_that_the_store_did_not_take_is_told_later(
    nodes: list[LabNode], everything: bool
) -> None:
    first, second = nodes
    first.swarms.visited(ONE, VISITOR, 1, 1000.0)
    first.exchange._journal.everything = everything
    first.store.fate = ["lost"]
    first.tell()
    second.hear()
    assert not knows_visitor(second)
    assert first.exchange.untold == 1
    first.tell()
    second.hear()
    assert knows_visitor(second)
    assert first.exchange.untold == 0


def test_a_visit_while_the_store_is_away_is_told_with_the_one_before(nodes: list[LabNode]) -> None:
    first, _ = nodes
    for at_once in (1, 3):
        first.swarms.visited(ONE, VISITOR, at_once, 1000.0)
        first.store.fate = ["lost"]
        first.tell()
    [visit] = first.exchange._journal.take_visits()
    assert visit.at_once == 3


def test_a_peer_that_the_store_did_not_take_is_told_later(nodes: list[LabNode]) -> None:
    first, second = nodes
    request = AnnounceRequest(
        ONE, b"-TT0000-000000000001", 7000, 0, 10, event=AnnounceEvent.STARTED
    )
    first.announce(request, HERE)
    first.store.fate = ["lost"]
    first.tell()
    first.tell()
    second.hear()
    swarm = second.swarms._kept_swarm(ONE)
    assert swarm is not None
    assert list(swarm.endpoints()) == [compact_endpoint(HERE, 7000)]
    assert first.exchange.statistics.told == 1

"""Whatever becomes of the word that somebody completed, it is counted, and once; so are bytes."""

import pytest

from seeder.cluster import completions as shared
from seeder.net.addresses import compact_endpoint
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest
from seeder.tracker.owed import FIRST_PAUSE, LONGEST_PAUSE
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.sessions import session_name
from tests.cluster.lab import LabNode, Wire

ONE = InfoHash(b"1" * 20)
PORT = 7000
STARTED, COMPLETED, STOPPED = (
    AnnounceEvent.STARTED,
    AnnounceEvent.COMPLETED,
    AnnounceEvent.STOPPED,
)


class Pair:
    """Two nodes, and clients that announce at the first and that the second one counts."""

    def __init__(self, wires: list[Wire]) -> None:
        self.wire = wires[0]
        self.nodes = [
            LabNode(name, ("a", "b"), SwarmPolicy(), wire, {ONE: 1000}, skew)
            for name, wire, skew in zip(("a", "b"), wires, (0.0, 300.0), strict=False)
        ]
        self.first, self.second = self.nodes
        for node in self.nodes:
            node.at(1000.0)
            node.open()
            node.hear_time()
            node.hear()
            node.read()
        numbers = [number for number in range(100) if self.second.exchange.counts(name_of(number))]
        self.clients = numbers[:10]
        assert len(self.clients) == 10

    def say(
        self,
        client: int,
        event: AnnounceEvent,
        left: int = 0,
        *,
        downloaded: int = 1000,
        node: int = 0,
    ) -> None:
        request = AnnounceRequest(
            ONE, peer_id(client), PORT, downloaded=downloaded, left=left, event=event, key=b"k"
        )
        self.nodes[node].announce(request, bytes((10, 0, client, 1)))

    def later(self, seconds: float) -> None:
        for node in self.nodes:
            node.at(node.true + seconds)

    def settle(self) -> None:
        """Have both tell and hear all that there is, when all that was lost is due again."""
        self.later(LONGEST_PAUSE)
        for _ in range(3):
            for node in self.nodes:
                node.tell()
            for node in self.nodes:
                node.hear()
                node.read()

    def counted(self) -> tuple[int, int]:
        """Return what each has counted."""
        return self.first.counts[ONE].completions, self.second.counts[ONE].completions


def peer_id(client: int) -> bytes:
    return b"-TT0000-%012d" % client


def name_of(client: int) -> bytes:
    return session_name(peer_id(client), b"k", compact_endpoint(bytes((10, 0, client, 1)), PORT))


@pytest.fixture
def pair(wires: list[Wire]) -> Pair:
    return Pair(wires)


@pytest.mark.parametrize("loss", ["FLUSHALL", "XTRIM seeder:news MAXLEN 0"])
def test_what_redis_took_and_lost_is_told_again_and_counted_once(pair: Pair, loss: str) -> None:
    for client in pair.clients:
        pair.say(client, COMPLETED)
    pair.first.tell()
    pair.wire.ask(*loss.split())
    pair.second.exchange._unsure = True
    pair.second.hear()
    pair.second.read()
    assert pair.counted() == (0, 0)
    pair.settle()
    assert pair.counted() == (0, 10)
    assert pair.first.exchange.untold == pair.second.exchange.untold == 0
    pair.settle()
    assert pair.counted() == (0, 10)
    counts = [node.swarms.counts(ONE).downloaded for node in pair.nodes]
    assert counts == [10, 10]


def test_who_completed_and_went_before_anybody_heard_of_it_counts_once(pair: Pair) -> None:
    for number, client in enumerate(pair.clients):
        pair.say(client, COMPLETED)
        if number % 2:
            pair.say(client, STARTED, left=1000)
        pair.say(client, STOPPED, left=number % 3)
    pair.first.tell()
    pair.wire.ask("FLUSHALL")
    pair.settle()
    assert pair.counted() == (0, 10)
    for client in pair.clients:
        pair.say(client, COMPLETED)
    pair.settle()
    assert pair.counted() == (0, 10)


@pytest.mark.parametrize("fate", ["lost", "unanswered", "doubled", "late"])
def test_what_becomes_of_the_word_or_of_its_answer_changes_nothing(pair: Pair, fate: str) -> None:
    for client in pair.clients[:5]:
        pair.say(client, COMPLETED)
    pair.first.store.fate[:] = [fate]
    pair.first.tell()
    for node in pair.nodes:
        node.hear()
        node.read()
    pair.second.store.fate[:] = [fate]
    pair.second.tell()
    pair.settle()
    for node in pair.nodes:
        node.store.deliver()
    pair.settle()
    assert pair.counted() == (0, 5)
    assert pair.first.exchange.untold == 0


def test_who_is_left_counts_what_it_heard_when_the_other_is_gone(pair: Pair) -> None:
    for client in pair.clients:
        pair.say(client, COMPLETED)
    pair.first.tell()
    pair.first.members.names = ("a",)
    pair.later(FIRST_PAUSE)
    pair.first.tell()
    assert pair.counted() == (10, 0)
    assert pair.first.exchange.untold == 0


def test_what_is_owed_outlasts_a_restart_of_who_heard_it(pair: Pair) -> None:
    for client in pair.clients:
        pair.say(client, COMPLETED)
        pair.say(client, STOPPED)
    pair.first.store.fate[:] = ["lost"]
    pair.first.tell()
    pair.first.restart(5.0, -99.0)
    pair.settle()
    assert pair.counted() == (0, 10)
    assert pair.first.exchange.untold == 0


def test_many_more_than_a_batch_are_counted(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "BATCH", 3)
    for client in pair.clients:
        pair.say(client, COMPLETED)
    pair.settle()
    assert pair.counted() == (0, 10)
    assert pair.first.exchange.untold == 0


def test_an_older_word_is_of_no_download_that_began_since(pair: Pair) -> None:
    client = pair.clients[0]
    pair.say(client, COMPLETED)
    pair.later(60)
    pair.say(client, STARTED, left=1000, downloaded=300, node=1)
    pair.settle()
    assert pair.second.counts[ONE].delivered == 0
    pair.say(client, AnnounceEvent.NONE, left=500, downloaded=500, node=1)
    assert pair.second.counts[ONE].delivered == 200

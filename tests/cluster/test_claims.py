"""Whatever becomes of the word that somebody completed, or has some bytes, it is counted once."""

import pytest

from seeder.cluster import claims as shared
from seeder.cluster import records
from seeder.net.addresses import compact_endpoint
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest
from seeder.tracker.owed import RETOLD_AFTER, RETOLD_AT_LATEST
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.sessions import session_name
from tests.cluster.lab import LabNode, Wire

ONE = InfoHash(b"1" * 20)
PORT = 7000
NONE, STARTED, COMPLETED, STOPPED = (
    AnnounceEvent.NONE,
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

    def settle_after(self, fate: str) -> None:
        """Have the next word of the second node meet a fate, then tell and hear all."""
        for node in self.nodes:
            node.hear()
            node.read()
        self.second.store.fate[:] = [fate]
        self.second.tell()
        self.settle()
        for node in self.nodes:
            node.store.deliver()
        self.settle()

    def settle(self) -> None:
        """Have both tell and hear all that there is, when all that was lost is due again.

        Who has to read all first hears it when it is due once more.
        """
        for _ in range(2):
            self.later(RETOLD_AT_LATEST)
            self._exchange()

    def _exchange(self) -> None:
        for _ in range(3):
            for node in self.nodes:
                node.tell()
            for node in self.nodes:
                node.hear()
                node.read()

    def counted(self) -> tuple[int, int]:
        """Return how many completions each has counted."""
        return self.first.counts[ONE].completions, self.second.counts[ONE].completions

    def delivered(self) -> tuple[int, int]:
        """Return how many bytes each has counted."""
        return self.first.counts[ONE].delivered, self.second.counts[ONE].delivered

    def begin(self) -> None:
        """Have all clients begin, and both nodes know that."""
        for client in self.clients:
            self.say(client, STARTED, left=1000, downloaded=0)
        self.settle()

    def have(self, downloaded: int, *, node: int = 0) -> None:
        """Have all clients say how many bytes they have."""
        for client in self.clients:
            self.say(client, NONE, left=1000 - downloaded, downloaded=downloaded, node=node)


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
    pair.settle_after(fate)
    assert pair.counted() == (0, 5)
    assert pair.first.exchange.untold == 0


def test_who_is_left_counts_what_it_heard_when_the_other_is_gone(pair: Pair) -> None:
    for client in pair.clients:
        pair.say(client, COMPLETED)
    pair.first.tell()
    pair.first.members.names = ("a",)
    pair.later(RETOLD_AFTER)
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


def test_who_was_forgotten_and_completes_again_isnt_settled_by_the_word_of_before(
    pair: Pair,
) -> None:
    pair.begin()
    for client in pair.clients:
        pair.say(client, COMPLETED)
    pair.first.tell()
    pair.second.hear()
    # The first doesn't hear that it is settled, and hardly anything else, before all are forgotten.
    pair.second.tell()
    assert pair.counted() == (0, 10)
    pair.later(pair.first.policy.expiry + 60.0)
    for node in pair.nodes:
        assert sum(node.swarms.expire(node.clock.now)) == 10
    for client in pair.clients:
        pair.say(client, STARTED, left=1000, downloaded=0)
        pair.say(client, COMPLETED)
    assert pair.first.exchange.untold > 0
    pair.first.hear()
    pair.settle()
    assert pair.counted() == (0, 20)
    assert pair.delivered() == (0, 20_000)
    assert pair.first.exchange.untold == 0


def test_a_completion_is_settled_by_a_node_that_doesnt_say_when_it_was_said(pair: Pair) -> None:
    for client in pair.clients:
        pair.say(client, COMPLETED)
    settled = records.join((ONE + name_of(client), b"") for client in pair.clients)
    pair.first.store.fate[:] = ["lost"]
    pair.first.tell()
    pair.wire.ask("XADD", "seeder:news", "*", "n", "x", "d", settled)
    pair.first.hear()
    assert len(pair.first.exchange._journal.owed) == 0


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
    pair.say(client, NONE, left=500, downloaded=500, node=1)
    assert pair.second.counts[ONE].delivered == 200


@pytest.mark.parametrize("loss", ["FLUSHALL", "XTRIM seeder:news MAXLEN 0"])
def test_bytes_in_words_that_redis_took_and_lost_are_told_again_and_counted_once(
    pair: Pair, loss: str
) -> None:
    pair.begin()
    pair.have(300)
    pair.first.tell()
    pair.wire.ask(*loss.split())
    # Nobody says that it was lost, as after a failover to a replica that lagged.
    pair.have(700)
    pair.first.tell()
    pair.wire.ask(*loss.split())
    pair.second.exchange._unsure = True
    for _ in range(2):
        pair.settle()
        assert pair.delivered() == (0, 7000)
        assert pair.first.exchange.untold == pair.second.exchange.untold == 0
    pair.have(1000)
    pair.have(1000, node=1)
    pair.settle()
    assert pair.delivered() == (0, 10_000)


def test_bytes_that_only_the_stored_peers_tell_of_are_counted_when_they_are_told_as_owed(
    pair: Pair,
) -> None:
    pair.begin()
    pair.later(1000.0)
    pair.have(300)
    pair.first.tell()
    pair.wire.ask("XTRIM", "seeder:news", "MAXLEN", "0")
    pair.second.exchange._wants_all = True
    pair.second.hear()
    pair.second.read()
    assert pair.delivered() == (0, 0)
    # What is between is known as a gap, over a restart too, and what is beyond it counts at once.
    pair.have(700, node=1)
    assert pair.delivered() == (0, 4000)
    pair.second.restart(5.0, -99.0)
    pair.second.hear()
    pair.second.read()
    pair.settle()
    assert pair.delivered() == (0, 7000)
    pair.first.exchange._claims.begin_anew()
    pair.settle()
    assert pair.delivered() == (0, 7000)


@pytest.mark.parametrize("fate", ["lost", "unanswered", "doubled", "late"])
def test_what_becomes_of_the_word_of_bytes_or_of_its_answer_changes_nothing(
    pair: Pair, fate: str
) -> None:
    pair.begin()
    pair.have(300)
    pair.first.store.fate[:] = [fate]
    pair.first.tell()
    pair.have(200, node=1)
    pair.settle_after(fate)
    assert pair.delivered() == (0, 3000)
    assert pair.first.exchange.untold == 0


def test_bytes_owed_to_a_node_that_is_gone_are_counted_by_who_heard_them(pair: Pair) -> None:
    pair.begin()
    pair.have(300)
    pair.first.tell()
    pair.first.members.names = ("a",)
    pair.later(RETOLD_AFTER)
    pair.first.tell()
    assert pair.delivered() == (3000, 0)
    assert pair.first.exchange.untold == 0


def test_bytes_that_are_owed_outlast_a_restart_of_who_heard_them(pair: Pair) -> None:
    pair.begin()
    pair.have(300)
    pair.first.store.fate[:] = ["lost"]
    pair.first.tell()
    pair.first.restart(5.0, -99.0)
    pair.have(500)
    pair.settle()
    assert pair.delivered() == (0, 5000)
    assert pair.first.exchange.untold == 0


def test_who_begins_anew_at_another_node_is_counted_from_there(pair: Pair) -> None:
    pair.begin()
    pair.have(300, node=1)
    pair.settle()
    assert pair.delivered() == (0, 3000)
    for client in pair.clients:
        pair.say(client, STARTED, left=1000, downloaded=0)
    pair.first.tell()
    pair.wire.ask("FLUSHALL")
    pair.settle()
    pair.have(200)
    pair.settle()
    # In one download no more than the object's size.
    pair.have(1500, node=1)
    pair.settle()
    assert pair.delivered() == (0, 3000 + 10_000)
    assert pair.first.exchange.untold == 0


def test_a_node_that_doesnt_know_of_a_new_beginning_tells_no_more_than_the_client_says(
    pair: Pair,
) -> None:
    pair.begin()
    pair.have(300)
    pair.settle()
    pair.later(10.0)
    for client in pair.clients:
        pair.say(client, STARTED, left=1000, downloaded=0, node=1)
    pair.later(1.0)
    for client in pair.clients:
        pair.say(client, STOPPED, left=1000, downloaded=0)
    pair.settle()
    assert pair.delivered() == (0, 3000)


def test_nor_does_it_claim_what_the_client_had_before_a_new_beginning(pair: Pair) -> None:
    pair.begin()
    pair.have(300)
    pair.first.store.fate[:] = ["lost"]
    pair.first.tell()
    pair.later(10.0)
    for client in pair.clients:
        pair.say(client, STARTED, left=1000, downloaded=0, node=1)
    pair.later(1.0)
    for downloaded in (0, 200):
        pair.have(downloaded)
    pair.settle()
    assert pair.delivered() == (0, 2000)


def began_anew_with_some(pair: Pair, node: int) -> None:
    """Have all clients have 900 bytes, then begin anew with 500; the first node knew of 300."""
    pair.begin()
    pair.have(300)
    pair.settle()
    pair.have(900, node=1)
    assert pair.delivered() == (0, 9000)
    pair.later(10.0)
    for client in pair.clients:
        pair.say(client, STARTED, left=1000, downloaded=500, node=node)
    pair.later(2.0)


def test_who_begins_anew_with_some_at_a_node_that_knew_of_less_is_counted_from_there(
    pair: Pair,
) -> None:
    began_anew_with_some(pair, 0)
    pair.settle()
    assert pair.delivered() == (0, 9000)
    pair.later(10.0)
    pair.have(700)
    pair.settle()
    assert pair.delivered() == (0, 11_000)
    assert pair.first.exchange.untold == 0


@pytest.mark.parametrize("restarts", [False, True])
def test_a_node_that_doesnt_know_that_it_began_anew_with_some_claims_nothing_below(
    pair: Pair, restarts: bool
) -> None:
    began_anew_with_some(pair, 1)
    pair.have(400)
    pair.first.tell()
    pair.second.hear()
    pair.have(700)
    if restarts:
        pair.second.restart(0.0, 0.0)
    pair.settle()
    assert pair.delivered() == (0, 11_000)
    assert pair.first.exchange.untold == 0


def told_by_the_first(pair: Pair) -> set[int]:
    """Return how many bytes the first node tells that the clients have."""
    swarm = pair.first.swarms._kept_swarm(ONE)
    assert swarm is not None
    told = [swarm.tell(endpoint, NONE) for endpoint in swarm.endpoints()]
    assert len(told) == len(pair.clients)
    return {each.downloaded for each in told if each is not None}


def test_a_node_tells_no_more_than_a_client_said_last_elsewhere(pair: Pair) -> None:
    pair.begin()
    pair.have(900)
    pair.settle()
    pair.later(10.0)
    for client in pair.clients:
        pair.say(client, STARTED, left=1000, downloaded=500, node=1)
    pair.second.tell()
    # That it was the start is lost, too.
    pair.wire.ask("FLUSHALL")
    for node in pair.nodes:
        node.exchange._begin_anew()
    pair.settle()
    assert told_by_the_first(pair) == {500}


def test_what_the_stored_peers_tell_from_before_is_not_told_as_if_it_were_said_now(
    pair: Pair,
) -> None:
    for client in pair.clients:
        pair.say(client, STARTED, left=1000, downloaded=900, node=1)
    pair.second.tell()
    pair.later(10.0)
    for client in pair.clients:
        pair.say(client, STARTED, left=1000, downloaded=0)
    pair.first.exchange._wants_all = True
    pair.first.read()
    assert told_by_the_first(pair) == {0}


def test_who_starts_once_more_with_what_it_had_is_owed_what_it_was(pair: Pair) -> None:
    pair.begin()
    pair.have(600)
    pair.later(10.0)
    for client in pair.clients:
        pair.say(client, STARTED, left=400, downloaded=600)
        # Nobody hears more of it than what is owed: another one is in its place.
        request = AnnounceRequest(ONE, peer_id(500 + client), PORT, left=1000, key=b"other")
        pair.first.announce(request, bytes((10, 0, client, 1)))
    pair.settle()
    assert pair.delivered() == (0, 6000)


def test_what_the_stored_peers_tell_of_a_former_download_hides_nothing_of_the_next(
    pair: Pair,
) -> None:
    pair.begin()
    pair.later(1000.0)
    pair.have(800)
    pair.settle()
    assert pair.delivered() == (0, 8000)
    pair.later(10.0)
    for client in pair.clients:
        pair.say(client, STARTED, left=1000, downloaded=0)
    # It reads what was stored before that.
    pair.first.exchange._wants_all = True
    pair.first.read()
    pair.have(500)
    pair.settle()
    assert pair.delivered() == (0, 13_000)


# Sequences that the state machine of all nodes found (test_exchange_model.py).


def test_a_new_beginning_that_another_node_told_of_counts_from_there(pair: Pair) -> None:
    pair.begin()
    pair.have(300, node=1)
    pair.later(10.0)
    for client in pair.clients:
        pair.say(client, STARTED, left=1000, downloaded=0)
    pair.first.tell()
    pair.second.hear()
    pair.have(200, node=1)
    assert pair.delivered() == (0, 5000)


def test_a_new_beginning_that_is_told_again_counts_nothing_anew(pair: Pair) -> None:
    pair.begin()
    pair.later(10.0)
    # It had nothing yet, which only the other node knows.
    for client in pair.clients:
        pair.say(client, STARTED, left=1000, downloaded=0)
    pair.later(10.0)
    pair.have(1000, node=1)
    pair.have(1000)
    pair.settle()
    assert pair.delivered() == (0, 10_000)


def test_bytes_of_a_client_whose_place_another_one_took_are_counted(pair: Pair) -> None:
    pair.begin()
    pair.have(600)
    pair.later(1.0)
    for client in pair.clients:
        request = AnnounceRequest(ONE, peer_id(500 + client), PORT, left=1000, key=b"other")
        pair.second.announce(request, bytes((10, 0, client, 1)))
    pair.settle()
    assert pair.delivered() == (0, 6000)


def test_in_good_times_bytes_are_told_once_and_settled(pair: Pair) -> None:
    pair.begin()
    pair.later(1000.0)
    pair.have(300)
    before = pair.first.exchange._journal.owed_bytes
    assert len(before) == len(pair.clients)
    pair.first.tell()
    pair.second.hear()
    pair.second.tell()
    pair.first.hear()
    assert pair.first.exchange.untold == 0
    assert pair.delivered() == (0, 3000)


@pytest.mark.parametrize("field", ["g", "s", "d"])
@pytest.mark.parametrize(
    "pair_of",
    [
        (b"x", b"y"),
        (bytes(26), bytes(16)),
        (bytes(26), bytes(8) + b"\xff" * 8 + bytes(37)),
        (bytes(49), bytes(23)),
    ],
)
def test_nonsense_for_claims_in_redis_is_damage_and_no_more(
    pair: Pair, field: str, pair_of: tuple[bytes, bytes]
) -> None:
    pair.begin()
    pair.have(300)
    pair.wire.ask("XADD", "seeder:news", "*", "n", "x", field, records.join([pair_of]))
    pair.settle()
    assert pair.delivered() == (0, 3000)
    assert pair.second.exchange.statistics.damaged == 1

"""One state machine for the swarms, run against one node in memory and several over a real Redis.

Whoever announces tells a plain tracker the same (`plain.py`), and what the nodes list and count is
compared with that. What both can be told stands here; each backing adds what only it has: the one
in memory is compared after every step, also in whom it hands out, and those over Redis once all
that was lost, doubled or late has been heard.
"""

from abc import abstractmethod
from collections.abc import Iterable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest
from seeder.tracker.policy import SwarmPolicy
from tests.tracker.announcing import Ledger
from tests.tracker.plain import PlainSwarm

SIZES = {InfoHash(b"a" * 20): 1024, InfoHash(b"b" * 20): 4096}
"""Of the torrents that both backings have."""
NODES = 3
"""Among how many nodes the announces are spread, where there are several."""
PORT = 7000
EVENTS = (
    AnnounceEvent.NONE,
    AnnounceEvent.NONE,
    AnnounceEvent.STARTED,
    AnnounceEvent.COMPLETED,
    AnnounceEvent.PAUSED,
)
hashes = st.sampled_from(sorted(SIZES))
clients = st.integers(0, 7)
nodes = st.integers(0, NODES - 1)


class SwarmMachine(RuleBasedStateMachine):
    """Nodes, and a plain tracker that is told the same."""

    plain: dict[InfoHash, PlainSwarm]
    is_forgetful = False
    """Whether there were more clients to remember than there is room for."""
    only_starts_go_back = False
    """Whether a client that has less than it had says that it started."""

    # -- what a backing does

    @abstractmethod
    def tell(self, request: AnnounceRequest, source: bytes, number: int) -> None:
        """Announce at a node, and to the plain tracker."""

    @abstractmethod
    def let_pass(self, seconds: float) -> None:
        """Let time pass, and whoever fell silent go, here and there."""

    @abstractmethod
    def policies(self) -> Iterable[tuple[SwarmPolicy, dict[InfoHash, set[bytes]]]]:
        """Yield each node's policy, and whom it lists."""

    @abstractmethod
    def accounts(self, info_hash: InfoHash) -> Iterable[Ledger]:
        """Yield what each node has counted."""

    def hear_all(self) -> None:
        """Have every node know what has been announced so far."""

    # -- clients

    @rule(
        number=nodes,
        info_hash=hashes,
        client=clients,
        run=st.integers(0, 1),
        event=st.sampled_from(EVENTS),
        left=st.sampled_from([0, 1]),
        downloaded=st.sampled_from([0, 300, 1024, 4096]),
    )
    def announce(
        self,
        *,
        number: int,
        info_hash: InfoHash,
        client: int,
        run: int,
        event: AnnounceEvent,
        left: int,
        downloaded: int,
    ) -> None:
        """A client with an endpoint of its own announces, perhaps started anew."""
        if event is AnnounceEvent.COMPLETED:
            left, downloaded = 0, max(downloaded, SIZES[info_hash])
        peer_id, key = b"-TT0000-%d%011d" % (run, client), b"key%d" % run
        known = self.plain[info_hash].clients.get((peer_id, key))
        if known is not None and self.only_starts_go_back and not event.starts:
            downloaded = max(downloaded, known.high)
        request = AnnounceRequest(
            info_hash,
            peer_id,
            PORT,
            downloaded=downloaded,
            left=left,
            event=event,
            key=key,
        )
        self.tell(request, bytes((10, 0, client, 1)), number)

    @rule(
        numbers=st.permutations(range(NODES)),
        info_hash=hashes,
        client=clients,
        moments=st.lists(st.sampled_from([300, 700, 1024, 2500, 4096]), min_size=1, max_size=3),
    )
    def download(
        self, numbers: list[int], info_hash: InfoHash, client: int, moments: list[int]
    ) -> None:
        """A client starts at one node and completes at another, telling each how far it is."""
        size = SIZES[info_hash]
        done = [0, *(min(each, size) for each in sorted(moments)), size]
        for turn, downloaded in enumerate(done):
            event = AnnounceEvent.NONE
            if turn in (0, len(done) - 1):
                event = AnnounceEvent.COMPLETED if turn else AnnounceEvent.STARTED
            number, left = numbers[turn % len(numbers)], size - downloaded
            self.announce(
                number=number,
                info_hash=info_hash,
                client=client,
                run=0,
                event=event,
                left=left,
                downloaded=downloaded,
            )
            if turn == 0:
                self.hear_all()

    @precondition(lambda self: any(swarm.peers for swarm in self.plain.values()))
    @rule(number=nodes, which=st.integers(0, 99))
    def stop(self, number: int, which: int) -> None:
        """A client stops, perhaps at a node that hasn't heard of it yet."""
        listed = [(h, e, p) for h, swarm in self.plain.items() for e, p in swarm.peers.items()]
        info_hash, endpoint, peer = listed[which % len(listed)]
        peer_id, key = peer.client
        request = AnnounceRequest(
            info_hash,
            peer_id,
            int.from_bytes(endpoint[-2:], "big"),
            downloaded=self.plain[info_hash].clients[peer.client].high,
            left=0 if peer.complete else 1,
            event=AnnounceEvent.STOPPED,
            key=b"" if key.startswith(b"@") else key,
        )
        self.tell(request, endpoint[:-2], number)

    # -- time

    @rule(part=st.sampled_from([0.003, 0.1, 0.52, 1.001]))
    def expire(self, part: float) -> None:
        """Let a part pass of the time for which a silent peer is kept."""
        expiry = max(policy.expiry for policy, _ in self.policies())
        if part > 0.5:
            # What isn't told for so long is lost, and was said to be: who was heard of so is gone.
            self.hear_all()
        self.let_pass(part * expiry)

    # -- what always holds

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        for info_hash, swarm in self.plain.items() if hasattr(self, "plain") else ():
            accounts = [*self.accounts(info_hash)]
            if not self.is_forgetful:
                claimed = sum(each.delivered for each in accounts)
                assert claimed <= swarm.bytes.most * swarm.size + 0.5
                assert sum(each.completions for each in accounts) <= swarm.completions.most

    @invariant()
    def nothing_is_above_its_cap(self) -> None:
        for policy, listed in self.policies() if hasattr(self, "plain") else ():
            assert sum(map(len, listed.values())) <= policy.peers
            assert max(map(len, listed.values())) <= policy.peers_per_swarm

"""What is delivered, verified, against the truth: of an honest swarm, and of one with liars in it.

Every honest client has an address of its own and says what it has; liars say anything, come back as
often as they like, and download too. The bounds are those of seeder/ledger/spread.py.
"""

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from seeder.ledger.counters import Tally
from seeder.ledger.delivery import Overlap
from seeder.ledger.spread import REMEMBERED_FOR, Spreads
from seeder.peer.progress import PeerProgress
from seeder.torrent.torrent import Torrent
from seeder.upload.plans import SuperSeeds
from seeder.upload.uploads import Uploads
from tests.peer.node import make_data, make_torrent

BLOCK = 10
TORRENT = make_torrent(make_data(2 * 2 * BLOCK + BLOCK), 2 * BLOCK)
LAYOUT = TORRENT.layout
BLOCKS = [
    (piece, block)
    for piece in range(LAYOUT.piece_count)
    for block in range(LAYOUT.piece_size(piece) // BLOCK)
]
HONEST = [bytes([192, 0, 2, number]) for number in range(3)]
LIARS = [bytes([198, 51, 100, number]) for number in range(3)]

pieces = st.integers(0, LAYOUT.piece_count - 1)
honest = st.integers(0, len(HONEST) - 1)
liars = st.integers(0, len(LIARS) - 1)
bitfields = st.booleans() | st.integers(0, 2**LAYOUT.piece_count - 1).map(
    lambda bits: (bits << 8 - LAYOUT.piece_count).to_bytes(1)
)


class Viewer:
    def show(self, indices: list[int]) -> None:
        raise AssertionError("nothing is shown without super-seeding")


class Client:
    """An honest client: what it has, and its connection to us."""

    def __init__(self, address: bytes) -> None:
        self.address = address
        self.blocks: dict[tuple[int, int], bool] = {}
        """Those that it has, and whether they came from us."""
        self.said: set[int] = set()
        """Pieces that we have heard of since we were started."""
        self.session: PeerProgress | None = None

    def has(self, piece: int) -> bool:
        return all(each in self.blocks for each in BLOCKS if each[0] == piece)

    @property
    def partly(self) -> list[int]:
        return [piece for piece in range(LAYOUT.piece_count) if not self.has(piece)]

    def lacks(self) -> list[tuple[int, int]]:
        return [each for each in BLOCKS if each not in self.blocks]

    def bytes_of(self, pieces: Iterable[int], *, ours: bool) -> int:
        of = set(pieces)
        return sum(
            BLOCK for each, from_us in self.blocks.items() if each[0] in of and from_us is ours
        )


@dataclass
class Books:
    """What progress asks of the uploads."""

    tally: Tally
    overlap: Overlap
    spreads: Spreads
    super_seeds: SuperSeeds = field(
        default_factory=lambda: SuperSeeds(
            enabled=False,
            other_seeds=lambda _: 0,
            cache_bytes=0,
            held=lambda _: frozenset(),
            rng=random.Random(0),
        )
    )

    def account(self, torrent: Torrent) -> Tally:
        return self.tally

    def doubt(self, torrent: Torrent, index: int, *, wanted: bool) -> None: ...


class HonestSwarm(RuleBasedStateMachine):
    """Clients that tell the truth get blocks from us, from each other and by HTTP."""

    def __init__(self) -> None:
        super().__init__()
        self.tally = Tally()
        self.clients = [Client(address) for address in HONEST]
        self.now = 0.0
        self.copies = 0
        """How often an address came that isn't remembered."""
        self.addresses: set[bytes] = set()
        self.slack = 0
        """Bytes of pieces sent in part to who comes back after a restart, or more than a day."""
        self.unseen = 0
        """Bytes that clients had from others who were forgotten before the piece was complete."""
        self.start()

    def start(self) -> None:
        self.overlap, self.spreads = Overlap(), Spreads()
        self.left_at: dict[bytes, float] = {}
        self.present: dict[bytes, int] = defaultdict(int)

    def join(self, address: bytes) -> PeerProgress:
        if not self.is_remembered(address):
            self.copies += 1
        self.present[address] += 1
        self.addresses.add(address)
        return PeerProgress(
            TORRENT,
            Viewer(),
            cast(Uploads, Books(self.tally, self.overlap, self.spreads)),
            availability=None,
            group=address,
            now=self.now,
        )

    def is_remembered(self, address: bytes) -> bool:
        left_at = self.left_at.get(address, -REMEMBERED_FOR)
        return bool(self.present[address]) or self.now - left_at < REMEMBERED_FOR

    def leave(self, address: bytes, session: PeerProgress) -> None:
        session.leave(self.now)
        self.present[address] -= 1
        self.left_at[address] = self.now

    def send_over_http(self, address: bytes, piece: int) -> None:
        wanted = LAYOUT.piece_range(piece)
        count = wanted.stop - wanted.start
        self.tally.uploaded(count)
        new = self.overlap.sent(TORRENT.info_hash, address, LAYOUT, wanted.start, count)
        self.tally.delivered_verified(new)

    # -- what clients do

    @precondition(lambda self: self.clients)
    @rule(number=honest)
    def come(self, number: int) -> None:
        client = self.clients[number % len(self.clients)]
        if client.session is None:
            before = self.copies
            client.session = self.join(client.address)
            if self.copies > before:
                self.slack += client.bytes_of(client.partly, ours=True)
            client.said |= {p for p in range(LAYOUT.piece_count) if client.has(p)}
            bits = sum(1 << 7 - piece for piece in client.said)
            client.session.arrived_with(bits.to_bytes(1), self.now)

    @precondition(lambda self: self.clients)
    @rule(number=honest)
    def go(self, number: int) -> None:
        client = self.clients[number % len(self.clients)]
        if client.session is not None:
            self.leave(client.address, client.session)
            client.session = None

    @precondition(lambda self: self.clients)
    @rule(number=honest)
    def come_back(self, number: int) -> None:
        self.go(number)
        self.come(number)

    @precondition(lambda self: self.clients)
    @rule(number=honest, data=st.data())
    def get_from_us(self, number: int, data: st.DataObject) -> None:
        client = self.clients[number % len(self.clients)]
        if client.session is not None and client.lacks():
            piece, block = data.draw(st.sampled_from(client.lacks()))
            client.session.sent(piece, BLOCK, self.now)
            client.blocks[piece, block] = True
            self.tell(client)

    @precondition(lambda self: self.clients)
    @rule(number=honest, piece=pieces)
    def get_a_piece_from_us(self, number: int, piece: int) -> None:
        client = self.clients[number % len(self.clients)]
        if client.session is not None:
            for each in client.lacks():
                if each[0] == piece:
                    client.session.sent(piece, BLOCK, self.now)
                    client.blocks[each] = True
            self.tell(client)

    @precondition(lambda self: self.clients)
    @rule(number=honest, other=honest, every=st.booleans(), data=st.data())
    def get_from_another(self, number: int, other: int, every: bool, data: st.DataObject) -> None:
        client = self.clients[number % len(self.clients)]
        source = self.clients[other % len(self.clients)]
        known = source.said if self.is_remembered(source.address) else ()
        gives = [each for each in client.lacks() if each[0] in known]
        if client.session is not None and gives:
            for each in gives if every else [data.draw(st.sampled_from(gives))]:
                client.blocks[each] = False
            self.tell(client)

    @precondition(lambda self: self.clients)
    @rule(number=honest, piece=pieces)
    def get_by_http(self, number: int, piece: int) -> None:
        client = self.clients[number % len(self.clients)]
        mine = [each for each in BLOCKS if each[0] == piece]
        if not any(each in client.blocks for each in mine):
            self.send_over_http(client.address, piece)
            client.blocks |= dict.fromkeys(mine, True)
            if client.session is not None:
                self.tell(client)

    def tell(self, client: Client) -> None:
        assert client.session is not None
        for piece in range(LAYOUT.piece_count):
            if piece not in client.said and client.has(piece):
                client.said.add(piece)
                client.session.gained(piece, self.now)

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        before = [client for client in self.clients if self.is_remembered(client.address)]
        self.now += hours * 3600
        if not all(self.is_remembered(client.address) for client in before):
            self.lose_sight()

    @rule()
    def restart(self) -> None:
        for client in self.clients:
            client.session, client.said = None, set()
        self.lose_sight()
        self.start()

    def lose_sight(self) -> None:
        """Let it be that who gave parts of pieces isn't known any more when they are complete."""
        self.unseen += sum(client.bytes_of(client.partly, ours=False) for client in self.clients)

    # -- what holds

    @property
    def verified(self) -> int:
        return self.tally.counters.delivered_verified_bytes

    @property
    def uploaded(self) -> int:
        return self.tally.counters.uploaded_bytes

    @property
    def truth(self) -> int:
        """Bytes that the clients got from us, and from others of pieces that they told us of."""
        every = range(LAYOUT.piece_count)
        return sum(
            client.bytes_of(every, ours=True)
            + client.bytes_of(filter(client.has, every), ours=False)
            for client in self.clients
        )

    @invariant()
    def nothing_is_credited_without_cause(self) -> None:
        assert self.verified <= self.uploaded * max(1, self.copies)
        if len(self.addresses) <= 1:
            assert self.verified <= self.uploaded


class HonestSwarmAlone(HonestSwarm):
    @invariant()
    def what_is_delivered_is_the_truth(self) -> None:
        assert self.truth - self.unseen <= self.verified <= self.truth + self.slack


class SwarmWithLiars(HonestSwarm):
    """Some say whatever they like, at addresses of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.liars = LIARS
        self.lying: list[tuple[bytes, PeerProgress]] = []
        self.lies = 0

    def start(self) -> None:
        super().start()
        self.lying = []

    @initialize(honest=st.integers(0, len(HONEST)), liars=st.integers(1, len(LIARS)))
    def choose(self, honest: int, liars: int) -> None:
        self.clients = self.clients[:honest]
        self.liars = LIARS[:liars]

    def let_in(self, number: int, pieces: bytes | bool) -> tuple[bytes, PeerProgress]:
        address, before = self.liars[number % len(self.liars)], self.copies
        session = self.join(address)
        self.lies += self.copies - before
        session.arrived_with(pieces, self.now)
        return address, session

    @rule(number=liars, pieces=bitfields)
    def a_liar_comes(self, number: int, pieces: bytes | bool) -> None:
        self.lying.append(self.let_in(number, pieces))

    @rule(number=liars, times=st.integers(1, 3))
    def a_liar_comes_back_again_and_again(self, number: int, times: int) -> None:
        for _ in range(times):
            address, session = self.let_in(number, False)
            session.grown_to(True, self.now)
            self.leave(address, session)

    @precondition(lambda self: self.lying)
    @rule(data=st.data(), pieces=st.lists(pieces, max_size=12))
    def a_liar_has(self, data: st.DataObject, pieces: list[int]) -> None:
        _, session = data.draw(st.sampled_from(self.lying))
        for piece in pieces:
            session.gained(piece, self.now)

    @precondition(lambda self: self.lying)
    @rule(data=st.data(), pieces=bitfields)
    def a_liar_grows(self, data: st.DataObject, pieces: bytes | bool) -> None:
        _, session = data.draw(st.sampled_from(self.lying))
        session.grown_to(pieces, self.now)

    @precondition(lambda self: self.lying)
    @rule(data=st.data(), piece=pieces, times=st.integers(1, 4))
    def a_liar_downloads(self, data: st.DataObject, piece: int, times: int) -> None:
        _, session = data.draw(st.sampled_from(self.lying))
        for _ in range(times):
            session.sent(piece, BLOCK, self.now)

    @rule(number=liars, piece=pieces)
    def a_liar_downloads_over_http(self, number: int, piece: int) -> None:
        self.send_over_http(self.liars[number % len(self.liars)], piece)

    @precondition(lambda self: self.lying)
    @rule(data=st.data())
    def a_liar_leaves(self, data: st.DataObject) -> None:
        address, session = data.draw(st.sampled_from(self.lying))
        self.lying = [each for each in self.lying if each[1] is not session]
        self.leave(address, session)

    @rule(number=liars, hours=st.integers(23, 26))
    def a_liar_comes_back_tomorrow(self, number: int, hours: int) -> None:
        self.a_liar_comes_back_again_and_again(number, 1)
        self.wait(hours)
        self.a_liar_comes_back_again_and_again(number, 1)

    @invariant()
    def lies_add_a_copy_an_address_at_most(self) -> None:
        copy = min(LAYOUT.size, self.uploaded)
        every = range(LAYOUT.piece_count)
        others = sum(
            client.bytes_of(filter(client.has, every), ours=False) for client in self.clients
        )
        assert self.verified <= self.uploaded + others + self.slack + self.lies * copy
        ours = sum(client.bytes_of(every, ours=True) for client in self.clients)
        assert self.verified >= ours


class LyingAddress(SwarmWithLiars):
    """One address that lies, alone, on however many days."""

    @initialize()
    def choose(self) -> None:
        self.clients, self.liars = [], LIARS[:1]


TestHonestSwarm = HonestSwarmAlone.TestCase
TestSwarmWithLiars = SwarmWithLiars.TestCase
TestLyingAddress = LyingAddress.TestCase
_SETTINGS = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestHonestSwarm.settings = TestSwarmWithLiars.settings = TestLyingAddress.settings = _SETTINGS

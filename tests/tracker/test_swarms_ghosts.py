"""Peers that are announced and aren't there: whose places they take, and who hears of them."""

import random
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from seeder.net.addresses import compact_endpoint
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceReply, AnnounceRequest
from seeder.tracker.handout import OwnPlace
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from tests.tracker.announcing import LOCAL, OWN, OWN_PORT, SIZE, Ledger, packed

HASHES = [InfoHash(bytes([65 + number]) * 20) for number in range(6)]
PREFIX = packed("2001:db8:bad::")[:6]
OFFICE = packed("192.0.2.0")[:3]


def v6_ghosts() -> Iterator[tuple[bytes, int]]:
    """Yield endpoints of one /48, one of each /64, then the next ports."""
    for port in count(1024):
        for network in range(65_536):
            yield PREFIX + network.to_bytes(2, "big") + bytes(7) + b"\1", port


def v4_ghosts(apart: int) -> Iterator[tuple[bytes, int]]:
    """Yield the endpoints of 100 IPv4 addresses that are so far apart, 32 ports each."""
    for port in range(1024, 1024 + 32):
        for number in range(100):
            yield (0x0B000000 + number * apart).to_bytes(4, "big"), port


class World:
    """Swarms with several torrents, honest peers and ghosts."""

    def __init__(self, policy: SwarmPolicy = SwarmPolicy(), seed: int = 1) -> None:  # noqa: B008
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.swarms = Swarms(policy, OwnSeeder(OWN_PORT), rng=self.rng)
        for info_hash in HASHES:
            self.swarms.open(info_hash, size=SIZE, claims=Ledger())
        self.ghosts: set[bytes] = set()
        self._number = count()

    def announce(
        self,
        info_hash: InfoHash,
        address: bytes,
        port: int,
        *,
        left: int = SIZE,
        event: AnnounceEvent = AnnounceEvent.STARTED,
        downloaded: int = 0,
    ) -> AnnounceReply:
        number = next(self._number)
        self.now += 0.001
        request = AnnounceRequest(
            info_hash,
            number.to_bytes(20, "big"),
            port,
            downloaded,
            left=left,
            event=event,
            key=b"k",
        )
        return self.swarms.announce(request, address, LOCAL, self.now)

    def haunt(
        self, info_hash: InfoHash, where: Iterator[tuple[bytes, int]], most: int = 10**9
    ) -> None:
        """Announce ghosts, every other one as complete."""
        for _, (address, port) in zip(range(most), where, strict=False):
            self.ghosts.add(compact_endpoint(address, port))
            self.announce(info_hash, address, port, left=port % 2 * SIZE)

    def share(self, replies: list[AnnounceReply]) -> float:
        """Return the share of ghosts in answers, at most, and in all of them together."""
        handed = [list(reply.endpoints()) for reply in replies]
        bad = [sum(each in self.ghosts for each in answer) for answer in handed]
        worst = max(
            (n / len(answer) for n, answer in zip(bad, handed, strict=True) if answer), default=0
        )
        return max(worst, sum(bad) / max(1, sum(map(len, handed))))


def honest(size: int, *, together: int = 0) -> list[bytes]:
    """Return the addresses of honest peers, of which some share one /24."""
    apart = [(0xC6000000 + 0x10000 * n + 5).to_bytes(4, "big") for n in range(size - together)]
    return apart + [OFFICE + bytes([n + 1]) for n in range(together)]


def named(replies: list[AnnounceReply]) -> set[bytes]:
    """Return the addresses that answers name."""
    return {endpoint[:-2] for reply in replies for endpoint in reply.endpoints()}


@pytest.fixture(scope="module")
def haunted() -> World:
    """Return a world in which 200,000 ghosts of one /48 take every place, of four torrents."""
    world = World()
    ghosts = v6_ghosts()
    for info_hash in HASHES[:4]:
        world.haunt(info_hash, ghosts, 50_000)
    assert sum(world.swarms.statistics(each).peers for each in HASHES) == 200_000
    return world


@pytest.mark.parametrize("number", [0, 4], ids=["attacked", "not attacked"])
def test_newcomers_are_listed_at_once_and_hear_of_few_ghosts(haunted: World, number: int) -> None:
    info_hash = HASHES[number]
    addresses = honest(30, together=8)
    replies = []
    for address in addresses:
        before = haunted.swarms.scrape([info_hash])[info_hash].incomplete
        replies.append(haunted.announce(info_hash, address, 6881))
        after = haunted.swarms.scrape([info_hash])[info_hash].incomplete
        assert after >= before + (number > 0)
    # They come back: a minute later, and again after an hour in which the ghosts come back, too.
    haunted.now += 60
    replies += [haunted.announce(info_hash, address, 6881) for address in addresses]
    assert haunted.share(replies) <= 0.1
    assert set(addresses) <= named(replies)
    assert OWN in list(replies[0].endpoints())
    assert sum(haunted.swarms.statistics(each).peers for each in HASHES) == 200_000


def test_ghosts_go_on_coming_and_take_no_honest_place(haunted: World) -> None:
    addresses = honest(40)
    for address in addresses:
        haunted.announce(HASHES[1], address, 6881)
        haunted.announce(HASHES[5], address, 6881)
    haunted.haunt(HASHES[1], v6_ghosts(), 2000)
    haunted.haunt(HASHES[5], v6_ghosts(), 2000)
    haunted.now += 60
    for info_hash in (HASHES[1], HASHES[5]):
        replies = [haunted.announce(info_hash, address, 6881) for address in addresses]
        assert set(addresses) <= named(replies)
        assert haunted.share(replies) <= 0.1


@pytest.mark.parametrize("size", [5, 20, 60])
@pytest.mark.parametrize("together", [0, 4])
@pytest.mark.parametrize(
    "ghosts",
    [v6_ghosts, lambda: v4_ghosts(1), lambda: v4_ghosts(256)],
    ids=["a /48", "100 addresses of one /24", "100 addresses"],
)
def test_small_swarms_hear_of_few_ghosts(
    size: int, together: int, ghosts: Callable[[], Iterator[tuple[bytes, int]]]
) -> None:
    world = World()
    addresses = honest(size, together=together)
    for address in addresses[::2]:
        world.announce(HASHES[0], address, 6881)
    world.haunt(HASHES[0], ghosts(), 4000)
    replies = [world.announce(HASHES[0], address, 6881) for address in addresses[1::2]]
    world.now += 60
    replies += [world.announce(HASHES[0], address, 6881) for address in addresses]
    assert world.share(replies) <= 0.1
    assert set(addresses) <= named(replies)


def test_what_came_to_our_seeder_is_preferred_to_a_few_ghosts() -> None:
    world = World()
    world.haunt(HASHES[0], v6_ghosts(), 200)
    addresses = honest(10)
    for address in addresses:
        world.announce(HASHES[0], address, 6881)
        world.swarms.visited(HASHES[0], address, 1, world.now)
    world.now += 60
    replies = [world.announce(HASHES[0], address, 6881) for address in addresses]
    assert world.share(replies) <= 0.1
    assert set(addresses) <= named(replies)


def test_honest_peers_of_the_ghosts_own_network_are_named_once_they_came_to_our_seeder() -> None:
    world = World()
    world.haunt(HASHES[0], v6_ghosts(), 4000)
    addresses = [PREFIX + bytes([200, number]) + bytes(7) + b"\7" for number in range(20)]
    for address in addresses:
        world.announce(HASHES[0], address, 6881)
        world.swarms.visited(HASHES[0], address, 1, world.now)
    outside = honest(20)
    for address in outside:
        world.announce(HASHES[0], address, 6881)
    world.now += 60
    replies = [world.announce(HASHES[0], address, 6881) for address in addresses + outside]
    assert world.share(replies) <= 0.1
    assert set(addresses) | set(outside) <= named(replies)


def test_one_visit_does_not_vouch_for_all_ports_of_an_address() -> None:
    world = World()
    [address] = honest(1)
    for port in range(1024, 1024 + 32):
        world.ghosts.add(compact_endpoint(address, port))
        world.announce(HASHES[0], address, port)
    world.swarms.visited(HASHES[0], address, 1, world.now)
    # The last one may be there.
    world.ghosts.discard(compact_endpoint(address, 1055))
    addresses = honest(30)[1:]
    for each in addresses:
        world.announce(HASHES[0], each, 6881)
    world.now += 60
    assert world.share([world.announce(HASHES[0], each, 6881) for each in addresses]) <= 0.1


def test_a_seed_among_many_strangers_is_told_of_us_so_that_it_can_show_itself() -> None:
    world = World()
    addresses = [OFFICE + bytes([n + 1]) for n in range(10)]

    def ask(address: bytes) -> set[bytes]:
        world.now += 60
        none = AnnounceEvent.NONE
        seed = world.announce(HASHES[0], address, 6881, left=0, downloaded=SIZE, event=none)
        return set(seed.endpoints())

    for address in addresses:
        ask(address)
    assert ask(addresses[0]) == {OWN}
    world.swarms.visited(HASHES[0], addresses[0], 1, world.now)
    assert ask(addresses[0]) == set()


@pytest.mark.parametrize("place", OwnPlace)
def test_an_office_gets_full_answers(place: OwnPlace) -> None:
    """All of it in one /24, one address or one /64, whether anybody came to our seeder or not."""
    for make in (
        lambda n: (OFFICE + bytes([n + 1]), 6881),
        lambda n: (OFFICE + b"\7", 6881 + n),
        lambda n: (packed("2001:db8::")[:8] + n.to_bytes(8, "big"), 6881),
    ):
        for visited in (0, 15):
            world = World()
            world.swarms.own_place = place
            for number in range(30):
                world.announce(HASHES[0], *make(number))
                if number < visited:
                    world.swarms.visited(HASHES[0], make(number)[0], number + 1, world.now)
            world.now += 60
            for number in range(30):
                answer = list(world.announce(HASHES[0], *make(number)).endpoints())
                assert len([each for each in answer if each != OWN]) == 29


def test_two_offices_hear_of_themselves_where_our_seeder_cannot_be_reached() -> None:
    world = World()
    offices = [
        [prefix + bytes([n + 1]) for n in range(30)]
        for prefix in (OFFICE, packed("198.51.100.0")[:3])
    ]
    for office in offices:
        for address in office:
            world.announce(HASHES[0], address, 6881)
    world.now += 60
    for office in offices:
        for address in office:
            answer = named([world.announce(HASHES[0], address, 6881)])
            assert len(answer) == 50
            assert len(answer - set(office)) > 5


@pytest.mark.parametrize("visited", [0, 0.3, 1])
def test_thousands_of_honest_peers_are_all_handed_out(visited: float) -> None:
    """Also where networks have dozens of them, and our seeder has places for a few only."""
    world = World()
    addresses = [(0x0B000000 + 13 * number).to_bytes(4, "big") for number in range(3000)]
    world.rng.shuffle(addresses)
    for address in addresses:
        world.announce(HASHES[0], address, 6881)
    for address in addresses[: int(3000 * visited)]:
        world.swarms.visited(HASHES[0], address, 1, world.now)
    world.now += 60
    replies = [world.announce(HASHES[0], address, 6881) for address in addresses[:1000]]
    assert all(len(list(reply.endpoints())) == 50 for reply in replies)
    if visited != 0.3:
        assert len(named(replies)) > 0.99 * 3000


def test_the_room_of_all_torrents_is_made_where_one_network_has_most() -> None:
    policy = SwarmPolicy(peers=1000, peers_per_address=100)
    world = World(policy)
    world.haunt(HASHES[0], v6_ghosts(), 600)
    world.haunt(HASHES[1], v6_ghosts(), 360)
    office = [OFFICE + bytes([n + 1]) for n in range(40)]
    for address in office:
        world.announce(HASHES[2], address, 6881)
    for number, address in enumerate(honest(300)):
        world.announce(HASHES[2 + number % 3], address, 6881)
    assert [world.swarms.statistics(each).peers for each in HASHES] == [330, 330, 140, 100, 100, 0]
    # Who comes from the network that has most doesn't get the place of another.
    world.haunt(HASHES[5], v6_ghosts(), 1000)
    assert [world.swarms.statistics(each).peers for each in HASHES[2:5]] == [140, 100, 100]
    assert sum(world.swarms.statistics(each).peers for each in HASHES) == 1000


def test_whoever_is_dropped_for_another_is_the_one_unseen_for_longest_of_its_address() -> None:
    world = World(SwarmPolicy(peers_per_swarm=10))
    for port in range(10):
        world.announce(HASHES[0], packed("192.0.2.1"), 1000 + port)
    world.now += 60
    world.announce(HASHES[0], packed("192.0.2.1"), 1000)
    newcomer = world.announce(HASHES[0], packed("198.51.100.1"), 6881)
    ports = {int.from_bytes(each[-2:], "big") for each in newcomer.endpoints()} - {OWN_PORT}
    assert ports == set(range(1000, 1010)) - {1001}

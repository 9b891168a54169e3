"""Members of a private swarm: where they are found, what they claim, who makes room."""

from dataclasses import dataclass, field

from seeder.net.addresses import compact_endpoint, networks_of
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest
from seeder.tracker.members import Members, SwarmMember
from seeder.tracker.passkeys import Passkey
from tests.support.passkeys import DAY, NOON
from tests.tracker.announcing import HASH, SIZE, packed, peer_id

ALICE, BOB = Passkey("alice", NOON, NOON + DAY), Passkey("bob", NOON, NOON + DAY)
STARTED, STOPPED = AnnounceEvent.STARTED, AnnounceEvent.STOPPED
COMPLETED = AnnounceEvent.COMPLETED


@dataclass
class Told:
    """What was told of each holder: uploaded, downloaded, completed."""

    sums: dict[str, list[int]] = field(default_factory=dict)

    def announced(self, holder: str, *, uploaded: int, downloaded: int, completed: bool) -> None:
        before = self.sums.setdefault(holder, [0, 0, 0])
        self.sums[holder] = [
            before[0] + uploaded,
            before[1] + downloaded,
            before[2] + completed,
        ]


class Club:
    """Members that announce by name."""

    def __init__(self, *, at_address: int = 32, most: int = 1000) -> None:
        self.told = Told()
        self.members = Members(SIZE, self.told, at_address=at_address, most=most)
        self.now = 1000.0

    def announce(
        self,
        name: str,
        passkey: Passkey = ALICE,
        address: str = "192.0.2.1",
        port: int = 2000,
        *,
        event: AnnounceEvent = AnnounceEvent.NONE,
        uploaded: int = 0,
        downloaded: int = 0,
    ) -> SwarmMember | None:
        self.now += 10
        request = AnnounceRequest(
            HASH, peer_id(name), port, downloaded, SIZE, event, uploaded=uploaded
        )
        endpoint = compact_endpoint(packed(address), port)
        self.members.note(request, passkey, endpoint, self.now)
        return self.members.get(endpoint)

    def at(self, address: str) -> list[int]:
        """Return the ports of the members at an address."""
        return [each.port for each in self.members.at(networks_of(packed(address))[0])]


def test_a_member_is_found_at_its_address_by_its_id_and_near_by() -> None:
    club = Club()
    member = club.announce("a", address="2001:db8::1")
    assert club.at("2001:db8::ffff") == [2000]
    assert club.at("2001:db8:0:1::1") == club.at("192.0.2.1") == []
    assert club.members.with_id(peer_id("a")) is member
    assert club.members.has_near(networks_of(packed("2001:db8:0:ffff::1")))
    assert not club.members.has_near(networks_of(packed("2001:db9::1")))


def test_what_a_client_claims_is_counted_once_from_where_it_was_first_seen() -> None:
    club = Club()
    club.announce("a", uploaded=700, downloaded=300)
    club.announce("a", uploaded=800, downloaded=350)
    club.announce("a", uploaded=800, downloaded=350)
    club.announce("a", uploaded=10, downloaded=5)  # less is no news
    assert club.told.sums == {"alice": [100, 50, 0]}
    club.announce("b", BOB, port=3000, event=STARTED, downloaded=7)
    club.announce("b", BOB, port=3000, event=COMPLETED, downloaded=SIZE)
    club.announce("b", BOB, port=3000, event=COMPLETED, downloaded=SIZE)
    assert club.told.sums["bob"] == [0, SIZE, 1]


def test_a_client_that_starts_again_begins_its_sums_again() -> None:
    club = Club()
    club.announce("a", event=STARTED, uploaded=0, downloaded=0)
    club.announce("a", uploaded=500, downloaded=900)
    club.announce("a", event=STARTED, uploaded=0, downloaded=0)
    club.announce("a", uploaded=200, downloaded=100)
    assert club.told.sums == {"alice": [700, 1000, 0]}


def test_nobody_can_claim_more_than_there_is() -> None:
    club = Club()
    club.announce("b", BOB, "192.0.2.2")
    club.announce("a", event=STARTED, uploaded=2**64 - 1, downloaded=2**64 - 1)
    assert club.told.sums["alice"] == [2 * SIZE, SIZE, 0]
    club.announce("a", uploaded=2**64 - 1, downloaded=2**64 - 1)
    assert club.told.sums["alice"] == [2 * SIZE, SIZE, 0]


def test_who_has_stopped_is_known_until_its_holder_comes_again() -> None:
    club = Club()
    club.announce("a")
    club.announce("b", BOB, port=3000)
    club.announce("a", event=STOPPED)
    assert club.at("192.0.2.1") == [2000, 3000]
    club.announce("a-again", port=2001)
    assert club.at("192.0.2.1") == [3000, 2001]
    assert club.members.with_id(peer_id("a")) is None


def test_another_client_in_the_place_of_one_takes_over_nothing() -> None:
    club = Club()
    club.announce("a", uploaded=500, downloaded=500)
    member = club.announce("b", BOB, uploaded=600, downloaded=600)
    assert club.told.sums == {"alice": [0, 0, 0], "bob": [0, 0, 0]}
    assert len(club.members) == 1
    assert club.members.with_id(peer_id("b")) is member
    assert club.members.with_id(peer_id("a")) is None


def test_the_oldest_makes_room_at_an_address_and_in_all() -> None:
    club = Club(at_address=2, most=3)
    for port in (1, 2, 3):
        club.announce(str(port), port=port)
    assert club.at("192.0.2.1") == [2, 3]
    for number in (2, 3):
        club.announce(f"n{number}", address=f"192.0.2.{number}")
    assert len(club.members) == 3
    assert club.at("192.0.2.1") == [3]


def test_the_silent_are_forgotten_and_nothing_is_left_of_them() -> None:
    club = Club()
    club.announce("a")
    club.announce("b", BOB, "198.51.100.1")
    club.announce("a")
    club.members.expire(club.now - 5)
    assert club.at("198.51.100.1") == []
    assert club.at("192.0.2.1") == [2000]
    club.members.expire(club.now + 1)
    assert len(club.members) == 0
    assert not club.members.has_near(networks_of(packed("192.0.2.1")))
    left = club.members
    for kept in (left._by_network, left._by_id, left._sites):
        assert not kept


def test_a_restart_keeps_the_members_and_counts_nothing_twice() -> None:
    club = Club()
    club.announce("a", event=STARTED, uploaded=0, downloaded=0)
    club.announce("a", uploaded=100, downloaded=400, event=COMPLETED)
    later = Club()
    later.members.adopt(club.members.export())
    assert later.at("192.0.2.1") == [2000]
    later.announce("a", uploaded=130, downloaded=420, event=COMPLETED)
    assert later.told.sums == {"alice": [30, 20, 0]}

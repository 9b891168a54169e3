"""Whose connection is whose: members by address, told apart by peer id and port."""

import pytest

from seeder.net.addresses import networks_of
from seeder.peer.doorkeeper import Doorkeeper
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceRequest
from seeder.tracker.members import Members, SwarmMember
from seeder.tracker.passkeys import Passkey
from tests.support.passkeys import DAY, NOON, Keys
from tests.tracker.announcing import HASH, SIZE, packed, peer_id

HOME, NEXT_DOOR, ABROAD = "192.0.2.1", "192.0.2.77", "198.51.100.1"
OTHER = InfoHash(b"o" * 20)


class Door:
    """The doorkeeper of one private torrent, and members by name."""

    def __init__(self) -> None:
        self.keys = Keys()
        self.members = Members(SIZE, None, at_address=32, most=100)
        self.doorkeeper = Doorkeeper(
            lambda info_hash: self.members if info_hash == HASH else None, self.keys.holders
        )

    def enter(self, name: str, address: str = HOME, port: int = 2000) -> SwarmMember:
        """Have somebody announce, with a peer id of its own."""
        passkey = Passkey(name, NOON, NOON + DAY)
        request = AnnounceRequest(HASH, peer_id(name), port)
        endpoint = packed(address) + port.to_bytes(2)
        self.members.note(request, passkey, endpoint, 0.0)
        member = self.members.get(endpoint)
        assert member is not None
        return member

    def revoke(self, name: str) -> None:
        self.keys.holders.revoke({name: NOON})

    def may_come(self, address: str, info_hash: InfoHash = HASH) -> bool:
        return self.doorkeeper.may_come(info_hash, networks_of(packed(address)))

    def find(self, address: str, name: str, *taken: SwarmMember) -> SwarmMember | None:
        return self.doorkeeper.find(HASH, networks_of(packed(address)), peer_id(name), set(taken))


@pytest.fixture
def door() -> Door:
    return Door()


def test_a_torrent_that_is_not_private_is_everybodys(door: Door) -> None:
    assert door.may_come(ABROAD, OTHER)
    assert not door.doorkeeper.is_private(OTHER)
    assert door.doorkeeper.is_private(HASH)
    assert not door.may_come(ABROAD)


def test_who_announced_is_let_in_from_there_under_any_peer_id(door: Door) -> None:
    alice = door.enter("alice")
    assert door.may_come(HOME)
    assert door.find(HOME, "alice") is alice
    assert door.find(HOME, "random") is alice
    assert not door.may_come(ABROAD)
    assert door.find(ABROAD, "alice") is None


def test_at_another_address_of_the_site_the_peer_id_is_the_proof(door: Door) -> None:
    alice = door.enter("alice")
    assert door.may_come(NEXT_DOOR)
    assert door.find(NEXT_DOOR, "alice") is alice
    assert door.find(NEXT_DOOR, "random") is None


def test_a_member_vouches_once_for_a_peer_id_that_nobody_announced(door: Door) -> None:
    alice, bob = door.enter("alice"), door.enter("bob", port=3000)
    assert door.find(HOME, "random", alice) is bob
    assert door.find(HOME, "random", alice, bob) is None
    # Its own peer id is good in any case: the older connection makes way.
    assert door.find(HOME, "alice", alice, bob) is alice


def test_the_peer_id_of_a_revoked_one_opens_nothing_beside_a_good_one(door: Door) -> None:
    door.enter("alice")
    bob = door.enter("bob", port=3000)
    door.revoke("alice")
    assert door.may_come(HOME)
    assert door.find(HOME, "alice") is None
    assert door.find(HOME, "bob") is bob
    assert door.find(HOME, "random") is bob
    assert door.find(HOME, "random", bob) is None
    door.revoke("bob")
    assert door.find(HOME, "bob") is None


def test_where_all_are_revoked_nobody_comes(door: Door) -> None:
    alice = door.enter("alice")
    door.revoke("alice")
    # What the site still has is looked at when the peer id has come.
    assert door.find(HOME, "alice") is None
    assert door.find(HOME, "random") is None
    assert door.find(NEXT_DOOR, "alice") is None
    assert not door.doorkeeper.is_good(alice)
    door.keys.holders.revoke({})
    assert door.find(HOME, "alice") is alice
    door.keys.now = NOON + DAY
    assert door.find(HOME, "alice") is None


def test_a_port_tells_who_is_who_good_or_not(door: Door) -> None:
    alice, bob = door.enter("alice"), door.enter("bob", port=3000)
    networks = networks_of(packed(HOME))
    door.revoke("alice")
    assert door.doorkeeper.at_port(HASH, networks, 2000) is alice
    assert door.doorkeeper.at_port(HASH, networks, 3000) is bob
    assert door.doorkeeper.at_port(HASH, networks, 4000) is None
    assert door.doorkeeper.at_port(OTHER, networks, 2000) is None

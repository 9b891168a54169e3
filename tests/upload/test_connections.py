"""Places of peers and downloads: who gets one, and who is ended for it."""

from dataclasses import dataclass, field

import pytest

from seeder.config.public import PeerSettings
from seeder.net.addresses import Networks, networks_of
from seeder.net.notices import QUIET
from seeder.torrent.torrent import Torrent
from seeder.upload.connections import Connections
from tests.tracker.announcing import packed

A, B = b"a" * 20, b"b" * 20
MOST = 100


@dataclass(eq=False)
class Guest:
    """A guest that only notes how it ended."""

    address: str
    worth_: int = 0
    ended: list[str] = field(default_factory=list)
    torrent: Torrent | None = None
    uploaded: int = 0
    interested: bool = True
    needs: int = 0
    peer_id: bytes = b""
    held_back: bool = False

    @property
    def networks(self) -> Networks:
        return at(self.address)

    def worth(self, now: float) -> tuple[int, float]:
        assert now == 5.0
        return self.worth_, 0.0

    def end(self, reason: str) -> None:
        self.ended.append(reason)

    def serve(self) -> None: ...
    def hold(self) -> None: ...
    def slow_down(self, *, slow: bool) -> None: ...
    def take_limits(self, now: float) -> None: ...
    def resume(self) -> None: ...


def at(address: str) -> Networks:
    return networks_of(packed(address))


def make(**limits: int) -> Connections:
    return Connections(
        PeerSettings(**limits),  # type: ignore[arg-type]
        lambda: 5.0,
        held_back=lambda guest, now: isinstance(guest, Guest) and guest.held_back,
    )


def peers(connections: Connections, *addresses: str, torrent: bytes | None = A) -> list[Guest]:
    guests = [Guest(address, worth_=-number) for number, address in enumerate(addresses)]
    for guest in guests:
        assert connections.admit_peer(guest.networks) is None
        connections.add_peer(guest)
        assert torrent is None or connections.name_peer(guest, torrent) is None
    return guests


def downloads(connections: Connections, *addresses: str, torrent: bytes = A) -> list[Guest]:
    guests = [Guest(address, worth_=-number) for number, address in enumerate(addresses)]
    for guest in guests:
        assert connections.admit_download(guest.networks, torrent, MOST) is None
        connections.add_download(guest, torrent)
    return guests


def test_the_least_useful_of_the_largest_share_is_ended() -> None:
    connections = make(connections=5)
    guests = peers(connections, "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.1.1")
    assert connections.admit_peer(at("10.0.2.1")) is None
    assert [guest.ended for guest in guests] == [[], [], ["made-room"], [], []]
    # It has gone as far as places are concerned, and may be removed when it really goes.
    connections.add_peer(Guest("10.0.2.1"))
    connections.remove(guests[2])
    assert connections.admit_peer(at("10.0.0.2")) == "too-many-connections"
    assert connections.admit_peer(at("10.0.3.1")) is None


def test_who_was_ended_to_make_room_gets_no_place_of_a_torrent_in_its_last_moments() -> None:
    connections = make(connections=2)
    first, second = peers(connections, "10.0.0.1", "10.0.0.2", torrent=None)
    assert connections.admit_peer(at("10.0.1.1")) is None
    [ended] = [guest for guest in (first, second) if guest.ended]
    assert connections.name_peer(ended, A) == "made-room"
    assert not connections.most_of_torrent
    connections.remove(ended)
    assert connections.peers == 1


def test_a_download_is_ended_for_a_download_and_a_peer_where_peers_have_more() -> None:
    connections = make(connections=6)
    of_peers = peers(connections, "10.0.0.1", "10.0.0.2", "10.0.0.3")
    of_downloads = downloads(connections, "10.0.1.1", "10.0.1.2", "10.0.2.1")
    assert connections.admit_download(at("10.0.3.1"), A, MOST) is None
    assert sum(len(guest.ended) for guest in of_peers) == 1
    connections.add_download(Guest("10.0.3.1"), A)
    assert connections.admit_download(at("10.0.3.1"), A, 4) == "too-many-connections"
    assert connections.admit_download(at("10.0.4.1"), A, 4) is None
    assert sum(len(guest.ended) for guest in of_downloads) == 1


def test_nobody_is_ended_for_one_who_lacks_another_place() -> None:
    connections = make(connections=4, connections_per_torrent=2)
    of_a = peers(connections, "10.0.0.1", "10.0.1.1")
    of_b = peers(connections, "10.0.2.1", "10.0.2.2", torrent=B)
    # In all there is one to end, for this torrent there is none.
    assert connections.admit_download(at("10.0.3.1"), A, MOST) == "too-many-for-torrent"
    assert connections.admit_download(at("10.0.3.1"), b"c" * 20, MOST) is None
    assert not any(guest.ended for guest in of_a)
    assert sum(len(guest.ended) for guest in of_b) == 1


def test_an_address_has_one_count_of_both() -> None:
    connections = make(connections_per_address=2)
    peers(connections, "2001:db8::1")
    downloads(connections, "2001:db8::2")
    assert connections.admit_peer(at("2001:db8::3")) == "too-many-from-address"
    assert connections.admit_download(at("2001:db8::3"), A, MOST) == "too-many-from-address"
    assert connections.admit_peer(at("2001:db8:0:1::3")) is None


def test_who_is_held_back_makes_room_for_others_of_its_address() -> None:
    connections = make(connections_per_address=4)
    first, *_ = peers(connections, *["192.0.2.1"] * 3)
    [last] = downloads(connections, "192.0.2.1")
    [other] = peers(connections, "192.0.2.2")
    other.held_back = True
    assert connections.admit_peer(at("192.0.2.1")) == "too-many-from-address"
    first.held_back = last.held_back = True
    for guest in (first, last):
        # For each newcomer one, and the one that came first.
        assert not guest.ended
        assert connections.admit_peer(at("192.0.2.1")) is None
        connections.add_peer(Guest("192.0.2.1"))
        assert guest.ended == ["made-room"]
    assert connections.admit_download(at("192.0.2.1"), A, MOST) == "too-many-from-address"
    assert not other.ended


def test_nobody_is_held_back_in_vain_for_one_who_is_refused_all_the_same() -> None:
    connections = make(connections_per_address=2, connections_per_torrent=2)
    guests = peers(connections, "192.0.2.1", "192.0.2.1")
    guests[0].held_back = True
    assert connections.admit_download(at("192.0.2.1"), A, 0) == "too-many-connections"
    assert not any(guest.ended for guest in guests)


def test_nothing_is_left_of_those_who_went() -> None:
    connections = make()
    guests = [
        *peers(connections, "10.0.0.1", "10.0.0.2", torrent=None),
        *peers(connections, "10.0.0.1", torrent=B),
        *downloads(connections, "10.0.0.1"),
    ]
    for guest in guests:
        connections.remove(guest)
        connections.remove(guest)
    for places in (connections._peers, connections._downloads):
        assert not len(places.all)
        assert not places._of
        assert not places._torrents


def test_one_line_of_log_for_an_address_names_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    connections = make(connections_per_address=2)
    peers(connections, "192.0.2.1", "192.0.2.1")
    for _ in range(3):
        connections.admit_peer(at("192.0.2.1"))
    [line] = [record.getMessage() for record in caplog.records]
    assert "peer.connections_per_address = 2 connections come from 192.0.2.1" in line


def test_an_address_whose_connections_want_nothing_is_no_line_of_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connections = make(connections_per_address=2)
    for guest in peers(connections, "192.0.2.1", "192.0.2.1"):
        guest.interested = False
    assert connections.admit_peer(at("192.0.2.1")) == "too-many-from-address"
    assert not caplog.records


def test_the_log_says_once_an_hour_which_setting_gives_more_places(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 5.0
    connections = Connections(
        PeerSettings(connections=3, connections_per_torrent=2),
        lambda: now,
        held_back=lambda guest, now: False,
    )
    peers(connections, "10.0.0.1", "10.0.1.1")
    assert not caplog.records
    assert connections.admit_peer(at("10.0.2.1")) is None
    third = Guest("10.0.2.1")
    connections.add_peer(third)
    assert connections.name_peer(third, A) == "too-many-for-torrent"
    connections.remove(third)
    peers(connections, "10.0.3.1", torrent=B)
    for _ in range(3):
        assert connections.admit_peer(at("10.0.4.1")) == "too-many-connections"
    told = [record.getMessage() for record in caplog.records]
    assert [line.partition(" are taken: ")[0] for line in told] == [
        "all 2 places of peer.connections_per_torrent",
        "all 3 places of peer.connections",
    ]
    now += QUIET
    assert connections.admit_peer(at("10.0.4.1")) == "too-many-connections"
    assert len(caplog.records) == 3
    # How many downloads there may be is fixed.
    assert connections.admit_download(at("10.0.4.1"), A, 0) == "too-many-connections"
    assert len(caplog.records) == 3

import random
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from seeder.net.addresses import compact_endpoint, is_told_to, networks_of
from seeder.peer.pex import MOST_CHANGES, MOST_TOLD, Roster, ToldPeers
from seeder.torrent import bencode

PUBLIC, OF_SITE = (IPv4Address(text).packed for text in ("198.51.100.7", "192.168.1.7"))


def v4(number: int) -> bytes:
    return compact_endpoint(IPv4Address(0x08000000 + number).packed, 6881)


def v6(number: int) -> bytes:
    return compact_endpoint(IPv6Address((0x20010DB8 << 96) + number).packed, 6881)


def site(number: int) -> bytes:
    return compact_endpoint(IPv4Address(0x0A000000 + number).packed, 6881)


def roster_of(*endpoints: bytes, private: bool = False) -> Roster:
    roster = Roster(private=private)
    for number, endpoint in enumerate(endpoints):
        roster.join(number, endpoint)
    return roster


def spread(number: int) -> bytes:
    """Return an endpoint in a /24 of its own."""
    return v4(256 * number)


def network(endpoint: bytes) -> bytes:
    return networks_of(endpoint[:-2])[-1]


def split(joined: object, size: int) -> list[bytes]:
    assert isinstance(joined, bytes)
    assert len(joined) % size == 0
    return [joined[at : at + size] for at in range(0, len(joined), size)]


def told(message: bytes | None) -> tuple[dict[bytes, int], list[bytes]]:
    """Return what a message adds, with its flags, and drops; it must be as BEP 11 wants it."""
    assert message is not None
    fields = bencode.decode(message)
    assert isinstance(fields, dict)
    assert all(fields.values())
    added = split(fields.get(b"added", b""), 6) + split(fields.get(b"added6", b""), 18)
    dropped = split(fields.get(b"dropped", b""), 6) + split(fields.get(b"dropped6", b""), 18)
    flags = [fields.get(b"added.f", b""), fields.get(b"added6.f", b"")]
    assert [len(part) for part in flags if isinstance(part, bytes)] == [
        sum(len(endpoint) == size for endpoint in added) for size in (6, 18)
    ]
    assert added or dropped
    assert len(added) <= MOST_CHANGES
    assert len(dropped) <= MOST_CHANGES
    assert len({*added, *dropped}) == len(added) + len(dropped)
    return dict(zip(added, b"".join(map(_bytes, flags)), strict=True)), dropped


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def ask(exchange: ToldPeers, roster: Roster, now: float, own: bytes | None = None) -> bytes | None:
    return exchange.message(roster, own, now, random.Random(1).random)


# -- what one peer is told


def test_a_peer_hears_of_the_others_in_both_families_and_not_of_itself() -> None:
    roster = roster_of(v4(1), v4(2), v6(1), v6(2))
    roster.join("another", v4(3))
    added, dropped = told(ask(ToldPeers(PUBLIC), roster, 0, own=v6(2)))
    assert added == {v4(1): 0, v4(2): 0, v4(3): 0, v6(1): 0}
    assert dropped == []


def test_who_is_alone_hears_nothing() -> None:
    exchange = ToldPeers(PUBLIC)
    assert ask(exchange, Roster(private=False), 0) is None
    assert ask(exchange, roster_of(v4(1)), 0, own=v4(1)) is None


def test_a_private_torrents_peers_stay_unnamed() -> None:
    roster = roster_of(v4(1), v4(2), private=True)
    assert list(roster) == []
    assert ask(ToldPeers(PUBLIC), roster, 0) is None
    roster.leave(0)


@pytest.mark.parametrize(
    "private", ["10.0.0.1", "172.17.0.1", "192.168.7.7", "fd00::1", "127.0.0.1", "::1", "fe80::1"]
)
def test_a_private_address_is_told_to_its_own_kind_alone(private: str) -> None:
    address = ip_address(private).packed
    roster = roster_of(v4(1), compact_endpoint(address, 6881))
    assert told(ask(ToldPeers(PUBLIC), roster, 0))[0] == {v4(1): 0}
    assert told(ask(ToldPeers(address), roster, 0))[0].keys() == set(roster)


def test_changes_come_a_minute_apart_and_the_first_ones_at_once() -> None:
    roster, exchange = roster_of(v4(1)), ToldPeers(PUBLIC)
    told(ask(exchange, roster, 100))
    roster.join("new", v4(2))
    assert ask(exchange, roster, 159.9) is None
    assert told(ask(exchange, roster, 160))[0] == {v4(2): 0}
    assert ask(exchange, roster, 1000) is None
    roster.leave(0)
    assert told(ask(exchange, roster, 1000))[1] == [v4(1)]


def test_who_comes_back_within_the_minute_has_not_been_away() -> None:
    roster, exchange = roster_of(v4(1), v4(2)), ToldPeers(PUBLIC)
    told(ask(exchange, roster, 0))
    roster.leave(0)
    roster.join("again", v4(1))
    assert ask(exchange, roster, 60) is None


def test_who_came_and_went_within_the_minute_is_not_named() -> None:
    roster, exchange = roster_of(v4(1)), ToldPeers(PUBLIC)
    told(ask(exchange, roster, 0))
    roster.join("brief", v4(2))
    roster.leave("brief")
    assert ask(exchange, roster, 60) is None


def test_an_endpoint_stays_until_both_sessions_have_left() -> None:
    roster = roster_of(v4(1))
    roster.join("second", v4(1))
    roster.leave("second")
    assert v4(1) in roster
    roster.leave(0)
    assert v4(1) not in roster
    roster.leave(0)


def test_a_peer_that_names_another_port_is_dropped_under_the_old_one() -> None:
    roster, exchange = roster_of(v4(1)), ToldPeers(PUBLIC)
    told(ask(exchange, roster, 0))
    roster.join(0, v4(2))
    assert told(ask(exchange, roster, 60)) == ({v4(2): 0}, [v4(1)])


def test_a_large_swarm_comes_in_parts_and_is_not_told_of_to_the_end() -> None:
    roster, exchange = roster_of(*map(spread, range(1000))), ToldPeers(PUBLIC)
    first, _ = told(ask(exchange, roster, 0))
    second, _ = told(ask(exchange, roster, 60))
    assert len(first) == len(second) == MOST_CHANGES
    assert not first.keys() & second.keys()
    assert ask(exchange, roster, 120) is None
    for number in range(1000):
        roster.leave(number)
    drops = [told(ask(exchange, roster, now))[1] for now in (180, 240)]
    assert {*drops[0], *drops[1]} == first.keys() | second.keys()
    assert ask(exchange, roster, 300) is None


def test_who_is_told_of_first_is_a_matter_of_chance() -> None:
    roster = roster_of(*map(v4, range(200)))
    rng = random.Random(3)
    seen: set[bytes] = set()
    for _ in range(50):
        seen |= told(ToldPeers(PUBLIC).message(roster, None, 0, rng.random))[0].keys()
    assert len(seen) == 200
    last = ToldPeers(PUBLIC).message(roster, None, 0, lambda: 0.999999)
    assert len(told(last)[0]) == MOST_CHANGES


# -- who may be lying: any peer may name ports of its own address, and come from many addresses


def ports(number: int, count: int) -> list[bytes]:
    """Return endpoints of one address."""
    return [compact_endpoint(v4(number)[:4], port) for port in range(1, count + 1)]


@pytest.mark.parametrize(
    "strangers",
    [
        ports(1, 1000),
        [endpoint for number in range(250) for endpoint in ports(number, 4)],
        [v6(number << 64) for number in range(1000)],
    ],
    ids=["an address", "a /24", "a /48"],
)
def test_one_network_keeps_no_other_one_out(strangers: list[bytes]) -> None:
    honest = [spread(number) for number in range(1000, 1020)]
    roster, exchange = roster_of(*strangers, *honest), ToldPeers(PUBLIC)
    first, _ = told(ask(exchange, roster, 0))
    assert first.keys() >= set(honest)
    ask(exchange, roster, 60)
    # Its places are taken by now, and who comes later is told of all the same.
    late = [spread(number) for number in range(2000, 2010)]
    for endpoint in late:
        roster.join(endpoint, endpoint)
    assert told(ask(exchange, roster, 120))[0].keys() >= set(late)


def test_a_network_alone_has_half_of_the_places_and_each_of_its_addresses_a_part() -> None:
    roster, exchange = roster_of(*ports(1, 200), *map(v4, range(2, 12))), ToldPeers(PUBLIC)
    first, _ = told(ask(exchange, roster, 0))
    assert len(first) == MOST_TOLD // 2
    assert first.keys() >= set(map(v4, range(2, 12)))
    assert ask(exchange, roster, 60) is None


def test_networks_take_turns_as_long_as_they_have_anybody() -> None:
    large = [[v6((place << 80) + number) for number in range(60)] for place in range(4)]
    roster = roster_of(*chain(*large), *map(spread, range(5)))
    first, _ = told(ask(ToldPeers(PUBLIC), roster, 0))
    shares = Counter(map(network, first))
    assert len(shares) == 9
    # Five have one each, and the others the rest in equal parts.
    assert sorted(shares.values()) == [1] * 5 + [11, 11, 11, 12]


# -- the state machine

MAKERS = st.sampled_from([v4, v6, spread, site])
ENDPOINTS = st.builds(lambda make, number: make(number), MAKERS, st.integers(0, 90))


class ExchangeMachine(RuleBasedStateMachine):
    """A swarm changes while one peer is told of it; what it knows follows from the messages."""

    @initialize(own=st.none() | ENDPOINTS, address=st.sampled_from([PUBLIC, OF_SITE]))
    def start(self, own: bytes | None, address: bytes) -> None:
        self.own = own
        self.address = address
        self.roster = Roster(private=False)
        self.exchange = ToldPeers(address)
        self.sessions: dict[int, bytes] = {}
        self.known: set[bytes] = set()
        self.now = 0.0
        self.sent_at = -1000.0

    @rule(session=st.integers(0, 300), endpoint=ENDPOINTS)
    def join(self, session: int, endpoint: bytes) -> None:
        self.roster.join(session, endpoint)
        self.sessions[session] = endpoint

    @rule(start=st.integers(0, 100), count=st.integers(1, 80), make=MAKERS)
    def many_join(self, start: int, count: int, make: Callable[[int], bytes]) -> None:
        for number in range(start, start + count):
            self.join(number, make(number))

    @rule(session=st.integers(0, 300))
    def leave(self, session: int) -> None:
        self.roster.leave(session)
        self.sessions.pop(session, None)

    @rule(start=st.integers(0, 100), count=st.integers(1, 80))
    def many_leave(self, start: int, count: int) -> None:
        for session in range(start, start + count):
            self.leave(session)

    @rule(seconds=st.sampled_from([1.0, 30.0, 60.0, 600.0]), chance=st.floats(0, 0.9999))
    def tell(self, seconds: float, chance: float) -> None:
        self.now += seconds
        there = set(self.sessions.values())
        assert set(self.roster) == there
        message = self.exchange.message(self.roster, self.own, self.now, lambda: chance)
        gone, new = self.known - there, there - self.known - {self.own}
        new = {endpoint for endpoint in new if is_told_to(self.address, endpoint[:-2])}
        if message is None:
            assert self.now - self.sent_at < 60 or not (gone or self.may_hear_of(new))
            return
        assert self.now - self.sent_at >= 60
        self.sent_at = self.now
        added, dropped = told(message)
        assert added.keys() <= new
        assert gone >= set(dropped)
        assert len(dropped) == min(MOST_CHANGES, len(gone))
        self.known = (self.known - set(dropped)) | added.keys()
        assert len(self.known) <= MOST_TOLD
        assert len(added) == MOST_CHANGES or not self.may_hear_of(new - added.keys())

    def may_hear_of(self, others: set[bytes]) -> set[bytes]:
        """Return those whose network has fewer of the places than are free."""
        shares = Counter(map(network, self.known))
        free = MOST_TOLD - len(self.known)
        return {endpoint for endpoint in others if shares[network(endpoint)] < free}


TestExchangeMachine = ExchangeMachine.TestCase
TestExchangeMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

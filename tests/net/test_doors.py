"""Who is let in by network: both lists, and all kinds of addresses."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from seeder.net.doors import Door, NetworkRules, NetworkSet


def packed(text: str) -> bytes:
    return ip_address(text).packed


def rules(allow: str = "", deny: str = "") -> NetworkRules:
    return NetworkRules(*(tuple(map(ip_network, each.split())) for each in (allow, deny)))


def let_in(door: Door, *addresses: str) -> list[bool]:
    return [door.admits(packed(address)) for address in addresses]


def test_without_lists_everybody_is_let_in() -> None:
    door = Door()
    assert door.is_open
    assert let_in(door, "192.0.2.1", "2001:db8::1") == [True, True]
    assert not door.turns_away(packed("192.0.2.1"))


def test_deny_keeps_out_and_leaves_the_rest() -> None:
    door = Door(rules(deny="192.0.2.0/24 2001:db8::/32"))
    assert let_in(door, "192.0.2.0", "192.0.2.255", "2001:db8:ffff::") == [False] * 3
    assert let_in(door, "192.0.1.255", "192.0.3.0", "2001:db9::") == [True] * 3


def test_allow_lets_in_nobody_else_of_either_family() -> None:
    door = Door(rules(allow="192.0.2.0/24"))
    assert let_in(door, "192.0.2.7", "192.0.3.7", "2001:db8::1") == [True, False, False]


def test_deny_goes_before_allow_however_narrow_that_is() -> None:
    door = Door(rules(allow="10.0.0.0/8", deny="10.1.0.0/16"))
    assert let_in(door, "10.0.0.1", "10.1.0.1", "11.0.0.1") == [True, False, False]
    inside = rules(allow="10.1.2.0/24 172.16.0.0/12", deny="10.0.0.0/8")
    assert let_in(Door(inside), "10.1.2.3", "172.16.0.1") == [False, True]
    assert list(inside.hidden()) == [(0, ip_network("10.1.2.0/24"))]


def test_several_networks_may_cover_one_together() -> None:
    covered = rules(allow="10.0.0.0/8", deny="10.0.0.0/9 10.128.0.0/9")
    assert [place for place, _ in covered.hidden()] == [0]


def test_who_is_turned_away_is_counted() -> None:
    door = Door(rules(deny="192.0.2.0/24"))
    assert door.turns_away(packed("192.0.2.1"))
    assert not door.turns_away(packed("192.0.3.1"))
    assert door.turned_away == 1
    door.follow(Door())
    assert not door.turns_away(packed("192.0.2.1"))
    assert door.turned_away == 1


_V4 = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
_V6 = st.builds(
    lambda address, length: IPv6Network((address, length), strict=False),
    st.integers(0, 2**128 - 1),
    st.integers(0, 128),
)


@given(st.lists(_V4 | _V6, max_size=20), st.data())
def test_a_set_has_the_addresses_of_its_networks(
    networks: list[IPv4Network | IPv6Network], data: st.DataObject
) -> None:
    found = NetworkSet(networks)
    edges = [
        int(address) + step
        for each in networks
        for address, step in ((each.network_address, -1), (each.broadcast_address, 1))
    ]
    numbers = [number for number in edges if 0 <= number < 2**32] or [0]
    for number in (data.draw(st.sampled_from(numbers)), data.draw(st.integers(0, 2**32 - 1))):
        address = ip_address(number)
        assert (address.packed in found) == any(address in each for each in networks)
    for each in networks:
        assert each.network_address.packed in found
        assert each.broadcast_address.packed in found
        assert found.covers(each)

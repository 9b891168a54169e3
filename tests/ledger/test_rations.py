"""No network takes the memory of the others, and what was given back can be had again."""

from seeder.ledger.rations import MOST_BYTES, NETWORK_SHARE, REGION_SHARE, Rations

OF_NETWORK, OF_REGION = MOST_BYTES // NETWORK_SHARE, MOST_BYTES // REGION_SHARE


def v4(region: int, network: int, host: int = 1) -> bytes:
    return bytes((10, region, network, host))


def test_a_network_has_its_share_and_not_more() -> None:
    rations = Rations()
    assert rations.take(v4(0, 0, 1), OF_NETWORK)
    assert not rations.take(v4(0, 0, 2), 1)
    assert rations.take(v4(0, 1), 1)
    rations.give_back(v4(0, 0, 1), 1)
    assert rations.take(v4(0, 0, 2), 1)


def test_a_region_has_its_share_and_all_have_no_more_than_there_is() -> None:
    rations = Rations()
    taken = 0
    for region in range(2 * REGION_SHARE):
        for network in range(NETWORK_SHARE):
            taken += rations.take(v4(region, network), OF_NETWORK) * OF_NETWORK
        assert taken == min(MOST_BYTES, (region + 1) * OF_REGION)
    assert not rations.take(bytes(8), 1)


def test_an_ipv6_network_is_a_48() -> None:
    rations = Rations()
    assert rations.take(bytes((0x20, 1, 0, 0, 0, 0, 0, 1)), OF_NETWORK)
    assert not rations.take(bytes((0x20, 1, 0, 0, 0, 0, 0, 2)), 1)
    assert rations.take(bytes((0x20, 1, 0, 0, 0, 1, 0, 1)), 1)

"""What `seeder check` and the log say of a configuration that is seldom meant."""

from pathlib import Path

import pytest

from seeder.config.advice import advise
from seeder.config.load import load
from tests.config.support import ONE_OBJECT, Load


def _advice(tmp_path: Path, tracker: str = "", peer: str = "") -> list[str]:
    path = tmp_path / "seeder.toml"
    path.write_text(
        f'[tracker]\n{tracker}\n[peer]\npublic_address = "203.0.113.7:6881"\n{peer}\n'
        '[[objects]]\nbucket = "b"\nkey = "k"\n'
    )
    return list(advise(load(path)))


PRIVATE = "10.0.0.0/8 172.17.0.0/16 192.168.1.0/24 100.64.0.0/10 fd00::/8 fe80::/64 0.0.0.0/0 ::/0"
PROXIES = "10.0.0.5 fd00::5/128 127.0.0.0/8 ::1 173.245.48.0/20 2400:cb00::/32"


@pytest.mark.parametrize("network", PRIVATE.split())
def test_a_whole_private_network_of_proxies_may_hold_clients(tmp_path: Path, network: str) -> None:
    [line] = _advice(tmp_path, f'trusted_proxies = ["192.0.2.1", "{network}"]')
    assert line.startswith(f"tracker.trusted_proxies: {network} is a whole private network")


@pytest.mark.parametrize("network", PROXIES.split())
def test_single_proxies_and_networks_of_a_service_are_as_they_should(
    tmp_path: Path, network: str
) -> None:
    assert _advice(tmp_path, f'trusted_proxies = ["{network}"]') == []


V4, V6 = "0.0.0.0:{}", "[::]:{}"


def _families(tmp_path: Path, tracker: list[str], peer: list[str], public: str) -> list[str]:
    path = tmp_path / "seeder.toml"
    path.write_text(
        f"[tracker]\nlisten = {[each.format(6969) for each in tracker]}\n"
        'announce_url = "http://t.example.org/announce"\n'
        f"[peer]\nlisten = {[each.format(6881) for each in peer]}\n{public}\n"
        '[[objects]]\nbucket = "b"\nkey = "k"\n'
    )
    return list(advise(load(path)))


@pytest.mark.parametrize(
    ("public", "missing"),
    [
        ('"203.0.113.7:6881"', "IPv6"),
        ('"[2001:db8::7]:6881"', "IPv4"),
        ('["203.0.113.7:6881", "[2001:db8::7]:6882"]', None),
        ('"seed.example.org:6881"', None),
        ('"seeder1:6881"', None),
        ('["203.0.113.7:6881", "seed.example.org:6881"]', None),
    ],
)
def test_a_family_that_public_address_lacks_is_named(
    tmp_path: Path, public: str, missing: str | None
) -> None:
    lines = _families(tmp_path, [V4, V6], [V4, V6], f"public_address = {public}")
    starts = [line.partition(" though")[0] for line in lines]
    assert starts == ([f"peer.public_address: has no {missing} address"] if missing else [])


def test_only_families_that_we_listen_on_are_missed(tmp_path: Path) -> None:
    assert _families(tmp_path, [V4], [V4], 'public_address = "203.0.113.7:6881"') == []
    assert _families(tmp_path, [V4, V6], [V4, V6], "") == []
    [line] = _families(tmp_path, [V4, V6], [V4], "")
    assert line.startswith("peer.listen: has no IPv6 address though tracker.listen has")


@pytest.mark.parametrize(
    ("listen", "advised"),
    [
        ('["127.0.0.1:9180", "[::1]:9180"]', []),
        ('["127.0.0.1:9180", "0.0.0.0:9181"]', ["0.0.0.0:9181"]),
        ('["[::]:9180"]', ["[::]:9180"]),
    ],
)
def test_a_token_that_crosses_a_network_in_the_clear_is_named(
    tmp_path: Path, listen: str, advised: list[str]
) -> None:
    for key in ("token_file", "token_credential"):
        lines = _advice(tmp_path, peer=f'[admin]\nlisten = {listen}\n{key} = "x"')
        assert [line.partition(" the token")[0] for line in lines] == [
            f"admin.{key}: at {address}" for address in advised
        ]
    assert _advice(tmp_path, peer=f"[admin]\nlisten = {listen}") == []


def test_a_network_let_in_by_one_list_and_kept_out_by_the_other_is_warned_of(read: Load) -> None:
    lists = 'allow = ["10.1.0.0/16", "192.0.2.0/24"]\ndeny = ["10.0.0.0/8", "192.0.2.0/25"]\n'
    found = [line for line in advise(read(f"{ONE_OBJECT}[tracker]\n{lists}")) if "allow" in line]
    assert found == [
        "tracker.allow[0]: 10.1.0.0/16 lies in tracker.deny, which goes first: nobody of it is"
        " let in"
    ]

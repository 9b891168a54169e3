"""What `seeder check` and the log say of a configuration that is seldom meant."""

from pathlib import Path

import pytest

from seeder.config.advice import advise
from seeder.config.load import load


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

"""Clients that hide behind another's address: what the log says of it, and how often."""

import logging
from collections.abc import Iterable
from urllib.parse import quote_from_bytes

import pytest

from seeder.gateway.hidden import MANY
from tests.gateway.support import Public
from tests.tracker.announcing import HASH, SIZE, peer_id

FORWARDED = ("x-forwarded-for", "198.51.100.1")


def announce(port: int = 2000, name: str = "a") -> str:
    return (
        f"/announce?info_hash={quote_from_bytes(HASH)}&peer_id={quote_from_bytes(peer_id(name))}"
        f"&port={port}&left={SIZE}"
    )


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("target", [announce(), "/quotes/Nelson?torrent"])
@pytest.mark.parametrize("proxies", [[], ["10.0.0.9"]])
@pytest.mark.parametrize("asker", ["10.0.0.1", "172.17.0.1", "127.0.0.1", "fd00::1"])
def test_a_proxy_that_is_not_trusted_is_named_once(
    target: str, proxies: list[str], asker: str, caplog: pytest.LogCaptureFixture
) -> None:
    public = Public(proxies=proxies)
    for peer in (asker, asker, "10.0.0.2"):
        public.get(target, FORWARDED, peer=peer)
    [line] = warnings(caplog)
    assert line.startswith(f"X-Forwarded-For comes from {asker}, ")
    assert "tracker.trusted_proxies" in line


def test_strangers_and_trusted_proxies_are_not_named(caplog: pytest.LogCaptureFixture) -> None:
    public = Public(proxies=["10.0.0.1"])
    public.get(announce(), FORWARDED, peer="192.0.2.1")
    public.get(announce(), FORWARDED, peer="10.0.0.1")
    public.get(announce(), ("x-forwarded-for", "unknown"), peer="10.0.0.1")
    public.get(announce(), peer="10.0.0.2")
    assert warnings(caplog) == []


def test_many_clients_at_one_private_address_are_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    public = Public()
    for port in range(2000, 2000 + 3 * MANY):
        public.get(announce(port), peer="172.17.0.1")
    [line] = warnings(caplog)
    assert line.startswith(f"{MANY} clients in a row came from 172.17.0.1, a private address: ")


@pytest.mark.parametrize(
    "clients",
    [
        # One client with many torrents has a peer id for each.
        [("10.0.0.1", 2000, f"torrent{number}") for number in range(3 * MANY)],
        [("192.0.2.1", 2000 + number, "a") for number in range(3 * MANY)],
        [(f"10.0.0.{number % 2}", 2000 + number, "a") for number in range(3 * MANY)],
    ],
    ids=["one client", "public", "several addresses"],
)
def test_others_are_not_taken_for_a_crowd(
    clients: Iterable[tuple[str, int, str]], caplog: pytest.LogCaptureFixture
) -> None:
    public = Public()
    for address, port, name in clients:
        public.get(announce(port, name), peer=address)
    assert warnings(caplog) == []

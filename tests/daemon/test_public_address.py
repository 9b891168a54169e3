"""What the swarms are told of our own seeder as names come, change and can't be looked up."""

import logging
import random
import socket

import pytest
import trio
import trio.testing

from seeder.daemon import public_address
from seeder.daemon.public_address import PublicAddress
from seeder.gateway.links import Links
from seeder.net.addresses import HostPort, compact_endpoint
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from tests.tracker.announcing import packed

NAME = HostPort("seed.example.org", 6881)


class Resolver:
    """Looks up what it was told, and numbers as they are."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    async def getaddrinfo(
        self, host: str, port: int, *args: object, **more: object
    ) -> list[tuple[object, ...]]:
        await trio.lowlevel.checkpoint()
        if host == "localhost":
            host = "127.0.0.1"
        if host != NAME.host:
            return [(None, None, None, "", (host, port))]
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(None, None, None, "", (address, port)) for address in self.addresses]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver()
    monkeypatch.setattr(trio.socket, "getaddrinfo", resolver.getaddrinfo)
    return resolver


def at(*addresses: str, port: int = 6881) -> tuple[bytes, ...]:
    return tuple(compact_endpoint(packed(address), port) for address in addresses)


def keeper(*addresses: HostPort, links: Links | None = None) -> tuple[Swarms, PublicAddress]:
    swarms = Swarms(SwarmPolicy(), OwnSeeder(6881, port_v6=6882), rng=random.Random(1))
    return swarms, PublicAddress(swarms, swarms.seeder, addresses, links or Links("", ""))


async def test_each_family_has_one_address_and_numbers_go_before_names(resolver: Resolver) -> None:
    resolver.addresses = ["198.51.100.2", "198.51.100.1", "2001:db8::2", "2001:db8::1"]
    swarms, public = keeper(NAME)
    await public.refresh()
    assert swarms.seeder.endpoints == at("198.51.100.1", "2001:db8::1")
    assert (swarms.seeder.port, swarms.seeder.port_v6) == (6881, 6882)
    public.change([NAME, HostPort("203.0.113.7", 1)])
    await public.refresh()
    assert swarms.seeder.endpoints == at("203.0.113.7", port=1) + at("2001:db8::1")
    public.change([])
    await public.refresh()
    assert swarms.seeder.endpoints == ()


async def test_a_name_is_followed_and_keeps_its_address_while_nobody_knows_it(
    resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    swarms, public = keeper(NAME)
    for _ in range(3):
        await public.refresh()
    assert swarms.seeder.endpoints == ()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "seed.example.org can't be looked up" in caplog.text
    resolver.addresses = ["198.51.100.1"]
    await public.refresh()
    assert swarms.seeder.endpoints == at("198.51.100.1")
    resolver.addresses = []
    await public.refresh()
    assert swarms.seeder.endpoints == at("198.51.100.1")
    resolver.addresses = ["2001:db8::1"]
    await public.refresh()
    assert swarms.seeder.endpoints == at("2001:db8::1")
    assert caplog.text.count("has another address now") == 1


async def test_what_was_told_before_a_reload_is_told_until_the_new_name_is_known(
    resolver: Resolver,
) -> None:
    links = Links("http://t.example.org/announce", "http://t.example.org")
    swarms, public = keeper(HostPort("203.0.113.7", 1), links=links)
    await public.refresh()
    public.change([NAME])
    await public.refresh()
    assert swarms.seeder.endpoints == at("203.0.113.7", port=1)
    assert [str(peer) for peer in links.peers] == ["203.0.113.7:1"]
    resolver.addresses = ["2001:db8::1"]
    await public.refresh()
    assert swarms.seeder.endpoints == at("2001:db8::1")
    public.change([])
    await public.refresh()
    assert swarms.seeder.endpoints == ()


async def test_the_name_of_this_machine_in_its_hosts_file_is_told_to_nobody(
    resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    """As Debian has it; clients are then told the address at which they reach us."""
    swarms, public = keeper(NAME)
    for addresses in (["127.0.1.1"], ["127.0.1.1", "::1"], ["fe80::1"]):
        resolver.addresses = addresses
        await public.refresh()
        assert swarms.seeder.endpoints == ()
    [line] = [record.getMessage() for record in caplog.records]
    assert "here it is 127.0.1.1, which is another machine elsewhere; see /etc/hosts" in line
    resolver.addresses = ["127.0.1.1", "198.51.100.1"]
    await public.refresh()
    assert swarms.seeder.endpoints == at("198.51.100.1")
    resolver.addresses = ["127.0.1.1"]
    await public.refresh()
    assert swarms.seeder.endpoints == at("198.51.100.1")
    # Whoever tries us out at home writes it, and means it.
    for address in ("localhost", "127.0.0.1"):
        public.change([HostPort(address, 6881)])
        await public.refresh()
        assert [end[:-2] for end in swarms.seeder.endpoints if len(end) == 6] == [b"\x7f\0\0\1"]


async def test_of_a_name_that_has_both_the_public_address_is_told_and_of_a_private_one_the_log(
    resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    swarms, public = keeper(NAME)
    resolver.addresses = ["10.0.0.5", "203.0.113.7", "192.168.1.2", "fd00::5", "2001:db8::7"]
    await public.refresh()
    assert swarms.seeder.endpoints == at("203.0.113.7", "2001:db8::7")
    assert not caplog.records
    for _ in range(2):
        resolver.addresses = ["10.0.0.5"]
        await public.refresh()
        assert swarms.seeder.endpoints == at("10.0.0.5")
    [line] = [record.getMessage() for record in caplog.records]
    assert "seed.example.org is 10.0.0.5 here, a private address" in line


async def test_magnets_name_what_a_name_stands_for(resolver: Resolver) -> None:
    """libtorrent takes no name there, and what was written down before is another's then."""
    links = Links("http://t.example.org/announce", "http://t.example.org")
    _, public = keeper(NAME, links=links)
    told = []
    for addresses in ([], ["198.51.100.1", "2001:db8::1"], ["198.51.100.2"], []):
        resolver.addresses = addresses
        await public.refresh()
        told.append([str(peer) for peer in links.peers])
    last = ["198.51.100.2:6881"]
    both = ["198.51.100.1:6881", "[2001:db8::1]:6881"]
    assert told == [["seed.example.org:6881"], both, last, last]


async def test_names_are_looked_up_again_from_time_to_time(
    resolver: Resolver, autojump_clock: trio.abc.Clock
) -> None:
    resolver.addresses = ["198.51.100.1"]
    swarms, public = keeper(NAME)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(public.run)
        await trio.sleep(1)
        assert swarms.seeder.endpoints == at("198.51.100.1")
        resolver.addresses = ["198.51.100.2"]
        await trio.sleep(301)
        assert swarms.seeder.endpoints == at("198.51.100.2")
        # A reload doesn't wait.
        public.change([HostPort("203.0.113.7", 6881)])
        await trio.sleep(1)
        assert swarms.seeder.endpoints == at("203.0.113.7")
        nursery.cancel_scope.cancel()


async def test_a_look_that_fails_by_a_fault_of_ours_is_not_the_last(
    resolver: Resolver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    resolver.addresses = ["198.51.100.1"]
    swarms, public = keeper(NAME)
    async with trio.open_nursery() as nursery:
        with monkeypatch.context() as bug:
            bug.delattr("seeder.daemon.public_address.packed_address")
            nursery.start_soon(public.run)
            await trio.sleep(1)
            assert "peer.public_address: internal error" in caplog.text
        assert swarms.seeder.endpoints == ()
        await trio.sleep(2 * public_address.RESOLVE_EVERY)
        assert swarms.seeder.endpoints == at("198.51.100.1")
        nursery.cancel_scope.cancel()

"""Datagrams of real sockets: who asked, at which address, and from where the reply leaves."""

import socket
from collections.abc import Iterator

import pytest

from seeder.errors import ConfigError
from seeder.net.addresses import HostPort
from seeder.net.datagrams import BATCH, receive, reply, tell_destinations
from seeder.net.sockets import bind_datagrams, packed_address

Asker = tuple[socket.socket, tuple[str, int]]
DEADLINE = 10.0


@pytest.fixture(params=["0.0.0.0", "::"])
def bound(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with bind_datagrams(request.param, 0, "tracker.udp_listen") as sock:
        tell_destinations(sock)
        yield sock


def asker_of(sock: socket.socket, family: int | None = None) -> socket.socket:
    """Return a client's socket, of the same family unless told otherwise."""
    client = socket.socket(family or sock.family, socket.SOCK_DGRAM)
    client.settimeout(DEADLINE)
    return client


def ours_of(sock: socket.socket) -> list[str]:
    return ["127.0.0.1", "127.0.0.2"] if sock.family == socket.AF_INET else ["::1"]


def test_a_reply_leaves_from_the_address_that_was_asked(bound: socket.socket) -> None:
    port = bound.getsockname()[1]
    for ours in ours_of(bound):
        with asker_of(bound) as client:
            # A connected socket takes nothing from another address.
            client.connect((ours, port))
            client.send(b"question")
            [datagram] = receive(bound, 100)
            assert datagram.data == b"question"
            assert datagram.local == packed_address(ours)
            assert datagram.source == packed_address(client.getsockname()[0])
            assert reply(bound, datagram, b"answer")
            assert client.recv(100) == b"answer"


@pytest.mark.parametrize("host", ["127.0.0.2", "::1"])
def test_a_socket_with_one_address_answers_from_it_without_being_told(host: str) -> None:
    with bind_datagrams(host, 0, "tracker.udp_listen") as sock:
        local = tell_destinations(sock)
        assert local == packed_address(host)
        for _ in range(2):
            with asker_of(sock) as client:
                client.connect(sock.getsockname()[:2])
                client.send(b"question")
                [datagram] = receive(sock, 100, local)
                assert datagram[:3] == (b"question", packed_address(client.getsockname()[0]), local)
                assert not reply(sock, datagram, bytes(70_000))
                assert reply(sock, datagram, b"answer")
                assert client.recv(100) == b"answer"
            # Nobody listens any more: the system is told so by ICMP, which harms nobody else.
            reply(sock, datagram, b"answer")


def test_ipv4_over_a_socket_of_both_families_is_ipv4() -> None:
    """As systemd opens it for [::] without BindIPv6Only=ipv6-only."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        both.setblocking(False)
        tell_destinations(both)
        for family, ours in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(DEADLINE)
                client.connect((ours, both.getsockname()[1]))
                client.send(b"question")
                [datagram] = receive(both, 100)
                assert datagram.local == packed_address(ours)
                assert len(datagram.source) == len(datagram.local)
                assert reply(both, datagram, b"answer")
                assert client.recv(100) == b"answer"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_what_is_sent_to_many_hosts_at_once_is_answered_by_none(host: str) -> None:
    """Or one forged datagram would have all hosts of a network answer its victim."""
    family = socket.AF_INET6 if host == "::" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock, asker_of(sock, socket.AF_INET) as client:
        if host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, 0))
        sock.setblocking(False)
        tell_destinations(sock)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.bind(("127.0.0.1", 0))
        for address in ("127.255.255.255", "127.0.0.1"):
            client.sendto(address.encode(), (address, sock.getsockname()[1]))
        came = list(receive(sock, 100))
        # Where IPv4 comes over a socket of IPv6, it is the system that sends no reply.
        assert len(came) == (1 if host == "0.0.0.0" else 2)
        assert [each.data for each in came if reply(sock, each, each.data)] == [b"127.0.0.1"]
        assert client.recvfrom(100) == (b"127.0.0.1", ("127.0.0.1", sock.getsockname()[1]))


def test_what_came_before_the_daemon_had_started_is_answered() -> None:
    """systemd's socket takes datagrams while the daemon restarts."""
    for host, ours in (("0.0.0.0", "127.0.0.2"), ("::", "::1")):
        with bind_datagrams(host, 0, "tracker.udp_listen") as sock, asker_of(sock) as client:
            client.connect((ours, sock.getsockname()[1]))
            client.send(b"question")
            tell_destinations(sock)
            [datagram] = receive(sock, 100)
            assert datagram.local == packed_address(ours)
            assert reply(sock, datagram, b"answer")
            assert client.recv(100) == b"answer"


class Scripted:
    """A socket of IPv6 to which datagrams came that can't be sent over the loopback here."""

    family = socket.AF_INET6

    def __init__(self, *came: tuple[str, int]) -> None:
        self.came = list(came)

    def recvmsg(self, size: int, space: int) -> tuple[bytes, list[object], int, tuple[object, ...]]:
        if not self.came:
            raise BlockingIOError
        address, port = self.came.pop(0)
        told = socket.inet_pton(socket.AF_INET6, address) + bytes(4)
        ancillary = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, told)
        return address.encode(), [ancillary], 0, ("2001:db8::1", port, 0, 0)


def test_multicast_and_a_source_without_a_port_are_left_out() -> None:
    sock = Scripted(("ff02::1", 5000), ("::1", 0), ("::1", 5000), ("ff12::77", 5000))
    assert [each.data for each in receive(sock, 100)] == [b"::1"]  # type: ignore[arg-type]


def test_datagrams_are_taken_in_batches_and_cut(bound: socket.socket) -> None:
    with asker_of(bound) as client:
        client.connect((ours_of(bound)[0], bound.getsockname()[1]))
        for _ in range(BATCH + 3):
            client.send(b"0123456789")
        first = list(receive(bound, 4))
        assert [each.data for each in first] == [b"0123"] * BATCH
        assert len(list(receive(bound, 4))) == 3
        assert list(receive(bound, 4)) == []


def test_a_client_that_is_gone_stops_nothing(bound: socket.socket) -> None:
    port = bound.getsockname()[1]
    for _ in range(3):
        with asker_of(bound) as client:
            client.connect((ours_of(bound)[0], port))
            client.send(b"question")
            [datagram] = receive(bound, 100)
        # Nobody listens any more: the system is told so by ICMP.
        reply(bound, datagram, b"answer")
    with asker_of(bound) as client:
        client.connect((ours_of(bound)[0], port))
        client.send(b"question")
        [datagram] = receive(bound, 100)
        assert reply(bound, datagram, b"answer")
        assert client.recv(100) == b"answer"


def test_a_reply_that_the_system_does_not_take_is_let_go(bound: socket.socket) -> None:
    with asker_of(bound) as client:
        client.connect((ours_of(bound)[0], bound.getsockname()[1]))
        client.send(b"question")
        [datagram] = receive(bound, 100)
        assert not reply(bound, datagram, bytes(70_000))


def test_a_port_that_is_taken_is_said_with_its_key(bound: socket.socket) -> None:
    host, port = bound.getsockname()[:2]
    with pytest.raises(ConfigError) as caught:
        bind_datagrams(host, port, "tracker.udp_listen")
    [line] = caught.value.problems
    assert line.startswith(f"tracker.udp_listen: can't listen on {HostPort(host, port)}: ")
    assert "another program (or another seeder) uses it" in line

"""Datagrams of real sockets: who asked, at which address, and from where the reply leaves."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from seeder.errors import ConfigError
from seeder.net.addresses import HostPort
from seeder.net.datagrams import BATCH, Datagram, Datagrams, local_address
from seeder.net.sockets import bind_datagrams, packed_address

Asker = tuple[socket.socket, tuple[str, int]]
DEADLINE = 10.0


LARGEST, LONGEST = 100, 200


@pytest.fixture(params=["0.0.0.0", "::"])
def bound(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with bind_datagrams(request.param, 0, "tracker.udp_listen") as sock:
        yield sock


@pytest.fixture
def datagrams(bound: socket.socket) -> Datagrams:
    return Datagrams(bound, LARGEST, LONGEST)


def receive(datagrams: Datagrams) -> list[Datagram]:
    """Return all that waits."""
    found: list[Datagram] = []
    while (batch := datagrams.receive()) is not None:
        found += batch
    return found


def reply(datagrams: Datagrams, datagram: Datagram, data: bytes) -> int:
    """Return how many bytes of a reply were sent."""
    datagrams.reply(datagram.place, data)
    return datagrams.send()


def asker_of(sock: socket.socket, family: int | None = None) -> socket.socket:
    """Return a client's socket, of the same family unless told otherwise."""
    client = socket.socket(family or sock.family, socket.SOCK_DGRAM)
    client.settimeout(DEADLINE)
    return client


def ours_of(sock: socket.socket) -> list[str]:
    return ["127.0.0.1", "127.0.0.2"] if sock.family == socket.AF_INET else ["::1"]


def test_a_reply_leaves_from_the_address_that_was_asked(
    bound: socket.socket, datagrams: Datagrams
) -> None:
    port = bound.getsockname()[1]
    for ours in ours_of(bound):
        with asker_of(bound) as client:
            # A connected socket takes nothing from another address.
            client.connect((ours, port))
            client.send(b"question")
            [datagram] = receive(datagrams)
            assert datagram.data == b"question"
            assert datagram.local == packed_address(ours)
            assert datagram.source == packed_address(client.getsockname()[0])
            assert reply(datagrams, datagram, b"answer") == 6
            assert client.recv(100) == b"answer"


@pytest.mark.parametrize("host", ["127.0.0.2", "::1"])
def test_a_socket_with_one_address_answers_from_it_without_being_told(host: str) -> None:
    with bind_datagrams(host, 0, "tracker.udp_listen") as sock:
        datagrams = Datagrams(sock, LARGEST, LONGEST)
        for _ in range(2):
            with asker_of(sock) as client:
                client.connect(sock.getsockname()[:2])
                client.send(b"question")
                [datagram] = receive(datagrams)
                ours = packed_address(host)
                assert datagram[:3] == (b"question", packed_address(client.getsockname()[0]), ours)
                assert reply(datagrams, datagram, b"answer") == 6
                assert client.recv(100) == b"answer"
            # Nobody listens any more: the system is told so by ICMP, which harms nobody else.
            reply(datagrams, datagram, b"answer")


def test_each_of_a_batch_gets_its_own_reply_or_none(
    bound: socket.socket, datagrams: Datagrams
) -> None:
    port, unanswered = bound.getsockname()[1], (0, 3, 4, BATCH - 1)
    with contextlib.ExitStack() as stack:
        for turn in range(2):
            clients = [stack.enter_context(asker_of(bound)) for _ in range(BATCH)]
            for number, client in enumerate(clients):
                client.connect((ours_of(bound)[-1], port))
                client.send(bytes([turn]) * number)
            batch = datagrams.receive()
            assert batch is not None
            for number, datagram in enumerate(batch):
                assert datagram.data == bytes([turn]) * number
                if number not in unanswered:
                    datagrams.reply(datagram.place, b"%d of %d" % (number, turn))
            texts = [b"%d of %d" % (n, turn) for n in range(BATCH) if n not in unanswered]
            assert datagrams.send() == sum(map(len, texts))
            answered = [client for n, client in enumerate(clients) if n not in unanswered]
            assert [client.recv(100) for client in answered] == texts
            for number in unanswered:
                clients[number].setblocking(False)
                with pytest.raises(BlockingIOError):
                    clients[number].recv(100)


def test_what_the_system_does_not_take_costs_nobody_else_the_reply() -> None:
    with bind_datagrams("127.0.0.1", 0, "tracker.udp_listen") as sock:
        datagrams = Datagrams(sock, LARGEST, 70_000)
        with asker_of(sock) as client:
            client.connect(sock.getsockname())
            for _ in range(3):
                client.send(b"question")
            first, second, third = receive(datagrams)
            datagrams.reply(first.place, bytes(70_000))  # more than a datagram has room for
            datagrams.reply(second.place, b"answer")
            datagrams.reply(third.place, bytes(70_000))
            assert datagrams.send() == 6
            assert client.recv(100) == b"answer"


def test_a_reply_that_is_too_long_takes_nobody_elses_place(
    bound: socket.socket, datagrams: Datagrams
) -> None:
    with asker_of(bound) as client:
        client.connect((ours_of(bound)[0], bound.getsockname()[1]))
        client.send(b"question")
        [datagram] = receive(datagrams)
        with pytest.raises(ValueError, match="201 bytes, of at most 200"):
            datagrams.reply(datagram.place, bytes(LONGEST + 1))
        assert reply(datagrams, datagram, bytes(LONGEST)) == LONGEST
        assert client.recv(300) == bytes(LONGEST)


def test_ipv4_over_a_socket_of_both_families_is_ipv4() -> None:
    """As systemd opens it for [::] without BindIPv6Only=ipv6-only."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        both.setblocking(False)
        datagrams = Datagrams(both, LARGEST, LONGEST)
        for family, ours in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(DEADLINE)
                client.connect((ours, both.getsockname()[1]))
                client.send(b"question")
                [datagram] = receive(datagrams)
                assert datagram.local == packed_address(ours)
                assert len(datagram.source) == len(datagram.local)
                assert reply(datagrams, datagram, b"answer") == 6
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
        datagrams = Datagrams(sock, LARGEST, LONGEST)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.bind(("127.0.0.1", 0))
        for address in ("127.255.255.255", "127.0.0.1"):
            client.sendto(address.encode(), (address, sock.getsockname()[1]))
        came = receive(datagrams)
        # Where IPv4 comes over a socket of IPv6, it is the system that sends no reply.
        assert len(came) == (1 if host == "0.0.0.0" else 2)
        for datagram in came:
            datagrams.reply(datagram.place, datagram.data)
        assert datagrams.send() == len("127.0.0.1")
        assert client.recvfrom(100) == (b"127.0.0.1", ("127.0.0.1", sock.getsockname()[1]))


def test_what_came_before_the_daemon_had_started_is_answered() -> None:
    """systemd's socket takes datagrams while the daemon restarts."""
    for host, ours in (("0.0.0.0", "127.0.0.2"), ("::", "::1")):
        with bind_datagrams(host, 0, "tracker.udp_listen") as sock, asker_of(sock) as client:
            client.connect((ours, sock.getsockname()[1]))
            client.send(b"question")
            datagrams = Datagrams(sock, LARGEST, LONGEST)
            [datagram] = receive(datagrams)
            assert datagram.local == packed_address(ours)
            assert reply(datagrams, datagram, b"answer") == 6
            assert client.recv(100) == b"answer"


@pytest.mark.parametrize(
    ("told", "local"),
    [("2001:db8::7", "2001:db8::7"), ("::ffff:127.0.0.2", "127.0.0.2"), ("ff02::1", None)],
)
def test_multicast_has_no_address_to_answer_from(told: str, local: str | None) -> None:
    """None can be sent over the loopback here."""
    info = socket.inet_pton(socket.AF_INET6, told) + bytes(4)
    assert local_address(info) == (local and packed_address(local))


def test_datagrams_are_taken_in_batches_and_cut(bound: socket.socket, datagrams: Datagrams) -> None:
    with asker_of(bound) as client:
        client.connect((ours_of(bound)[0], bound.getsockname()[1]))
        for _ in range(BATCH + 3):
            client.send(bytes(LARGEST) + b"more")
        for count in (BATCH, 3):
            batch = datagrams.receive()
            assert batch is not None
            assert [each.data for each in batch] == [bytes(LARGEST)] * count
        assert datagrams.receive() is None


def test_a_client_that_is_gone_stops_nothing(bound: socket.socket, datagrams: Datagrams) -> None:
    port = bound.getsockname()[1]
    for _ in range(3):
        with asker_of(bound) as client:
            client.connect((ours_of(bound)[0], port))
            client.send(b"question")
            [datagram] = receive(datagrams)
        # Nobody listens any more: the system is told so by ICMP.
        reply(datagrams, datagram, b"answer")
    with asker_of(bound) as client:
        client.connect((ours_of(bound)[0], port))
        client.send(b"question")
        [datagram] = receive(datagrams)
        assert reply(datagrams, datagram, b"answer") == 6
        assert client.recv(100) == b"answer"


def test_a_socket_that_is_closed_is_an_error(bound: socket.socket, datagrams: Datagrams) -> None:
    bound.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        datagrams.receive()


def test_a_port_that_is_taken_is_said_with_its_key(bound: socket.socket) -> None:
    host, port = bound.getsockname()[:2]
    with pytest.raises(ConfigError) as caught:
        bind_datagrams(host, port, "tracker.udp_listen")
    [line] = caught.value.problems
    assert line.startswith(f"tracker.udp_listen: can't listen on {HostPort(host, port)}: ")
    assert "another program (or another seeder) uses it" in line

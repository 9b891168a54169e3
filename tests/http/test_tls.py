"""The HTTP server over TLS: all that it does without, and what strangers do to a TLS port."""

import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from seeder.http.certificates import PemFile, read_certificate
from seeder.http.connection import LARGE_BODY, MOST_IN_A_ROW
from seeder.http.messages import Request, Response
from seeder.http.server import serve
from seeder.http.service import ServerLimits, Service
from seeder.http.tls import HandshakeResult, Queue, Security, TLSSocket
from seeder.net.addresses import networks_of
from tests.http.serving import PATIENCE, Client, Shelf, connected, exchange, get, serving, target_of
from tests.support.certificates import Authority

HOST = "127.0.0.1"


def echo(request: Request) -> Response:
    return Response(200, b"%b %b" % (request.method, target_of(request)))


class Lab:
    """A certificate for loopback, and what clients trust it with."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority()
        self.renew(directory)
        self.security = Security((), lambda: self.context)
        self.trust = ssl.create_default_context(cadata=self.authority.pem.decode())

    def renew(self, directory: Path) -> None:
        certificate, key = self.authority.write_pair(directory, [HOST, "localhost"])
        self.context = read_certificate(
            PemFile("c", certificate), PemFile("k", key), certificate.stat().st_mtime
        ).context

    @asynccontextmanager
    async def connected(self, port: int) -> AsyncIterator[Client]:
        """Connect by TLS, with the certificate checked."""
        stream = trio.SSLStream(
            await trio.open_tcp_stream(HOST, port),
            self.trust,
            server_hostname=HOST,
            https_compatible=False,
        )
        async with stream:
            with trio.fail_after(PATIENCE):
                await stream.do_handshake()
            yield Client(stream)

    @property
    def counts(self) -> dict[HandshakeResult, int]:
        return dict(self.security.handshakes)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def say_hello(lab: Lab) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """Return a client that has made its first message, and what comes to it and goes from it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = lab.trust.wrap_bio(incoming, outgoing, server_hostname=HOST)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return client, incoming, outgoing


async def until(condition: object) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110
            await trio.sleep(0.005)


async def test_a_connection_is_kept_and_requests_come_in_a_row(lab: Lab) -> None:
    count = 3 * MOST_IN_A_ROW + 1
    async with serving(echo, security=lab.security) as port, lab.connected(port) as client:
        for target in ("/1", "/2"):
            await client.send(get(target))
            assert (await client.reply()).body == b"GET " + target.encode()
        await client.send(b"".join(get(f"/{number}") for number in range(count)))
        for number in range(count):
            assert (await client.reply()).body == b"GET /%d" % number
    assert lab.counts == {HandshakeResult.DONE: 1}


async def test_requests_that_come_while_one_is_answered_are_answered(lab: Lab) -> None:
    """They are decrypted already, or wait in OpenSSL's buffer: no poll of the socket shows them."""

    async def slow(request: Request) -> Response:
        await trio.sleep(0.05)
        return echo(request)

    async with serving(slow, security=lab.security) as port, lab.connected(port) as client:
        for number in range(5):
            await client.send(get(f"/{number}"))
        for number in range(5):
            assert (await client.reply()).body == b"GET /%d" % number


async def test_a_request_in_many_small_records_is_read(lab: Lab) -> None:
    async with serving(echo, security=lab.security) as port, lab.connected(port) as client:
        for at in get("/in-pieces"):
            await client.send(bytes([at]))
        assert (await client.reply()).body == b"GET /in-pieces"


@pytest.mark.parametrize("size", [0, 1, LARGE_BODY, LARGE_BODY + 1, 3_000_000])
async def test_bodies_arrive_whole_then_the_end_is_told(lab: Lab, size: int) -> None:
    body = os.urandom(size)

    async with (
        serving(lambda _: Response(200, body), security=lab.security) as port,
        lab.connected(port) as client,
    ):
        await client.send(get("/", "Connection: close"))
        assert (await client.reply()).body == body
        assert await client.rest() == b""
        assert not client.was_reset


async def test_a_sourced_body_arrives_whole_through_a_slow_reader(lab: Lab) -> None:
    shelf = Shelf(os.urandom(4_000_000))
    async with serving(shelf, security=lab.security) as port, lab.connected(port) as client:
        await client.send(get("/"))
        await trio.sleep(0.2)  # until every buffer on the way is full
        assert shelf.at < len(shelf.data)
        assert (await client.reply()).body == shelf.data


@pytest.mark.parametrize("sourced", [False, True])
async def test_a_reply_is_sent_to_its_end_before_the_connection_is_closed(
    lab: Lab, *, sourced: bool
) -> None:
    """The last records wait for a client that reads slowly, when all of the body is encrypted."""
    data = os.urandom(3_000_000)
    handler = Shelf(data) if sourced else lambda _: Response(200, data)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    async with serving(handler, security=lab.security) as port:
        sock.connect((HOST, port))
        stream = trio.SSLStream(
            trio.SocketStream(trio.socket.from_stdlib_socket(sock)),
            lab.trust,
            server_hostname=HOST,
        )
        async with stream:
            client = Client(stream)
            await client.send(get("/", "Connection: close"))
            await trio.sleep(0.1)
            reply = b""
            with trio.fail_after(PATIENCE):
                while len(reply) < len(data) and (some := await stream.receive_some(9000)):
                    reply += some
                    if len(reply) > len(data) - 100_000:
                        await trio.sleep(0.001)
                while some := await stream.receive_some(9000):
                    reply += some
    assert reply.endswith(data[-100_000:])
    assert reply.partition(b"\r\n\r\n")[2] == data


async def test_what_comes_after_the_end_was_told_is_not_decrypted(lab: Lab) -> None:
    """It is dropped, and half a record of it is no reason to close on our reply."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        tls = TLSSocket(ours, lab.context)
        client, incoming, outgoing = say_hello(lab)
        for _ in range(3):
            theirs.sendall(outgoing.read())
            with suppress(BlockingIOError):
                tls.shake_hands()
            incoming.write(theirs.recv(65536))
            with suppress(ssl.SSLWantReadError):
                client.do_handshake()
                break
        theirs.sendall(outgoing.read())
        tls.shake_hands()
        for data in (b"taken", b"not taken"):
            client.write(data)
        theirs.sendall(outgoing.read())
        assert tls.recv(100) == b"taken"
        tls.shutdown(socket.SHUT_WR)
        assert tls.recv(100)[:1] == b"\x17"
        theirs.sendall(b"\x17\x03\x03")
        assert tls.recv(100) == b"\x17\x03\x03"
        tls.close()


async def test_a_body_without_a_length_ends_with_the_connection(lab: Lab) -> None:
    shelf = Shelf(os.urandom(500_000))
    shelf.length = None  # type: ignore[assignment]

    def handler(_: Request) -> Response:
        return Response(200, Ending(shelf))

    async with serving(handler, security=lab.security) as port, lab.connected(port) as client:
        await client.send(get("/"))
        raw = await client.rest()
        assert raw.partition(b"\r\n\r\n")[2] == shelf.data
        assert not client.was_reset


class Ending:
    """A shelf that offers nothing once it is empty."""

    def __init__(self, shelf: Shelf) -> None:
        self.took, self.close = shelf.took, shelf.close
        self._shelf = shelf

    async def offer(self) -> list[memoryview]:
        return await self._shelf.offer()


async def test_a_body_that_is_cut_off_is_seen_to_be(lab: Lab) -> None:
    shelf = Shelf(os.urandom(1_000_000), fail_at=500_000)
    async with serving(shelf, security=lab.security) as port, lab.connected(port) as client:
        await client.send(get("/"))
        raw = await client.rest()
        assert 0 < len(raw.partition(b"\r\n\r\n")[2]) < 1_000_000


async def test_a_refused_client_that_goes_on_sending_reads_its_reply(lab: Lab) -> None:
    """Closing on what it still sends would destroy the reply on its way (RFC 9112, 9.6)."""
    async with serving(echo, security=lab.security) as port, lab.connected(port) as client:
        with suppress(trio.BrokenResourceError):
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")
            for _ in range(30):
                await client.send(bytes(3000))
        assert (await client.rest()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("behind", [b"", bytes(20_000)], ids=["later", "along with it"])
async def test_what_comes_behind_the_last_request_destroys_no_reply(
    lab: Lab, behind: bytes
) -> None:
    more = trio.Event()

    async def handler(_: Request) -> Response:
        await more.wait()
        return Response(200, b"answered")

    async with serving(handler, security=lab.security) as port, lab.connected(port) as client:
        await client.send(get("/", "Connection: close") + behind)
        await client.send(bytes(20_000))
        more.set()
        assert (await client.rest()).endswith(b"answered")
        assert not client.was_reset
        with suppress(trio.BrokenResourceError):
            await client.close()
        await until(lambda: lab.counts)
    assert lab.counts == {HandshakeResult.DONE: 1}


async def test_the_alert_that_says_why_a_handshake_failed_arrives(lab: Lab) -> None:
    async with serving(echo, security=lab.security) as port, connected(port) as client:
        await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x00" + bytes(60_000))
        alert = await client.rest()
        assert alert[:1] == b"\x15"
        assert not client.was_reset
        await client.close()
        await until(lambda: lab.counts)
    assert lab.counts == {HandshakeResult.FAILED: 1}


async def test_a_client_that_vanishes_without_a_word_is_let_go(lab: Lab) -> None:
    shelf = Shelf(bytes(9_000_000))
    async with serving(shelf, ServerLimits(connections=1), security=lab.security) as port:
        for count in (1000, 0):
            stream = trio.SSLStream(
                await trio.open_tcp_stream(HOST, port), lab.trust, server_hostname=HOST
            )
            await stream.do_handshake()
            if count:
                await stream.send_all(get("/"))
                await stream.receive_some(count)
            await stream.transport_stream.aclose()
        with trio.fail_after(PATIENCE):
            await shelf.gone.wait()


class CountedBytes:
    def __init__(self) -> None:
        self.bytes = 0

    def protocol(self, count: int) -> None:
        self.bytes += count


async def test_every_byte_that_leaves_is_counted_once(lab: Lab) -> None:
    """Payload by its source, the rest by the server's meter: certificate, records, heads."""
    meter, shelf = CountedBytes(), Shelf(os.urandom(2_000_000))
    arrived = 0

    async def pass_on(stream: trio.SocketStream) -> None:
        nonlocal arrived
        outer = await trio.open_tcp_stream(HOST, port)
        async with trio.open_nursery() as both, outer, stream:

            async def back() -> None:
                nonlocal arrived
                async for data in outer:
                    arrived += len(data)
                    await stream.send_all(data)
                await stream.send_eof()

            both.start_soon(back)
            async for data in stream:
                await outer.send_all(data)
            await outer.send_eof()

    async with (
        serving(shelf, meter=meter, security=lab.security) as port,
        trio.open_nursery() as nursery,
    ):
        listeners = await nursery.start(trio.serve_tcp, pass_on, 0)
        middle = listeners[0].socket.getsockname()[1]
        async with lab.connected(middle) as client:
            await client.send(get("/", "Connection: close"))
            assert (await client.reply()).body == shelf.data
            await client.rest()
        await until(lambda: arrived == meter.bytes + shelf.at)
        nursery.cancel_scope.cancel()
    assert shelf.at == len(shelf.data)


async def test_http_without_tls_is_told_where_to_go(lab: Lab) -> None:
    hostless = {b"/announce": lambda text: Response(200, text.encode())}
    async with serving(echo, hostless=hostless, security=lab.security) as port:
        raw = await exchange(port, get("/announce?info_hash=%00", "Connection: keep-alive"))
        assert raw.startswith(b"HTTP/1.1 301 ")
        assert b"\r\nLocation: https://tracker.test/announce?info_hash=%00\r\n" in raw
        assert raw.endswith(b"this port takes https:// only\n")
        raw = await exchange(port, get("/", method="POST"))
        assert raw.startswith(b"HTTP/1.1 400 ")
        raw = await exchange(port, b"GET /announce HTTP/1.0\r\n\r\n")
        assert raw.endswith(b"\r\n\r\nthis port takes https:// only")
        raw = await exchange(port, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 400 ")
        raw = await exchange(port, b"\x13BitTorrent protocol" + bytes(48) + b"\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 400 ")
        async with lab.connected(port) as client:
            await client.send(get("/"))
            assert (await client.reply()).body == b"GET /"
    assert lab.counts == {HandshakeResult.PLAIN: 5, HandshakeResult.DONE: 1}


async def test_tls_on_a_port_without_it_is_ended_at_once(lab: Lab) -> None:
    async with serving(echo, ServerLimits(head_timeout=60)) as port:
        with pytest.raises(trio.BrokenResourceError):
            async with lab.connected(port):
                pass


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01" + os.urandom(600),
        b"\x16\x03\x01\x40\x00" + bytes(0x4000) * 20,
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    ],
)
async def test_what_is_no_handshake_after_all_ends_the_connection(lab: Lab, garbage: bytes) -> None:
    async with serving(echo, security=lab.security) as port, connected(port) as client:
        with suppress(trio.BrokenResourceError):
            await client.send(garbage)
            await client.finish_sending()
        assert len(await client.rest()) <= 7  # an alert, or nothing
        await until(lambda: lab.counts == {HandshakeResult.FAILED: 1})


async def test_a_hello_that_never_ends_ends_the_connection(lab: Lab) -> None:
    """OpenSSL would take 128 KiB of it."""
    begin = b"\x16\x03\x01\x40\x00\x01\x01\xf0\x00\x03\x03" + bytes(0x4000 - 6)
    limits = ServerLimits(head_timeout=600)
    async with serving(echo, limits, security=lab.security) as port, connected(port) as client:
        with suppress(trio.BrokenResourceError):
            await client.send(begin)
            for _ in range(4):
                await client.send(b"\x16\x03\x01\x40\x00" + bytes(0x4000))
        await client.rest()
        await until(lambda: lab.counts == {HandshakeResult.FAILED: 1})


async def test_a_client_that_distrusts_us_is_counted(lab: Lab) -> None:
    def connect(port: int) -> None:
        with socket.create_connection((HOST, port)) as sock:
            ssl.create_default_context().wrap_socket(sock, server_hostname=HOST)

    async with serving(echo, security=lab.security) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await trio.to_thread.run_sync(connect, port)
        await until(lambda: lab.counts == {HandshakeResult.DISTRUSTED: 1})


async def test_a_handshake_that_stops_ends_in_time_and_holds_nobody_up(lab: Lab) -> None:
    limits = ServerLimits(head_timeout=1.0, connections=50)
    async with serving(echo, limits, security=lab.security) as port, AsyncExitStack() as stack:
        stopped: list[Client] = []
        for number in range(40):
            stopped.append(await stack.enter_async_context(connected(port)))
            if number % 2:
                _, _, outgoing = say_hello(lab)
                await stopped[-1].send(outgoing.read())
        async with lab.connected(port) as client:
            await client.send(get("/"))
            assert (await client.reply()).body == b"GET /"
        for each in stopped:
            await each.rest()
        await until(lambda: lab.counts == {HandshakeResult.FAILED: 40, HandshakeResult.DONE: 1})


async def test_half_handshakes_by_the_thousand_leave_room_for_others(lab: Lab) -> None:
    """They take the place of one another; who comes from elsewhere is served."""
    limits = ServerLimits(connections=100)
    _, _, outgoing = say_hello(lab)
    hello = outgoing.read()
    held: list[socket.socket] = []

    def flood(port: int) -> None:
        for _ in range(1000):
            sock = socket.create_connection((HOST, port), source_address=("127.0.0.2", 0))
            held.append(sock)
            with suppress(ConnectionError):  # it has made room already
                sock.sendall(hello)
            if len(held) > 300:
                held.pop(0).close()

    async with serving(echo, limits, security=lab.security) as port:
        await trio.to_thread.run_sync(flood, port)  # a full backlog lets it wait
        async with lab.connected(port) as client:
            await client.send(get("/"))
            assert (await client.reply()).body == b"GET /"
        for sock in held:
            sock.close()


async def test_a_new_certificate_is_for_new_connections_and_cuts_none(
    lab: Lab, tmp_path: Path
) -> None:
    async with serving(echo, security=lab.security) as port, lab.connected(port) as old:
        await old.send(get("/1"))
        await old.reply()
        before = old._stream.getpeercert(binary_form=True)  # type: ignore[union-attr]
        lab.renew(tmp_path)
        async with lab.connected(port) as new:
            await new.send(get("/2"))
            await new.reply()
            after = new._stream.getpeercert(binary_form=True)  # type: ignore[union-attr]
        await old.send(get("/3"))
        assert (await old.reply()).body == b"GET /3"
    assert before != after


async def test_who_comes_too_often_is_closed_before_the_handshake(lab: Lab) -> None:
    lab.security.admit = lambda address: address != "127.0.0.9"
    async with serving(echo, security=lab.security) as port:
        _, _, outgoing = say_hello(lab)
        async with connected(port, "127.0.0.9") as client:
            with suppress(trio.BrokenResourceError):
                await client.send(outgoing.read())
            assert await client.rest() == b""
        async with lab.connected(port) as other:
            await other.send(get("/"))
            assert (await other.reply()).status == 200
    assert lab.counts == {HandshakeResult.REFUSED: 1, HandshakeResult.DONE: 1}


async def test_a_server_that_stops_ends_handshakes_and_answers_what_it_began(lab: Lab) -> None:
    release = trio.Event()

    async def handler(request: Request) -> Response:
        await release.wait()
        return echo(request)

    with socket.create_server((HOST, 0)) as listener:
        lab.security.listeners = [listener]
        port = listener.getsockname()[1]
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def run(*, task_status: trio.TaskStatus[None]) -> None:
                with scope:
                    await serve(
                        [], Service(handler), security=lab.security, task_status=task_status
                    )

            await nursery.start(run)
            async with connected(port) as waiting, lab.connected(port) as client:
                await client.send(get("/"))
                await trio.sleep(0.05)
                scope.cancel()
                await trio.sleep(0.05)
                release.set()
                assert (await client.reply()).body == b"GET /"
                assert await waiting.rest() == b""


async def test_networks_take_turns_at_handshakes() -> None:
    queue, order = Queue(), []

    async def wait(host: bytes) -> None:
        await queue.wait(networks_of(host))
        order.append(host[0])

    async with trio.open_nursery() as nursery:
        for host in (bytes((1, 0, 0, 1)),) * 50 + (bytes((2, 0, 0, 1)),):
            nursery.start_soon(wait, host)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(queue.run)
        await until(lambda: len(order) == 51)
        nursery.cancel_scope.cancel()
    assert 2 in order[:2]


async def test_who_leaves_the_queue_takes_no_turn() -> None:
    queue = Queue()
    with trio.move_on_after(0.01):
        await queue.wait(networks_of(bytes((1, 0, 0, 1))))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        with trio.fail_after(PATIENCE):
            await queue.wait(networks_of(bytes((1, 0, 0, 1))))
        nursery.cancel_scope.cancel()

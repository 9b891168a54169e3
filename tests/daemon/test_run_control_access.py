"""Who may use the control API over TCP, and what a hostile client of it comes to."""

import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest
import trio

from seeder.config.load import load
from seeder.config.sections import Config
from seeder.control.access import GUESSES_AT_ONCE
from seeder.daemon.descriptors import CONTROL
from seeder.daemon.node import Node
from seeder.daemon.reload import reload
from seeder.units import MIB
from tests.daemon.control_site import TOKEN, at_socket, bearer, problem_of
from tests.daemon.support import get, serving, until

OTHER = "another-token-of-so-many-characters"
BAN = {"network": "203.0.113.0/24"}


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "api.token"
    write_token(path, TOKEN)
    return path


def write_token(path: Path, token: str) -> None:
    path.write_text(f"{token}\n")
    path.chmod(0o600)


@pytest.fixture
def guarded(config: Config, token_file: Path) -> Config:
    """A configuration with a token, and a name for the admin listener."""
    admin = config.admin.model_copy(
        update={"token_file": token_file, "hosts": ("status.example.org",)}
    )
    return config.model_copy(update={"admin": admin})


@pytest.fixture
async def node(guarded: Config) -> AsyncIterator[Node]:
    async with serving(guarded) as node:
        yield node


@pytest.fixture
async def client(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the admin listener, without a token unless it says so."""
    base = f"http://{node.admin_address}/api/v1"
    async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
        yield client


async def test_the_token_opens_and_nothing_less(node: Node, client: httpx.AsyncClient) -> None:
    missing = await client.get("/status")
    problem_of(missing, 401)
    assert missing.headers["www-authenticate"].startswith("Bearer ")
    for wrong in (TOKEN[:-1], f"{TOKEN}x", "x", TOKEN.upper()):
        problem_of(await client.get("/status", headers=bearer(wrong)), 401)
    problem_of(await client.get(f"/status?token={TOKEN}"), 401)
    problem_of(await client.get("/status", headers={"Authorization": f"Basic {TOKEN}"}), 401)
    problem_of(await client.get("/status", headers={"Cookie": f"token={TOKEN}"}), 401)
    twice = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer x")]
    problem_of(await client.get("/status", headers=twice), 401)
    problem_of(await client.post("/bans", json=BAN), 401)
    for right in (f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
        answer = await client.get("/status", headers={"Authorization": right})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers
        assert "set-cookie" not in answer.headers
    assert node.clients.doors.peer.is_open
    # What needs no token is told as ever.
    assert node.admin_address is not None
    for page in ("/", "/metrics", "/status.json", "/healthz"):
        assert (await get(node.admin_address, page))[0] == 200


async def test_without_a_token_tcp_is_closed_and_says_by_what(config: Config) -> None:
    async with serving(config) as node, httpx.AsyncClient(trust_env=False) as client:
        url = f"http://{node.admin_address}/api/v1/status"
        for headers in ({}, bearer("x"), bearer(TOKEN)):
            refused = problem_of(await client.get(url, headers=headers), 403)
            assert "admin.token_file" in refused["detail"]


async def test_guesses_of_one_network_end_and_the_socket_stays(
    node: Node, client: httpx.AsyncClient
) -> None:
    for _ in range(int(GUESSES_AT_ONCE)):
        problem_of(await client.get("/status", headers=bearer(OTHER)), 401)
    refused = await client.get("/status", headers=bearer(OTHER))
    problem_of(refused, 429)
    assert refused.headers["retry-after"]
    # Who has the token doesn't pay for who guesses beside him, unless that one knows its beginning.
    assert (await client.get("/status", headers=bearer(TOKEN))).status_code == 200
    for number in range(int(GUESSES_AT_ONCE)):
        problem_of(await client.get("/status", headers=bearer(f"{TOKEN}{number}")), 401)
    problem_of(await client.get("/status", headers=bearer(TOKEN)), 429)
    transport = httpx.AsyncHTTPTransport(local_address="127.0.7.1")
    async with httpx.AsyncClient(transport=transport, trust_env=False) as other:
        url = f"http://{node.admin_address}/api/v1/status"
        assert (await other.get(url, headers=bearer(TOKEN))).status_code == 200
    async with at_socket(node.config) as local:
        assert (await local.get("/status")).status_code == 200


async def test_behind_a_trusted_proxy_guesses_count_for_the_client_that_it_names(
    guarded: Config,
) -> None:
    tracker = guarded.tracker.model_copy(update={"trusted_proxies": (ip_network("127.0.0.1"),)})
    config = guarded.model_copy(update={"tracker": tracker})
    guess = f"{TOKEN}x"
    async with serving(config) as node, httpx.AsyncClient(trust_env=False) as client:
        url = f"http://{node.admin_address}/api/v1/status"

        async def status(token: str, forwarded: str) -> int:
            headers = bearer(token) | {"X-Forwarded-For": forwarded}
            return (await client.get(url, headers=headers)).status_code

        for _ in range(int(GUESSES_AT_ONCE)):
            assert await status(guess, "203.0.113.7") == 401
        assert await status(TOKEN, "203.0.113.7") == 429
        assert await status(TOKEN, "203.0.113.8") == 200


async def test_other_sites_get_nothing_even_with_the_token(client: httpx.AsyncClient) -> None:
    ours = str(client.base_url.netloc, "ascii")
    for host in ("evil.example.org", "127.0.0.1.evil.example.org", f"{ours}.evil.example.org"):
        headers = bearer(TOKEN) | {"Host": host}
        problem_of(await client.get("/status", headers=headers), 421)
        problem_of(await client.post("/bans", headers=headers, json=BAN), 421)
    for origin in ("http://evil.example.org", "null", "", f"http://{ours}.evil.org", "file://"):
        headers = bearer(TOKEN) | {"Origin": origin}
        problem_of(await client.get("/status", headers=headers), 403)
        problem_of(await client.post("/bans", headers=headers, json=BAN), 403)
    for origin, host in (
        (f"http://{ours}", ours),
        ("https://status.example.org", "status.example.org"),
    ):
        headers = bearer(TOKEN) | {"Origin": origin, "Host": host}
        assert (await client.get("/status", headers=headers)).status_code == 200
    # What a form or an image of another site can send, a preflight included.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = bearer(TOKEN) | {"Content-Type": kind}
        problem_of(await client.post("/bans", headers=headers, content=json.dumps(BAN)), 415)
    asked = {"Origin": "http://evil.example.org", "Access-Control-Request-Method": "POST"}
    preflight = await client.options("/bans", headers=asked)
    assert preflight.status_code == 403
    assert not [name for name in preflight.headers if name.startswith("access-control")]


async def test_a_reload_takes_another_token(
    file: Path, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    add_token(file, token_file)
    async with serving(load(file)) as node, httpx.AsyncClient(trust_env=False) as client:
        url = f"http://{node.admin_address}/api/v1/status"
        assert (await client.get(url, headers=bearer(TOKEN))).status_code == 200
        write_token(token_file, OTHER)
        assert (await reload(node, file)).outcome == "ok"
        problem_of(await client.get(url, headers=bearer(TOKEN)), 401)
        assert (await client.get(url, headers=bearer(OTHER))).status_code == 200
        write_token(token_file, "short secret")
        report = await reload(node, file)
        assert report.outcome == "refused"
        assert report.errors[0].startswith(f"admin.token_file: {token_file}: want one line of 16")
        assert (await client.get(url, headers=bearer(OTHER))).status_code == 200
    for secret in (TOKEN, OTHER, "short secret"):
        assert secret not in caplog.text


def add_token(file: Path, token: Path) -> None:
    text = file.read_text()
    head = next(line for line in text.splitlines() if line.strip('[]"') == "admin")
    file.write_text(text.replace(head, f'{head}\ntoken_file = "{token}"'))


async def test_bodies_are_read_as_json_says_or_not_at_all(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with at_socket(node.config) as client:

        async def post(content: bytes, status: int) -> str:
            headers = {"Content-Type": "application/json"}
            answer = await client.post("/bans", headers=headers, content=content)
            return str(problem_of(answer, status)["detail"])

        assert "NaN is not a number" in await post(b'{"network": NaN}', 400)
        assert "twice" in await post(b'{"network": "1.2.3.4", "network": "1.2.3.5"}', 400)
        assert "too deeply" in await post(b"[" * 100_000 + b"]" * 100_000, 400)
        assert "too large" in await post(b'{"for": %d}' % 10**4000, 400)
        for wrong in (b"", b"{", b"\xff{}", b'{"note": "\\ud800"}', b"{} {}"):
            await post(wrong, 400)
        assert await post(b"[]", 422)
        assert await post(b'{"network": "203.0.113.7/24"}', 422)
        assert await post(b'{"network": "203.0.113.0/24", "For": "1h"}', 422) == "For: unknown"
        for note in ("a\nERROR forged", "\x1b[31m", "x" * 201):
            await post(json.dumps(BAN | {"note": note}).encode(), 422)
        for text in (b"true", b"5", b'"-1h"', b'"1"', b'"9999d"'):
            await post(b'{"network": "203.0.113.0/24", "for": %b}' % text, 422)
        for framing, body in (
            (b"Content-Length: %d" % (MIB + 1), b"{"),
            (b"Transfer-Encoding: chunked", (b"10000\r\n%b\r\n" % (b"x" * 65536)) * 17),
        ):
            answer = await send(node, framing, body)
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert b"application/problem+json" in answer
        # Nothing of it was heeded, nobody fell over it, and what takes no body gets none.
        assert (await client.get("/bans")).json() == {"bans": []}
        problem_of(await client.post("/reload", json={}), 400)
        assert not node.overview.reloads.counts
    ours = [each for each in caplog.records if each.name.startswith("seeder")]
    assert [each for each in ours if each.levelno >= logging.ERROR] == []


async def send(node: Node, framing: bytes, body: bytes) -> bytes:
    """Post to the socket; return all of the answer."""
    stream = await trio.open_unix_socket(str(node.config.control_socket))
    head = b"POST /api/v1/bans HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    received = b""
    async with stream:
        with trio.fail_after(10), suppress(trio.BrokenResourceError):
            await stream.send_all(head + framing + b"\r\n\r\n" + body)
        with trio.fail_after(10), suppress(trio.BrokenResourceError):
            while data := await stream.receive_some():
                received += data
    return received


async def test_a_path_is_what_it_says(node: Node) -> None:
    async with at_socket(node.config) as client:
        allowed = await client.put("/bans", json=BAN)
        problem_of(allowed, 405)
        assert allowed.headers["allow"] == "GET, HEAD, POST"
        for path in ("/nothing", "/bans/", "/Status", "/status/"):
            problem_of(await client.get(path), 404)
        for path in ("/bans/%ff", "/bans/%zz"):
            problem_of(await client.delete(path), 400)
        for query in ("limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "zzz=1", "limit=%ff"):
            problem_of(await client.get(f"/peers?{query}"), 400)
        head = await client.head("/status")
        assert (head.status_code, head.content) == (200, b"")


async def test_no_second_request_hides_in_a_body_that_is_not_read(node: Node) -> None:
    assert node.admin_address is not None
    inner = b"DELETE /api/v1/bans/x HTTP/1.1\r\nHost: x\r\n\r\n"
    for framing in (
        b"Content-Length: %d" % len(inner),
        b"Transfer-Encoding: chunked",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: 5\r\nContent-Length: 6",
    ):
        stream = await trio.open_tcp_stream(*node.admin_address)
        async with stream:
            await stream.send_all(
                b"POST /api/v1/bans HTTP/1.1\r\nHost: 127.0.0.1\r\n%b\r\n\r\n%b" % (framing, inner)
            )
            received = b""
            with trio.fail_after(10):
                while data := await stream.receive_some():
                    received += data
        assert received.count(b"HTTP/1.1 ") == 1, received


@pytest.mark.parametrize(
    ("token", "first"), [(TOKEN, b"HTTP/1.1 100 Continue"), (OTHER, b"HTTP/1.1 401 Unauthorized")]
)
async def test_nothing_is_read_of_what_a_stranger_sends(
    node: Node, token: str, first: bytes
) -> None:
    assert node.admin_address is not None
    stream = await trio.open_tcp_stream(*node.admin_address)
    async with stream:
        await stream.send_all(
            b"POST /api/v1/bans HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\n"
            b"Content-Type: application/json\r\nContent-Length: 500000\r\n"
            b"Authorization: Bearer %b\r\n\r\n" % token.encode()
        )
        with trio.fail_after(10):
            assert (await stream.receive_some()).startswith(first)


async def test_however_many_ask_at_the_socket_at_once_all_are_answered(node: Node) -> None:
    answers: list[bytes] = []

    async def ask() -> None:
        async with await trio.open_unix_socket(str(node.config.control_socket)) as stream:
            await stream.send_all(b"GET /api/v1/bans HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with suppress(trio.BrokenResourceError), trio.fail_after(20):
                answers.append(b"".join([part async for part in stream])[:15])

    async with trio.open_nursery() as nursery:
        for _ in range(3 * CONTROL):
            nursery.start_soon(ask)
    assert answers == [b"HTTP/1.1 200 OK"] * 3 * CONTROL


async def test_slow_connections_at_the_socket_keep_nobody_out(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seeder.http.server.DAWDLING", 0.05)
    slow = [socket.socket(socket.AF_UNIX) for _ in range(3 * CONTROL)]
    try:
        for each in slow:
            each.setblocking(False)
            each.connect(str(node.config.control_socket))
            each.send(b"POST /api/v1/bans HTTP/1.1\r\n")
            await trio.lowlevel.checkpoint()
        async with at_socket(node.config) as client:
            assert (await client.get("/status")).status_code == 200
    finally:
        for each in slow:
            each.close()
    await until(lambda: node.overview.unready is None)

"""One GET of anybody's server: bounded, over TLS that is trusted alone, to admitted addresses."""

import pytest
import trio

from seeder.errors import FetchFailed
from seeder.http.client import MOST_REDIRECTS, fetch
from tests.s3.fault_server import FaultServer, Seen, answer, raw


async def test_an_answer_comes_with_status_headers_and_body(faults: FaultServer) -> None:
    faults.default = answer(206, b"hello", etag='"x"')
    got = await fetch(f"{faults.url}/a b?q=ü", most=10, seconds=20, headers={"Range": "bytes=0-4"})
    assert (got.status, got.body, got.whole, got.headers["etag"]) == (206, b"hello", True, '"x"')
    [seen] = faults.seen
    assert seen.target == "/a%20b?q=%C3%BC"
    assert seen.headers["range"] == "bytes=0-4"
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["host"] == faults.url.removeprefix("http://")


async def test_no_more_is_read_than_was_asked_for(faults: FaultServer) -> None:
    faults.default = answer(200, bytes(1_000_000))
    got = await fetch(faults.url, most=1000, seconds=20)
    assert (len(got.body), got.whole) == (1000, False)
    faults.default = answer(200, bytes(1000))
    got = await fetch(faults.url, most=1000, seconds=20)
    assert (len(got.body), got.whole) == (1000, True)


async def test_redirects_are_followed_and_end(faults: FaultServer) -> None:
    faults.script(answer(302, location="/next"), answer(307, location=f"{faults.url}/last"))
    faults.default = answer(200, b"here")
    got = await fetch(f"{faults.url}/first", most=100, seconds=20)
    assert (got.body, got.url) == (b"here", f"{faults.url}/last")
    faults.default = answer(301, location="/again")
    with pytest.raises(FetchFailed, match=f"redirects more than {MOST_REDIRECTS} times"):
        await fetch(faults.url, most=100, seconds=20)


@pytest.mark.parametrize("where", ["file:///etc/passwd", "ftp://host/x", "http://[::1"])
async def test_redirects_lead_to_http_alone(faults: FaultServer, where: str) -> None:
    faults.default = answer(302, location=where)
    with pytest.raises(FetchFailed, match="no URL"):
        await fetch(faults.url, most=100, seconds=20)


async def test_an_address_that_isn_t_admitted_is_never_connected_to(faults: FaultServer) -> None:
    with pytest.raises(FetchFailed, match="is a private address"):
        await fetch(faults.url, most=100, seconds=20, admit=lambda host: host != "127.0.0.1")
    assert faults.seen == []
    faults.default = answer(302, location=faults.url.replace("127.0.0.1", "127.0.0.2"))
    with pytest.raises(FetchFailed, match=r"127\.0\.0\.2 is a private address"):
        await fetch(faults.url, most=100, seconds=20, admit=lambda host: host == "127.0.0.1")


@pytest.mark.parametrize(
    "sent",
    [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, b"HTTP/1.1 200 OK\r\n\r"],
)
async def test_what_is_no_answer_is_one_error(faults: FaultServer, sent: bytes) -> None:
    faults.default = raw(sent, close=True)
    with pytest.raises(FetchFailed):
        await fetch(faults.url, most=100, seconds=20)


async def test_silence_ends(faults: FaultServer) -> None:
    async def silent(seen: Seen, stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    faults.default = silent
    with pytest.raises(FetchFailed, match="no answer within 1 s"):
        await fetch(faults.url, most=100, seconds=1)


async def test_a_server_that_speaks_no_tls_is_one_error(faults: FaultServer) -> None:
    faults.default = answer(200, b"plain")
    with pytest.raises(FetchFailed):
        await fetch(faults.url.replace("http:", "https:"), most=100, seconds=20)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:1/", "Connection refused"),
        ("http://" + "x" * 300 + "/", "can't be looked up"),
        ("gopher://host/", "is no URL with http"),
        ("http://host:99999/", "is no URL"),
    ],
)
async def test_what_can_t_be_reached_says_why(url: str, why: str) -> None:
    with pytest.raises(FetchFailed, match=why):
        await fetch(url, most=100, seconds=30)

"""One GET over HTTP/1.1, bounded in time and bytes, of a server that may be anybody's.

Commands ask trackers and web seeds with it. S3 is asked by `seeder.s3` alone.
"""

import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import h11
import trio

from seeder.errors import FetchFailed
from seeder.net.addresses import parse_ip

Admit = Callable[[str], bool]
"""Tells whether a numeric address may be connected to."""
MOST_REDIRECTS = 5
_LARGEST_HEAD = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_READ = 64 * 1024
_SAFE = "%/:?#[]@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer; `body` is at most as long as was asked for, and `whole` tells if that was all."""

    url: str
    """Where redirects led to."""
    status: int
    headers: Mapping[str, str]
    """By lower-case names."""
    body: bytes
    whole: bool


async def fetch(
    url: str,
    *,
    most: int,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    admit: Admit = lambda _: True,
) -> Fetched:
    """GET `url` and follow its redirects; at most `most` bytes of body are read. FetchFailed.

    Each connection is made to an address that `admit` takes, redirects too.
    """
    with trio.move_on_after(seconds):
        for _ in range(MOST_REDIRECTS + 1):
            answer = await _get(url, most, headers or {}, admit)
            where = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not where:
                return answer
            url = _joined(url, where)
        raise FetchFailed(f"redirects more than {MOST_REDIRECTS} times")
    raise FetchFailed(f"gives no answer within {seconds:.0f} s")


async def _get(url: str, most: int, headers: Mapping[str, str], admit: Admit) -> Fetched:
    parts = _split(url)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    named = f"[{host}]" if ":" in host else host
    target = quote(parts.path or "/", _SAFE) + (f"?{quote(parts.query, _SAFE)}" * bool(parts.query))
    stream: trio.abc.Stream = await connect(host, port, admit)
    try:
        if secure:
            stream = trio.SSLStream(
                stream, ssl.create_default_context(), server_hostname=host, https_compatible=True
            )
        request = h11.Request(
            method="GET",
            target=target,
            headers=[
                ("Host", named if parts.port is None else f"{named}:{port}"),
                ("Accept-Encoding", "identity"),
                ("Connection", "close"),
                *headers.items(),
            ],
        )
        return await _exchange(stream, request, url, most)
    except (OSError, trio.BrokenResourceError, ssl.SSLError, ssl.CertificateError) as error:
        raise FetchFailed(_why(error)) from error
    except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
        raise FetchFailed(f"speaks no HTTP/1.1: {error}") from error
    finally:
        await trio.aclose_forcefully(stream)


async def _exchange(stream: trio.abc.Stream, request: h11.Request, url: str, most: int) -> Fetched:
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)
    sent = parser.send(request) + parser.send(h11.EndOfMessage())
    await stream.send_all(sent)
    response: h11.Response | None = None
    body = bytearray()
    whole = False
    while not whole and len(body) <= most:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(bytes(await stream.receive_some(_READ)))
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            whole = True
        elif not isinstance(event, h11.InformationalResponse):
            break  # the connection ended
    if response is None:
        raise FetchFailed("hangs up without an answer")
    told = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
    whole = whole and len(body) <= most
    return Fetched(url, response.status_code, told, bytes(body[:most]), whole)


async def connect(host: str, port: int, admit: Admit) -> trio.SocketStream:
    """Connect to the first address of a host that `admit` takes and that answers. FetchFailed."""
    try:
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchFailed(f"{host} can't be looked up: {_why(error)}") from error
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    admitted = [each for each in addresses if admit(str(parse_ip(str(each[1][0]))))]
    if not admitted:
        raise FetchFailed(f"{host} is a private address, which nobody outside can mean")
    problem: OSError | None = None
    for family, address in admitted:
        client = trio.socket.socket(family, trio.socket.SOCK_STREAM)
        try:
            await client.connect(address)
            return trio.SocketStream(client)
        except OSError as error:
            client.close()
            problem = error
        except BaseException:
            client.close()
            raise
    assert problem is not None
    raise FetchFailed(_why(problem))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise FetchFailed("is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise FetchFailed("is no URL with http:// or https://")
    return parts


def _joined(url: str, where: str) -> str:
    try:
        return urljoin(url, where)
    except ValueError:
        raise FetchFailed("redirects to no URL") from None


def _why(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate isn't trusted: {cause.verify_message}"
    if isinstance(cause, OSError) and not isinstance(cause, socket.gaierror) and cause.errno:
        return os.strerror(cause.errno)
    return str(cause or "") or "the connection breaks"

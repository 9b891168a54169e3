"""HTTP requests and replies as values: h11 reads the requests, we write the heads of the replies.

h11 decides what is a request, where it ends and whether the connection is kept. Writing with it
would cost as much again as reading, for replies whose framing is simple. No I/O.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

import h11

Header: TypeAlias = tuple[bytes, bytes]
Parameters: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Names and values of a query."""

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_REFUSALS = {431: "the head is too long", 501: "no such transfer coding here"}
"""What we say where h11 refuses, by the status that it proposes; its own words show Python's."""
LONGEST_KNOWN = 1024
"""Bytes of headers that are remembered at most, of 512 kinds."""
_PLAIN_GET = re.compile(rb"GET ([!-~]+) HTTP/1\.1\r\n")
_ANY_GET = b"GET / HTTP/1.1\r\n"
_KEYED = re.compile(
    rb"(?is)^(/*(?:announce|scrape|-|events(?:/|%(?:25)*2f)+[^/%]+)(?:/|%(?:25)*2f)+).+"
)
"""Paths in which a passkey may follow, or the token of a webhook."""
_BARE = re.compile(rb"[\x7f-\xff]")
FEW_HEADERS = 2
"""Headers of a reply up to which it is kept how they are written."""
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class BodySource(Protocol):
    """A body whose bytes lie elsewhere: it offers the next ones, and is told how many were sent.

    So nothing is copied, and nothing is held for a client that doesn't read. It may have no end.
    """

    async def offer(self) -> Sequence[memoryview]:
        """Wait for the next bytes and return them, at most 1024 views; none at the end.

        They are valid until the caller awaits anything. SeederError cuts the reply off.
        """
        ...

    def took(self, count: int) -> None:
        """Take note that the client's socket took the first `count` bytes of the last offer."""
        ...

    def close(self) -> None:
        """Let go of everything, at the end of the body or before it; it may be called twice."""
        ...


class SentMeter(Protocol):
    """Is told what of heads and of bodies in bytes the clients' sockets took."""

    def protocol(self, count: int) -> None:
        """Count `count` bytes."""
        ...


class Request(NamedTuple):
    """The head of a request; `path` and `query` are raw, as they stand in the target.

    A named tuple, since thousands are made a second.
    """

    method: bytes
    path: bytes
    query: bytes
    headers: Sequence[Header]
    """Names in lower case."""
    peer: tuple[str, int]
    local: tuple[str, int]
    has_body: bool = False
    """A body follows the head; the server reads it only where it is told to."""
    body: bytes = b""
    """What it read of it."""

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header, named in lower case."""
        for candidate, value in self.headers:
            if candidate == name:
                return value
        return None

    def all_headers(self, name: bytes) -> list[bytes]:
        """Return every value of a header, in order."""
        return [value for candidate, value in self.headers if candidate == name]


class Response(NamedTuple):
    """What a handler answers; the server adds Date, Connection and Content-Length."""

    status: int
    body: bytes | BodySource = b""
    headers: tuple[Header, ...] = ()
    content_length: int | None = None
    """Bytes in the body, for a HEAD whose `body` is empty too.

    A BodySource without it goes on until it offers nothing, the client leaves, or we stop; the
    connection ends with it (RFC 9112, 6.3).
    """
    meter: SentMeter | None = None
    """What counts its bytes, but for those of a BodySource; None is the server's meter."""
    close: bool = False
    """Whether the connection ends with it, though the client would keep it."""


Handler: TypeAlias = Callable[[Request], Awaitable[Response] | Response]


Hostless: TypeAlias = Mapping[bytes, Callable[[str], Response]]
"""Paths of pages whose clients may send no Host, and how such a page words a refusal.

What lies below a path belongs to it.
"""
NOWHERE: Hostless = {}


class RequestRefused(Exception):
    """A client sent something other than a request that we take; `status` is the reply's."""

    def __init__(self, status: int, reason: str, page: bytes | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.page = page
        """Which of the pages that word their own refusals was asked for, if one was."""


class Head(NamedTuple):
    """What h11 made of one request."""

    method: bytes
    target: bytes
    headers: Sequence[Header]
    """Names in lower case."""
    has_body: bool
    keep_alive: bool


class RequestReader:
    """Reads the requests of one connection from its bytes; a head has at most `limit` bytes.

    Bare bytes above 0x7e in a target are taken as if they were percent-encoded, since some clients
    encode no more than they must. A request without Host, which HTTP/1.1 needs, is read as one of
    HTTP/1.0 for the paths `hostless`. Empty lines before a request are passed over (RFC 9112, 2.2).

    Reading with h11 costs as much as answering. So a GET that came whole and by itself is read
    by its first line, and what h11 made of the same headers before is taken for the rest.
    """

    __slots__ = ("_hostless", "_limit", "_parser", "_raw", "begun")

    def __init__(self, limit: int, hostless: Collection[bytes] = ()) -> None:
        self._limit = limit
        self._hostless = hostless
        self._parser: h11.Connection | None = None
        """Has been fed `_raw`; None until it is needed."""
        self._raw = b""
        """What was fed since the last head."""
        self.begun: h11.Connection | None = None
        """What goes on reading behind the last head, if it has a body."""

    @property
    def started(self) -> bool:
        """Whether some bytes of the next request are there."""
        return bool(self._raw)

    @property
    def room(self) -> int:
        """The number of bytes that may be fed now, at least one."""
        return self._limit - len(self._raw)

    def feed(self, data: bytes) -> None:
        """Take in up to `room` bytes."""
        if not self._raw:
            data = data.lstrip(b"\r\n")
            if not data:
                return
        if self._parser is not None:
            self._parser.receive_data(data)
        self._raw += data

    def next_head(self) -> Head | None:
        """Return the next request, or None until more is fed; RequestRefused.

        After a request that has a body or doesn't keep the connection, or that was refused, no
        other follows; of the second, `started` tells whether there are bytes behind it.
        """
        if self._parser is None:
            head = plain_head(self._raw)
            if head is not None:
                self._raw = b""
                return head
            if not self._raw:
                return None
            self._feed_anew(self._raw)
        try:
            found = self._read()
        except h11.RemoteProtocolError as error:
            found = self._read_again(error.error_status_hint)
        if found is None:
            if len(self._raw) >= self._limit:
                # 414 when not even the end of the request line is there.
                status = 431 if b"\n" in self._raw else 414
                raise RequestRefused(status, "the head is too long", self._page())
            return None
        event, has_body = found
        parser = self._parser
        assert parser is not None
        self.begun = parser if has_body else None
        keep_alive = parser.their_state is h11.DONE and not has_body
        self._raw, self._parser = b"", None
        if not has_body:
            rest, _ = parser.trailing_data
            if rest:
                self.feed(rest)
        return Head(event.method, event.target, list(event.headers), has_body, keep_alive)

    def _feed_anew(self, raw: bytes) -> None:
        self._parser = h11.Connection(h11.SERVER, self._limit)
        self._parser.receive_data(raw)

    def _read(self) -> tuple[h11.Request, bool] | None:
        """Return the next request and whether it has a body; h11.RemoteProtocolError."""
        parser = self._parser
        assert parser is not None
        event = parser.next_event()
        if type(event) is not h11.Request:
            return None
        # By the head alone, so that it doesn't matter what of a body came along, and whether that
        # is right. An empty body in chunks counts as one: beside a Content-Length it may hide a
        # second request, so we take no other from this connection (RFC 9112, 6.1).
        if any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
            for name, value in event.headers
        ):
            return event, True
        parser.next_event()  # the end of the message
        return event, False

    def _read_again(self, status: int) -> tuple[h11.Request, bool] | None:
        """Read what was refused with a status once more, as clients meant it; RequestRefused."""
        line, newline, rest = self._raw.partition(b"\n")
        method, space, target = line.partition(b" ")
        target = _BARE.sub(lambda found: b"%%%02X" % found[0][0], target)
        line = method + space + target
        found = self._read_anew(line + newline + rest)
        if found is not None:
            return found
        if line.rstrip().endswith(b" HTTP/1.1"):
            found = self._read_anew(line.rstrip()[:-1] + b"0\r" + newline + rest)
            if found is not None and all(name != b"host" for name, _ in found[0].headers):
                if self._page() is not None:
                    return found
                raise RequestRefused(400, "the Host header is missing")
        reason = _REFUSALS.get(status, "not a request of HTTP/1.1")
        raise RequestRefused(status, reason, self._page())

    def _page(self) -> bytes | None:
        """Return which of the paths `hostless` the request asks for, as far as it can be read."""
        words = self._raw.split(None, 2)
        path, _ = split_target(words[1]) if len(words) > 1 else (b"", b"")
        for page in self._hostless:
            if path == page or path.startswith(page + b"/"):
                return page
        return None

    def _read_anew(self, raw: bytes) -> tuple[h11.Request, bool] | None:
        """Return the request that other bytes make with a new parser, if they make one."""
        self._feed_anew(raw)
        with suppress(h11.RemoteProtocolError):
            return self._read()
        return None


def shown_target(target: bytes) -> bytes:
    """Return a target for the log: its path, without what may be a passkey or a token in it."""
    path, _ = split_target(target)
    return _KEYED.sub(rb"\1...", path.partition(b"#")[0])


def plain_head(raw: bytes) -> Head | None:
    """Return the request that is all of `raw`, if it is a GET that needs no more thought."""
    line = _PLAIN_GET.match(raw)
    if line is None or not raw.endswith(b"\r\n\r\n") or len(raw) - line.end() > LONGEST_KNOWN:
        return None
    found = _plain_headers(raw[line.end() :])
    return None if found is None else Head(b"GET", line[1], found[0], False, found[1])


@lru_cache(maxsize=512)
def _plain_headers(raw: bytes) -> tuple[tuple[Header, ...], bool] | None:
    """Return what h11 makes of the headers of a GET without a body, and of nothing behind them.

    That is the headers and whether the connection is kept; None where there is anything to say.
    All requests of a client have the same, and mostly those of all clients of one kind.
    """
    parser = h11.Connection(h11.SERVER, LONGEST_KNOWN + len(_ANY_GET))
    parser.receive_data(_ANY_GET + raw)
    with suppress(h11.RemoteProtocolError):
        event = parser.next_event()
        if type(event) is not h11.Request or type(parser.next_event()) is not h11.EndOfMessage:
            return None
        headers = tuple(event.headers)
        bodiless = all(name not in (b"transfer-encoding", b"content-length") for name, _ in headers)
        if bodiless and not parser.trailing_data[0]:
            return headers, parser.their_state is h11.DONE
    return None


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request target, in origin or absolute form (RFC 9112, 3.2)."""
    _, target = _split_authority(target)
    path, _, query = target.partition(b"?")
    return path, query


def effective_headers(target: bytes, headers: Sequence[Header]) -> Sequence[Header]:
    """Return a request's headers with the Host that counts.

    That is the one of a target in absolute form, if it is in that (RFC 9112, 3.2.2).
    """
    authority, _ = _split_authority(target)
    if authority is None:
        return headers
    return [*(header for header in headers if header[0] != b"host"), (b"host", authority)]


def _split_authority(target: bytes) -> tuple[bytes | None, bytes]:
    """Return the authority of a target in absolute form, None of any other, and what follows it."""
    if target.startswith(b"/") or b"://" not in target:
        return None, target
    rest = target.partition(b"://")[2]
    end = min(at for at in (rest.find(b"/"), rest.find(b"?"), len(rest)) if at >= 0)
    return rest[:end], rest[end:] if rest[end:].startswith(b"/") else b"/" + rest[end:]


def query_names(query: bytes) -> set[bytes]:
    """Return the names of a query's parameters, undecoded."""
    return {part.partition(b"=")[0] for part in query.split(b"&")}


def carries_body(request_method: bytes, status: int) -> bool:
    """Tell whether a reply is followed by its body (RFC 9110, 6.4.1)."""
    return request_method != b"HEAD" and status not in _BODILESS


def encode_head(response: Response, *, date: bytes, close: bool, length: int | None) -> bytes:
    """Return the head of a reply; ValueError if a header would break out of its line.

    Without a `length` the body ends with the connection.
    """
    status, headers = response.status, response.headers
    joined = _same_begin if len(headers) <= FEW_HEADERS else _begin
    end = b"Connection: close\r\n\r\n" if close else b"\r\n"
    if length is None or status in _BODILESS:
        return joined(status, headers, date) + end
    return b"%bContent-Length: %d\r\n%b" % (joined(status, headers, date), length, end)


def encode_last(headers: Sequence[Header], body: bytes, date: bytes) -> bytes:
    """Return all of a reply with status 200 that closes its connection; ValueError as above."""
    begin = _same_begin(200, headers, date)
    return b"%bContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (begin, len(body), body)


def _begin(status: int, headers: Sequence[Header], date: bytes) -> bytes:
    lines = [_STATUS_LINES[status]]
    for name, value in headers:
        if b"\r" in value or b"\n" in value:
            raise ValueError(f"a line break in the reply's {name.decode()}: {value!r}")
        lines += (name, b": ", value, b"\r\n")
    return b"%bDate: %b\r\n" % (b"".join(lines), date)


_same_begin = lru_cache(maxsize=128)(_begin)
"""Replies of few headers have the same again and again, for a second."""


def decoded_query(query: bytes) -> Parameters:
    """Return names and values of a raw query in order, decoded; a plus stays a plus."""
    pairs = (part.partition(b"=") for part in query.split(b"&") if part)
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]

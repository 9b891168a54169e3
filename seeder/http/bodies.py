"""The body of a request, read as far as a handler wants it. No I/O."""

from collections.abc import Callable
from typing import TypeAlias

import h11

from seeder.http.messages import Request, RequestRefused, Response

Bodies: TypeAlias = Callable[[Request], int]
"""Returns how many bytes of a request's body its handler takes at most; 0 leaves it unread."""
Worded: TypeAlias = Callable[[Request, RequestRefused], Response | None]
"""Returns the answer to a request whose body isn't taken; None leaves it to the server."""

FEW_CHUNKS, SMALL_CHUNK = 64, 64
"""A body may have so many chunks, and one more for each SMALL_CHUNK bytes that it may have."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def waits_for_word(request: Request) -> bool:
    """Tell whether a client sends its body only once it is told to (RFC 9110, 10.1.1)."""
    return (request.header(b"expect") or b"").strip().lower() == b"100-continue"


class RequestBody:
    """The body of one request, of at most `limit` bytes, and the request that it belongs to."""

    __slots__ = ("_chunks", "_limit", "_parser", "_taken", "request")

    def __init__(self, request: Request, parser: h11.Connection, limit: int) -> None:
        """`parser` has read the head."""
        self.request = request
        self._parser = parser
        self._limit = limit
        self._taken = bytearray()
        self._chunks = 0

    def read(self) -> bytes | None:
        """Return all of it, or None until more is fed; RequestRefused."""
        try:
            while (event := self._parser.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.EndOfMessage):
                    return bytes(self._taken)
                if not isinstance(event, h11.Data):
                    raise RequestRefused(400, "the body can't be read")
                self._taken += event.data
                self._chunks += event.chunk_start
                if self._chunks > FEW_CHUNKS + self._limit // SMALL_CHUNK:
                    raise RequestRefused(413, "the body comes in chunks of a few bytes")
                if len(self._taken) > self._limit:
                    raise RequestRefused(413, f"the body has more than {self._limit} bytes")
        except h11.RemoteProtocolError:
            raise RequestRefused(400, "the body can't be read") from None
        return None

    def feed(self, data: bytes) -> None:
        """Take in what came."""
        self._parser.receive_data(data)

"""The status page's stream of events (server-sent events): the whole document once, then changes.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
import zlib
from collections.abc import Awaitable, Callable, Sequence

import trio

from seeder.admin.changes import changes
from seeder.ledger.report import Document

PERIOD = 2.0
"""Seconds between two events."""
MOST_OF_THE_TIME = 0.05
"""Share of the time that one page may cost: where a document takes long, events are rarer."""
_GZIP = 31
"""zlib's window bits for the largest window, in gzip's format."""


class EventStream:
    """A `BodySource` of events without end, each gzipped as far as it goes if so wanted.

    `make` returns the document as it is now, always with the same keys.
    """

    def __init__(
        self,
        make: Callable[[], Awaitable[Document]],
        *,
        compressed: bool,
        closed: Callable[["EventStream"], None],
    ) -> None:
        self._make = make
        self._closed = closed
        self._compressor = zlib.compressobj(wbits=_GZIP) if compressed else None
        self._shown: Document | None = None
        """What the page has."""
        self._pause = 0.0
        self._unsent = memoryview(b"")

    async def offer(self) -> Sequence[memoryview]:
        """Return the rest of the event, or wait for the next one."""
        if not self._unsent:
            await trio.sleep(self._pause)
            begin = trio.current_time()
            document = await self._make()
            self._pause = max(PERIOD, (trio.current_time() - begin) / MOST_OF_THE_TIME)
            self._unsent = memoryview(self._encode(self._event(document)))
        return [self._unsent]

    def took(self, count: int) -> None:
        """Take note of what was sent."""
        self._unsent = self._unsent[count:]

    def close(self) -> None:
        """Make nothing more."""
        self._closed(self)

    def _event(self, document: Document) -> Document:
        """Return the event; it says when the next one is due if that is later than usual."""
        shown, self._shown = self._shown, document
        event: Document = {"whole": document}
        if shown is not None:
            event = {"delta": changes(shown, document)}
        if self._pause > PERIOD:
            event["pause"] = round(self._pause, 1)
        return event

    def _encode(self, event: Document) -> bytes:
        data = b"data: %b\n\n" % json.dumps(event, allow_nan=False, separators=(",", ":")).encode()
        if self._compressor is None:
            return data
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

"""What is sent over HTTP besides objects: torrent files and pages of the index.

They have the upload limits of peers and downloads, and wait in the same line; what describes a
torrent is an allowance of the client's address, whether it comes as a file or as metadata. A body
is held once, however many clients it goes to.
"""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from seeder.errors import DownloadRefused
from seeder.gateway.download import BUSY, UNWELCOME, nothing_sent
from seeder.gateway.keyed import Visitor
from seeder.gateway.s3errors import S3Error
from seeder.http.messages import Request, Response, SentMeter
from seeder.net.addresses import Networks, networks_of
from seeder.net.doors import Door
from seeder.net.shares import Shares
from seeder.torrent.torrent import Torrent
from seeder.units import KIB, MIB
from seeder.upload.allotment import Allotment
from seeder.upload.uploads import Uploads

MOST_DOCUMENTS = 250
"""A quarter of the HTTP server's connections; the network with most makes room for another."""
MOST_HELD = 64 * MIB
"""Bytes of bodies that are held at a time, each counted once."""
SMALL = 64 * KIB
"""Bytes up to which a body without a limit is sent as it is: the server holds no more of it."""

_HAD_ENOUGH = "Your address has had this torrent often enough for now."


class PacedBody:
    """A body on its way to one client, under the upload limits."""

    def __init__(
        self,
        body: bytes,
        client: bytes,
        torrent: Torrent | None,
        uploads: Uploads,
        *,
        may_have: Callable[[], bool],
        left: Callable[["PacedBody"], None],
    ) -> None:
        self.body = body
        self.client = client
        self.torrent = torrent
        self.networks = networks_of(client)
        self.sent = 0
        """Bytes that the socket took."""
        self._uploads = uploads
        self._may_have = may_have
        self._left = left
        self._account = uploads.account_of(torrent)
        self._granted = 0
        self._ended = self._closed = False
        self._changed = trio.Event()
        """Set when there may be something to send."""
        self._allotment = Allotment(uploads, self, self.networks[0], shared=True)
        self._allotment.begin(torrent.info_hash if torrent else None, trio.current_time())

    def end(self) -> None:
        """Cut it off, to make room for another."""
        self._ended = True
        self.resume()

    def take_limits(self, now: float) -> None:
        """Keep to the present upload limits."""
        self._allotment.renew(now)
        self.resume()

    def resume(self) -> None:
        """Look again whether anything can be sent.

        A plain call, in whichever task finds that something may be; it only wakes the task of the
        HTTP connection, which sends.
        """
        self._changed.set()

    async def offer(self) -> list[memoryview]:
        """Wait for the next bytes and return them; DownloadRefused when there are no more."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._ended:
                raise DownloadRefused(BUSY)
            if not self._may_have():
                raise DownloadRefused(UNWELCOME, busy=False)
            if self._uploads.spent is not None:
                raise DownloadRefused(nothing_sent(self._uploads.spent))
            self._changed = changed = trio.Event()
            granted = self._grant()
            if granted:
                return [memoryview(self.body)[self.sent : self.sent + granted]]
            await changed.wait()

    def _grant(self) -> int:
        most, chain = len(self.body) - self.sent, self._allotment.chain
        if chain is None:
            return most
        now = trio.current_time()
        self._granted = chain.grant(min(most, MIB), now)
        if not self._granted:
            self._allotment.wait_in_line(most, now)
        return self._granted

    def took(self, count: int) -> None:
        """Book the bytes of the last offer that the socket took."""
        if self._allotment.chain is not None:
            self._allotment.chain.give_back(self._granted - count)
        self._granted = 0
        self.sent += count
        self._account.protocol(count)

    def close(self) -> None:
        """Let go of everything."""
        if self._closed:
            return
        self._closed = True
        if self._allotment.chain is not None:
            self._allotment.chain.give_back(self._granted)
        self._allotment.leave()
        self._left(self)


@dataclass(slots=True)
class _Body:
    """A body that is held, for so many documents."""

    body: bytes
    documents: int = 0


class Documents:
    """Every document that is on its way."""

    def __init__(self, uploads: Uploads, door: Door | None = None) -> None:
        self._uploads = uploads
        self._door = door or Door()
        self._all: Shares[PacedBody] = Shares(lambda document: document.networks)
        self._counted: set[PacedBody] = set()
        self._bodies: dict[bytes, _Body] = {}
        self._held = 0

    def __len__(self) -> int:
        return len(self._all)

    def limited(
        self,
        request: Request,
        response: Response,
        client: bytes,
        torrent: Torrent | None = None,
        *,
        visitor: Visitor | None = None,
    ) -> Response:
        """Return a response whose body goes to a client (packed address) as the limits allow.

        `torrent` is what the body describes, `visitor` who may have it, if not everybody may for
        as long as it takes. S3Error SlowDown where the body can't be had now.
        """
        uploads, body = self._uploads, response.body
        assert isinstance(body, bytes)
        if torrent is not None:
            response = response._replace(meter=self.meter(torrent))
        if not body:
            return response
        if uploads.spent is not None:
            raise S3Error("SlowDown", nothing_sent(uploads.spent))
        if request.method == b"HEAD":
            return response._replace(body=b"", content_length=len(body))
        if len(body) <= SMALL and not uploads.is_limited:
            self._describe(torrent, client, body)
            return response
        document = self._open(body, client, torrent, visitor)
        return response._replace(body=document, content_length=len(body))

    def meter(self, torrent: Torrent) -> SentMeter:
        """Return what counts the heads of replies about a torrent."""
        return self._uploads.overhead.of(self._uploads.account_of(torrent))

    def _describe(self, torrent: Torrent | None, client: bytes, body: bytes) -> None:
        size = len(body)
        if torrent is not None and not self._uploads.may_describe(torrent, client, size, size):
            raise S3Error("SlowDown", _HAD_ENOUGH)

    def _open(
        self, body: bytes, client: bytes, torrent: Torrent | None, visitor: Visitor | None
    ) -> PacedBody:
        if body not in self._bodies and self._held + len(body) > max(MOST_HELD, len(body)):
            raise S3Error("SlowDown", BUSY)
        self._make_room(networks_of(client))
        self._describe(torrent, client, body)
        held = self._bodies.setdefault(body, _Body(body))
        if not held.documents:
            self._held += len(body)
        held.documents += 1
        document = PacedBody(
            held.body,
            client,
            torrent,
            self._uploads,
            may_have=lambda: (
                self._door.admits(client) and (visitor is None or visitor.is_welcome())
            ),
            left=self._leave,
        )
        self._counted.add(document)
        self._all.add(document)
        self._uploads.join(document)
        return document

    def _make_room(self, newcomer: Networks) -> None:
        if len(self._all) < MOST_DOCUMENTS:
            return
        rivals = self._all.rivals(newcomer)
        if not rivals:
            raise S3Error("SlowDown", BUSY)
        rival = min(rivals, key=lambda document: document.sent)
        # At once, since it is here for some moments more.
        self._count_no_more(rival)
        rival.end()

    def _count_no_more(self, document: PacedBody) -> None:
        if document in self._counted:
            self._counted.discard(document)
            self._all.remove(document)

    def _leave(self, document: PacedBody) -> None:
        self._count_no_more(document)
        self._uploads.leave_line(document)
        held, size = self._bodies[document.body], len(document.body)
        held.documents -= 1
        if not held.documents:
            del self._bodies[document.body]
            self._held -= size
        if document.torrent is not None:
            self._uploads.describe_less(document.torrent, document.client, size - document.sent)

"""Downloads over HTTP: one range of one object each, in order, under the limits of the peers.

The choker, the upload limits and the record of what each address was sent treat a download as a
guest, like a peer's session. It holds no piece that is on disk: bytes are read when the socket can
take them, into memory that all downloads share, so a slow reader costs nothing but its connection.

Bytes that the socket took count as uploaded. They count as delivered unless a peer at the same
address has them already; if one announces them later, they aren't counted again (`Overlap`).
"""

import logging
from collections.abc import Callable

import trio

from seeder.errors import DownloadRefused, SeederError
from seeder.gateway.keyed import Visitor
from seeder.net.addresses import networks_of
from seeder.net.sockets import packed_address
from seeder.torrent.torrent import Torrent
from seeder.units import KIB, MIB, ByteRange
from seeder.upload.allotment import Allotment
from seeder.upload.feed import MOST_BYTES_OF_PEER, MOST_PIECES_OF_PEER
from seeder.upload.uploads import Uploads

_LOG = logging.getLogger(__name__)

MOST_OFFERED = MIB
"""Bytes offered to a socket at a time; then other tasks get their turn."""
SCRATCH = 512 * KIB
"""Bytes of the memory that all downloads read into from disk."""
LEAST_REACH = 64 * KIB
"""Bytes read from disk at a time for a client whose socket takes no more."""
MOST_DOUBTED = 16
"""Pieces that are looked at again because an address asks for the same range again."""
MOST_VIEWS = 512
"""Views offered to a socket at a time; the system takes 1024 (IOV_MAX)."""
FIRST_PATIENCE = 45.0
"""Seconds to wait for the first bytes; then the client is told to come back."""
TURN_PATIENCE = 120.0
"""Seconds that a begun download waits for its next turn, where upload slots are limited."""

NO_PLACE = "There are too many downloads; please try again later."
BUSY = "We are busy; please try again later."
_HAD_ENOUGH = "Your address has had this object often enough for now."
_NOT_CACHED = "This part isn't cached, and isn't read for you at present."
_UNREADABLE = "The object can't be read at present; please try again."
UNWELCOME = "The object is not to be had by you any more."
_AWAY = "The object's storage doesn't answer at present; please try again."


def nothing_sent(limit: str | None) -> str:
    """Return what a client is told while a budget is spent; `limit` is the key in [budget]."""
    return f"Nothing is sent for now: the budget is spent{f' ({limit})' if limit else ''}."


class Download:
    """A range of an object on its way to one client; after `wait_begin`, the source of a body."""

    def __init__(
        self,
        torrent: Torrent,
        address: str,
        wanted: ByteRange,
        uploads: Uploads,
        *,
        scratch: memoryview,
        left: Callable[["Download"], None],
        visitor: Visitor,
    ) -> None:
        self.torrent = torrent
        self._visitor = visitor
        self.networks = networks_of(packed_address(address))
        self.uploaded = 0
        """Bytes that the socket took."""
        self.address = address
        self._uploads = uploads
        self._account = uploads.account(torrent)
        self._counts = uploads.group_at(packed_address(address))
        self._scratch = scratch
        self._left = left
        self._at, self._stop = wanted.start, wanted.stop
        self._refused: tuple[str, bool] | None = None
        """The text that the client gets, and whether we are only busy; the first one counts."""
        self._failed: set[int] = set()
        self._changed = trio.Event()
        """Set when there may be something to send."""
        self._served = self._closed = False
        self._held_at = self._opened_at = trio.current_time()
        self._reach = LEAST_REACH
        self._granted = self._offered = 0
        self._cold = False
        """Whether the next piece has to come from S3."""
        self._looked_at = -1
        """The piece from which on `_look_ahead` has asked for pieces."""
        self._length = torrent.layout.piece_length
        self._ahead = max(2, min(MOST_PIECES_OF_PEER, MOST_BYTES_OF_PEER // self._length))
        """Pieces to ask for before they are needed, the next one included."""
        stop = (self._stop - 1) // self._length + 1
        self._feed = uploads.feed(
            self, torrent, self, tell=self._piece_came, taken=lambda: self.uploaded, stop=stop
        )
        self._allotment = Allotment(uploads, self, self.networks[0], shared=True)
        self._allotment.begin(torrent.info_hash, self._opened_at)

    def doubt(self) -> None:
        """Have the first pieces looked at again: the client's address had this range before.

        A web seed's client that found a piece wrong asks so; most others have better reasons.
        """
        first, stop = self._at // self._length, (self._stop - 1) // self._length + 1
        for index in range(first, min(stop, first + MOST_DOUBTED)):
            self._uploads.doubt(self.torrent, index, wanted=True)

    def __contains__(self, index: object) -> bool:
        """Tell whether any bytes of a piece are still to be sent."""
        return index in range(self._at // self._length, (self._stop - 1) // self._length + 1)

    # -- a guest of the choker

    peer_id = b""
    """HTTP clients have none."""

    @property
    def needs(self) -> int:
        """Bytes that are still to be sent."""
        return self._stop - self._at

    @property
    def interested(self) -> bool:
        """Always true: a download wants its range."""
        return True

    def worth(self, now: float) -> tuple[int, float]:
        """Return what it is worth, as a session does: the bytes a second that it has taken."""
        return 2, self.uploaded / (now - self._opened_at + 1.0)

    def serve(self) -> None:
        """Send; the slots call this."""
        self._served = True
        self.resume()

    def hold(self) -> None:
        """Send nothing until `serve`; the slots call this."""
        self._served = False
        self._held_at = trio.current_time()

    def slow_down(self, *, slow: bool) -> None:
        """Change whether it shares a small rate with the others of its address."""
        self._allotment.slow_down(trio.current_time(), slow=slow)
        self.resume()

    def rebook(self) -> None:
        """Book what is sent from now on where the torrent's traffic is booked now."""
        self._account = self._uploads.account(self.torrent)

    def end(self, reason: str) -> None:
        """Cut it off: its address had enough, or it has to make room for another."""
        self.refuse(NO_PLACE if reason == "made-room" else _HAD_ENOUGH)
        _LOG.debug("download of %s by %s: %s", self.torrent.pinned.ref, self.address, reason)

    def refuse(self, text: str, *, busy: bool = True) -> None:
        """Cut it off; the client gets the text if its reply hasn't begun."""
        self._refused = self._refused or (text, busy)
        self.resume()

    # -- under the upload limits

    def take_limits(self, now: float) -> None:
        """Keep to the present upload limits."""
        self._allotment.renew(now)
        self.resume()

    def resume(self) -> None:
        """Look again whether anything can be sent.

        A plain call for speed, in whichever task finds that something may be; it only wakes the
        task of the HTTP connection, which sends.
        """
        self._changed.set()

    # -- the source of a body

    async def wait_begin(self) -> None:
        """Wait until the first bytes can be sent; DownloadRefused if that is never, or not soon."""
        with trio.move_on_after(FIRST_PATIENCE):
            while not await self._look(lambda: self._views(1)):
                pass
            return
        if self._cold and self._uploads.waits(self.torrent):
            raise DownloadRefused(_AWAY, busy=False, retry_in=self._retry_in)
        raise DownloadRefused(BUSY)

    @property
    def _retry_in(self) -> float:
        """Seconds until S3 is asked again."""
        return self._uploads.retry_in(self.torrent)

    async def offer(self) -> list[memoryview]:
        """Wait for the next bytes and return them; DownloadRefused when there are no more."""
        await trio.lowlevel.checkpoint()
        while self._at < self._stop:
            views = await self._look(self._take_batch)
            if views:
                return views
        return []

    async def _look(self, gather: Callable[[], list[memoryview]]) -> list[memoryview]:
        """Return what `gather` finds to send; if that is nothing, wait until it may find more.

        DownloadRefused.
        """
        self._changed = changed = trio.Event()
        if self._refused is not None:
            text, busy = self._refused
            raise DownloadRefused(text, busy=busy)
        self._cold = False
        views = gather() if self._served else []
        if not views:
            index = self._at // self._length
            if self._cold and self._feed.is_hopeless(index):
                raise DownloadRefused(_NOT_CACHED)
            if self._cold and index in self._failed:
                looked_at = self.torrent.held is not None
                raise DownloadRefused(_UNREADABLE, busy=looked_at, retry_in=self._retry_in)
            await changed.wait()
        return views

    def took(self, count: int) -> None:
        """Book the bytes of the last offer that the socket took."""
        chain = self._allotment.chain
        if chain is not None:
            chain.give_back(self._granted - count)
        self._granted = 0
        # Next time, read about as much as the socket has shown that it takes.
        self._reach = min(SCRATCH, max(LEAST_REACH, count if count < self._offered else 2 * count))
        if count:
            torrent, overlap = self.torrent, self._uploads.overlap
            self._account.uploaded(count)
            gained = overlap.sent(
                torrent.info_hash, self.networks[0], torrent.layout, self._at, count
            )
            self._account.delivered_verified(gained)
            if self._counts is not None:
                self._counts.sent(count)
                self._counts.delivered(gained)
            self.uploaded += count
            self._at += count
            if self._visitor.name is not None:
                self._uploads.sent_to(self._visitor.name, count)

    def close(self) -> None:
        """Let go of everything."""
        if self._closed:
            return
        self._closed = True
        self._feed.close()
        if self._allotment.chain is not None:
            self._allotment.chain.give_back(self._granted)
        self._allotment.leave()
        self._left(self)
        _LOG.debug(
            "download of %s by %s: sent %d bytes in %.1f s, %d were left",
            self.torrent.pinned.ref,
            self.address,
            self.uploaded,
            trio.current_time() - self._opened_at,
            self._stop - self._at,
        )

    def tick(self, now: float) -> None:
        """Keep the deadlines; called about once a second."""
        if not self._visitor.is_welcome():
            self.refuse(UNWELCOME, busy=False)
        self._feed.overdue(now)
        if not self._served and now - self._held_at > TURN_PATIENCE:
            self.refuse(BUSY)
        self.resume()

    # -- what is at hand

    def _take_batch(self) -> list[memoryview]:
        """Return the next bytes at hand that the upload limits allow; if none, wait in line."""
        most, chain = min(MOST_OFFERED, self._stop - self._at), self._allotment.chain
        if chain is None:
            return self._views(most)
        now = trio.current_time()
        granted = chain.grant(most, now)
        if not granted:
            self._allotment.wait_in_line(most, now)
            return []
        views = self._views(granted)
        self._granted = self._offered
        chain.give_back(granted - self._granted)
        return views

    def _views(self, most: int) -> list[memoryview]:
        """Return views of up to `most` of the next bytes, and ask for cold pieces."""
        layout, feed = self.torrent.layout, self._feed
        at, stop, used = self._at, min(self._at + most, self._stop), 0
        views: list[memoryview] = []
        while at < stop and len(views) < MOST_VIEWS:
            index, offset = divmod(at, self._length)
            length = min(stop - at, layout.piece_size(index) - offset)
            piece = feed.find(index)
            if piece is not None:
                view = memoryview(piece)[offset : offset + length]
            else:
                view = self._scratch[used : min(used + length, self._reach)]
                if not view or not feed.is_on_disk(index):
                    break
                if not feed.read(index, [(offset, [view])]):
                    break
                used += len(view)
            views.append(view)
            at += len(view)
        self._offered, self._cold = at - self._at, not views
        self._look_ahead(at // self._length)
        return views

    def _look_ahead(self, index: int) -> None:
        """Ask for the next pieces, several at a time so that they share a GET."""
        if self._cold or index - self._looked_at >= self._ahead // 2:
            self._looked_at = index
            ahead = range(index, index + self._ahead)
            self._feed.look_ahead([index for index in ahead if index in self])
        else:
            self._feed.fetch()

    def _piece_came(self, index: int, error: SeederError | None) -> None:
        """Take note of a cold piece that came or failed.

        A plain call for speed, in the task of the cache that fetched it.
        """
        if error is not None:
            self._failed.add(index)
        self.resume()

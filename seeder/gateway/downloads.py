"""All downloads over HTTP: who may begin one, and what ends them together."""

import logging

import trio

from seeder.errors import DownloadRefused
from seeder.gateway.download import NO_PLACE, SCRATCH, UNWELCOME, Download, nothing_sent
from seeder.gateway.keyed import Visitor
from seeder.gateway.lines import Lines
from seeder.net.addresses import Networks, networks_of
from seeder.net.doors import Door
from seeder.net.guards import Lapses, sparing_others
from seeder.net.sockets import packed_address
from seeder.torrent.torrent import Torrent
from seeder.units import ByteRange
from seeder.upload.uploads import TICK, Uploads

_LOG = logging.getLogger(__name__)

MOST_DOWNLOADS = 500
"""Half of the HTTP server's connections, so that the tracker has the other half."""

_TOO_MANY_FROM_ADDRESS = "There are too many connections from your address."
ADDRESS_DENIED = "Your address is not allowed here."
_GONE = "The object has changed; please begin again."


class Downloads:
    """Every download of the node; while `run` runs, their deadlines are kept."""

    def __init__(self, uploads: Uploads, door: Door | None = None) -> None:
        self._uploads = uploads
        self._door = door or Door()
        self._allowed = True
        self._all: set[Download] = set()
        self._lines = Lines(uploads.connections.is_full_at)
        self._scratch = memoryview(bytearray(SCRATCH))

    def __len__(self) -> int:
        return len(self._all)

    async def run(self) -> None:
        """Keep the deadlines until cancelled."""
        lapses = Lapses(_LOG, "downloads")
        while True:
            await trio.sleep(TICK)
            async with lapses.spared():
                self._tick(trio.current_time())

    def _tick(self, now: float) -> None:
        for download in self._all:
            with sparing_others(_LOG, "a download of %s", download.torrent.pinned.ref):
                download.tick(now)
        self._lines.look_at_all()

    async def open(
        self, torrent: Torrent, address: str, wanted: ByteRange, visitor: Visitor
    ) -> Download:
        """Begin a download for a client's IP address; DownloadRefused. It has to be closed.

        If the address has as many as it may, it waits for a while until one of them ends.
        """
        uploads = self._uploads
        networks = networks_of(packed_address(address))
        if not self._lines.has_place(networks) and not await self._lines.wait(torrent, networks):
            raise DownloadRefused(_GONE, busy=False)
        if not self._door.admits(packed_address(address)):
            # Since it began to wait.
            raise DownloadRefused(ADDRESS_DENIED, busy=False)
        if not visitor.is_welcome():
            raise DownloadRefused(UNWELCOME, busy=False)
        self._admit(torrent, networks)
        download = Download(
            torrent,
            address,
            wanted,
            uploads,
            scratch=self._scratch,
            left=self._leave,
            visitor=visitor,
        )
        if uploads.overlap.had(torrent.info_hash, download.networks[0], wanted):
            download.doubt()
        self._all.add(download)
        uploads.connections.add_download(download, torrent.info_hash)
        uploads.join(download)
        uploads.slots.come(download, trio.current_time())
        return download

    def _admit(self, torrent: Torrent, networks: Networks) -> None:
        if not self._allowed:
            raise DownloadRefused(nothing_sent(self._uploads.spent))
        connections = self._uploads.connections
        refused = connections.admit_download(networks, torrent.info_hash, MOST_DOWNLOADS)
        if refused == "too-many-from-address":
            raise DownloadRefused(_TOO_MANY_FROM_ADDRESS)
        if refused is not None:
            raise DownloadRefused(NO_PLACE)

    def _leave(self, download: Download) -> None:
        self._all.discard(download)
        self._uploads.leave(download, trio.current_time())
        self._uploads.connections.remove(download)
        self._lines.look(download.networks)

    def end(self, torrent: Torrent) -> None:
        """Cut off the downloads of a torrent that is gone: the next bytes are another object's."""
        self._lines.end(torrent)
        for download in self._all:
            if download.torrent is torrent:
                download.refuse(_GONE, busy=False)

    def end_denied(self) -> None:
        """Cut off the downloads of clients that aren't let in any more."""
        for download in self._all:
            if not self._door.admits(packed_address(download.address)):
                download.refuse(ADDRESS_DENIED, busy=False)

    def rebook(self, torrent: Torrent) -> None:
        """Have what a torrent's downloads get from now on booked where its traffic is now."""
        for download in self._all:
            if download.torrent is torrent:
                download.rebook()

    def allow(self, *, allowed: bool) -> None:
        """Change whether anything may be sent; if not, the present downloads are cut off."""
        self._allowed = allowed
        if not allowed:
            for download in self._all:
                download.refuse(nothing_sent(self._uploads.spent))

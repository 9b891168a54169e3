"""Lines of HTTP downloads that wait until their address has a place for one more.

BitTorrent clients ask a web seed for several small ranges at a time: a few of them behind one
address have more open than it may, for moments only, and a client that is refused gives the web
seed up. Each address has a line of its own, first come first served.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from seeder.net.addresses import Networks
from seeder.torrent.torrent import Torrent

PLACE_PATIENCE = 20.0
"""Seconds that a download waits at most for a place at its address."""
MOST_IN_LINE = 300
"""Downloads of an address that wait at a time: each holds an HTTP connection. s5cmd asks for 256
objects at a time, and pauses for up to a minute where it is refused."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """A download that waits."""

    torrent: Torrent
    called: trio.Event = field(default_factory=trio.Event)
    """Set when it has to look again."""
    is_gone: bool = False
    """Whether the torrent has ended meanwhile."""


class Lines:
    """Those who wait, by address; `is_full` tells whether an address has no place left."""

    def __init__(self, is_full: Callable[[Networks], bool]) -> None:
        self._is_full = is_full
        self._lines: dict[Networks, OrderedDict[_Waiter, None]] = {}

    def has_place(self, networks: Networks) -> bool:
        """Tell whether an address has a place that nobody else waits for."""
        return networks not in self._lines and not self._is_full(networks)

    async def wait(self, torrent: Torrent, networks: Networks) -> bool:
        """Wait for a place that the caller takes at once then, before it waits for anything else.

        After `PLACE_PATIENCE`, and where too many wait already, there may be none. Returns False if
        the torrent has ended.
        """
        line = self._lines.setdefault(networks, OrderedDict())
        if len(line) >= MOST_IN_LINE:
            return True
        waiter = _Waiter(torrent)
        line[waiter] = None
        try:
            with trio.move_on_after(PLACE_PATIENCE):
                await waiter.called.wait()
                while self._is_full(networks) and not waiter.is_gone:
                    waiter.called = trio.Event()
                    await waiter.called.wait()
        finally:
            del line[waiter]
            if line:
                self.look(networks)
            else:
                del self._lines[networks]
        return not waiter.is_gone

    def end(self, torrent: Torrent) -> None:
        """Let go whoever waits for a torrent that is gone."""
        for line in self._lines.values():
            for waiter in line:
                if waiter.torrent is torrent:
                    waiter.is_gone = True
                    waiter.called.set()

    def look(self, networks: Networks) -> None:
        """Call the first in an address's line if there is a place for it."""
        line = self._lines.get(networks)
        if line and not self._is_full(networks):
            next(iter(line)).called.set()

    def look_at_all(self) -> None:
        """Call the first in each line who has a place: peers leave, too, and limits change."""
        for networks in self._lines:
            self.look(networks)

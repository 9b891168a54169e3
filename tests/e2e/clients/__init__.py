"""Downloads with real BitTorrent clients, each with an address and a directory of its own.

libtorrent runs in the test process (`tests.support.libtorrent_client`); these are programs:

    client              start of a download   encryption
    Transmission 3.00   10 to 15 s            preferred, tolerated or required; never plain only
    aria2 1.36          at once               dials encrypted, a second later plain
    rtorrent 0.9.8      at once               none, or RC4 required
    qBittorrent 4.5     at once               none, tolerated or RC4 required
    WebTorrent 3.0      at once               none, preferred or RC4 required
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from tests.e2e.clients.aria2 import Aria2
from tests.e2e.clients.qbittorrent import QBittorrent
from tests.e2e.clients.rtorrent import Rtorrent, rtorrent_commands
from tests.e2e.clients.transmission import Transmission
from tests.e2e.clients.webtorrent import WebTorrent
from tests.support.leecher import Leecher
from tests.support.libtorrent_client import Libtorrent

__all__ = [
    "KINDS",
    "Aria2",
    "Client",
    "ClientFactory",
    "QBittorrent",
    "Rtorrent",
    "Transmission",
    "WebTorrent",
    "rtorrent_commands",
]

KINDS: Sequence[type[Leecher]] = (
    Libtorrent,
    Transmission,
    Aria2,
    Rtorrent,
    QBittorrent,
    WebTorrent,
)
"""Every client that the tests know."""

Client = TypeVar("Client", bound=Leecher)


class ClientFactory(Protocol):
    """Makes clients that are closed at the end of the test: the fixture `client`."""

    def __call__(self, kind: type[Client], /, **options: Any) -> Client: ...

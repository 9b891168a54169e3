"""The tracker of one torrent, asked by datagrams."""

import struct

from seeder.gateway.clients import Clients, TrustedProxies
from seeder.gateway.datagrams import TrackerDatagrams
from seeder.net.buckets import AddressLimiter
from seeder.net.datagrams import Datagram
from seeder.torrent.info import InfoHash
from seeder.tracker.datagrams import ConnectionIds
from tests.tracker.announcing import HASH, LOCAL, SIZE, Tracker, packed, peer_id

MAGIC = 0x41727101980
CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
NONE, COMPLETED, STARTED, STOPPED = range(4)
TRANSACTION = 0xCAFEBABE
CLIENT, V6_CLIENT = packed("203.0.113.9"), packed("2001:db8::9")
V6_LOCAL = packed("2001:db8::7")


class Server:
    """The tracker of one torrent, asked by datagrams."""

    def __init__(self, burst: float = 1e9) -> None:
        self.tracker = Tracker()
        self.booked = 0
        limiter = AddressLimiter(1e-9, burst)
        self.clients = Clients(TrustedProxies(()), limiter, limiter, self._now)
        self.datagrams = TrackerDatagrams(
            self.tracker.swarms, self.clients, ConnectionIds(b"s" * 32), self, self._now
        )

    def _now(self) -> float:
        return self.tracker.now

    def protocol(self, count: int) -> None:
        self.booked += count

    def send(self, data: bytes, client: bytes = CLIENT) -> bytes | None:
        local = LOCAL if len(client) == 4 else V6_LOCAL
        return self.datagrams.answer(Datagram(data, client, local), self._now(), self._now())

    def connect(self, client: bytes = CLIENT) -> int:
        """Return a connection id."""
        answer = self.send(struct.pack(">QII", MAGIC, CONNECT, TRANSACTION), client)
        assert answer is not None
        action, transaction, connection = struct.unpack(">IIQ", answer)
        assert (action, transaction) == (CONNECT, TRANSACTION)
        return int(connection)

    def announce(
        self,
        client: bytes = CLIENT,
        *,
        connection: int | None = None,
        event: int = STARTED,
        port: int = 6881,
        left: int = SIZE,
        info_hash: InfoHash = HASH,
    ) -> bytes:
        if connection is None:
            connection = self.connect(client)
        request = struct.pack(">QII", connection, ANNOUNCE, TRANSACTION) + info_hash
        request += peer_id("a") + struct.pack(">QQQIIIiH", 0, left, 0, event, 0, 0, -1, port)
        answer = self.send(request, client)
        assert answer is not None
        return answer

    def scrape_request(self, *hashes: InfoHash, client: bytes = CLIENT) -> bytes:
        head = struct.pack(">QII", self.connect(client), SCRAPE, TRANSACTION)
        return head + b"".join(hashes)

    def scrape(self, *hashes: InfoHash) -> bytes:
        answer = self.send(self.scrape_request(*hashes))
        assert answer is not None
        return answer

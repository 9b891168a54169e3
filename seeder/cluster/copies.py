"""What the addresses had of torrents from each node, for the limits that hold for all together.

Each node tells what came to it, a batch at a time; the others count a batch once, by its number,
however often it is told. One that is lost is counted by nobody else.

No I/O.
"""

import struct
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple, Protocol

from seeder.cluster import records
from seeder.net.addresses import Networks, networks_of
from seeder.torrent.layout import SHA1_LENGTH

MOST_TOLD = 20_000
"""Addresses that are kept while the others can't be told; others aren't told of more."""
BATCH = 500
"""Addresses of one batch."""
MOST_NODES = 1000
LARGEST = 2**50
"""Bytes of one batch, beyond which it can't be true."""
_VALUE = struct.Struct(">qdq")


class CopiesNews(NamedTuple):
    """What an address had of a torrent from one node, in bytes."""

    torrent: bytes
    network: bytes
    """IPv4 address, or IPv6 /64."""
    sent: float
    shared: float
    """The same by the number of clients there that were sent it."""
    fetched: int
    """Read from S3 because it asked; below zero where less came than was booked before."""


class CopiesHistory(Protocol):
    """What a node remembers of each address."""

    news: Callable[[CopiesNews], None] | None

    def hear(self, news: CopiesNews, networks: Networks, now: float) -> None: ...


class SharedCopies:
    """Tells what the history of this node counts, and has it count what the others tell."""

    def __init__(self, run: str) -> None:
        """`run` is a name that no other run of any node has."""
        self._history: CopiesHistory | None = None
        self._run = run.encode()
        self._number = 0
        self._news: dict[tuple[bytes, bytes], CopiesNews] = {}
        self._batch = b""
        """What is being told now; told again as it is if that fails."""
        self._counted: dict[bytes, tuple[bytes, int]] = {}
        """By node: its run, and the number of the last batch."""

    def share(self, history: CopiesHistory) -> None:
        """Share what this history counts from now on."""
        self._history = history
        history.news = self._note

    def _note(self, news: CopiesNews) -> None:
        name = news.torrent, news.network
        former = self._news.get(name)
        if former is not None:
            news = news._replace(
                sent=former.sent + news.sent,
                shared=former.shared + news.shared,
                fetched=former.fetched + news.fetched,
            )
        elif len(self._news) >= MOST_TOLD:
            return
        self._news[name] = news

    @property
    def has_news(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._batch or self._news)

    def to_tell(self) -> tuple[bytes, bytes]:
        """Return a batch and its number, the same ones until it is told."""
        if not self._batch and self._news:
            names = list(islice(self._news, BATCH))
            self._batch = records.join(_pack(self._news.pop(name)) for name in names)
            self._number += 1
        return self._batch, b"%s:%d" % (self._run, self._number)

    def told(self) -> None:
        """Note that the last batch was told."""
        self._batch = b""

    def hear(self, node: bytes, number: bytes, batch: bytes, now: float) -> None:
        """Count another node's batch unless it was counted already; ValueError."""
        if self._history is None or not batch:
            return
        run, _, last = number.partition(b":")
        before = self._counted.pop(node, (b"", 0))
        is_new = before[0] != run or int(last) > before[1]
        self._counted[node] = (run, int(last)) if is_new else before
        if len(self._counted) > MOST_NODES:
            del self._counted[next(iter(self._counted))]
        if is_new:
            for name, value in records.split(batch):
                news = _unpack(name, value)
                self._history.hear(news, networks_of(_address(news.network)), now)


def _pack(news: CopiesNews) -> tuple[bytes, bytes]:
    value = _VALUE.pack(round(news.sent), news.shared, news.fetched)
    return news.torrent + news.network, value


def _unpack(name: bytes, value: bytes) -> CopiesNews:
    torrent, network = name[:SHA1_LENGTH], name[SHA1_LENGTH:]
    if len(network) not in (4, 8) or len(value) != _VALUE.size:
        raise ValueError("not what an address had")
    sent, shared, fetched = _VALUE.unpack(value)
    if not (0 <= shared <= sent <= LARGEST and abs(fetched) <= LARGEST):
        raise ValueError("not what an address had")
    return CopiesNews(torrent, network, sent, shared, fetched)


def _address(network: bytes) -> bytes:
    """Return an address of a network as narrow as they are."""
    return network if len(network) == 4 else network + bytes(8)

"""The UDP tracker protocol (BEP 15): requests out of datagrams, replies into them.

A client first asks for a connection id, which it then names in each request. That proves that its
address isn't forged, so nothing longer than a request is sent to who hasn't one.

Options behind an announce (BEP 41) repeat the path of the announce URL, and a passkey in it.

No I/O.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from math import inf
from struct import Struct
from typing import NamedTuple, TypeAlias

from seeder.net.addresses import V4_ENDPOINT, V6_ENDPOINT
from seeder.torrent.info import InfoHash
from seeder.torrent.layout import SHA1_LENGTH
from seeder.tracker.announce import (
    LONGEST_REASON,
    AnnounceEvent,
    AnnounceReply,
    AnnounceRequest,
    ScrapeCounts,
)

MOST_IN_DATAGRAM = 74
"""Hashes in a scrape: BEP 15 has so many fit a datagram."""
LARGEST_REQUEST = 16 + MOST_IN_DATAGRAM * SHA1_LENGTH
"""Bytes; of a longer datagram the rest is of no use."""
MOST_ENDPOINTS = {V4_ENDPOINT: 200, V6_ENDPOINT: 66}
"""In a reply, by an endpoint's bytes: the smallest MTU that is met (IPv6's of 1280 bytes, and
tunnels' of some 1400 for IPv4) takes it in one piece."""
_MOST_V4, _MOST_V6 = (length * most for length, most in MOST_ENDPOINTS.items())
LONGEST_REPLY = 20 + max(_MOST_V4, _MOST_V6)
"""Bytes; scrapes have shorter ones."""
EPOCH = 60.0
"""Seconds for which connection ids are made with one number."""
EPOCHS = 4
"""Numbers that there are at a time: an id is good for two to three minutes (BEP 15: two)."""

_MAGIC = 0x41727101980
_CONNECT, _ANNOUNCE, _SCRAPE, _ERROR = range(4)
_HEAD = Struct(">QII")
_REQUEST = Struct(">QII20s20sqqqI4x4siH")
_ANNOUNCE_LENGTH = _REQUEST.size
"""Bytes, without options."""
_NO_KEY = bytes(4)
_CONNECTED = Struct(">IIQ")
_REPLY = Struct(">IIIII")
_COUNTS = Struct(">III")
_REFUSAL = Struct(">II")
_EVENTS = (
    AnnounceEvent.NONE,
    AnnounceEvent.COMPLETED,
    AnnounceEvent.STARTED,
    AnnounceEvent.STOPPED,
    AnnounceEvent.PAUSED,
)
_NO_EVENT = AnnounceEvent.NONE
_LARGEST = 2**32 - 1
# To make one takes a hundred times as long as to find it.
_info_hash = lru_cache(maxsize=1024)(InfoHash)
# The constructor that a named tuple has takes twice as long.
_new = tuple.__new__
_END, _NOTHING, _URL_DATA = range(3)
_KEYED_PATH = b"/announce/"


class ConnectRequest(NamedTuple):
    """A client asks for a connection id."""

    transaction: int


class DatagramAnnounce(NamedTuple):
    """An announce, not yet proven to come from its address."""

    connection: int
    transaction: int
    announce: AnnounceRequest


class DatagramScrape(NamedTuple):
    """A scrape, not yet proven to come from its address."""

    connection: int
    transaction: int
    info_hashes: list[InfoHash]


DatagramRequest: TypeAlias = ConnectRequest | DatagramAnnounce | DatagramScrape


class ConnectionIds:
    """Connection ids that nobody keeps: each is a code (MAC) over the address and a number.

    The number goes up each minute, and its last two bits are the id's, so that one code is made to
    check one. Nodes with one secret take each other's ids, as far as their clocks agree.

    To make a code takes as long as a tenth of an announce, so those that are issued or found good
    are remembered until the number goes up. No id can become stale before.
    """

    def __init__(self, secret: bytes, *, most: int = 20_000) -> None:
        """Remember up to `most` that were issued, and as many that were found good."""
        self.shared = False
        """Whether other nodes have the secret, too: their clocks may be a minute ahead."""
        self._secret = secret
        self._most = most
        self._epoch = 0
        """The number for now, from `_begin` up to, not including, `_end` (s)."""
        self._begin = self._end = -inf
        self._issued: dict[bytes, int] = {}
        """What each address was given since then. Anybody may ask in any address's name."""
        self._good: dict[bytes, int] = {}
        """What each has named since then, rightly: it is that address."""

    @property
    def secret(self) -> bytes:
        """16 to 64 random bytes. May be replaced; ids of earlier ones are stale then, but for those
        that are remembered as good."""
        return self._secret

    @secret.setter
    def secret(self, secret: bytes) -> None:
        self._secret = secret
        self._issued = {}

    def issue(self, address: bytes, now: float) -> int:
        """Return the id of a packed address at the time `now` (s)."""
        if not self._begin <= now < self._end:
            self._turn_to(now)
        issued = self._issued.get(address)
        if issued is None:
            issued = self._made(address, self._epoch)
            if len(self._issued) >= self._most:
                self._issued = {}
            self._issued[address] = issued
        return issued

    def is_good(self, connection: int, address: bytes, now: float) -> bool:
        """Tell whether an id was issued to a packed address in the last two minutes or so."""
        if not self._begin <= now < self._end:
            self._turn_to(now)
        if connection == self._good.get(address):
            return True
        age = (self._epoch - connection) % EPOCHS
        if age == EPOCHS - 1:
            if not self.shared:
                return False
            age = -1  # of a node whose clock is ahead; or it is stale, and isn't the next one's
        made = self._issued.get(address) if not age else None
        if made is None:
            made = self._made(address, self._epoch - age)
        if connection != made:
            return False
        if len(self._good) >= self._most:
            self._good = {}
        self._good[address] = made
        return True

    def _turn_to(self, now: float) -> None:
        """Take the number of a time for now, and remember no id from before."""
        self._epoch = int(now // EPOCH)
        self._begin, self._end = self._epoch * EPOCH, (self._epoch + 1) * EPOCH
        self._issued, self._good = {}, {}

    def _made(self, address: bytes, epoch: int) -> int:
        what = epoch.to_bytes(8, "big", signed=True) + address
        code = blake2b(what, digest_size=8, key=self._secret).digest()
        return int.from_bytes(code, "big") & -EPOCHS | epoch % EPOCHS


def parse_datagram(data: bytes) -> DatagramRequest | None:
    """Return what a datagram asks for; None if it is no request, and gets no reply."""
    if len(data) >= _ANNOUNCE_LENGTH and (announce := _parse_announce(data)) is not None:
        return announce
    if len(data) < _HEAD.size:
        return None
    connection, action, transaction = _HEAD.unpack_from(data)
    if action == _CONNECT:
        return _new(ConnectRequest, (transaction,)) if connection == _MAGIC else None
    if action == _SCRAPE:
        whole = (len(data) - _HEAD.size) // SHA1_LENGTH
        starts = range(
            _HEAD.size, _HEAD.size + SHA1_LENGTH * min(whole, MOST_IN_DATAGRAM), SHA1_LENGTH
        )
        hashes = [InfoHash(data[start : start + SHA1_LENGTH]) for start in starts]
        return DatagramScrape(connection, transaction, hashes) if hashes else None
    return None


def _parse_announce(data: bytes) -> DatagramAnnounce | None:
    (
        connection,
        action,
        transaction,
        info_hash,
        peer_id,
        downloaded,
        left,
        uploaded,
        event,
        key,
        numwant,
        port,
    ) = _REQUEST.unpack_from(data)
    if action != _ANNOUNCE:
        return None
    # As by HTTP, a negative amount says nothing.
    announce = (
        _info_hash(info_hash),
        peer_id,
        port,
        downloaded if downloaded > 0 else 0,
        left if left >= 0 else None,
        _EVENTS[event] if event < len(_EVENTS) else _NO_EVENT,
        numwant if numwant >= 0 else None,
        True,
        key if key != _NO_KEY else b"",
        uploaded if uploaded > 0 else 0,
        _passkey(data) if len(data) > _ANNOUNCE_LENGTH else b"",
    )
    return _new(DatagramAnnounce, (connection, transaction, _new(AnnounceRequest, announce)))


def _passkey(data: bytes) -> bytes:
    """Return the passkey in the path that the options of an announce spell (BEP 41), if any.

    The path may come in several pieces, and ends at its query.
    """
    at, path = _ANNOUNCE_LENGTH, b""
    while at < len(data) and (kind := data[at]) != _END:
        at += 1
        if kind == _NOTHING:
            continue
        stop = at + 1 + (data[at] if at < len(data) else 0)
        if stop > len(data):
            break
        if kind == _URL_DATA:
            path += data[at + 1 : stop]
        at = stop
    path = b"/" + path.partition(b"?")[0].lstrip(b"/")
    return path.removeprefix(_KEYED_PATH).strip(b"/") if path.startswith(_KEYED_PATH) else b""


def encode_connected(transaction: int, connection: int) -> bytes:
    """Return the reply to who asked for a connection id: as long as the request, 16 bytes."""
    return _CONNECTED.pack(_CONNECT, transaction, connection)


def encode_announced(transaction: int, reply: AnnounceReply) -> bytes:
    """Return the reply to an announce, with the endpoints of the asker's address family."""
    source, complete, incomplete, _, interval, _, peers, peers6 = reply
    most = _MOST_V4
    if len(source) + 2 == V6_ENDPOINT:
        peers, most = peers6, _MOST_V6
    if len(peers) > most:
        peers = peers[:most]
    return _REPLY.pack(_ANNOUNCE, transaction, interval, incomplete, complete) + peers


def encode_scraped(transaction: int, counts: Iterable[ScrapeCounts]) -> bytes:
    """Return the reply to a scrape; `counts` in the order of its hashes."""
    swarms = b"".join(
        _COUNTS.pack(each.complete, min(each.downloaded, _LARGEST), each.incomplete)
        for each in counts
    )
    return _REFUSAL.pack(_SCRAPE, transaction) + swarms


def encode_refused(transaction: int, reason: str, *, most: int = LONGEST_REASON) -> bytes:
    """Return a refusal, cut to `most` bytes."""
    return (_REFUSAL.pack(_ERROR, transaction) + reason.encode())[:most]

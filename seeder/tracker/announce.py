"""HTTP announces and scrapes: the raw query in, the bencoded reply out (BEP 3, 23, 48).

The query is cut and percent-decoded as bytes, since `info_hash`, `peer_id` and `key` are binary: a
detour over text would change them. Replies are put together from their few fixed keys in sorted
order; a general encoder costs more than the rest of an announce.

No I/O.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import lru_cache
from operator import methodcaller
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from seeder.errors import AnnounceError
from seeder.net.addresses import V4_ENDPOINT, V6_ENDPOINT, endpoint_address
from seeder.torrent.info import InfoHash
from seeder.torrent.layout import SHA1_LENGTH

PEER_ID_LENGTH = 20
KEY_LENGTH = 4
"""Bytes of a client's `key` by UDP (BEP 15)."""
MOST_KEY_BYTES = 64
"""Of a client's `key`; the rest is cut off."""
MOST_PARAMETERS = 64
MOST_SCRAPED = 64
LARGEST_COUNT = 2**63 - 1
"""Bytes: what counters, databases and other programs that read our JSON can have in 64 bits."""
LONGEST_REASON = 500
"""Bytes of UTF-8."""

LEAST_WAIT = 300
"""Seconds that libtorrent waits after a refusal at least, whatever it is told."""

_MOST_DIGITS = 20
_NO_KEY = bytes(KEY_LENGTH)
"""What who has no key sends by UDP."""
_parted = methodcaller("partition", b"=")
_BETWEEN = bytes(byte for byte in range(256) if byte not in b"&=")
"""What isn't between parameters, or between a name and its value."""
_PLAIN = frozenset(b"&".join([b"="] * count) for count in range(1, MOST_PARAMETERS + 1))
"""What else there is of a query whose parameters have a name and a value each."""


class AnnounceEvent(Enum):
    """What a peer announces; anything unknown counts as NONE."""

    NONE = ""
    STARTED = "started"
    COMPLETED = "completed"
    STOPPED = "stopped"
    PAUSED = "paused"
    """BEP 21: has all that it wants, though not all there is."""

    def __init__(self, value: str) -> None:
        self.word = value or "none"
        """What it is counted under."""
        # What each announce is asked for: to find a member of an enum takes Python 3.11 as long as
        # ten attributes.
        self.starts, self.completes = value == "started", value == "completed"
        self.stops, self.pauses = value == "stopped", value == "paused"


_EVENTS = {event.value.encode(): event for event in AnnounceEvent}
_NO_EVENT = AnnounceEvent.NONE


class AnnounceRequest(NamedTuple):
    """One announce as its client wrote it; a named tuple, since thousands are made a second."""

    info_hash: InfoHash
    peer_id: bytes
    port: int
    """1 to 65535; 0 where a `stopped` named none."""
    downloaded: int = 0
    left: int | None = None
    """None if the client doesn't say or doesn't know it; only 0 (a seed) has a meaning here."""
    event: AnnounceEvent = AnnounceEvent.NONE
    numwant: int | None = None
    """None: as many as the tracker likes."""
    compact: bool = True
    key: bytes = b""
    """As `client_key` returns it."""
    uploaded: int = 0
    passkey: bytes = b""
    """What follows /announce/ in the URL; only private swarms look at it."""


def may_lack_metadata(request: AnnounceRequest) -> bool:
    """Tell whether a client may have only a magnet link: aria2 then says that it lacks 0 bytes.

    It says so in each announce until it has the metadata. A seed that had all before it started
    says the same; hearing of a peer in vain costs it little.
    """
    event = request.event
    return request.left == request.downloaded == 0 and not (event.completes or event.pauses)


class AnnounceReply(NamedTuple):
    """The answer to an announce in any form; times in seconds."""

    source: bytes
    """The asker's own address, 4 or 16 bytes (BEP 24)."""
    complete: int
    incomplete: int
    downloaded: int
    interval: int
    min_interval: int
    peers: bytes = b""
    """IPv4 endpoints: address and port in 6 bytes each."""
    peers6: bytes = b""
    """IPv6 endpoints: address and port in 18 bytes each."""

    def endpoints(self) -> Iterator[bytes]:
        """Yield the endpoints one by one, IPv4 first."""
        for peers, length in ((self.peers, V4_ENDPOINT), (self.peers6, V6_ENDPOINT)):
            for start in range(0, len(peers), length):
                yield peers[start : start + length]


class ScrapeCounts(NamedTuple):
    """One swarm in a scrape; a swarm that isn't ours is all zeros."""

    complete: int = 0
    downloaded: int = 0
    incomplete: int = 0


def parse_announce(query: bytes, passkey: bytes = b"") -> AnnounceRequest:
    """Return what a raw query announces; AnnounceError with a text for the client otherwise.

    `passkey` is what stood in the path.
    """
    fields = _fields(query)
    field = fields.get
    info_hash = _info_hash(_required(fields, b"info_hash"))
    peer_id = _required(fields, b"peer_id")
    if len(peer_id) != PEER_ID_LENGTH or b"%" in peer_id:
        peer_id = _decoded(b"peer_id", peer_id, PEER_ID_LENGTH)
    event = _EVENTS.get(field(b"event", b""), _NO_EVENT)
    left, numwant, key = field(b"left", b""), field(b"numwant", b""), field(b"key", b"")
    downloaded, uploaded = field(b"downloaded", b"0"), field(b"uploaded", b"0")
    return AnnounceRequest(
        info_hash,
        peer_id,
        _port(field(b"port", b""), event),
        _count(downloaded) if downloaded != b"0" else 0,
        _count(left) if left.isdigit() else None,
        event,
        _count(numwant) if numwant.isdigit() else None,
        field(b"compact") != b"0",
        client_key(unquote_to_bytes(key) if b"%" in key else key),
        _count(uploaded) if uploaded != b"0" else 0,
        passkey,
    )


def parse_scrape(query: bytes) -> list[InfoHash]:
    """Return the info hashes that a raw scrape query names, each once and at most 64.

    AnnounceError without any: a scrape of everything is not answered (BEP 48 leaves it open).
    """
    hashes: dict[InfoHash, None] = {}
    for part in query.split(b"&", MOST_SCRAPED * 2)[: MOST_SCRAPED * 2]:
        name, _, value = part.partition(b"=")
        if name == b"info_hash" and len(hashes) < MOST_SCRAPED:
            hashes[_info_hash(value)] = None
    if not hashes:
        raise AnnounceError("scrape needs an info_hash; this tracker does not list all its swarms")
    return list(hashes)


def _fields(query: bytes) -> dict[bytes, bytes]:
    """Return the parameters, still percent-encoded; info_hash, peer_id and port may appear once."""
    if query.translate(None, _BETWEEN) in _PLAIN:
        # Each parameter has a name and a value, as nearly all have: cut at both signs at once.
        words = query.replace(b"&", b"=").split(b"=")
        word = iter(words)
        fields = dict(zip(word, word, strict=False))
        if 2 * len(fields) == len(words):
            return fields
    parts = query.split(b"&", MOST_PARAMETERS)
    if len(parts) > MOST_PARAMETERS:
        raise AnnounceError(f"more than {MOST_PARAMETERS} parameters")
    fields = {name: value for name, _, value in map(_parted, parts)}
    if len(fields) < len(parts):
        times = Counter(name for name, _, _ in map(_parted, parts))
        for name in (b"info_hash", b"peer_id", b"port"):
            if times[name] > 1:
                raise AnnounceError(f"{name.decode()} is given twice")
    return fields


def _required(fields: Mapping[bytes, bytes], name: bytes) -> bytes:
    value = fields.get(name)
    if value is None:
        raise AnnounceError(f"{name.decode()} is missing")
    return value


# A client always writes a torrent's hash in the same way, and decoding it takes a third of the time
# of parsing an announce.
@lru_cache(maxsize=1024)
def _info_hash(value: bytes) -> InfoHash:
    return InfoHash(_decoded(b"info_hash", value, SHA1_LENGTH))


def _decoded(name: bytes, value: bytes, length: int) -> bytes:
    """Return the bytes that a value spells; bytes that need no percent escape may go without."""
    decoded = unquote_to_bytes(value) if b"%" in value else value
    # Each escape that was understood made the value two bytes shorter.
    if len(decoded) + 2 * value.count(b"%") != len(value):
        raise AnnounceError(f"{name.decode()} has a broken percent escape")
    if len(decoded) != length:
        raise AnnounceError(f"{name.decode()} must be {length} bytes, not {len(decoded)}")
    return decoded


def client_key(written: bytes) -> bytes:
    """Return a client's `key` as one value, whether it came by HTTP or by UDP; b"" is none.

    BEP 15 has 32 bits of it. By HTTP clients write the same number in hexadecimal.
    """
    if len(written) <= 2 * KEY_LENGTH and written.isalnum():
        try:
            written = int(written, 16).to_bytes(KEY_LENGTH, "big")
        except ValueError:
            return written
    return written[:MOST_KEY_BYTES] if written != _NO_KEY else b""


def _count(value: bytes) -> int:
    """Return a byte count, at most LARGEST_COUNT; 0 if it is absent, negative or not a number."""
    if not value.isdigit():
        return 0
    if len(value) < _MOST_DIGITS - 1:
        return int(value)
    return LARGEST_COUNT if len(value) > _MOST_DIGITS else min(int(value), LARGEST_COUNT)


def _port(value: bytes, event: AnnounceEvent) -> int:
    port = int(value) if value.isdigit() and len(value) <= 5 else 0
    if 1 <= port <= 65535:
        return port
    if event.stops:
        return 0
    raise AnnounceError("port must be a number from 1 to 65535")


def encode_reply(reply: AnnounceReply) -> bytes:
    """Return a reply in its compact form (BEP 23, 7): `peers` always, `peers6` if there are any."""
    body = b"%b5:peers%d:%b" % (_reply_head(reply), len(reply.peers), reply.peers)
    if reply.peers6:
        body = b"%b6:peers6%d:%b" % (body, len(reply.peers6), reply.peers6)
    return body + b"e"


def encode_reply_listed(reply: AnnounceReply) -> bytes:
    """Return a reply in the form of BEP 3: a dictionary a peer, both families in one list.

    It has no peer ids, as if no_peer_id were asked for: no client needs them, and what strangers
    are told of a peer can be used against it.
    """
    entries = b"".join(map(_entry, reply.endpoints()))
    return b"%b5:peersl%bee" % (_reply_head(reply), entries)


def _reply_head(reply: AnnounceReply) -> bytes:
    return (
        b"d8:completei%de10:downloadedi%de11:external ip%d:%b"
        b"10:incompletei%de8:intervali%de12:min intervali%de"
    ) % (
        reply.complete,
        reply.downloaded,
        len(reply.source),
        reply.source,
        reply.incomplete,
        reply.interval,
        reply.min_interval,
    )


def _entry(endpoint: bytes) -> bytes:
    host, port = endpoint_address(endpoint)
    address = host.encode()
    return b"d2:ip%d:%b4:porti%dee" % (len(address), address, port)


DENIED = "your address is not allowed at this tracker"


def encode_failure(error: AnnounceError, *, later: int = 0) -> bytes:
    """Return a refusal (BEP 3, BEP 31).

    If the error names minutes, `interval` says seconds, since libtorrent heeds that key in a
    refusal. `later` are seconds more, so that not all come again at once. As libtorrent takes less
    than `LEAST_WAIT` for that, it is told no less: all of its torrents would be back together.
    """
    # Cut between characters, not within one.
    reason = error.reason.encode()[:LONGEST_REASON].decode(errors="ignore").encode()
    body = b"d14:failure reason%d:%b" % (len(reason), reason)
    retry_in = error.retry_in
    if retry_in is not None:
        if retry_in.isdecimal():
            asked = 60 * int(retry_in)
            retry_in = str(-(-(asked + later) // 60))
            seconds = max(asked, LEAST_WAIT) + later
            body += b"8:intervali%de12:min intervali%de" % (seconds, seconds)
        body += b"8:retry in%d:%b" % (len(retry_in), retry_in.encode())
    return body + b"e"


def encode_scrape(counts: Mapping[InfoHash, ScrapeCounts], min_interval: int) -> bytes:
    """Return the reply to a scrape (BEP 48); `min_interval` is in seconds."""
    files = b"".join(
        b"20:%bd8:completei%de10:downloadedi%de10:incompletei%dee"
        % (info_hash, swarm.complete, swarm.downloaded, swarm.incomplete)
        for info_hash, swarm in sorted(counts.items())
    )
    return b"d5:filesd%be5:flagsd20:min_request_intervali%deee" % (files, min_interval)

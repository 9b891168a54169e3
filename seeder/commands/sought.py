"""What `seeder diagnose` looks for: a torrent file, a magnet link, and what trackers say of them.

All of it comes from strangers: each parser bounds what it keeps, and raises MetainfoError alone.

No I/O.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import islice
from urllib.parse import parse_qs, quote, urlsplit

from seeder.errors import BencodeError, MetainfoError
from seeder.net.addresses import HostPort, parse_ip
from seeder.torrent import bencode
from seeder.torrent.info import META_VERSION, InfoHash, decode_info
from seeder.torrent.layout import SHA1_LENGTH, Layout
from seeder.units import MIB, ByteRange, port_number, rounded_size

LARGEST_PIECE = 32 * MIB
MOST_TRACKERS = 5
MOST_WEB_SEEDS = 5
MOST_PEERS = 50
"""That are kept of a tracker's answer, or of a magnet link."""
_LONGEST_URL = 2000
_LONGEST_TEXT = 300
_MOST_FILES = 100_000


@dataclass(frozen=True, slots=True)
class PieceSpan:
    """Where a part of a piece lies: in a file by its path, or nowhere since it is padding."""

    path: tuple[str, ...] | None
    inside: ByteRange


@dataclass(frozen=True, slots=True)
class Described:
    """An info dictionary of v1 or a hybrid, of one file or many."""

    name: str
    layout: Layout
    private: bool
    pieces: bytes
    files: tuple[tuple[tuple[str, ...] | None, int], ...]
    """Path (None is padding, BEP 47) and size of each; one file has an empty path."""

    def hash_of(self, index: int) -> bytes:
        """Return the SHA-1 of a piece."""
        return self.pieces[SHA1_LENGTH * index : SHA1_LENGTH * (index + 1)]

    def spans(self, index: int) -> list[PieceSpan]:
        """Return where the bytes of a piece lie, in order."""
        start = index * self.layout.piece_length
        stop = start + self.layout.piece_size(index)
        found, at = [], 0
        for path, size in self.files:
            first, last = max(start, at), min(stop, at + size)
            if first < last:
                found.append(PieceSpan(path, ByteRange(first - at, last - first)))
            at += size
        return found


@dataclass(frozen=True, slots=True)
class Sought:
    """A torrent, as far as what names it tells; magnet links tell no `described`."""

    info_hash: InfoHash
    """What handshakes and announces carry: of v2 alone, the beginning of its hash (BEP 52)."""
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    peers: tuple[HostPort, ...] = ()
    described: Described | None = None
    v2_only: bool = False

    def with_info(self, raw: bytes) -> "Sought":
        """Return it with the info dictionary that a peer sent; MetainfoError."""
        if InfoHash.of(raw) != self.info_hash:
            raise MetainfoError("the info that came has another hash")
        return replace(self, described=_describe(raw))


@dataclass(frozen=True, slots=True)
class Told:
    """A tracker's answer."""

    refusal: str = ""
    warning: str = ""
    peers: tuple[HostPort, ...] = ()
    seeds: int | None = None
    leechers: int | None = None


def parse_sought_file(data: bytes) -> Sought:
    """Return what a torrent file names; MetainfoError."""
    try:
        torrent, span = bencode.decode_dict_with_span(data, b"info", canonical=False)
    except BencodeError as error:
        raise MetainfoError(f"this is no torrent: {error}") from error
    if span is None or not isinstance(torrent.get(b"info"), dict):
        raise MetainfoError("this is no torrent: it has no info")
    raw = data[slice(*span)]
    info = torrent[b"info"]
    tiers = torrent.get(b"announce-list")
    announce: list[object] = [torrent.get(b"announce")]
    for tier in tiers if isinstance(tiers, list) else ():
        announce += tier if isinstance(tier, list) else [tier]
    seeds = torrent.get(b"url-list")
    found = Sought(
        InfoHash.of(raw),
        trackers=_trackers(announce),
        web_seeds=_urls(seeds if isinstance(seeds, list) else [seeds], MOST_WEB_SEEDS, ("http",)),
    )
    is_v2 = isinstance(info, dict) and info.get(b"meta version") == META_VERSION
    if is_v2 and isinstance(info, dict) and b"pieces" not in info:
        short = InfoHash(hashlib.sha256(raw).digest()[:SHA1_LENGTH])
        return replace(found, info_hash=short, v2_only=True)
    return replace(found, described=_describe(raw))


def parse_sought_link(text: str) -> Sought:
    """Return what a magnet link names (BEP 9, 53); MetainfoError."""
    try:
        given = parse_qs(urlsplit(text.strip()).query, max_num_fields=1000)
    except ValueError as error:
        raise MetainfoError(f"this is no magnet link: {error}") from error
    v1, v2 = None, None
    for topic in given.get("xt", ()):
        scheme, _, value = topic.lower().rpartition(":")
        if scheme == "urn:btih":
            v1 = v1 or _info_hash(topic.rpartition(":")[2])
        elif scheme == "urn:btmh":
            v2 = v2 or _multihash(value)
    info_hash = v1 or v2
    if info_hash is None:
        raise MetainfoError("this magnet link names no info hash (xt=urn:btih:...)")
    peers = []
    for each in given.get("x.pe", ())[:MOST_PEERS]:
        host, _, digits = each.rpartition(":")
        host, port = host.removeprefix("[").removesuffix("]"), port_number(digits)
        if host and port is not None:
            peers.append(HostPort(host, port))
    return Sought(
        info_hash,
        trackers=_trackers(given.get("tr", ())),
        web_seeds=_urls(given.get("ws", ()), MOST_WEB_SEEDS, ("http",)),
        peers=tuple(peers),
        v2_only=v1 is None,
    )


def parse_told(body: bytes) -> Told:
    """Return a tracker's answer; MetainfoError."""
    try:
        told = bencode.decode(body, canonical=False)
    except BencodeError as error:
        raise MetainfoError(f"its answer is no tracker's: {error}") from error
    if not isinstance(told, dict):
        raise MetainfoError("its answer is no tracker's: it is no dictionary")
    peers = [*_peers(told.get(b"peers"), 4), *_peers(told.get(b"peers6"), 16)]
    return Told(
        refusal=_text(told.get(b"failure reason")),
        warning=_text(told.get(b"warning message")),
        peers=tuple(dict.fromkeys(peers))[:MOST_PEERS],
        seeds=_count(told.get(b"complete")),
        leechers=_count(told.get(b"incomplete")),
    )


def announce_target(url: str, info_hash: InfoHash, peer_id: bytes, *, left: int, event: str) -> str:
    """Return the URL of an announce (BEP 3, 23)."""
    joint = "&" if urlsplit(url).query else "?"
    return (
        f"{url}{joint}info_hash={quote(info_hash)}&peer_id={quote(peer_id)}&port=6881&uploaded=0"
        f"&downloaded=0&left={left}&compact=1&numwant={MOST_PEERS}&event={event}"
    )


def web_seed_url(url: str, described: Described, path: Sequence[str]) -> str:
    """Return where a file is at a web seed (BEP 19)."""
    if not url.endswith("/") and not path:
        return url
    steps = (described.name, *path)
    return f"{url.rstrip('/')}/{'/'.join(quote(each, safe='') for each in steps)}"


def _describe(raw: bytes) -> Described:
    info = decode_info(raw)
    length = info.get(b"piece length")
    pieces, name = info.get(b"pieces"), info.get(b"name")
    if not isinstance(length, int) or not isinstance(pieces, bytes) or not isinstance(name, bytes):
        raise MetainfoError("this torrent lacks a piece length, pieces or a name")
    if not 1 <= length <= LARGEST_PIECE:
        most = rounded_size(LARGEST_PIECE)
        raise MetainfoError(f"its pieces are {length} bytes; pieces of up to {most} are tried")
    files = tuple(_files(info))
    size = sum(each for _, each in files)
    if size > bencode.LARGEST_INTEGER:
        raise MetainfoError("its files are larger than any")
    layout = Layout(size, length)
    if len(pieces) != layout.piece_count * SHA1_LENGTH:
        raise MetainfoError(
            f"it has {len(pieces) // SHA1_LENGTH} hashes for {layout.piece_count} pieces"
        )
    private = info.get(b"private") == 1
    return Described(name.decode(errors="replace"), layout, private, pieces, files)


def _files(info: dict[bytes, bencode.Value]) -> Iterator[tuple[tuple[str, ...] | None, int]]:
    entries = info.get(b"files")
    if entries is None:
        yield (), _size(info.get(b"length"))
        return
    if not isinstance(entries, list) or len(entries) > _MOST_FILES:
        raise MetainfoError("its files are no list that can be read")
    for entry in entries:
        path = entry.get(b"path") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(path, list):
            raise MetainfoError("one of its files has no path")
        attributes = entry.get(b"attr")
        is_pad = isinstance(attributes, bytes) and b"p" in attributes
        steps = tuple(each.decode(errors="replace") for each in path if isinstance(each, bytes))
        yield (None if is_pad else steps), _size(entry.get(b"length"))


def _size(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise MetainfoError("one of its files has no size")
    return value


def _peers(told: object, width: int) -> Iterator[HostPort]:
    """Yield a tracker's peers, compact (BEP 23, 7) or listed (BEP 3)."""
    if isinstance(told, bytes):
        for at in range(0, min(len(told), MOST_PEERS * (width + 2)) - width - 1, width + 2):
            port = int.from_bytes(told[at + width : at + width + 2], "big")
            if port:
                yield HostPort(str(ip_address(told[at : at + width])), port)
    for each in islice(told, MOST_PEERS) if isinstance(told, list) else ():
        if isinstance(each, dict):
            host, at_port = each.get(b"ip"), each.get(b"port")
            if isinstance(host, bytes) and isinstance(at_port, int) and 0 < at_port < 65536:
                try:
                    yield HostPort(str(parse_ip(host.decode("ascii"))), at_port)
                except ValueError:
                    continue  # a name, which a tracker doesn't tell


def _trackers(values: Sequence[object]) -> tuple[str, ...]:
    """Return those by HTTP, which can be asked, before the others."""
    others = _urls(values, MOST_TRACKERS, ("udp", "ws"))
    return (*_urls(values, MOST_TRACKERS, ("http",)), *others)[:MOST_TRACKERS]


def _urls(values: Sequence[object], most: int, schemes: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for value in values:
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        if isinstance(text, str) and len(text) <= _LONGEST_URL:
            scheme = text.partition("://")[0].lower()
            if scheme in schemes or scheme.removesuffix("s") in schemes:
                found[text] = None
        if len(found) == most:
            break
    return tuple(found)


def _info_hash(text: str) -> InfoHash:
    try:
        raw = bytes.fromhex(text) if len(text) == 40 else base64.b32decode(text.upper())
        return InfoHash(raw)
    except (ValueError, binascii.Error):
        raise MetainfoError("its info hash is neither 40 hexadecimal digits nor base 32") from None


def _multihash(text: str) -> InfoHash:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != 34 or raw[:2] != b"\x12\x20":
        raise MetainfoError("its v2 info hash is no SHA-256 multihash (1220 and 64 digits)")
    return InfoHash(raw[2 : 2 + SHA1_LENGTH])


def _text(value: object) -> str:
    return value[:_LONGEST_TEXT].decode(errors="replace") if isinstance(value, bytes) else ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None

"""`seeder diagnose`: a torrent as a downloader meets it: trackers, peers, web seeds, a verdict.

The torrent may be anybody's, and so may what it names: time and bytes are bounded, and private
addresses are asked only if the user named them, for a torrent could otherwise send us to any server
of the user's own network.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import trio

from seeder.commands.diagnosis import Diagnosis, Source, judge
from seeder.commands.masking import mask_of
from seeder.commands.sought import (
    MOST_PEERS,
    Described,
    Sought,
    Told,
    announce_target,
    parse_sought_file,
    parse_sought_link,
    parse_told,
    web_seed_url,
)
from seeder.commands.tasting import Taste, Taster
from seeder.errors import FetchFailed, MetainfoError, StorageError
from seeder.http.client import connect, fetch
from seeder.metainfo.workers import do_all
from seeder.net.addresses import HostPort, is_public, parse_ip
from seeder.s3.answers import Answer
from seeder.s3.pages import hint_of_page, is_page
from seeder.torrent.info import LARGEST_TORRENT_FILE
from seeder.torrent.layout import sha1
from seeder.units import KIB, ByteRange

TIME_LIMIT = 90.0
"""Seconds for all of it."""
TRACKER_SECONDS = 15.0
PEER_SECONDS = 20.0
WEB_SEED_SECONDS = 30.0
PEERS_AT_ONCE = 8
MOST_TASTED = 20
"""Peers that are asked for a piece."""
_LARGEST_REPLY = 256 * KIB
_MOST_SPANS = 50
_UNKNOWN = 1
"""Bytes that are left, while the size isn't known: who has none left is no downloader (BEP 3)."""

_WHY_NO_TORRENT = {
    "AccessDenied": "; if it isn't public, give the torrent file instead (seeder torrent)",
    "NoSuchKey": "; is this object published there?",
    "NoSuchBucket": "; is this object published there?",
}


async def diagnose(source: str, *, private: bool = False) -> Diagnosis:
    """Diagnose a URL, a magnet link or a file. FetchFailed, MetainfoError, StorageError.

    `private` admits every address; else those of the URL's own host and public ones are asked.
    """
    named: set[str] = set()
    left_out: set[str] = set()
    sought = await _read(source, named)

    def admit(host: str) -> bool:
        if private or host in named or is_public(host):
            return True
        left_out.add(host)
        return False

    doctor = _Doctor(sought, admit)
    with trio.move_on_after(TIME_LIMIT):
        await doctor.examine()
    with trio.move_on_after(TRACKER_SECONDS, shield=True):
        await doctor.leave()
    found = doctor.conclude()
    if left_out and not found.works:
        found.verdict += f" Left out as private: {', '.join(sorted(left_out)[:5])} (see --private)."
    return found


async def _read(source: str, named: set[str]) -> Sought:
    scheme = source.partition(":")[0].lower()
    if scheme == "magnet":
        return parse_sought_link(source)
    if "://" in source:
        mask = mask_of([source])
        if scheme not in ("http", "https"):
            raise FetchFailed(f"{mask(source)}: want http:// or https://, a magnet link, or a file")
        # Whoever writes a URL names its host, wherever that is.
        named |= await _addresses(source)
        return parse_sought_file(await _torrent(source, named))
    path = trio.Path(Path(source))
    try:
        async with await path.open("rb") as file:
            data = await file.read(LARGEST_TORRENT_FILE + 1)
    except OSError as error:
        raise StorageError(f"{source}: can't be read: {error.strerror}") from error
    if len(data) > LARGEST_TORRENT_FILE:
        raise MetainfoError(f"{source}: this is longer than any torrent")
    return parse_sought_file(data)


async def _torrent(url: str, named: set[str]) -> bytes:
    shown = mask_of([url])(url)
    try:
        answer = await fetch(
            url,
            most=LARGEST_TORRENT_FILE,
            seconds=WEB_SEED_SECONDS,
            admit=lambda host: host in named or is_public(host),
        )
    except FetchFailed as error:
        raise FetchFailed(f"{shown}: {error}") from error
    parts = urlsplit(url)
    bucket, _, key = parts.path.strip("/").partition("/")
    forgot = bool(bucket and key and not parts.query) and not key.endswith(".torrent")
    hint = f"; did you mean {shown}?torrent" if forgot else ""
    if answer.status != 200:
        told = Answer.read(answer.status, answer.headers, answer.body)
        advice = _WHY_NO_TORRENT.get(told.code, "")
        raise FetchFailed(f"{shown}: no torrent comes, but {told}{hint or advice}")
    if not answer.body.startswith(b"d"):
        page = f"; {hint_of_page()}" if is_page(answer.headers, answer.body) else ""
        raise MetainfoError(f"{shown}: this is no torrent{hint or page}")
    if not answer.whole:
        raise FetchFailed(f"{shown}: the torrent breaks off, or is longer than any{hint}")
    return answer.body


async def _addresses(url: str) -> set[str]:
    try:
        host = urlsplit(url).hostname or ""
        found = await trio.socket.getaddrinfo(host, None, type=trio.socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise FetchFailed(f"{mask_of([url])(url)}: its host can't be looked up") from error
    return {str(parse_ip(str(address[0]))) for *_, address in found}


class _Doctor:
    """Asks trackers, then peers, then web seeds; several at a time of each."""

    def __init__(self, sought: Sought, admit: Callable[[str], bool]) -> None:
        self._admit = admit
        self._peer_id = b"-SB0100-" + secrets.token_hex(6).encode()
        self._taster = Taster(sought, self._peer_id, self._dial)
        self._found = Diagnosis(sought.info_hash.hex())
        self._found.trackers = [Source(url) for url in sought.trackers]

    async def examine(self) -> None:
        """Ask everybody; a cancel leaves what was found."""
        found, sought = self._found, self._taster.sought
        await do_all(iter(found.trackers), self._announce, workers=PEERS_AT_ONCE)
        told = [peer for each in found.trackers if each.told for peer in each.told.peers]
        addresses = list(dict.fromkeys([*sought.peers, *told]))[:MOST_PEERS]
        found.peers = [Taste(each) for each in addresses[:MOST_TASTED]]
        if sought.v2_only:
            return
        await do_all(iter(found.peers), self._taste, workers=PEERS_AT_ONCE)
        if self._taster.sought.described is not None:
            found.web_seeds = [Source(url) for url in sought.web_seeds]
            await do_all(iter(found.web_seeds), self._ask_web_seed, workers=PEERS_AT_ONCE)

    async def leave(self) -> None:
        """Tell the trackers that we are gone, so that nobody hears of us."""
        told = [each for each in self._found.trackers if each.told and not each.told.refusal]
        await do_all(iter(told), self._say_goodbye, workers=PEERS_AT_ONCE)

    def conclude(self) -> Diagnosis:
        """Return what was found, with its verdict."""
        self._found.verdict, self._found.works = judge(self._found, self._taster.sought)
        return self._found

    async def _dial(self, address: HostPort) -> trio.SocketStream:
        return await connect(address.host, address.port, self._admit)

    async def _taste(self, taste: Taste) -> None:
        await self._taster.taste(taste, PEER_SECONDS)

    async def _announce(self, asked: Source) -> None:
        if not asked.url.startswith(("http://", "https://")):
            asked.tried, asked.problem = False, "isn't tried: only trackers by HTTP are"
            return
        began = monotonic()
        try:
            asked.told = await self._tell(asked.url, "started")
        except (FetchFailed, MetainfoError) as error:
            asked.problem = str(error)
        else:
            asked.seconds = monotonic() - began
            if asked.told.refusal:
                asked.problem = f"refuses: {asked.told.refusal}"

    async def _say_goodbye(self, asked: Source) -> None:
        try:
            await self._tell(asked.url, "stopped")
        except (FetchFailed, MetainfoError):
            return

    async def _tell(self, url: str, event: str) -> Told:
        described = self._taster.sought.described
        left = described.layout.size if described is not None else _UNKNOWN
        info_hash = self._taster.sought.info_hash
        target = announce_target(url, info_hash, self._peer_id, left=left, event=event)
        answer = await fetch(
            target, most=_LARGEST_REPLY, seconds=TRACKER_SECONDS, admit=self._admit
        )
        try:
            return parse_told(answer.body)
        except MetainfoError as error:
            raise MetainfoError(f"{error} (status {answer.status})") from error

    async def _ask_web_seed(self, asked: Source) -> None:
        described = self._taster.sought.described
        assert described is not None
        if not described.layout.piece_count:
            asked.problem = "isn't asked: the torrent is empty"
            return
        began = monotonic()
        try:
            piece = await self._read_piece(asked.url, described)
        except FetchFailed as error:
            asked.problem = str(error)
            return
        if sha1(piece) == described.hash_of(0):
            asked.seconds = monotonic() - began
        else:
            asked.wrong, asked.problem = True, "gives wrong bytes for piece 0"

    async def _read_piece(self, url: str, described: Described) -> bytes:
        piece = bytearray()
        spans = described.spans(0)
        if len(spans) > _MOST_SPANS:
            raise FetchFailed(f"isn't asked: its first piece lies in {len(spans)} files")
        for span in spans:
            if span.path is None:
                piece += bytes(span.inside.length)
            else:
                piece += await self._read_range(
                    web_seed_url(url, described, span.path), span.inside
                )
        return bytes(piece)

    async def _read_range(self, url: str, wanted: ByteRange) -> bytes:
        headers = {"Range": wanted.header}
        answer = await fetch(
            url,
            most=wanted.length,
            seconds=WEB_SEED_SECONDS,
            headers=headers,
            admit=self._admit,
        )
        whole_from_start = answer.status == 200 and wanted.start == 0
        if answer.status != 206 and not whole_from_start:
            raise FetchFailed(f"answers {answer.status} to a range")
        if len(answer.body) != wanted.length:
            raise FetchFailed(f"sends {len(answer.body)} of {wanted.length} bytes")
        return answer.body

"""Honest clients: each function is one visit, and tells the world what it got."""

import hashlib
import http.client
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_from_bytes

from bencode2 import BencodeDecodeError, bdecode

from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import read_torrent
from tests.soak.world import BUCKET, SMALLEST, World
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import Torrent, digest
from tests.support.processes import HarnessError
from tests.support.raw_peer import (
    BLOCK,
    FAST,
    HAVE,
    INTERESTED,
    PIECE,
    REJECT,
    UNCHOKE,
    RawPeer,
    message,
    request,
)

FAILS = (OSError, EOFError, http.client.HTTPException, HarnessError)
"""What ends a visit while S3 fails and objects come and go."""


class Refused(HarnessError):
    """The daemon has no torrent of an object at present."""


@dataclass(frozen=True)
class Visit:
    """Who visits: the world, the daemon, the addresses of its kind, a source of chance."""

    world: World
    daemon: SeederDaemon
    addresses: Sequence[str]
    rng: random.Random
    patience: float = 60.0
    """Seconds that a download of a whole torrent may take."""

    @property
    def address(self) -> str:
        return self.rng.choice(self.addresses)

    def get(self, target: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """GET from the public listener."""
        connection = http.client.HTTPConnection(
            self.daemon.address,
            self.daemon.tracker_port,
            timeout=30,
            source_address=(self.address, 0),
        )
        with closing(connection):
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, fields, answer.read()

    def torrent(self, key: str) -> tuple[bytes, Torrent]:
        """Return an object's torrent; Refused."""
        status, _, body = self.get(f"/{BUCKET}/{quote(key)}?torrent")
        if status != 200:
            raise Refused(f"{status} {_message_of(body)}")
        torrent = read_torrent(body)
        pieces = bdecode(torrent.info)[b"pieces"]
        self.world.check_pieces(key, pieces)
        return body, torrent


def _message_of(body: bytes) -> str:
    """Return the message of one of S3's errors."""
    return body.partition(b"<Message>")[2].partition(b"<")[0].decode(errors="replace")


def raw_peer(visit: Visit) -> None:
    """Take some pieces, announce them, and leave without a word."""
    world, rng = visit.world, visit.rng
    key = rng.choice(world.keys)
    with world.may_fail("raw peer: piece", *FAILS, AssertionError):
        _, torrent = visit.torrent(key)
        hashes = bdecode(torrent.info)[b"pieces"]
        with RawPeer(visit.address, visit.daemon.peer_address) as peer:
            peer.greet(torrent.info_hash, reserved=FAST, peer_id=b"-XX0000-" + rng.randbytes(12))
            peer.send(message(INTERESTED))
            peer.wait_for(UNCHOKE)
            count = -(-torrent.size // torrent.piece_length)
            for index in rng.sample(range(count), min(count, rng.randrange(1, 12))):
                piece = _piece(peer, torrent, index)
                if piece is None:
                    return
                world.received(len(piece))
                right = hashlib.sha1(piece, usedforsecurity=False).digest()
                told = f"piece {index} of {key} has a wrong hash"
                if hashes[20 * index : 20 * index + 20] != right:
                    world.note("piece", right=False, about=told)
                world.note("raw peer: piece")
                peer.send(message(HAVE, index.to_bytes(4, "big")))


def _piece(peer: RawPeer, torrent: Torrent, index: int) -> bytes | None:
    """Return a whole piece; None if it was refused."""
    start = index * torrent.piece_length
    size = min(torrent.piece_length, torrent.size - start)
    begins = range(0, size, BLOCK)
    peer.send(*(request(index, begin, min(BLOCK, size - begin)) for begin in begins))
    got: dict[int, bytes] = {}
    while len(got) < len(begins):
        number, payload = peer.read_message()
        if number == REJECT:
            return None
        if number == PIECE:
            got[int.from_bytes(payload[4:8], "big")] = payload[8:]
    return b"".join(got[begin] for begin in begins)


def libtorrent_client(visit: Visit) -> None:
    """Download a whole torrent."""
    world = visit.world
    key = visit.rng.choice(world.keys)
    directory = Path(tempfile.mkdtemp(prefix="soak-client-"))
    try:
        with world.may_fail("libtorrent: object", *FAILS):
            body, _ = visit.torrent(key)
            file = directory / "object.torrent"
            file.write_bytes(body)
            with Libtorrent(visit.address, directory / "client") as client:
                try:
                    found = client.download(file, timeout=visit.patience)
                    world.check_digest("libtorrent: object", key, digest(found))
                finally:
                    world.received(client.status().total_payload_download)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def web_download(visit: Visit) -> None:
    """Get an object, or a range of it, over HTTP."""
    world, rng = visit.world, visit.rng
    key = rng.choice(world.keys)
    headers, first = {}, 0
    if rng.randrange(2):
        first = rng.randrange(SMALLEST)
        headers["Range"] = f"bytes={first}-{first + rng.randrange(400_000)}"
    with world.may_fail("web download", *FAILS):
        status, told, body = visit.get(f"/{BUCKET}/{quote(key)}", **headers)
        if status not in (200, 206):
            raise Refused(f"{status} {_message_of(body)}")
        world.received(len(body))
        state = world.by_etag(key, told.get("etag", ""))
        if state is None:
            world.note("", right=False, about=f"{key}: ETag {told.get('etag')} of no state of it")
        else:
            start = first if status == 206 else 0
            right = body == state.body[start : start + len(body)]
            world.note("web download", right=right, about=f"{key}: wrong bytes over HTTP")


def announces(visit: Visit) -> None:
    """Announce to one torrent, from a few ports."""
    world, rng = visit.world, visit.rng
    key = rng.choice(world.keys)
    with world.may_fail("announce", *FAILS):
        _, torrent = visit.torrent(key)
        for event in ("started", "", "stopped"):
            query = (
                f"info_hash={quote_from_bytes(torrent.info_hash, safe='')}"
                f"&peer_id={quote_from_bytes(b'-XX0000-' + rng.randbytes(12), safe='')}"
                f"&port={1024 + rng.randrange(60000)}&uploaded=0&downloaded=0&left=1&compact=1"
                f"&event={event}"
            )
            _, _, body = visit.get(f"/announce?{query}")
            try:
                reply = bdecode(body)
            except BencodeDecodeError:
                world.note("", right=False, about=f"an announce was answered {body[:80]!r}")
            else:
                refused = b"failure reason" in reply
                world.note("announce refused" if refused else "announce")
            time.sleep(0.05)

"""An object, torrents of it, and a ladder to climb for them."""

import random
from dataclasses import dataclass

from seeder.cache.pieces import PieceCache
from seeder.config.objects import ObjectSettings
from seeder.metainfo.ladder import Ladder
from seeder.metainfo.records import Record
from seeder.torrent.info import build_info, torrent_file
from seeder.torrent.layout import Layout, sha1
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.torrent import Torrent
from seeder.units import KIB
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import CountingMeter
from tests.torrent.trees import WholeTree, sha1s

PIECE = 64 * KIB
BODY = random.Random(1).randbytes(40 * PIECE + 9)


class Shelf(PieceCache[Torrent]):
    """Keeps what hashing hands over in a dict, and forgets nothing by itself."""

    def __init__(self) -> None:
        self.pieces: dict[tuple[str, int], bytes] = {}

    async def keep(self, cache_id: str, index: int, piece: bytes | bytearray) -> bool:
        self.pieces[cache_id, index] = bytes(piece)
        return True

    async def recall(self, cache_id: str, index: int, size: int, digest: bytes) -> bytes | None:
        piece = self.pieces.get((cache_id, index))
        return piece if piece is not None and sha1(piece) == digest else None

    def discard(self, cache_id: str) -> None:
        self.pieces = {key: piece for key, piece in self.pieces.items() if key[0] != cache_id}


class Nowhere(PieceCache[Torrent]):
    """Keeps no piece."""

    def __init__(self) -> None:
        pass

    async def keep(self, cache_id: str, index: int, piece: bytes | bytearray) -> bool:
        return False

    async def recall(self, cache_id: str, index: int, size: int, digest: bytes) -> None:
        return None

    def discard(self, cache_id: str) -> None:
        pass


def make_torrent(
    body: bytes = BODY,
    *,
    name: str = "key",
    private: bool = False,
    spoil: int | None = None,
    piece_length: int = PIECE,
) -> bytes:
    """Return a torrent of `body`; `spoil` is the index of a piece whose hash is wrong."""
    pieces = bytearray(sha1s(body, piece_length))
    if spoil is not None:
        pieces[spoil * 20] ^= 1
    layout = Layout(len(body), piece_length)
    info = build_info(name=name, layout=layout, pieces=bytes(pieces), private=private)
    return torrent_file(info, trackers=[["http://t/a"]], created_by="S3")


def make_hybrid(
    body: bytes = BODY,
    *,
    layers: dict[bytes, bytes] | None = None,
    root: bytes | None = None,
    piece_length: int = PIECE,
) -> bytes:
    """Return a hybrid torrent of `body`; its v2 part may be another's."""
    layout = Layout(len(body), piece_length)
    whole = WholeTree(body, piece_length)
    info = build_info(
        name="key",
        layout=layout,
        pieces=sha1s(body, piece_length),
        root=whole.root if root is None else root,
    )
    if layers is None:
        layers = whole.piece_layers()
    return torrent_file(info, trackers=[["http://t/a"]], created_by="S3", piece_layers=layers)


@dataclass
class Climber:
    """A ladder, and the object whose metainfo it is asked for."""

    server: ObjectsServer
    ladder: Ladder
    meter: CountingMeter
    shelf: Shelf
    record: Record

    async def climb(self, **wish: object) -> Torrent:
        settings = ObjectSettings.model_validate(
            {"bucket": "bucket", "key": self.record.pinned.ref.key, **wish}
        )
        return await self.ladder.climb(self.record, settings, self.meter, lambda done, size: None)

    def aim(self, key: str, body: bytes = BODY) -> None:
        """Publish another object."""
        self.server.objects[key] = body
        ref = ObjectRef("default", "bucket", key)
        self.record = Record(PinnedObject(ref, self.server.etag(body), len(body)))

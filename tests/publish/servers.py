"""What the publisher does with an S3 server, a real or a scripted one, found out step by step."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from seeder.config.objects import ObjectSettings
from seeder.errors import OriginFault
from seeder.publish.prefix import PrefixState
from seeder.s3.client import S3Origin
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import State
from tests.cache.fakes import drop_pieces, get_piece
from tests.publish.support import World
from tests.s3.support import CountingMeter
from tests.support.objects import KIB, content, make_torrent

NAMES = ("a b", "c+d", "e%20f", "g&h", "\xe9")
RUNGS = ("origin", "sidecar", "checksums", "build")
_SIZE = 100 * KIB


class Store(Protocol):
    """A bucket."""

    bucket: str

    def put(self, key: str, body: bytes) -> None: ...

    def put_in_parts(self, key: str) -> bytes:
        """Upload an object in parts with SHA-1 checksums; return it."""

    def delete(self, key: str) -> None: ...


def body_of(name: str) -> bytes:
    return content(_SIZE, seed=len(name) + 256 * ord(name[0]))


@dataclass
class Trial:
    """A publisher before a server."""

    world: World
    store: Store
    origin: S3Origin

    def entry(self, **more: object) -> ObjectSettings:
        return ObjectSettings.model_validate(
            {"bucket": self.store.bucket, "refresh": 600.0, **more}
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(60):
            while not condition():  # noqa: ASYNC110  (the publisher has no event for tests)
                await trio.sleep(0.005)

    def state(self, key: str) -> State | None:
        found = self.world.catalog.by_name(self.store.bucket, key)
        return None if found is None else found.state

    async def settled(self, key: str) -> bool:
        """Wait until an object is served, or said not to be; return whether it is served."""
        world = self.world

        def is_settled() -> bool:
            found = world.catalog.by_name(self.store.bucket, key)
            return found is not None and (found.state is State.SERVING or found.reason is not None)

        await self.until(is_settled)
        return self.state(key) is State.SERVING

    async def is_read(self, key: str, body: bytes) -> bool:
        """Read a served object from S3, piece by piece; check its bytes and its torrent."""
        found = self.world.catalog.by_name(self.store.bucket, key)
        assert found is not None
        torrent = found.torrent
        assert torrent is not None
        info = await torrent.fetch_info()
        length = info.layout.piece_length
        await drop_pieces(self.world.cache, torrent.cache_id)
        for index in range(info.layout.piece_count):
            wanted = body[index * length : (index + 1) * length]
            assert info.piece_hash(index) == hashlib.sha1(wanted).digest()
            try:
                piece = await get_piece(self.world.cache, torrent, index)
            except OriginFault:
                return False
            assert bytes(piece) == wanted
        return True

    async def find_out_listing(self) -> str:
        """Publish what is below a prefix; return by which call it was listed, "no" if it wasn't."""
        for name in NAMES:
            self.store.put(f"d/{name}", body_of(name))
        await self.world.publisher.apply([self.entry(prefix="d/")])
        [prefix] = self.world.publisher.prefixes
        await self.until(lambda: prefix.state is not PrefixState.WAITING or bool(prefix.reason))
        if prefix.state is not PrefixState.FOLLOWED or prefix.left_out:
            return "no"
        served = [name for name in NAMES if await self.settled(f"d/{name}")]
        read = [name for name in served if await self.is_read(f"d/{name}", body_of(name))]
        if len(read) < len(NAMES):
            return "no"
        ref = ObjectRef("default", self.store.bucket, "d/")
        page = await self.origin.list_page(ref, None, CountingMeter())
        by_marker = page.by_marker or self.store.bucket in self.origin._lister._without_v2
        return "V1" if by_marker else "V2"

    async def find_out_metainfo(self) -> dict[str, str]:
        """Publish an object by each source of metainfo alone; return which of them work."""
        bodies = {rung: body_of(rung) for rung in RUNGS}
        for rung, body in bodies.items():
            if rung != "checksums":
                self.store.put(rung, body)
        bodies["checksums"] = self.store.put_in_parts("checksums")
        made = make_torrent(bodies["sidecar"], name="sidecar", piece_length=64 * KIB)
        self.store.put("sidecar.torrent", made.file())
        await self.world.publisher.apply(
            [self.entry(key=rung, metainfo=[rung], refresh=0.1) for rung in RUNGS]
        )
        found: dict[str, str] = {}
        for rung in RUNGS:
            served = await self.settled(rung) and await self.is_read(rung, bodies[rung])
            found[f"`{rung}`"] = "yes" if served else "no"
        return found

    async def find_out_replacing(self) -> str:
        """Replace the last object, then delete it; return which of both was noticed."""
        if self.state("build") is not State.SERVING:
            return "no"
        publication = self.world.catalog.by_name(self.store.bucket, "build")
        assert publication is not None
        old, new = publication.torrent, content(_SIZE + 1, seed=77)
        self.store.put("build", new)

        def is_new() -> bool:
            torrent = publication.torrent
            return (
                torrent is not None
                and torrent is not old
                and torrent.layout.size == len(new)
                and publication.state is State.SERVING
            )

        await self.until(is_new)
        assert await self.is_read("build", new)
        self.store.delete("build")
        # A page of HTML isn't S3's word for it.
        await self.until(
            lambda: publication.torrent is None or "page of HTML" in str(publication.reason)
        )
        return "yes" if publication.torrent is None else "replaced only"

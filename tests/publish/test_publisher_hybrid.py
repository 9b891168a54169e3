"""Hybrids kept published: known by both hashes, and after a restart from what is on disk."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from seeder.gateway.links import Links
from seeder.gateway.published import PublishedObjects
from seeder.gateway.s3errors import S3Error
from seeder.ledger.counters import Tally
from seeder.metainfo.journal import Builds
from seeder.net.sockets import listen
from seeder.peer import messages
from seeder.peer.hub import Hub
from seeder.peer.messages import MessageId
from seeder.publish.serving import LOST
from seeder.torrent.info import parse_torrent
from seeder.torrent.merkle import HashRequest
from seeder.torrent.publications import State
from seeder.torrent.torrent import Torrent
from seeder.upload.plans import SuperSeeds
from seeder.upload.uploads import Uploads
from tests.metainfo.support import BODY, PIECE
from tests.peer.node import HAVE_ALL, UNCHOKE, Limits, Peer, Steady, blocks_of
from tests.peer.wire import OUR_ID, greeting, hash_request_message
from tests.publish.support import World, make_world, settings
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import MakeOrigin
from tests.support.passkeys import Keys
from tests.torrent.trees import WholeTree, proves

WANTED = settings("key", format="hybrid", piece_length=PIECE)
TREE = WholeTree(BODY, PIECE)


async def served(world: World) -> Torrent:
    """Publish the object as a hybrid and return its torrent."""
    await world.publisher.apply([WANTED])
    torrent = (await world.until("key", State.SERVING)).torrent
    assert torrent is not None
    assert torrent.short_v2_hash is not None
    return torrent


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """Return where the metainfo is moved to, for a node that has nothing else."""
    (tmp_path / "restarted").mkdir()
    return tmp_path / "restarted"


async def test_a_hybrid_is_served_by_both_hashes_and_a_restart_reads_nothing_again(
    world: World, server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path, moved: Path
) -> None:
    before = await served(world)
    assert before.short_v2_hash is not None
    assert world.catalog.by_hash(before.short_v2_hash) is before
    assert world.catalog.by_hash(before.info_hash) is before
    assert not list_of(tmp_path / "builds")
    links = Links("http://t/announce", "http://t")
    file = links.torrent_file(before, public=True)
    server.body_bytes.clear()
    (tmp_path / "metainfo").rename(moved / "metainfo")
    async with make_world(server, make_origin, moved) as again:
        await again.publisher.apply([WANTED])
        torrent = again.catalog.by_hash(before.short_v2_hash)
        assert torrent is not None
        assert torrent.v2_hash == before.v2_hash
        assert links.torrent_file(torrent, public=True) == file
        assert not server.body_bytes
        # Wished for as v1, it is another torrent, and its tree goes.
        await again.publisher.apply([settings("key")])
        await again.until("key", State.SERVING)
        assert again.catalog.by_hash(before.short_v2_hash) is None
    assert [path.suffix for path in list_of(moved / "metainfo")] == [".info"]


def list_of(directory: Path) -> list[Path]:
    return list(directory.iterdir())


async def test_what_a_build_in_another_format_left_is_cleared(
    world: World, server: ObjectsServer, tmp_path: Path
) -> None:
    world.purse.spent = True
    await world.publisher.apply([WANTED])
    await world.until_true(lambda: world.purse.refusals > 0, "key")
    builds = tmp_path / "builds"
    builds.mkdir(exist_ok=True)
    Builds(builds).tree(WANTED.ref).write_bytes(b"some leaves")
    world.purse.spent = False
    await world.publisher.apply([settings("key")])
    await world.until("key", State.SERVING)
    await world.until_all(lambda: not list_of(builds))


@asynccontextmanager
async def hub_of(world: World) -> AsyncIterator[tuple[str, int]]:
    """Let peers in to what a world publishes; yield the address."""
    tally = Tally()
    uploads = Uploads(
        Limits(),
        cache=world.cache,
        account=lambda _: tally,
        unattributed=tally,
        super_seeds=SuperSeeds(
            enabled=False,
            other_seeds=lambda _: 0,
            cache_bytes=2**20,
            held=world.cache.held,
            rng=random.Random(1),
        ),
        origins=Steady(),
    )
    hub = Hub(
        uploads,
        find=world.catalog.by_hash,
        visited=lambda *_: None,
        peer_id=OUR_ID,
        client="seeder/0",
    )
    listener = listen("127.0.0.1", 0, "peer")
    _, port = listener.getsockname()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(hub.serve, [listener]))
        yield "127.0.0.1", port
        nursery.cancel_scope.cancel()


async def test_a_hybrid_known_from_disk_is_found_by_its_v2_hash_and_answers_for_its_tree(
    world: World, server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path, moved: Path
) -> None:
    before = await served(world)
    assert before.short_v2_hash is not None
    short = before.short_v2_hash
    (tmp_path / "metainfo").rename(moved / "metainfo")
    async with make_world(server, make_origin, moved) as again:
        await again.publisher.apply([WANTED])
        torrent = again.catalog.by_hash(short)
        assert torrent is not None
        assert not torrent.at_hand
        async with hub_of(again) as address, Peer.connect(address) as peer:
            await peer.send(greeting(info_hash=short, extended=False))
            told = messages.parse_handshake(await peer.read_exactly(68))
            assert (told.info_hash, told.v2) == (short, False)
            assert torrent.at_hand
            assert [await peer.read(), await peer.read()] == [HAVE_ALL, UNCHOKE]
            for request in (
                HashRequest(TREE.root, TREE.shape.piece_layer, 0, 8, 5),
                HashRequest(TREE.root, 0, 64, 4, 7),
            ):
                await peer.send(hash_request_message(request))
                answer = await peer.read()
                assert answer.id == MessageId.HASHES
                assert proves(request, answer.payload[48:], TREE)
            assert await peer.download(torrent, blocks_of(torrent), ahead=20) == BODY


@pytest.mark.parametrize("damage", ["missing", "short"])
async def test_a_hybrid_whose_tree_is_lost_is_built_anew(
    world: World,
    server: ObjectsServer,
    make_origin: MakeOrigin,
    tmp_path: Path,
    moved: Path,
    *,
    damage: str,
) -> None:
    before = await served(world)
    (tmp_path / "metainfo").rename(moved / "metainfo")
    [tree] = (moved / "metainfo").glob("*.tree")
    if damage == "missing":
        tree.unlink()
    else:
        tree.write_bytes(tree.read_bytes()[:-1])
    async with make_world(server, make_origin, moved) as again:
        await again.publisher.apply([WANTED])
        assert again.publication("key").torrent is None
        torrent = (await again.until("key", State.SERVING)).torrent
        assert torrent is not None
        assert torrent.hashes is not None
        assert torrent.hashes.piece_layers() == TREE.piece_layers()
        assert torrent.v2_hash == before.v2_hash


PIECE_LAYER = 64 + 32 * TREE.shape.leaf_count


@pytest.mark.parametrize(
    "place",
    [3, 64 + 32 * 65, PIECE_LAYER + 32 * 5, PIECE_LAYER + 32 * TREE.shape.layout.piece_count],
    ids=["header", "leaf", "piece layer", "layer above"],
)
async def test_a_bit_that_flips_in_a_tree_has_it_made_anew_and_reaches_nobody(
    world: World, tmp_path: Path, *, place: int
) -> None:
    before = await served(world)
    short = before.short_v2_hash
    assert short is not None
    [tree] = (tmp_path / "metainfo").glob("*.tree")
    data = bytearray(tree.read_bytes())
    data[place] ^= 1
    tree.write_bytes(data)
    requests = [
        HashRequest(TREE.root, TREE.shape.piece_layer, 0, 8, 0),
        HashRequest(TREE.root, TREE.shape.piece_layer, 2, 2, 1),
        HashRequest(TREE.root, 0, 64, 4, 7),
    ]
    async with hub_of(world) as address:
        async with Peer.connect(address) as peer:
            await peer.send(greeting(info_hash=short, extended=False))
            await peer.read_exactly(68)
            assert [await peer.read(), await peer.read()] == [HAVE_ALL, UNCHOKE]
            for request in requests:
                await peer.send(hash_request_message(request))
                answer = await peer.read()
                assert answer.id == MessageId.HASH_REJECT or proves(
                    request, answer.payload[48:], TREE
                )
        await world.until_all(lambda: world.audience.away == [(before, LOST)])
        torrent = (await world.until("key", State.SERVING)).torrent
        assert torrent is not None
        assert torrent.v2_hash == before.v2_hash
        async with Peer.connect(address) as peer:
            await peer.send(greeting(info_hash=short, extended=False))
            await peer.read_exactly(68)
            assert [await peer.read(), await peer.read()] == [HAVE_ALL, UNCHOKE]
            for request in requests:
                await peer.send(hash_request_message(request))
                answer = await peer.read()
                assert answer.id == MessageId.HASHES
                assert proves(request, answer.payload[48:], TREE)


async def test_nor_does_it_reach_a_torrent_file(world: World, tmp_path: Path) -> None:
    before = await served(world)
    [tree] = (tmp_path / "metainfo").glob("*.tree")
    data = bytearray(tree.read_bytes())
    data[PIECE_LAYER + 5] ^= 1
    tree.write_bytes(data)
    objects = PublishedObjects(
        world.catalog, Links("http://t/announce", "http://t"), {}, Keys().issuer()
    )
    with pytest.raises(S3Error, match="can't be read"):
        await objects.torrent_file(world.publication("key"))
    assert world.audience.away == [(before, LOST)]
    await world.until("key", State.SERVING)
    file = await objects.torrent_file(world.publication("key"))
    assert parse_torrent(file.body).piece_layers == TREE.piece_layers()

"""A node that publishes a bundle: its report, its page, what its cache lets go of."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from seeder.commands.check import check_online
from seeder.commands.findings import Findings
from seeder.commands.torrent import find_torrent
from seeder.config.objects import ObjectSettings
from seeder.config.public import GatewaySettings
from seeder.config.sections import Config
from seeder.daemon.node import Node
from seeder.peer import messages
from seeder.publish import departures
from seeder.torrent.bencode import decode
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import State
from seeder.torrent.torrent import Torrent
from seeder.units import KIB
from tests.cache.fakes import pieces_on_disk
from tests.daemon.support import get, serving, until
from tests.peer.node import HAVE_ALL, UNCHOKE, Peer
from tests.peer.wire import PEER_ID, greeting
from tests.s3.objects_server import ObjectsServer

PREFIX = "data/2026/"
OBJECTS = {"data/2026/a": b"a" * 100_000, "data/2026/b": b"b" * 70_000, "data/2026/c/": b""}


@pytest.fixture
def bundled(config: Config, store: ObjectsServer) -> Config:
    """A node's configuration with the bundle and nothing else."""
    store.objects.update(OBJECTS)
    section = ObjectSettings(
        bucket="quotes", prefix=PREFIX, bundle=True, piece_length=64 * KIB, refresh=0.05
    )
    return config.model_copy(update={"objects": (section,)})


async def live(node: Node, *, other_than: Torrent | None = None, prefix: str = PREFIX) -> Torrent:
    """Wait for a live torrent of the bundle and return it."""
    found: list[Torrent] = []

    def came() -> bool:
        publication = node.catalog.by_name("quotes", prefix)
        if publication is None or publication.state is not State.SERVING:
            return False
        torrent = publication.torrent
        if torrent is not None and torrent is not other_than:
            found.append(torrent)
        return bool(found)

    await until(came)
    return found[0]


async def test_a_bundle_is_one_torrent_of_its_objects_bytes(bundled: Config) -> None:
    async with serving(bundled) as node:
        torrent = await live(node)
        document: Any = (await node.overview.report()).document()
        [row] = document["torrents"]
        assert (row["bucket"], row["key"], row["state"]) == ("quotes", PREFIX, "serving")
        # Padding is neither in the objects nor read.
        assert row["size"] == row["origin_bytes_by_purpose"]["hashing"] == 170_000
        assert torrent.layout.size == 4 * 64 * KIB
        assert row["pieces"] == 4
        code, _ = await get(bundled.tracker.listen[0], f"/quotes/{PREFIX}?torrent")
        assert code == 200


async def test_a_bundle_of_a_whole_bucket_is_had_at_the_url_that_is_told(bundled: Config) -> None:
    [section] = bundled.objects
    whole = bundled.model_copy(
        update={
            "objects": (section.model_copy(update={"prefix": ""}),),
            "gateway": GatewaySettings(web_seed=True, listing=True),
        }
    )
    async with serving(whole) as node, httpx.AsyncClient(trust_env=False) as web:
        torrent = await live(node, prefix="")
        ref = ObjectRef("default", "quotes", "")
        url = node.links.object_url(ref)
        listed = (await web.get(node.links.gateway, params={"format": "json"})).json()
        assert [each["torrent"] for each in listed["torrents"]] == [f"{url}?torrent"]
        for told in (url, url.removesuffix("/")):
            read: Any = decode((await web.get(told, params={"torrent": ""})).content)
            assert (await web.get(told, params={"magnet": ""})).text.startswith("magnet:?")
        [seed] = read[b"url-list"] if isinstance(read[b"url-list"], list) else [read[b"url-list"]]
        where = f"{seed.decode()}{torrent.info.name}/data/2026/b"
        assert (await web.get(where)).content == OBJECTS["data/2026/b"]
        await node.publisher.apply([])
        assert (await web.get(url, params={"torrent": ""})).status_code == 400


async def test_objects_that_go_leave_the_cache_and_the_others_stay(
    bundled: Config, store: ObjectsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departures, "GRACE", 0.1)
    async with serving(bundled) as node:
        first = await live(node)
        a, b = (section.cache_id for section in first.sections)
        assert pieces_on_disk(node.foundation.cache, a) == {0, 1}
        del store.objects["data/2026/a"]
        second = await live(node, other_than=first)
        assert pieces_on_disk(node.foundation.cache, a) == frozenset()
        assert pieces_on_disk(node.foundation.cache, b) == {0, 1}
        assert node.foundation.cache.held(second) == {0, 1}
        del store.objects["data/2026/b"]
        await until(lambda: node.catalog.by_hash(second.info_hash) is None)
        # As long as they may come back, what was the last of the bundle stays.
        await until(lambda: not pieces_on_disk(node.foundation.cache, b))


async def test_what_is_withdrawn_keeps_its_pieces(bundled: Config) -> None:
    async with serving(bundled) as node:
        torrent = await live(node)
        await node.publisher.apply([])
        assert node.catalog.by_hash(torrent.info_hash) is None
        assert node.foundation.cache.held(torrent) == {0, 1, 2, 3}


async def test_the_command_line_finds_checks_and_makes_the_torrent_of_a_bundle(
    bundled: Config, store: ObjectsServer, tmp_path: Path
) -> None:
    told: list[str] = []
    await check_online(bundled, Findings(told.append))
    [line] = [each for each in told if each.startswith(f"quotes/{PREFIX}: ")]
    assert line.startswith(f"quotes/{PREFIX}: ok, 2 files, 170000 bytes, ETag ")
    made = await find_torrent(bundled, "quotes", PREFIX)
    assert sum(store.body_bytes.values()) == 170_000
    # Changed since, by one object: the others are known from before.
    store.objects["data/2026/b"] = b"B" * 10
    changed = await find_torrent(bundled, "quotes", PREFIX)
    assert changed.info_hash != made.info_hash
    assert sum(store.body_bytes.values()) == 170_010
    async with serving(bundled) as node:
        assert (await live(node)).info_hash == changed.info_hash
    assert sum(store.body_bytes.values()) == 170_010


async def test_padding_is_served_as_zeros_but_counted_for_nobody(bundled: Config) -> None:
    a = OBJECTS["data/2026/a"]
    rest_of_b = 70_000 - 64 * KIB
    async with serving(bundled) as node:
        torrent = await live(node)
        address = bundled.peer.listen[0]
        async with Peer.connect((address.host, address.port)) as peer:
            hello = greeting(fast=True, extended=False, info_hash=torrent.info_hash, peer=PEER_ID)
            await peer.send(hello)
            await peer.read_exactly(68)
            assert [await peer.read(), await peer.read()] == [HAVE_ALL, UNCHOKE]
            # A block across the end of the object, one of padding alone, and all that isn't
            # padding, as those ask who know of it.
            blocks = [(1, 32 * KIB, 16 * KIB), (1, 48 * KIB, 16 * KIB), (3, 0, rest_of_b)]
            await peer.request(*blocks)
            assert [await peer.read_block() for _ in blocks] == [
                (blocks[0], a[96 * KIB :].ljust(16 * KIB, b"\0")),
                (blocks[1], bytes(16 * KIB)),
                (blocks[2], b"b" * rest_of_b),
            ]
            # Nobody else has piece 1: of it counts what we sent, and not the rest.
            await peer.send(messages.have(1), messages.have(3))
            [account] = node.foundation.ledger.accounts
            expected = 32 * KIB + rest_of_b
            await until(lambda: account.counters.delivered_verified_bytes == expected)
            assert account.counters.uploaded_bytes == 32 * KIB + rest_of_b

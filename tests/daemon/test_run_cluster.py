"""Two nodes over one Redis: what one hears the other hands out, and Redis away is said alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
import trio

from seeder.config.sections import (
    AdminSettings,
    CacheSettings,
    ClusterSettings,
    Config,
    PeerSettings,
    TrackerSettings,
)
from seeder.daemon.node import Node
from seeder.net.addresses import HostPort
from tests.daemon.support import LOOPBACK, get, served, serving, until
from tests.support.ports import free_port
from tests.support.redis import RedisServer, why_no_redis


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    if reason := why_no_redis():
        pytest.skip(reason)
    with RedisServer() as server:
        yield server


def on(config: Config, redis: RedisServer, directory: Path) -> Config:
    """Return the configuration of another node, with ports and directories of its own."""
    tracker, peer, admin = (HostPort(LOOPBACK, free_port(LOOPBACK)) for _ in range(3))
    return config.model_copy(
        update={
            "state_directory": directory / "state",
            "cache": CacheSettings(directory=directory / "cache"),
            "tracker": TrackerSettings(listen=(tracker,)),
            "peer": PeerSettings(listen=(peer,)),
            "admin": AdminSettings(listen=(admin,)),
            "cluster": ClusterSettings(store=redis.url),
        }
    )


async def announce(node: Node, client: int, event: str = "") -> str:
    """Announce at a node for one of several clients, and return the reply."""
    (publication,) = tuple(node.catalog)
    torrent = publication.torrent
    assert torrent is not None
    query = (
        f"info_hash={quote_from_bytes(torrent.info_hash)}&peer_id=-TT0000-{client:012}"
        f"&port={7000 + client}&left=1&downloaded=0&compact=0&key=k{client}&event={event}"
    )
    status, text = await get(node.config.tracker.listen[0], f"/announce?{query}")
    assert status == 200
    return text


async def test_two_daemons_share_swarms_and_go_on_without_redis(
    config: Config, redis: RedisServer, tmp_path: Path
) -> None:
    first, second = (on(config, redis, tmp_path / name) for name in ("one", "two"))
    async with serving(first) as one, serving(second) as two:
        await until(lambda: served(one) and served(two))
        await announce(one, 1, "started")

        async def hears(node: Node, client: int, other: int) -> None:
            with trio.fail_after(20):
                while f"porti{7000 + client}e" not in await announce(node, other, "started"):  # noqa: ASYNC110
                    await trio.sleep(0.05)

        await hears(two, 1, 2)
        await hears(one, 2, 3)
        status = json.loads((await get(first.admin.listen[0], "/status.json"))[1])
        names = [each["name"] for each in status["cluster"]["members"]]
        assert len(set(names)) == 2
        assert all(name.endswith(f":{port}") for name, port in zip(
            sorted(names), sorted(each.peer.listen[0].port for each in (first, second)), strict=True
        ))  # fmt: skip
        assert await get(first.admin.listen[0], "/readyz") == (200, "ready\n")
        redis.stop()
        cluster = one.foundation.cluster
        assert cluster is not None
        await until(lambda: not cluster.health.up)
        status_code, text = await get(first.admin.listen[0], "/readyz")
        assert (status_code, text.startswith("ready, degraded: the store of")) == (200, True)
        metrics = (await get(first.admin.listen[0], "/metrics"))[1]
        assert "seeder_cluster_up 0" in metrics
        assert "the store of the cluster" in await one.overview.summary()
        await announce(one, 4, "started")
        assert "porti7004e" in await announce(one, 5, "started")
        redis.start()
        await hears(two, 4, 6)
        await until(lambda: cluster.health.up)
        assert await get(first.admin.listen[0], "/readyz") == (200, "ready\n")
    # Both have left in good order.
    assert redis.ask("HLEN", "seeder:nodes") == "0"
    async with serving(first) as one:
        await until(lambda: served(one))
        (publication,) = tuple(one.catalog)
        assert publication.torrent is not None
        info_hash = publication.torrent.info_hash
        await until(lambda: one.swarms.statistics(info_hash).peers == 6)

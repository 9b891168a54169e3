"""Two nodes over one Redis: what one hears the other hands out, and Redis away is said alone."""

import json
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
import trio

from seeder.cluster.cluster import Cluster
from seeder.commands.keys import list_keys
from seeder.config.node import AdminSettings, CacheSettings, ClusterSettings
from seeder.config.public import TrackerSettings
from seeder.config.sections import Config
from seeder.daemon import fellows
from seeder.daemon.node import Node
from seeder.daemon.reload import reload
from seeder.gateway.keys import PASSKEY_SECRET
from seeder.net.addresses import HostPort
from tests.daemon.private_site import ALICE, BOB, Site, private_config, wait_served
from tests.daemon.support import LOOPBACK, get, served, serving, until
from tests.s3.objects_server import ObjectsServer
from tests.support.ports import free_port
from tests.support.redis import RedisServer


def on(config: Config, redis: RedisServer, directory: Path) -> Config:
    """Return the configuration of another node, with ports and directories of its own."""
    tracker, peer, admin = (HostPort(LOOPBACK, free_port(LOOPBACK)) for _ in range(3))
    return config.model_copy(
        update={
            "state_directory": directory / "state",
            "cache": CacheSettings(directory=directory / "cache"),
            "tracker": TrackerSettings(listen=(tracker,)),
            "peer": config.peer.model_copy(update={"listen": (peer,)}),
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
            with trio.fail_after(60):
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


async def test_a_ban_at_one_node_holds_at_the_other(
    config: Config, redis: RedisServer, tmp_path: Path
) -> None:
    first, second = (on(config, redis, tmp_path / name) for name in ("one", "two"))
    stranger = bytes([203, 0, 113, 7])
    async with serving(first) as one, serving(second) as two:
        await one.bans.ban(ip_network("203.0.113.0/24"), None, "")
        doors = two.clients.doors
        await until(lambda: not doors.peer.admits(stranger))
        assert not doors.tracker.admits(stranger)
        assert not doors.gateway.admits(stranger)
    # It has kept that itself.
    async with serving(second.model_copy(update={"cluster": ClusterSettings()})) as two:
        assert not two.clients.doors.peer.admits(stranger)
    async with serving(first) as one, serving(second) as two:
        await two.bans.lift(ip_network("203.0.113.0/24"))
        await until(lambda: one.clients.doors.peer.admits(stranger))


# -- private torrents


def cluster_of(node: Node) -> Cluster:
    cluster = node.foundation.cluster
    assert cluster is not None
    return cluster


def holders(config: Config) -> set[str]:
    """Return for whom `seeder keys list` lists passkeys at a node."""
    lines: list[str] = []
    list_keys([config], as_json=True, show=lines.append)
    return {each["name"] for each in json.loads("".join(lines))["keys"]}


async def whether(site: Site, key: str, address: str) -> str:
    """Return what becomes of an announce: "good", or why not."""
    reply = await site.announce(key, address)
    return bytes(reply.get(b"failure reason", b"good")).decode()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a node make metainfo at once, though others may be starting, too."""
    monkeypatch.setattr(fellows, "STARTING", 0.0)


async def until_refused(sites: tuple[Site, ...], key: str, address: str) -> None:
    """Wait until a key is refused everywhere as revoked, ten seconds at most."""
    with trio.fail_after(10):
        for site in sites:
            while await whether(site, key, address) != "your passkey was revoked":  # noqa: ASYNC110
                await trio.sleep(0.1)


@pytest.mark.usefixtures("soon")
async def test_a_passkey_is_good_at_all_nodes_until_one_revokes_it(
    config: Config, redis: RedisServer, tmp_path: Path
) -> None:
    private = private_config(config, tmp_path)
    first, second = (on(private, redis, tmp_path / name) for name in ("one", "two"))
    async with serving(first) as one, serving(second) as two:
        a, b = await wait_served(one), await wait_served(two)
        await until(lambda: len(a.node.passkeys._secrets) == len(b.node.passkeys._secrets) > 0)
        alice, bob = await a.make("alice"), await b.make("bob")
        for site in (a, b):
            for key, address in ((alice, ALICE), (bob, BOB)):
                assert await whether(site, key, address) == "good"
                assert await site.is_served(address)
        await until(lambda: holders(first) == holders(second) == {"alice", "bob"})
        await a.revoke("alice")
        await until_refused((a, b), alice, ALICE)
        for site in (a, b):
            assert not await site.is_served(ALICE)
            assert await site.is_served(BOB)
        # While Redis is away, it is refused where it is revoked, and by all when Redis is back.
        redis.stop()
        await until(lambda: not (cluster_of(one).health.up or cluster_of(two).health.up))
        await b.revoke("bob")
        await until_refused((b,), bob, BOB)
        assert await whether(a, bob, BOB) == "good"
        redis.start()
        await until_refused((a, b), bob, BOB)
        assert not await a.is_served(BOB)
    # A node that comes back alone hasn't forgotten what it heard.
    redis.stop()
    async with serving(first) as one:
        a = await wait_served(one)
        for key, address in ((alice, ALICE), (bob, BOB)):
            assert await whether(a, key, address) == "your passkey was revoked"
        carol = await a.make("carol")
        assert await whether(a, carol, ALICE) == "good"


@pytest.mark.usefixtures("soon")
async def test_nodes_that_made_secrets_apart_take_each_others_passkeys(
    config: Config, redis: RedisServer, tmp_path: Path
) -> None:
    private = private_config(config, tmp_path)
    first, second = (on(private, redis, tmp_path / name) for name in ("one", "two"))
    redis.stop()
    async with serving(first) as one, serving(second) as two:
        a, b = await wait_served(one), await wait_served(two)
        alice, bob = await a.make("alice"), await b.make("bob")
        assert await whether(b, alice, ALICE) != "good"
        redis.start()
        await until(lambda: len(a.node.passkeys._secrets) == len(b.node.passkeys._secrets) == 2)
        for site in (a, b):
            await site.node.passkeys.look()
            for key, address in ((alice, ALICE), (bob, BOB)):
                assert await whether(site, key, address) == "good"


@pytest.mark.usefixtures("soon")
async def test_a_secret_that_is_first_needed_at_a_reload_is_that_of_all_nodes(
    config: Config, redis: RedisServer, tmp_path: Path, file: Path
) -> None:
    first, second = on(config, redis, tmp_path / "one"), on(config, redis, tmp_path)
    async with serving(first) as one, serving(second) as two:
        await until(lambda: served(one) and served(two))
        assert one.swarms.holders.signer is two.swarms.holders.signer is None
        path = trio.Path(file)
        text = await path.read_text()
        await path.write_text(text.replace('"Nelson"', '"Nelson"\nprivate = true'))
        await reload(two, file)
        assert two.swarms.holders.signer is not None
        await until(lambda: one.swarms.holders.signer is not None)
        b = await wait_served(two)
        alice = await b.make("alice")
        assert await whether(b, alice, ALICE) == "good"
        signer = one.swarms.holders.signer
        assert signer is not None
        assert signer.read(alice.encode(), b.info_hash) is not None
        assert not (first.state_directory / PASSKEY_SECRET).exists()


@pytest.mark.usefixtures("soon")
async def test_what_is_added_at_one_node_is_published_by_all_and_kept_by_each(
    config: Config, redis: RedisServer, store: ObjectsServer, tmp_path: Path
) -> None:
    store.objects["Hardy"] = b"Kiss me" * 10_000
    entry = {"bucket": "quotes", "key": "Hardy", "metainfo": ["build"]}
    first, second = (on(config, redis, tmp_path / name) for name in ("one", "two"))

    def states(node: Node) -> set[tuple[str, str]]:
        return {(each.ref.key, str(each.state)) for each in node.catalog}

    both = {("Nelson", "serving"), ("Hardy", "serving")}
    async with serving(first) as one, serving(second) as two:
        name, _ = await one.additions.add(entry)
        await until(lambda: states(one) == states(two) == both)
        redis.stop()
        await two.additions.remove(name)
        await until(lambda: states(two) == {("Nelson", "serving")})
        assert states(one) == both
        redis.start()
        await until(lambda: states(one) == {("Nelson", "serving")})
        await one.additions.add(entry)
        await until(lambda: states(two) == both)
    redis.stop()
    async with serving(second) as two:
        await until(lambda: ("Hardy", "serving") in states(two))

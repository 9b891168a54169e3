"""Whatever is wrong with the store, the node starts, says so in one line, and goes on when it is
right again."""

import logging
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from seeder.cluster import link
from seeder.cluster.cluster import make_cluster
from seeder.config.node import ClusterSettings
from seeder.errors import StoreAway
from seeder.ledger.budget import Budget, Spent
from seeder.ledger.counters import Counters
from seeder.ledger.limits import Limit, Period, Resource
from seeder.ledger.savings import Prices
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent
from tests.cluster.support import MakeNode, MakeTracker, make_node, until
from tests.support.handbook import page
from tests.support.ports import free_port
from tests.support.redis import RedisServer, why_no_redis

AWAY = "the store of the cluster, "


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines of the log about the store, without its address."""
    lines = [r.message for r in caplog.records if r.message.startswith(AWAY)]
    return [line.removeprefix(AWAY).partition(", ")[2] for line in lines]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "LONGEST_PAUSE", 0.2)


async def test_a_redis_that_goes_away_is_told_once_and_missed_no_longer_than_it_is_away(
    node: MakeNode, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = await node("one")
    two = await node("two")
    await until(lambda: one.names == ("one", "two"))
    redis.stop()
    await until(lambda: not one.cluster.health.up)
    assert one.cluster.fault is not None
    await trio.sleep(0.5)
    assert one.names == ("one", "two")
    redis.start()
    await until(lambda: one.cluster.health.up and two.cluster.health.up)
    assert one.names == ("one", "two")
    lines = told(caplog)
    assert sum("goes on with what it has" in line for line in lines) <= 4  # two nodes, two reasons
    assert sum(line.startswith("is back after") for line in lines) == 2
    assert one.cluster.health.outages == 1
    assert "ERROR" not in {record.levelname for record in caplog.records}


async def test_a_node_starts_without_its_redis(
    node: MakeNode, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis.stop()
    one = await node("one")
    assert one.names == ("one",)
    assert str(one.cluster.fault).startswith("the store of the cluster can't be reached: ")
    redis.start()
    await until(lambda: one.cluster.health.up)


async def test_a_redis_that_lost_all_is_noticed(node: MakeNode, redis: RedisServer) -> None:
    one = await node("one")
    heard: list[str] = []
    one.cluster.membership.era_listeners.append(lambda: heard.append("new era"))
    redis.ask("FLUSHALL")
    await until(lambda: heard == ["new era"])
    redis.stop()
    redis.start()
    await until(lambda: heard == ["new era", "new era"])
    assert one.names == ("one",)


async def test_scripts_that_redis_forgets_are_sent_again(
    node: MakeNode, redis: RedisServer
) -> None:
    one = await node("one")
    redis.ask("SCRIPT", "FLUSH")
    two = await node("two")
    await until(lambda: one.names == two.names == ("one", "two"))
    assert one.cluster.health.outages == 0


@pytest.mark.parametrize(
    ("wrong", "right", "start"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "is full"),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "is a replica"),
        (
            ("ACL", "SETUSER", "default", "-hset"),
            ("ACL", "SETUSER", "default", "+hset"),
            "doesn't let its user do that",
        ),
        (
            ("ACL", "SETUSER", "default", "resetkeys", "~other:*"),
            ("ACL", "SETUSER", "default", "allkeys"),
            "doesn't let its user do that",
        ),
        (
            (
                "EVAL",
                "redis.call('del', KEYS[1]) return redis.call('set', KEYS[1], 'x')",
                "1",
                "seeder:nodes",
            ),
            ("DEL", "seeder:nodes"),
            "has something else under a key of ours",
        ),
    ],
    ids=["full", "replica", "command", "keys", "type"],
)
async def test_a_redis_that_refuses_is_told_in_a_line(  # noqa: PLR0917
    node: MakeNode,
    redis: RedisServer,
    caplog: pytest.LogCaptureFixture,
    wrong: tuple[str, ...],
    right: tuple[str, ...],
    start: str,
) -> None:
    one = await node("one")
    redis.ask(*wrong)
    await until(lambda: not one.cluster.health.up)
    await until(lambda: str(one.cluster.health.fault).startswith(start))
    redis.ask(*right)
    await until(lambda: one.cluster.health.up)
    assert len([line for line in told(caplog) if line.startswith(start)]) == 1


@pytest.mark.parametrize(
    ("setting", "start"),
    [
        ("", "wants a password: set cluster.password_file"),
        ("nonsense", "refuses this user and password"),
    ],
)
async def test_a_password_that_is_wrong_or_missing_is_told(
    node: MakeNode, redis: RedisServer, tmp_path: Path, setting: str, start: str
) -> None:
    redis.ask("CONFIG", "SET", "requirepass", "the password")
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(f"{setting}\n")
    one = await node("one", password_file=password if setting else None)
    await until(lambda: str(one.cluster.health.fault).startswith(start))
    password.write_text("the password\n")
    two = await node("two", password_file=password)
    assert two.cluster.health.up


async def test_a_user_of_its_own_has_all_that_the_documentation_gives_it(
    tracker: MakeTracker, redis: RedisServer, tmp_path: Path
) -> None:
    line = next(x for x in page("cluster").splitlines() if x.startswith("ACL SETUSER seeder "))
    redis.ask(*line.replace("PASSWORD", "secret").split())
    redis.ask("ACL", "SETUSER", "default", "nopass", "-hset", "-evalsha")
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("secret")
    url = redis.url.replace("unix://", "unix://seeder@")
    one, two = [await tracker(name, store=url, password_file=password) for name in ("one", "two")]
    await until(lambda: one.node.names == two.node.names == ("one", "two"))
    torrent = InfoHash(b"1" * 20)
    for each in (one, two):
        each.open(torrent)
    one.announce(torrent, 1, AnnounceEvent.COMPLETED, left=0, downloaded=1000)
    await until(lambda: two.swarms.counts(torrent).downloaded == 1)
    await until(lambda: two.exchange.statistics.reloads > 0)
    limit = Limit(Resource.ORIGIN_BYTES, Period.DAY, 10**9)
    budget = Budget([limit], Prices(0.0, 0.0), totals=Counters(), spent=Spent(), now=time.time())
    await one.node.cluster.spend(budget)._try_lease()
    assert one.node.cluster.health.up


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[RedisServer, int, Path]]:
    """Run a Redis over TLS on a port of 127.0.0.1; its certificate is its own authority."""
    if reason := why_no_redis():
        pytest.skip(reason)
    certificate, key = tmp_path / "redis.pem", tmp_path / "redis.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=r",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port("127.0.0.1")
    options = ("--tls-port", str(port), "--tls-cert-file", str(certificate))
    more = ("--tls-key-file", str(key), "--tls-auth-clients", "no", "--bind", "127.0.0.1")
    with RedisServer(*options, *more) as server:
        yield server, port, certificate


async def test_tls_is_spoken_and_a_certificate_is_checked(
    tls: tuple[RedisServer, int, Path], nursery: trio.Nursery, tmp_path: Path
) -> None:
    _, port, certificate = tls
    node = make_node(f"rediss://127.0.0.1:{port}", nursery, tmp_path)
    one = await node("one", ca_file=certificate)
    assert one.cluster.health.up
    for name, store, start in (
        ("two", f"rediss://127.0.0.1:{port}", "has a certificate that isn't trusted (self-signed"),
        ("three", f"redis://127.0.0.1:{port}", "closes the connection at once: if it wants TLS"),
        ("four", f"rediss://localhost:{port}", "has a certificate that isn't trusted"),
    ):
        ca = certificate if name == "four" else None
        other = await node(name, store=store, ca_file=ca)
        assert str(other.cluster.health.fault).startswith(start)


async def test_tls_at_a_plain_port_is_told(
    redis: RedisServer, nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "PATIENCE", 0.5)
    port = free_port("127.0.0.1")
    redis.ask("CONFIG", "SET", "port", str(port))
    node = make_node(f"rediss://127.0.0.1:{port}", nursery, tmp_path)
    one = await node("one")
    assert str(one.cluster.health.fault).startswith("doesn't answer in TLS")
    port = free_port("127.0.0.1")
    two = await node("two", store=f"redis://127.0.0.1:{port}")
    assert two.cluster.health.fault == "can't be reached: Connection refused"
    three = await node("three", store="redis://nowhere.invalid")
    assert str(three.cluster.health.fault).startswith("can't be reached: ")


async def test_a_redis_cluster_is_told_to_be_no_store(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    if reason := why_no_redis():
        pytest.skip(reason)
    port = str(free_port("127.0.0.1"))
    bus = str(free_port("127.0.0.1"))
    with RedisServer("--cluster-enabled", "yes", "--port", port, "--cluster-port", bus) as server:
        node = make_node(server.url, nursery, tmp_path)
        one = await node("one")
        assert str(one.cluster.health.fault).startswith("is a Redis Cluster")


async def test_a_redis_that_hangs_is_given_up(
    node: MakeNode, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "PATIENCE", 0.5)
    one = await node("one")
    redis.child.signal(signal.SIGSTOP)
    await until(lambda: not one.cluster.health.up)
    assert one.cluster.health.fault == "doesn't answer within 0.5 s"
    redis.child.signal(signal.SIGCONT)
    await until(lambda: one.cluster.health.up)
    assert one.names == ("one",)


@pytest.mark.parametrize(
    ("reply", "start"),
    [
        ("LOADING Redis is loading the dataset in memory", "is loading its data"),
        ("MOVED 3999 127.0.0.1:6381", "is a Redis Cluster"),
        ("READONLY You can't write against a read only replica.", "is a replica"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "is full"),
        ("BUSY Redis is busy running a script.", "is held up"),
        ("WHATEVER is new", "refuses: "),
    ],
)
async def test_every_error_of_redis_counts_as_away(
    redis: RedisServer, nursery: trio.Nursery, tmp_path: Path, reply: str, start: str
) -> None:
    async def serve(client: trio.SocketStream) -> None:
        """Pass on what isn't a script, to a real Redis."""
        async with await trio.open_unix_socket(redis.socket) as real:
            async for data in client:
                if b"EVAL" in data:
                    await client.send_all(f"-{reply}\r\n".encode())
                else:
                    await real.send_all(data)
                    await client.send_all(await real.receive_some())

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, [listener])
    port = listener.socket.getsockname()[1]
    one = await make_node(f"redis://127.0.0.1:{port}", nursery, tmp_path)("one")
    assert str(one.cluster.health.fault).startswith(start)
    assert one.names == ("one",)


@pytest.mark.parametrize(
    "garbage",
    [
        b"*1\r\n$-7\r\n",
        b"%\xff\xff\r\n",
        b"HTTP/1.1 400 no\r\n\r\n",
        bytes(range(256)),
        b"+OK\r\n" * 9,
    ],
)
async def test_what_is_no_redis_at_all_ends_nothing(
    garbage: bytes, tmp_path: Path, nursery: trio.Nursery
) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async with stream:
                while await stream.receive_some():
                    await stream.send_all(garbage)

    [listener] = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
    port = int(listener.socket.getsockname()[1])
    settings = ClusterSettings(store=f"redis://127.0.0.1:{port}")
    cluster = make_cluster(settings, "one", tmp_path)
    assert cluster is not None
    with trio.fail_after(60):
        await nursery.start(cluster.run)
        await until(lambda: cluster.health.fault != "wasn't asked yet")
    with pytest.raises(StoreAway):
        await cluster.store.read(b"stream", b"0-0", most=1, wait=0.1)

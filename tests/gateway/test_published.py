"""What is on its way to a client ends when it is no longer his to have, whatever took it away."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
import trio

from seeder.gateway.access import ReadKey
from seeder.net.doors import Door, NetworkRules
from seeder.units import KIB
from tests.gateway.seeding import PATH, Seed, seeding
from tests.gateway.signing import KEY_ID, SECRET, signed
from tests.http.serving import Client, Reply, connected, get
from tests.peer.node import Limits, make_data, wait_until

PIECE = 16 * KIB
DATA = make_data(8000 * PIECE)
"""Its torrent file has 160 KB: ten seconds of the rate."""
SLOWLY = Limits(upload_rate=16.0 * KIB)
TORRENT = f"{PATH}?torrent"
HOLDER = "alice"
Change = Callable[[Seed], None]


def hide(seed: Seed) -> None:
    """Have the object be for those who sign from now on, as a reload does."""
    for publication in seed.catalog:
        publication.public = False


def withdraw(seed: Seed) -> None:
    """Take the object away, while its torrent goes on for another with the same content."""
    seed.catalog.remove(seed.torrent.pinned.ref)


def replace(seed: Seed) -> None:
    """Serve the object by another torrent."""
    publication = seed.catalog.publications[seed.torrent.pinned.ref]
    publication.torrent = seed.node.torrents[list(seed.node.torrents)[1]]


def deny(seed: Seed) -> None:
    """Let the client's network in no more, as a reload does."""
    seed.door.follow(Door(NetworkRules(deny=(ip_network("127.0.0.0/8"),))))
    seed.downloads.end_denied()


def take_key(seed: Seed) -> None:
    """Know no such access key any more."""
    seed.keyring.replace([])


def change_secret(seed: Seed) -> None:
    """Know the access key by another secret."""
    seed.keyring.replace([ReadKey(KEY_ID, "another", ("b/*",))])


def narrow_key(seed: Seed) -> None:
    """Let the access key read other objects alone."""
    seed.keyring.replace([ReadKey(KEY_ID, SECRET, ("b/object-1", "c/*"))])


def revoke(seed: Seed) -> None:
    """Revoke the passkeys of everybody that the tests know."""
    now = int(seed.passkeys.now)
    for name in (HOLDER, KEY_ID):
        seed.register.revoke(name, now)
    seed.passkeys.holders.revoke({HOLDER: now, KEY_ID: now})


def expire(seed: Seed) -> None:
    """Let time pass until no passkey is good."""
    seed.passkeys.now += 3 * 86_400


ANYBODY: tuple[Change, ...] = (hide, withdraw, replace, deny)
SIGNER: tuple[Change, ...] = (take_key, change_secret, narrow_key, withdraw, replace, deny)
MEMBER: tuple[Change, ...] = (*SIGNER, revoke)
KEYED: tuple[Change, ...] = (revoke, expire, withdraw, replace, deny)
CASES = [
    *(("anybody", target, change) for change in ANYBODY for target in (PATH, TORRENT)),
    *(("signer", target, change) for change in SIGNER for target in (PATH, TORRENT)),
    *(("member", target, change) for change in MEMBER for target in (PATH, TORRENT)),
    *(("keyed", PATH, change) for change in KEYED),
]


def asked_by(who: str, target: str, seed: Seed) -> bytes:
    """Return the request of one who may have what he asks for."""
    if who == "anybody":
        return get(target)
    if who == "keyed":
        key = seed.passkeys.make(HOLDER, seed.torrent.info_hash).decode()
        return get(f"/-/{key}{target}")
    made = signed(f"http://tracker.test{target}", expires=60, now=time.time())
    return get(f"{made.path.decode()}?{made.query.decode()}")


@asynccontextmanager
async def begun(directory: Path, who: str, target: str) -> AsyncIterator[tuple[Seed, Client]]:
    """Have what is asked for on its way to a client, slowly."""
    keys = [ReadKey(KEY_ID, SECRET, ("b/*",))]
    public = who == "anybody"
    other = make_data(PIECE, seed=5)
    async with (
        seeding(
            directory, (DATA, PIECE), (other, PIECE), limits=SLOWLY, public=public, keys=keys
        ) as seed,
        connected(seed.port) as client,
    ):
        for torrent in seed.node.torrents.values():
            torrent.private = who in ("member", "keyed")
        await client.send(asked_by(who, target, seed))
        await wait_until(lambda: len(seed.downloads) + len(seed.documents) == 1)
        await wait_until(lambda: _sent(seed) > 0)
        yield seed, client


def _sent(seed: Seed) -> int:
    counters = seed.node.tally.counters
    return counters.uploaded_bytes + counters.protocol_bytes


@pytest.mark.parametrize(
    ("who", "target", "change"),
    CASES,
    ids=[f"{who}-{target[-7:]}-{change.__name__}" for who, target, change in CASES],
)
async def test_what_may_be_had_no_more_ends_within_seconds(
    tmp_path: Path, who: str, target: str, change: Change
) -> None:
    async with begun(tmp_path, who, target) as (seed, client):
        change(seed)
        with trio.fail_after(20):
            raw = await client.rest()
        head, _, body = raw.partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        assert head.startswith(b"HTTP/1.1 200 ")
        assert len(body) < length


@pytest.mark.parametrize(("who", "target"), sorted({(who, target) for who, target, _ in CASES}))
async def test_what_is_as_before_goes_on(tmp_path: Path, who: str, target: str) -> None:
    """Also where a reload says the same anew, or lets everybody have it."""
    async with begun(tmp_path, who, target) as (seed, _):
        seed.keyring.replace([ReadKey(KEY_ID, SECRET, ("b/*",))])
        seed.downloads.end_denied()
        seed.downloads._tick(trio.current_time())
        for publication in seed.catalog:
            publication.public = True
        revoke(seed)
        seed.downloads._tick(trio.current_time())
        before = _sent(seed)
        await wait_until(lambda: _sent(seed) > before + 20_000)
        assert len(seed.downloads) + len(seed.documents) == 1


@pytest.mark.parametrize("who", ["anybody", "signer", "member", "keyed"])
async def test_a_kept_connection_gives_nothing_more(tmp_path: Path, who: str) -> None:
    async with (
        seeding(
            tmp_path,
            (DATA, PIECE),
            public=who == "anybody",
            keys=[ReadKey(KEY_ID, SECRET, ("b/*",))],
        ) as seed,
        connected(seed.port) as client,
    ):
        seed.torrent.private = who in ("member", "keyed")
        part = asked_by(who, PATH, seed).replace(b"Host:", b"Range: bytes=0-9\r\nHost:")

        async def ask() -> Reply:
            await client.send(part)
            return await client.reply()

        for _ in range(2):
            reply = await ask()
            assert (reply.status, reply.body) == (206, DATA[:10])
        hide(seed)
        take_key(seed)
        revoke(seed)
        assert (await ask()).status == 403
        withdraw(seed)
        assert (await ask()).status in (403, 404)


async def test_who_waited_in_line_meanwhile_gets_nothing(tmp_path: Path) -> None:
    limits = Limits(connections_per_address=1, upload_rate=16.0 * KIB)
    async with (
        seeding(tmp_path, (DATA, PIECE), limits=limits) as seed,
        connected(seed.port) as first,
        connected(seed.port) as second,
    ):
        await first.send(get(PATH))
        await wait_until(lambda: len(seed.downloads) == 1)
        await second.send(get(PATH))
        await wait_until(lambda: bool(seed.downloads._lines._lines))
        hide(seed)
        await first.rest()
        reply = await second.reply()
        assert reply.status == 503
        assert b"not to be had by you" in reply.body

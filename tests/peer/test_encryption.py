"""Encrypted peers on real sockets: what is allowed, what is refused, and the bytes they get."""

import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from seeder.peer import exchanges, messages
from seeder.peer.messages import MessageId
from tests.peer.encrypted import dialled
from tests.peer.mse_client import PLAIN, RC4
from tests.peer.node import Limits, Peer, serving, wait_until
from tests.peer.wire import PEER_ID, greeting

PIECE = 64 * 1024
DATA = random.Random(4).randbytes(5 * PIECE + 77)


async def download(peer: Peer) -> bytes:
    assert (await peer.read_exactly(68)).startswith(messages.PROTOCOL)
    assert (await peer.read()).id == MessageId.HAVE_ALL
    assert (await peer.read()).id == MessageId.UNCHOKE
    size = messages.BLOCK_SIZE
    blocks = [
        (at // PIECE, at % PIECE, min(size, len(DATA) - at)) for at in range(0, len(DATA), size)
    ]
    await peer.request(*blocks)
    found = dict([await peer.read_block() for _ in blocks])
    return b"".join(found[block] for block in blocks)


@pytest.mark.parametrize(
    ("encryption", "provide", "selected"),
    [("allow", PLAIN | RC4, PLAIN), ("allow", RC4, RC4), ("require", PLAIN | RC4, RC4)],
)
async def test_an_encrypted_peer_downloads_by_the_method_that_both_take(
    tmp_path: Path, encryption: str, provide: int, selected: int
) -> None:
    limits = Limits(encryption=encryption)  # type: ignore[arg-type]
    async with serving(tmp_path, (DATA, PIECE), limits=limits) as node:
        async with dialled(node, provide) as peer:
            assert await download(peer) == DATA
            assert peer.dialler is not None
            assert peer.dialler.selected == selected
        await node.wait_connected(0)
        assert node.tally.counters.uploaded_bytes == len(DATA)


async def test_with_encryption_off_mse_is_refused_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE), limits=Limits(encryption="off")) as node:
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            async with dialled(node, RC4):
                raise AssertionError("it went on")
        await node.wait_closed("not-bittorrent")


async def test_where_encryption_is_required_plaintext_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE), limits=Limits(encryption="require")) as node:
        async with Peer.connect(node.address) as peer:
            hello = greeting(info_hash=node.torrent.info_hash, peer=PEER_ID)
            await peer.send(hello)
            assert await peer.stream.receive_some(1) == b""
        await node.wait_closed("plaintext-refused")


async def test_a_torrent_that_is_gone_cannot_be_named(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE)) as node:
        node.hub.remove_torrent(node.torrent, "retired")
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            async with dialled(node, RC4):
                raise AssertionError("it went on")
        await node.wait_closed("mse-unknown-torrent")


async def test_a_flood_of_key_exchanges_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges, "BURST", 3)
    monkeypatch.setattr(exchanges, "PER_SECOND", 1e-3)
    monkeypatch.setattr(exchanges, "PATIENCE", 0.1)
    async with serving(tmp_path, (DATA, PIECE)) as node:
        for _ in range(3):
            async with dialled(node, RC4) as peer:
                assert await download(peer) == DATA
            await node.wait_connected(0)
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            async with dialled(node, RC4):
                raise AssertionError("it went on")
        await node.wait_closed("mse-flood")


async def test_a_key_that_is_not_there_costs_nobody_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither do one that is too small, or followed by more than a pad, or whose sender left."""
    monkeypatch.setattr(exchanges, "BURST", 1)
    monkeypatch.setattr(exchanges, "PER_SECOND", 1e-3)
    async with serving(tmp_path, (DATA, PIECE)) as node:
        for opening in (b"\x01", b"\x01" * 95, bytes(96), b"\x01" * 609):
            async with node.connection() as stranger:
                await stranger.send(opening)
        await node.wait_connected(0)
        async with dialled(node, RC4) as peer:
            assert await download(peer) == DATA
        async with node.connection() as stranger:
            await stranger.send(b"\x01" * 96)
            await wait_until(lambda: bool(node.hub._exchanges._line))
        await node.wait_connected(0)
        assert not node.hub._exchanges._line
        assert node.closes["left"] >= 3


async def test_networks_take_turns_however_many_wait_in_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges, "BURST", 1)
    monkeypatch.setattr(exchanges, "PER_SECOND", 2)
    async with serving(tmp_path, (DATA, PIECE)) as node, AsyncExitStack() as stack:
        line = node.hub._exchanges._line
        turns: list[int] = []
        take = line.next

        def note() -> exchanges.Turn:
            turns.append(len(line._all))
            return take()

        monkeypatch.setattr(line, "next", note)
        for number in range(40):
            host = f"127.0.1.{number // 10 + 1}"
            flood = await stack.enter_async_context(Peer.connect(node.address, host))
            await flood.send(bytes(95) + b"\x02")
        await wait_until(lambda: bool(line))
        async with dialled(node, RC4, host="127.0.2.1") as peer:
            assert await download(peer) == DATA
        # Two networks wait until the second one has had its turn.
        assert 1 <= turns.count(2) <= 2
        assert line

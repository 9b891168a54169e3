"""Encrypted peers on real sockets: what is allowed, what is refused, and the bytes they get."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from seeder.peer import messages
from seeder.peer.messages import MessageId
from tests.peer.mse_client import PLAIN, RC4, Dialler
from tests.peer.node import Limits, Node, Peer, serving
from tests.peer.wire import PEER_ID, greeting

PIECE = 64 * 1024
DATA = random.Random(4).randbytes(5 * PIECE + 77)


class EncryptedPeer(Peer):
    """A peer whose bytes pass through a dialler's keystreams."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
        self.dialler: Dialler | None = None

    async def negotiate(self, dialler: Dialler) -> None:
        await self.stream.send_all(dialler.hello())
        while not dialler.selected:
            data = await self.stream.receive_some(2**16)
            if not data:
                raise EOFError
            answer = dialler.receive(bytes(data))
            if answer:
                await self.stream.send_all(answer)
        self.dialler = dialler
        self.arrived += dialler.payload()

    async def send(self, *data: bytes) -> None:
        assert self.dialler is not None
        await super().send(self.dialler.send(b"".join(data)))

    async def read_exactly(self, count: int) -> bytes:
        assert self.dialler is not None
        while len(self.arrived) < count:
            data = await self.stream.receive_some(2**16)
            if not data:
                raise EOFError
            self.dialler.receive(bytes(data))
            self.arrived += self.dialler.payload()
        taken = bytes(self.arrived[:count])
        del self.arrived[:count]
        return taken


@asynccontextmanager
async def dialled(node: Node, provide: int) -> AsyncIterator[EncryptedPeer]:
    """A peer behind its encrypted handshake, the BitTorrent one sent along with it."""
    hello = greeting(fast=True, extended=False, info_hash=node.torrent.info_hash, peer=PEER_ID)
    async with EncryptedPeer.connect(node.address) as peer:
        assert isinstance(peer, EncryptedPeer)
        dialler = Dialler(
            node.torrent.info_hash, provide, initial=hello, pad_a=b"a" * 99, pad_c=b"c" * 7
        )
        await peer.negotiate(dialler)
        yield peer


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
        node.hub.disconnect(node.torrent, "retired")
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            async with dialled(node, RC4):
                raise AssertionError("it went on")
        await node.wait_closed("mse-unknown-torrent")


async def test_a_flood_of_key_exchanges_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seeder.peer.hub.EXCHANGE_BURST", 3)
    monkeypatch.setattr("seeder.peer.hub.EXCHANGES_PER_SECOND", 0)
    async with serving(tmp_path, (DATA, PIECE)) as node:
        for _ in range(3):
            async with dialled(node, RC4) as peer:
                assert await download(peer) == DATA
            await node.wait_connected(0)
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            async with dialled(node, RC4):
                raise AssertionError("it went on")
        await node.wait_closed("mse-flood")

"""A peer that encrypts: the BitTorrent messages of tests.peer.node behind an MSE handshake."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tests.peer.mse_client import Dialler
from tests.peer.node import Node, Peer
from tests.peer.wire import PEER_ID, greeting


class EncryptedPeer(Peer):
    """A peer whose bytes pass through a dialler's keystreams."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
        self.dialler: Dialler | None = None
        self.received = 0
        """Bytes that came, encrypted or not."""

    async def negotiate(self, dialler: Dialler) -> None:
        await self.stream.send_all(dialler.hello())
        while not dialler.selected:
            data = await self.stream.receive_some(2**16)
            if not data:
                raise EOFError
            self.received += len(data)
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
            self.received += len(data)
            self.dialler.receive(bytes(data))
            self.arrived += self.dialler.payload()
        taken = bytes(self.arrived[:count])
        del self.arrived[:count]
        return taken


@asynccontextmanager
async def dialled(
    node: Node, provide: int, host: str = "127.0.0.1"
) -> AsyncIterator[EncryptedPeer]:
    """A peer behind its encrypted handshake, the BitTorrent one sent along with it."""
    hello = greeting(fast=True, extended=False, info_hash=node.torrent.info_hash, peer=PEER_ID)
    async with EncryptedPeer.connect(node.address, host) as peer:
        assert isinstance(peer, EncryptedPeer)
        dialler = Dialler(
            node.torrent.info_hash, provide, initial=hello, pad_a=b"a" * 99, pad_c=b"c" * 7
        )
        await peer.negotiate(dialler)
        yield peer

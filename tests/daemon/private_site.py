"""A running node whose object is private, and who comes to it."""

from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio
from bencode2 import bdecode

from seeder.commands.keys import revoke_keys
from seeder.config.objects import ObjectSettings
from seeder.config.public import GatewaySettings, ReadKeySettings
from seeder.config.sections import Config
from seeder.daemon.node import Node
from seeder.gateway.passkeys import make_key
from seeder.torrent.publications import State
from tests.daemon.support import BODY, until
from tests.support.raw_peer import (
    BLOCK,
    EXTENDED,
    EXTENDED_MESSAGE,
    PIECE,
    UNCHOKE,
    RawPeer,
    message,
    request,
)

DAY = 86_400.0
ALICE, BOB, STRANGER = "127.0.3.1", "127.0.4.1", "127.0.5.1"
KEY_ID, SECRET = "READER", "secret-of-the-reader"


def private_config(config: Config, directory: Path) -> Config:
    """Return the configuration of a node whose object is private, with a key and a web seed."""
    secret = directory / "reader.secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    entry = ObjectSettings(bucket="quotes", key="Nelson", metainfo=("build",), private=True)
    key = ReadKeySettings(access_key_id=KEY_ID, secret_file=secret, objects=("quotes/*",))
    gateway = GatewaySettings(web_seed=True, keys=(key,), listing=True)
    peer = config.peer.model_copy(update={"super_seeding": "off"})
    return config.model_copy(update={"objects": (entry,), "gateway": gateway, "peer": peer})


class Site:
    """A running node, asked from several addresses."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.config = node.config
        found = node.catalog.by_name("quotes", "Nelson")
        assert found is not None
        assert found.torrent is not None
        self.torrent = found.torrent
        self.info_hash = found.torrent.info_hash
        self._web = str(self.config.tracker.listen[0])

    async def make(self, holder: str, valid: float = DAY) -> str:
        """Make a key as the command line does, and wait until the node may know of it."""
        key, _ = await trio.to_thread.run_sync(make_key, self.config, self.torrent, holder, valid)
        await self.node.passkeys.look()
        return key

    async def revoke(self, holder: str) -> None:
        await trio.to_thread.run_sync(
            partial(revoke_keys, [self.config], holder, unknown=False, show=lambda line: None)
        )

    async def get(self, target: str, address: str = STRANGER, **headers: str) -> httpx.Response:
        transport = httpx.AsyncHTTPTransport(local_address=address)
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            return await client.get(f"http://{self._web}{target}", headers=headers)

    async def announce(
        self, key: str, address: str, port: int = 6001, *, name: str = "a", **more: Any
    ) -> dict[bytes, Any]:
        query = "".join(f"%{byte:02x}" for byte in self.info_hash)
        fields = {"uploaded": 0, "downloaded": 0, "left": 5, "compact": 1, **more}
        query = f"info_hash={query}&peer_id={name.ljust(20, '0')}&port={port}&" + "&".join(
            f"{field}={value}" for field, value in fields.items()
        )
        page = f"/announce/{key}" if key else "/announce"
        answer: dict[bytes, Any] = bdecode((await self.get(f"{page}?{query}", address)).content)
        return answer

    async def is_served(self, address: str, name: str = "a", port: int | None = None) -> bool:
        """Tell whether a peer at an address gets a block."""
        with trio.fail_after(60):
            return await trio.to_thread.run_sync(self._is_served, address, name, port)

    def _is_served(self, address: str, name: str, port: int | None) -> bool:
        with RawPeer(address, self.listens_at) as peer:
            try:
                self.greet(peer, name, port)
                peer.send(request(0))
                return peer.wait_for(PIECE)[8:] == BODY[:BLOCK]
            except (EOFError, ConnectionError):
                return False

    def greet(self, peer: RawPeer, name: str, port: int | None = None) -> None:
        """Shake hands, perhaps with the port that the peer listens on, and wait to be unchoked."""
        peer.greet(self.info_hash, peer_id=name.ljust(20, "0").encode(), reserved=EXTENDED)
        if port is not None:
            peer.send(message(EXTENDED_MESSAGE, b"\0d1:mde1:pi%dee" % port))
        peer.wait_for(UNCHOKE)

    @property
    def listens_at(self) -> tuple[str, int]:
        """Where peers connect."""
        host, port = self.config.peer.listen[0]
        return host, port


async def wait_served(node: Node) -> Site:
    def served() -> bool:
        found = node.catalog.by_name("quotes", "Nelson")
        return found is not None and found.state is State.SERVING

    await until(served)
    return Site(node)

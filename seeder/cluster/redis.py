"""The store as it is: one Redis (or Valkey), by two connections that are kept up.

One is asked, and a second one waits for what is new in a stream, which holds it up.
"""

import ssl
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

import trio

from seeder.cluster.link import Address, RedisLink
from seeder.cluster.store import Argument, Reply, Script, StreamEntry
from seeder.config.node import ClusterSettings
from seeder.errors import Unavailable

USUAL_PORT = 6379


class RedisStore:
    """Scripts and streams of a Redis; `run_links` keeps its connections up."""

    def __init__(self, address: Address, name: str) -> None:
        """`name` is this node's."""
        self._asked = RedisLink(address, f"seeder:{name}")
        self._waiting = RedisLink(address, f"seeder:{name}:reads")

    async def run_links(self) -> None:
        """Keep the connections up."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._asked.run)
            nursery.start_soon(self._waiting.run)

    async def run(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[Argument] = ()
    ) -> Reply:
        """Run a script and return what it returns; StoreAway."""
        return await self._asked.run_script(script, keys, arguments)

    async def read(
        self, stream: bytes, after: bytes, *, most: int, wait: float
    ) -> list[StreamEntry]:
        """Return up to `most` entries behind `after`, for which it waits up to `wait` s."""
        entries = await self._waiting.read(stream, after, most=most, wait=wait)
        return [StreamEntry(name, fields) for name, fields in entries]


def address_of(settings: ClusterSettings, password: str | None) -> Address:
    """Return the address that the settings' URL names; Unavailable for a bad `ca_file`."""
    url = str(settings.store)
    parts = urlsplit(url)
    tls = None
    if parts.scheme == "rediss":
        try:
            tls = ssl.create_default_context(cafile=settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            problem = f"cluster.ca_file: {settings.ca_file} holds no certificate that can be read"
            raise Unavailable([problem]) from error
    local = parts.scheme == "unix"
    number = parts.query.removeprefix("db=") if local else parts.path.strip("/")
    return Address(
        host="" if local else str(parts.hostname),
        port=parts.port or USUAL_PORT,
        path=unquote(parts.path) if local else "",
        database=int(number or 0),
        username=unquote(parts.username) if parts.username else None,
        password=password,
        tls=tls,
    )

"""One connection to Redis, made anew whenever it is lost; the only module that knows coredis.

We connect by ourselves and hand coredis the stream: so what failed is the system's own error, and
nothing of it is left behind.
"""

import logging
import random
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import anyio
import trio
from anyio.streams.tls import TLSStream
from coredis.connection import BaseConnection, TCPLocation
from coredis.exceptions import NoScriptError, RedisError

from seeder.cluster.faults import explain, explain_connecting
from seeder.cluster.store import Argument, Reply, Script
from seeder.errors import StoreAway
from seeder.net.guards import Lapses

_LOG = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds that Redis has to take a connection, and to answer a command."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before the first attempt to connect anew, and at most."""
SETTLED = 10.0
"""Seconds after which a connection counts as good: the next attempt comes soon again."""
_OPENING = "hasn't taken a connection yet"
_CLOSED = "closes the connection at once: if it wants TLS, cluster.store begins with rediss://"
_LOST = "has closed the connection"
_NO_TLS = "doesn't answer in TLS at that port: cluster.store wants redis:// or the port of its TLS"


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis listens, and who we are there."""

    host: str
    """A host, or "" for a socket in the file system."""
    port: int
    path: str
    """Of the socket."""
    database: int
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None


class _Connection(BaseConnection):
    """A connection of coredis over a stream that is open."""

    def __init__(self, stream: anyio.abc.ByteStream, address: Address, name: str) -> None:
        super().__init__(
            TCPLocation(address.host or address.path, address.port),
            username=address.username,
            password=address.password,
            db=address.database,
            client_name=name,
        )
        self._open = stream

    async def _connect(self) -> anyio.abc.ByteStream:
        return self._open

    def describe(self) -> str:
        return repr(self.location)


class RedisLink:
    """Keeps a connection up while `run` runs; `name` is what Redis' CLIENT LIST calls it."""

    def __init__(
        self, address: Address, name: str, *, chance: Callable[[], float] = random.random
    ) -> None:
        self._address = address
        self._name = name
        self._chance = chance
        self._connection: _Connection | None = None
        self._fault = _OPENING
        self._opened = trio.Event()
        """Set once the first attempt to connect has ended."""
        # What it would say of a lost connection, `Health` says once and in our words.
        logging.getLogger("coredis").setLevel(logging.CRITICAL + 1)

    async def run(self) -> None:
        """Connect, again and again."""
        pause, lapses = FIRST_PAUSE, Lapses(_LOG, "the connection to the store of the cluster")
        while True:
            began = trio.current_time()
            async with lapses.spared():
                await self._connect_once()
            if trio.current_time() - began > SETTLED:
                pause = FIRST_PAUSE
            # Nodes that lost it together don't come back together.
            await trio.sleep(pause * (0.5 + self._chance()))
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _connect_once(self) -> None:
        """Connect, and return when the connection is lost or didn't come about."""
        try:
            async with trio.open_nursery() as nursery:
                try:
                    stream = await self._open_stream()
                    connection = _Connection(stream, self._address, self._name)
                    with trio.fail_after(PATIENCE):
                        await nursery.start(connection.run)
                except StoreAway as error:
                    self._fault = error.reason
                except trio.TooSlowError:
                    self._fault = "takes a connection and doesn't answer"
                except RedisError as error:
                    self._fault = _explain(error, _CLOSED)
                else:
                    self._connection, self._fault = connection, _LOST
                self._opened.set()
                if self._connection is None:
                    nursery.cancel_scope.cancel()
        finally:
            self._connection = None
            self._opened.set()

    async def _open_stream(self) -> anyio.abc.ByteStream:
        """Return a stream that is open, with TLS if it is wanted; StoreAway."""
        address = self._address
        try:
            with trio.fail_after(PATIENCE):
                if not address.host:
                    return await anyio.connect_unix(address.path)
                stream = await anyio.connect_tcp(address.host, address.port)
        except (OSError, trio.TooSlowError) as error:
            raise StoreAway(explain_connecting(error)) from error
        return stream if address.tls is None else await self._with_tls(stream, address.tls)

    async def _with_tls(
        self, stream: anyio.abc.ByteStream, context: ssl.SSLContext
    ) -> anyio.abc.ByteStream:
        try:
            with trio.fail_after(PATIENCE):
                return await TLSStream.wrap(
                    stream,
                    hostname=self._address.host,
                    ssl_context=context,
                    standard_compatible=False,
                )
        except BaseException as error:
            await anyio.aclose_forcefully(stream)
            if isinstance(error, OSError):
                raise StoreAway(explain_connecting(error)) from error
            if isinstance(error, trio.TooSlowError | anyio.EndOfStream | anyio.BrokenResourceError):
                raise StoreAway(_NO_TLS) from error
            raise

    async def run_script(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[Argument]
    ) -> Reply:
        """Return what a script returns; StoreAway."""
        try:
            return await self._call(b"EVALSHA", script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            # Once in the life of that Redis, or after SCRIPT FLUSH.
            return await self._call(b"EVAL", script.text, len(keys), *keys, *arguments)

    async def read(
        self, stream: bytes, after: bytes, *, most: int, wait: float
    ) -> list[tuple[bytes, list[bytes]]]:
        """Return up to `most` entries of a stream behind an id: ids and fields.

        StoreAway, ValueError for what is no stream.
        """
        block = max(1, int(1000 * wait))
        words = (b"COUNT", most, b"BLOCK", block, b"STREAMS", stream, after)
        reply: object = await self._call(b"XREAD", *words, wait=wait)
        if reply is None:
            return []
        found = reply.get(stream) if isinstance(reply, dict) else None
        if not isinstance(found, list):
            raise ValueError(f"entries of a stream were expected of the store, not {reply!r:.80}")
        return cast("list[tuple[bytes, list[bytes]]]", found)

    async def _call(self, command: bytes, *arguments: Argument, wait: float = 0.0) -> Reply:
        if not self._opened.is_set():
            with trio.move_on_after(PATIENCE + 1.0):
                await self._opened.wait()
        connection = self._connection
        if connection is None:
            raise StoreAway(self._fault)
        try:
            with trio.fail_after(wait + PATIENCE):
                return cast(Reply, await connection.create_request(command, *arguments))
        except trio.TooSlowError:
            # What comes after so long would still be in front of all other answers.
            connection.invalidate()
            raise StoreAway(f"doesn't answer within {PATIENCE:g} s") from None
        except NoScriptError:
            raise
        except RedisError as error:
            raise StoreAway(_explain(error, _LOST)) from error


def _explain(error: RedisError, lost: str) -> str:
    """Return what an error of coredis means, `lost` where the connection was."""
    kind = type(error).__name__
    return lost if kind in ("ConnectionError", "ProtocolError") else explain(kind, str(error))

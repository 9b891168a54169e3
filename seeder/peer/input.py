"""What a peer sends us, read in its session's task, and the turn of its key to be answered."""

import socket

import trio

from seeder.errors import WireError
from seeder.net.addresses import Networks
from seeder.net.passes import Passes
from seeder.peer.encryption import EncryptionLayer
from seeder.peer.exchanges import KeyExchanges


class Input:
    """Reads one peer's socket into `buffer`, which other sessions use as well."""

    __slots__ = ("_buffer", "_encryption", "_exchanges", "_networks", "_passes", "_sock")

    def __init__(
        self,
        sock: socket.socket,
        networks: Networks,
        encryption: EncryptionLayer,
        exchanges: KeyExchanges,
        *,
        passes: Passes,
        buffer: memoryview,
    ) -> None:
        self._sock = sock
        self._networks = networks
        self._encryption = encryption
        self._exchanges = exchanges
        self._passes = passes
        self._buffer = buffer

    async def read(self) -> memoryview | None:
        """Wait for what the peer sends; None when it has left.

        It lies in the buffer, and so is to be dealt with before anything is waited for.
        """
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            if self._passes.in_haste:
                await self._passes.turn()
            try:
                count = self._sock.recv_into(self._buffer)
            except (BlockingIOError, InterruptedError):
                continue
            return self._buffer[:count] if count else None

    async def exchange_keys(self) -> bytes | None:
        """Answer the peer's key when its turn has come; return what it sent behind it, in clear.

        None when it has left before. WireError where that takes too long.
        """
        if not self._exchanges.take():
            with self._exchanges.wait_turn(self._networks) as turn:
                while (data := await self.read()) is not None:
                    self._encryption.receive(data)
                return None
            if not turn.has_come:
                raise WireError("mse-flood")
        return self._encryption.exchange()

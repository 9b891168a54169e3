"""What a connection asks of its socket, which may have TLS in between. No I/O."""

from collections.abc import Sequence
from typing import Protocol


class Wire(Protocol):
    """A non-blocking stream socket, or what is read and written like one.

    Whatever would wait raises BlockingIOError; OSError when the client is gone.
    """

    def send(self, data: bytes | memoryview, /) -> int: ...

    def sendmsg(self, buffers: Sequence[memoryview], /) -> int: ...

    def recv(self, size: int, /) -> bytes: ...

    def fileno(self) -> int: ...

    def getsockname(self) -> tuple[str, int]: ...

    def setsockopt(self, level: int, name: int, value: int, /) -> None: ...

    def shutdown(self, how: int, /) -> None: ...

    def close(self) -> None: ...

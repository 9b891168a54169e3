"""A peer of bare bytes, for what no client would say; it shares no code with the seeder."""

import contextlib
import socket
import struct

from tests.support.closing import Closing

PROTOCOL = b"\x13BitTorrent protocol"
FAST, EXTENDED = 0x04, 0x100000
"""Reserved bits of BEP 6 and BEP 10."""

INTERESTED, HAVE, BITFIELD, REQUEST, PIECE, CANCEL = 2, 4, 5, 6, 7, 8
UNCHOKE, HAVE_ALL, HAVE_NONE, REJECT, EXTENDED_MESSAGE = 1, 14, 15, 16, 20
BLOCK = 16 * 1024


def handshake(
    info_hash: bytes, *, reserved: int = 0, peer_id: bytes = b"-XX0000-raw-peer-000"
) -> bytes:
    """Return the 68 bytes that open a connection."""
    return PROTOCOL + struct.pack(">Q", reserved) + info_hash + peer_id


def message(number: int, payload: bytes = b"") -> bytes:
    """Return a message with its length before it."""
    return struct.pack(">IB", len(payload) + 1, number) + payload


def request(index: int, begin: int = 0, length: int = BLOCK, *, number: int = REQUEST) -> bytes:
    """Return a request, or a cancel, of one block."""
    return message(number, struct.pack(">III", index, begin, length))


class RawPeer(Closing):
    """One TCP connection to `peer`, from `address`; every wait ends after 10 s."""

    def __init__(self, address: str, peer: tuple[str, int], *, receive_buffer: int = 0) -> None:
        self._rest = b""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self.socket.settimeout(10)
            if receive_buffer:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.socket.bind((address, 0))
            self.socket.connect(peer)
        except BaseException:
            self.socket.close()
            raise

    def close(self) -> None:
        self.socket.close()

    def send(self, *data: bytes) -> None:
        """Send everything, waiting for room; OSError once the other side has closed."""
        self.socket.sendall(b"".join(data))

    def try_to_send(self, *data: bytes) -> None:
        """Send what goes; the other side may hang up meanwhile."""
        with contextlib.suppress(OSError):
            self.send(*data)

    def greet(self, info_hash: bytes, **options: int | bytes) -> None:
        """Exchange handshakes."""
        self.send(handshake(info_hash, **options))  # type: ignore[arg-type]
        answer = self.read(68)
        if answer[:20] != PROTOCOL or answer[28:48] != info_hash:
            raise AssertionError(f"a strange handshake: {answer!r}")

    def read(self, count: int) -> bytes:
        """Return exactly `count` bytes; EOFError if fewer come."""
        while len(self._rest) < count:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(f"{len(self._rest)} of {count} bytes")
            self._rest += data
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def read_message(self) -> tuple[int, bytes]:
        """Return the next message that isn't a keep-alive, as (id, payload)."""
        while not (length := int.from_bytes(self.read(4), "big")):
            pass
        body = self.read(length)
        return body[0], body[1:]

    def wait_for(self, number: int) -> bytes:
        """Return the payload of the next message with this id; others are dropped."""
        while True:
            found, payload = self.read_message()
            if found == number:
                return payload

    def is_closed(self) -> bool:
        """Read until the other side closes (True), or nothing comes for 10 s (False)."""
        try:
            while self.socket.recv(1 << 20):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

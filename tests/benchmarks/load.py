"""Load for seeders: a few cheap connections that request blocks and throw them away.

    python -m tests.benchmarks.load ADDRESS:PORT FILE.torrent --connections 8 --depth 64 --pid PID

One process, one epoll. Requests for the whole file are built beforehand; what arrives lands in one
buffer, and only the lengths and ids of messages are looked at. The clock runs from the first
request, when every connection is unchoked, to the last block. MB and GB are 10^6 and 10^9 bytes.

With --encrypted each connection insists on RC4 (MSE). Its requests are encrypted beforehand too,
and what arrives is only counted: a seeder that answers has nothing to say but blocks.
"""

import argparse
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import libtorrent as lt

from tests.benchmarks.dialling import LoadError, open_encrypted, open_plain, source_address

BLOCK = 16 * 1024
_REQUEST = struct.Struct(">IBIII")
_HEAD = struct.Struct(">IB")
_BUFFER = 256 * 1024
_CHOKE, _PIECE, _REJECT = 0, 7, 16
_PIECE_HEADER = 13
_SILENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Target:
    """What to request: a torrent's hash and sizes in bytes; a short last block is left out."""

    info_hash: bytes
    size: int
    piece_length: int

    @classmethod
    def of_file(cls, path: Path) -> "Target":
        """Read a .torrent file."""
        info = lt.torrent_info(path.read_bytes())
        return cls(info.info_hash().to_bytes(), info.total_size(), info.piece_length())

    def requests(self) -> bytes:
        """Return the request messages of the whole blocks, in order."""
        starts = range(0, self.size - BLOCK + 1, BLOCK)
        pieces = (divmod(start, self.piece_length) for start in starts)
        return b"".join(_REQUEST.pack(13, 6, index, begin, BLOCK) for index, begin in pieces)


@dataclass(frozen=True, slots=True)
class Load:
    """What one run measured; seconds, bytes, and CPU seconds of all threads of a process."""

    connections: int
    payload: int
    seconds: float
    own_cpu: float
    seeder_cpu: float | None

    @property
    def rate(self) -> float:
        """MB/s."""
        return self.payload / self.seconds / 1e6

    @property
    def cpu_per_gb(self) -> float | None:
        """CPU seconds of the seeder per GB of payload."""
        return None if self.seeder_cpu is None else self.seeder_cpu / self.payload * 1e9

    def __str__(self) -> str:
        cost = "" if self.cpu_per_gb is None else f", seeder {self.cpu_per_gb:.3f} CPU-s/GB"
        return (
            f"{self.rate:7.0f} MB/s, {self.connections} connections, "
            f"{self.payload / 1e6:.0f} MB in {self.seconds:.3f} s{cost}, "
            f"load {self.own_cpu / self.payload * 1e9:.3f} CPU-s/GB"
        )


class Connection:
    """One unchoked leecher that wants `share` blocks from block `first` on, around the end."""

    __slots__ = ("_asked", "_carried", "_depth", "_first", "_requests", "_skip", "blocks", "share")

    def __init__(self, requests: memoryview, *, first: int, share: int, depth: int) -> None:
        self._requests = requests
        self._first = first * _REQUEST.size
        self._depth = depth
        self._asked = 0
        self._skip = 0
        self._carried = b""
        self.share = share
        self.blocks = 0
        """Blocks that have begun to arrive."""

    @property
    def done(self) -> bool:
        """Tell whether the last block is here to its last byte."""
        return self.blocks >= self.share and not self._skip and not self._carried

    def ask(self, stream: socket.socket) -> None:
        """Send requests until `depth` are outstanding; what doesn't fit goes out next time."""
        target = min(self.blocks + self._depth, self.share) * _REQUEST.size
        while self._asked < target:
            start = (self._first + self._asked) % len(self._requests)
            chunk = self._requests[start : start + target - self._asked]
            try:
                self._asked += stream.send(chunk)
            except BlockingIOError:
                return

    def receive(self, stream: socket.socket, buffer: memoryview) -> None:
        """Take in what has arrived and count the blocks. LoadError if the seeder gave up."""
        carried = len(self._carried)
        buffer[:carried] = self._carried
        end = carried + stream.recv_into(buffer[carried:])
        if end == carried:
            raise LoadError("the seeder closed the connection")
        at = self._skip
        while end - at > _HEAD.size - 1:
            length, kind = _HEAD.unpack_from(buffer, at)
            if length:
                if kind == _PIECE:
                    self.blocks += 1
                elif kind in {_CHOKE, _REJECT}:
                    raise LoadError("the seeder choked or rejected")
            at += 4 + length
        self._skip = max(at - end, 0)
        self._carried = bytes(buffer[at:end])


class SealedConnection(Connection):
    """The same behind RC4: `requests` is encrypted, what arrives is counted and not decrypted."""

    __slots__ = ("_arrived",)

    def __init__(self, requests: memoryview, *, depth: int) -> None:
        super().__init__(requests, first=0, share=len(requests) // _REQUEST.size, depth=depth)
        self._arrived = 0

    @property
    def done(self) -> bool:
        """Tell whether as much is here as the blocks and their headers make up."""
        return self._arrived >= self.share * (_PIECE_HEADER + BLOCK)

    def receive(self, stream: socket.socket, buffer: memoryview) -> None:
        """Count what has arrived. LoadError if the seeder gave up."""
        count = stream.recv_into(buffer)
        if not count:
            raise LoadError("the seeder closed the connection")
        self._arrived += count
        self.blocks = min(self.share, -(-self._arrived // (_PIECE_HEADER + BLOCK)))


def run_load(
    address: tuple[str, int],
    target: Target,
    *,
    connections: int,
    depth: int,
    passes: float = 1.0,
    seconds: float | None = None,
    pid: int | None = None,
    encrypted: bool = False,
    started: Callable[[], None] = lambda: None,
) -> Load:
    """Download the file `passes` times, shared out evenly, or for `seconds`, whatever ends first.

    Connections start at even distances in the file. `pid` is the seeder's, for its CPU seconds.
    `started` is called when all are open.
    """
    requests = memoryview(target.requests())
    blocks = len(requests) // _REQUEST.size
    share = max(1, round(blocks * passes / connections))
    leechers: dict[int, tuple[socket.socket, Connection]] = {}
    for number in range(connections):
        first = blocks * number // connections
        source = source_address(address[0], number)
        if encrypted:
            stream, cipher = open_encrypted(address, target.info_hash, source=source)
            start = first * _REQUEST.size
            wanted = bytes(requests[start:]) + bytes(requests[:start])
            sealed = cipher.update(wanted[: share * _REQUEST.size])
            leecher: Connection = SealedConnection(memoryview(sealed), depth=depth)
        else:
            stream = open_plain(address, target.info_hash, source=source)
            leecher = Connection(requests, first=first, share=share, depth=depth)
        leechers[stream.fileno()] = (stream, leecher)
    started()
    try:
        seeder_before = None if pid is None else cpu_seconds(pid)
        own_before = time.process_time()
        began = time.perf_counter()
        _pump(leechers, until=None if seconds is None else began + seconds)
        took = time.perf_counter() - began
        own = time.process_time() - own_before
        seeder = None if pid is None or seeder_before is None else cpu_seconds(pid) - seeder_before
    finally:
        for stream, _ in leechers.values():
            stream.close()
    payload = sum(leecher.blocks for _, leecher in leechers.values()) * BLOCK
    return Load(connections, payload, took, own, seeder)


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that all threads of a process have used, ended ones included.

    Read from the process's own clock (clock_getcpuclockid(3)); /proc/PID/stat counts hundredths,
    too coarse for a load of half a second.
    """
    return time.clock_gettime((~pid << 3) | 2)


def _pump(leechers: dict[int, tuple[socket.socket, Connection]], *, until: float | None) -> None:
    """Run all connections until each is done or the clock reaches `until`."""
    buffer = memoryview(bytearray(_BUFFER))
    with select.epoll() as poll:
        for descriptor, (stream, leecher) in leechers.items():
            leecher.ask(stream)
            poll.register(descriptor, select.EPOLLIN)
        running = len(leechers)
        while running and (until is None or time.perf_counter() < until):
            ready = poll.poll(_SILENCE_SECONDS)
            if not ready:
                raise LoadError(f"the seeder was silent for {_SILENCE_SECONDS:g} s")
            for descriptor, _ in ready:
                stream, leecher = leechers[descriptor]
                try:
                    leecher.receive(stream, buffer)
                except ConnectionResetError as error:
                    raise LoadError("the seeder reset the connection") from error
                leecher.ask(stream)
                if leecher.done:
                    poll.unregister(descriptor)
                    running -= 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="load", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("address", help="ADDRESS:PORT of the seeder")
    parser.add_argument("torrent", type=Path, help="the .torrent file")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--depth", type=int, default=64, help="requests outstanding (default 64)")
    parser.add_argument("--passes", type=float, default=1.0, help="times the whole file")
    parser.add_argument("--seconds", type=float, help="stop after so long")
    parser.add_argument("--encrypted", action="store_true", help="insist on RC4 (MSE)")
    parser.add_argument("--pid", type=int, help="the seeder's, for its CPU seconds")
    chosen = parser.parse_args(arguments)
    host, _, port = chosen.address.rpartition(":")
    load = run_load(
        (host.strip("[]"), int(port)),
        Target.of_file(chosen.torrent),
        connections=chosen.connections,
        depth=chosen.depth,
        passes=chosen.passes,
        seconds=chosen.seconds,
        pid=chosen.pid,
        encrypted=chosen.encrypted,
    )
    print(load)


if __name__ == "__main__":
    main()

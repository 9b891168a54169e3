"""Load for seeders: a few cheap connections that request blocks and throw them away.

    python -m tests.benchmarks.load ADDRESS:PORT FILE.torrent --connections 8 --depth 64 --pid PID

One process, one epoll. Requests for the whole file are built beforehand; what arrives lands in one
buffer, and only the lengths and ids of messages are looked at. The clock runs from the first
request, when every connection is unchoked, to the last block. MB and GB are 10^6 and 10^9 bytes.
"""

import argparse
import os
import secrets
import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import libtorrent as lt

BLOCK = 16 * 1024
_REQUEST = struct.Struct(">IBIII")
_HEAD = struct.Struct(">IB")
_BUFFER = 1024 * 1024
_CHOKE, _UNCHOKE, _INTERESTED, _PIECE, _REJECT = 0, 1, 2, 7, 16
_FAST = bytes(7) + b"\x04"  # reserved bits: the fast extension (BEP 6), nothing else
_OPENING_SECONDS = 60.0
_SILENCE_SECONDS = 30.0


class LoadError(Exception):
    """The seeder closed, choked, rejected or fell silent; no figure would mean anything."""


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
    """One leecher: `share` blocks from `first` on, wrapping at the end, `depth` asked ahead."""

    __slots__ = ("_asked", "_buffer", "_carried", "_depth", "_first", "_requests", "_skip", "blocks")
    # The attributes that follow are set once the connection is open.
    share: int
    socket: socket.socket

    def __init__(self) -> None:
        self.blocks = 0

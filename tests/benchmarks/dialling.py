"""Connections to seeders, plain or encrypted, up to the moment at which they may request."""

import hashlib
import secrets
import socket
import struct
from collections.abc import Callable
from functools import partial

from bencode2 import bencode
from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext

from seeder.peer.mse import DISCARDED, GENERATOR, LONGEST_PAD, PRIME, PUBLIC_KEY_LENGTH

_HEAD = struct.Struct(">IB")
_FAST = bytes(7) + b"\x04"  # reserved bits: the fast extension (BEP 6), nothing else
_FAST_EXTENDED = bytes(5) + b"\x10\0\x04"  # and the extension protocol (BEP 10)
_UNCHOKE, _INTERESTED, _BITFIELD, _HAVE_NONE, _EXTENDED = 1, 2, 5, 15, 20
_RC4 = 2
_OPENING_SECONDS = 60.0


class LoadError(Exception):
    """The seeder closed, choked, rejected or fell silent; no figure would mean anything."""


def source_address(host: str, number: int) -> tuple[str, int] | None:
    """Return the address that leecher `number` dials from: rtorrent takes one peer an address."""
    if not host.startswith("127."):
        return None
    return f"127.0.{1 + number // 250}.{1 + number % 250}", 0


def open_plain(
    address: tuple[str, int], info_hash: bytes, *, source: tuple[str, int] | None
) -> socket.socket:
    """Connect, shake hands, and wait to be unchoked; the socket is non-blocking then."""
    stream = _connect(address, source)
    stream.sendall(_opening(info_hash))
    _wait_unchoked(partial(read_exactly, stream), info_hash)
    stream.setblocking(False)
    return stream


def open_idle(
    address: tuple[str, int],
    info_hash: bytes,
    *,
    bitfield: bytes | None,
    source: tuple[str, int] | None,
) -> socket.socket:
    """Connect as an ordinary client does, extensions and pieces told; then it says no more."""
    stream = _connect(address, source)
    names = {b"ut_metadata": 2, b"ut_pex": 1, b"upload_only": 3}
    told = bencode({b"m": names, b"p": 6881, b"reqq": 500, b"v": b"idle 1.0"})
    pieces = _HEAD.pack(1, _HAVE_NONE)
    if bitfield is not None:
        pieces = _HEAD.pack(1 + len(bitfield), _BITFIELD) + bitfield
    extended = _HEAD.pack(2 + len(told), _EXTENDED) + b"\0" + told
    opening = _opening(info_hash, reserved=_FAST_EXTENDED)
    stream.sendall(opening[:68] + pieces + extended + opening[68:])
    _wait_unchoked(partial(read_exactly, stream), info_hash)
    return stream


def open_encrypted(
    address: tuple[str, int], info_hash: bytes, *, source: tuple[str, int] | None
) -> tuple[socket.socket, CipherContext]:
    """Do the same behind an RC4 handshake; return the cipher for what is sent, too."""
    stream = _connect(address, source)
    private = secrets.randbits(160)
    stream.sendall(pow(GENERATOR, private, PRIME).to_bytes(PUBLIC_KEY_LENGTH, "big"))
    their_key = int.from_bytes(read_exactly(stream, PUBLIC_KEY_LENGTH), "big")
    secret = pow(their_key, private, PRIME).to_bytes(PUBLIC_KEY_LENGTH, "big")
    ours, theirs = (_keystream(name, secret, info_hash) for name in (b"keyA", b"keyB"))
    named, veil = (int.from_bytes(_sha1(part)) for part in (b"req2" + info_hash, b"req3" + secret))
    opening = _opening(info_hash)
    # Not as the initial payload: libtorrent takes nothing but a bare handshake there.
    header = bytes(8) + struct.pack(">IHH", _RC4, 0, 0)
    stream.sendall(
        _sha1(b"req1" + secret) + (named ^ veil).to_bytes(20, "big") + ours.update(header + opening)
    )
    mark = theirs.update(bytes(8))
    found = b""
    while not found.endswith(mark):
        if len(found) > LONGEST_PAD + len(mark):
            raise LoadError("no answer to the encrypted handshake")
        found += read_exactly(stream, 1)

    def read(count: int) -> bytes:
        return theirs.update(read_exactly(stream, count))

    selected, pad = struct.unpack(">IH", read(6))
    if selected != _RC4:
        raise LoadError("the seeder chose a plain payload")
    read(pad)
    _wait_unchoked(read, info_hash)
    stream.setblocking(False)
    return stream, ours


def _connect(address: tuple[str, int], source: tuple[str, int] | None) -> socket.socket:
    stream = socket.create_connection(address, timeout=_OPENING_SECONDS, source_address=source)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def _opening(info_hash: bytes, *, reserved: bytes = _FAST) -> bytes:
    peer_id = b"-LD0001-" + secrets.token_hex(6).encode()
    interested = _HEAD.pack(1, _INTERESTED)
    return b"\x13BitTorrent protocol" + reserved + info_hash + peer_id + interested


def _wait_unchoked(read: Callable[[int], bytes], info_hash: bytes) -> None:
    if read(68)[28:48] != info_hash:
        raise LoadError("the seeder shook hands for another torrent")
    while True:
        (length,) = struct.unpack(">I", read(4))
        if read(length)[:1] == bytes([_UNCHOKE]):
            return


def _keystream(name: bytes, secret: bytes, info_hash: bytes) -> CipherContext:
    cipher = Cipher(ARC4(_sha1(name + secret + info_hash)), mode=None).encryptor()
    cipher.update(bytes(DISCARDED))
    return cipher


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def read_exactly(stream: socket.socket, count: int) -> bytes:
    """Return `count` bytes; LoadError when the connection ends before."""
    data = b""
    while len(data) < count:
        chunk = stream.recv(count - len(data))
        if not chunk:
            raise LoadError("the seeder closed the connection")
        data += chunk
    return data

"""The dialling side of message stream encryption, for tests, with an RC4 of its own.

Written from the specification and not from our responder; only the group's constants are shared.
What it sends can be made wrong in every part, see `Dialler`.
"""

import hashlib
from dataclasses import dataclass, field
from struct import pack, unpack

from seeder.peer.mse import GENERATOR, PRIME

PLAIN, RC4 = 1, 2


class PlainRc4:
    """RC4 as it is described everywhere, a byte at a time."""

    def __init__(self, key: bytes) -> None:
        state = list(range(256))
        j = 0
        for i in range(256):
            j = (j + state[i] + key[i % len(key)]) % 256
            state[i], state[j] = state[j], state[i]
        self._state = state
        self._i = self._j = 0

    def update(self, data: bytes) -> bytes:
        """Encrypt or decrypt, which is the same."""
        state, i, j = self._state, self._i, self._j
        out = bytearray()
        for byte in data:
            i = (i + 1) % 256
            j = (j + state[i]) % 256
            state[i], state[j] = state[j], state[i]
            out.append(byte ^ state[(state[i] + state[j]) % 256])
        self._i, self._j = i, j
        return bytes(out)


def keystream(name: bytes, secret: bytes, info_hash: bytes) -> PlainRc4:
    """Return the cipher of `keyA` (ours, the dialler's) or `keyB`, 1024 bytes in."""
    cipher = PlainRc4(hashlib.sha1(name + secret + info_hash).digest())
    cipher.update(bytes(1024))
    return cipher


@dataclass
class Dialler:
    """One outgoing handshake; the defaults are right, each of them can be made wrong."""

    info_hash: bytes
    provide: int = PLAIN | RC4
    initial: bytes = b""
    pad_a: bytes = b""
    pad_c: bytes = b""
    private_key: int = 0x5EED_0000_1111_2222_3333_4444_5555_6666_7777_8888
    public_key: int | None = None
    """Sent instead of the one that belongs to `private_key`."""
    strips_zeros: bool = False
    """Hash the shared secret without its leading zeros, as rTorrent does."""
    sync: bytes = b"req1"
    vc: bytes = bytes(8)
    pad_c_length: int | None = None
    """Claimed instead of the true one; so is `initial_length`."""
    initial_length: int | None = None

    selected: int = field(default=0, init=False)
    """The method that the other side chose, once it has."""
    pad_b_length: int = field(default=-1, init=False)
    pad_d: bytes = field(default=b"", init=False)
    secret: bytes = field(default=b"", init=False)
    _in: bytes = field(default=b"", init=False)
    _ours: PlainRc4 = field(init=False)
    _theirs: PlainRc4 = field(init=False)
    _mark: bytes = field(default=b"", init=False)

    def hello(self) -> bytes:
        """Return what goes out first: our public key and pad A."""
        key = self.public_key
        if key is None:
            key = pow(GENERATOR, self.private_key, PRIME)
        return key.to_bytes(96, "big") + self.pad_a

    def receive(self, data: bytes) -> bytes:
        """Take what the other side sent; return what is to be answered."""
        self._in += data
        if not self.secret:
            if len(self._in) < 96:
                return b""
            their_key = int.from_bytes(self._in[:96], "big")
            self._in = self._in[96:]
            return self._request(their_key)
        if not self.selected:
            self._read_answer()
        return b""

    def payload(self) -> bytes:
        """Return the payload that has arrived since, in clear."""
        assert self.selected
        arrived, self._in = self._in, b""
        return self._theirs.update(arrived) if self.selected == RC4 else arrived

    def send(self, payload: bytes) -> bytes:
        """Return payload for after the handshake as it goes out."""
        return self._ours.update(payload) if self.selected == RC4 else payload

    def _request(self, their_key: int) -> bytes:
        secret = pow(their_key, self.private_key, PRIME).to_bytes(96, "big")
        self.secret = secret = secret.lstrip(b"\0") if self.strips_zeros else secret
        self._ours = keystream(b"keyA", secret, self.info_hash)
        self._theirs = keystream(b"keyB", secret, self.info_hash)
        # Pad B has no length: the answer starts where eight encrypted zeros are.
        self._mark = self._theirs.update(bytes(8))
        named = hashlib.sha1(b"req2" + self.info_hash).digest()
        veil = hashlib.sha1(b"req3" + secret).digest()
        pad_length = len(self.pad_c) if self.pad_c_length is None else self.pad_c_length
        length = len(self.initial) if self.initial_length is None else self.initial_length
        clear = self.vc + pack(">IH", self.provide, pad_length) + self.pad_c + pack(">H", length)
        return (
            hashlib.sha1(self.sync + secret).digest()
            + bytes(a ^ b for a, b in zip(named, veil, strict=True))
            + self._ours.update(clear + self.initial)
        )

    def _read_answer(self) -> None:
        if self.pad_b_length < 0:
            start = self._in.find(self._mark, 0, 512 + 8)
            if start < 0:
                assert len(self._in) < 512 + 8, "no answer within the longest pad"
                return
            self.pad_b_length = start
            self._in = self._in[start + 8 :]
            self._mark = b""
        if not self._mark:
            if len(self._in) < 6:
                return
            self._mark = self._theirs.update(self._in[:6])
            self._in = self._in[6:]
        selected, pad_length = unpack(">IH", self._mark)
        if len(self._in) >= pad_length:
            self.pad_d = self._theirs.update(self._in[:pad_length])
            self._in = self._in[pad_length:]
            self.selected = selected

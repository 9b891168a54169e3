"""Message stream encryption, the side that is dialled (MSE/PE as Azureus specified it).

`Responder` takes the dialler's bytes and goes through the handshake; what it has to answer collects
in `data_to_send`. One step is expensive: two exponentiations, half a millisecond together. The
handshake itself always takes RC4: where `rc4_available` says no, encryption can't be offered at
all, not even with a plain payload.

This hides BitTorrent from traffic shapers and protects nothing: a dialler who knows the info hash
gets in, nothing is authenticated, and nothing here runs in constant time.

No I/O.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, IntFlag, auto
from struct import Struct
from typing import Literal, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher

from seeder.errors import WireError
from seeder.peer.messages import PROTOCOL
from seeder.torrent.layout import SHA1_LENGTH, sha1
from seeder.units import KIB

Buffer = bytes | bytearray | memoryview
MsePolicy = Literal["allow", "require"]
"""allow: a plain payload wherever it is offered, else RC4; require: an RC4 payload only."""

PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563",
    16,
)
GENERATOR = 2
PUBLIC_KEY_LENGTH = 96
"""Bytes of a public key and of the shared secret, big-endian."""
PRIVATE_KEY_LENGTH = 20
"""160 bits, as the specification recommends; more costs time and hides nothing better."""
LONGEST_PAD = 512
"""Bytes."""
LONGEST_INITIAL = 32 * KIB
"""Bytes of payload inside it: room for BitTorrent's handshake and a bitfield of 200,000 pieces."""
DISCARDED = 1024
"""RC4's first bytes, which leak its key and are never used."""

_NO_LEADING_ZERO = 1 << 8 * (PUBLIC_KEY_LENGTH - 1)
"""A key or secret from here on needs all its bytes."""
_KEY_AND_PAD = PUBLIC_KEY_LENGTH + LONGEST_PAD
_VC = bytes(8)
_HEADER = Struct(">8sIH")  # VC, crypto_provide or crypto_select, length of the pad behind it
_LENGTH = Struct(">H")


class Method(IntFlag):
    """How the payload goes after the handshake: the bits of crypto_provide and crypto_select."""

    PLAIN = 1
    RC4 = 2


class Keystream(Protocol):
    """One direction's cipher, for one thread at a time; both methods let other threads run.

    `update_into` writes as many bytes as it got to the start of `buf`, ValueError when that is too
    short, and returns their number. The buffers may be the same memory, or else may not overlap.
    """

    def update(self, data: Buffer, /) -> bytes: ...
    def update_into(self, data: Buffer, buf: bytearray | memoryview, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake is over.

    `payload` is what the dialler sent in the handshake and after it so far, in clear. The ciphers
    are for everything later; they are None in plaintext.
    """

    info_hash: bytes
    payload: bytes = field(repr=False)
    decrypt: Keystream | None
    encrypt: Keystream | None


class _Phase(Enum):
    KEY = auto()
    SYNC = auto()
    HEADER = auto()
    PAD = auto()
    INITIAL = auto()
    ESTABLISHED = auto()


class SkeyIndex:
    """Finds the info hash behind H('req2', info hash), which a dialler names its torrent by."""

    def __init__(self) -> None:
        self._found: dict[bytes, bytes] = {}

    def add(self, info_hash: bytes) -> None:
        self._found[_hash(b"req2", info_hash)] = info_hash

    def discard(self, info_hash: bytes) -> None:
        self._found.pop(_hash(b"req2", info_hash), None)

    def find(self, named: bytes) -> bytes | None:
        """Return the info hash with this H('req2', info hash), None when it was never added."""
        return self._found.get(named)


class Responder:
    """One incoming handshake; `receive` raises WireError when it fails.

    `private_key` is 20 random bytes, and one of the next numbers is taken where our public key or
    the shared secret would start with a zero. `pad_b` is random bytes of a random length, 512 at
    most; ValueError otherwise. Pad D, which is allowed, stays empty. The caller keeps the deadline.
    """

    def __init__(
        self,
        find_skey: Callable[[bytes], bytes | None],
        policy: MsePolicy,
        *,
        private_key: bytes,
        pad_b: bytes,
    ) -> None:
        if len(private_key) != PRIVATE_KEY_LENGTH:
            raise ValueError(f"a private key is {PRIVATE_KEY_LENGTH} bytes, not {len(private_key)}")
        if len(pad_b) > LONGEST_PAD:
            raise ValueError(f"a pad is {LONGEST_PAD} bytes at most")
        self._find_skey = find_skey
        self._policy = policy
        self._private_key = int.from_bytes(private_key, "big")
        self._pad_b = pad_b
        self._phase = _Phase.KEY
        self._buffer = bytearray()
        self._out = bytearray()
        self._secret = b""
        self._info_hash = b""
        self._decrypt: Keystream
        self._encrypt: Keystream
        self._method = Method.PLAIN
        self._expected = 0
        """Bytes of the part that is read next, where an earlier part says so."""

    def receive(self, data: Buffer) -> Established | None:
        """Take what arrived; return the outcome, None as long as more bytes are needed."""
        assert self._phase is not _Phase.ESTABLISHED
        self._buffer += data
        while True:
            match self._phase:
                case _Phase.KEY:
                    moved = self._read_key()
                case _Phase.SYNC:
                    moved = self._read_sync()
                case _Phase.HEADER:
                    moved = self._read_header()
                case _Phase.PAD:
                    moved = self._read_pad()
                case _:
                    return self._read_initial()
            if not moved:
                return None

    def data_to_send(self) -> bytes:
        """Return what the handshake has to answer, and forget it."""
        out = bytes(self._out)
        self._out.clear()
        return out

    # -- parts of the handshake, in their order

    def _read_key(self) -> bool:
        peer_key = read_key(self._buffer)
        if peer_key is None:
            return False
        public_key = pow(GENERATOR, self._private_key, PRIME)
        secret = pow(peer_key, self._private_key, PRIME)
        while min(public_key, secret) < _NO_LEADING_ZERO:
            # rTorrent hashes the secret without its leading zeros. One exchange in 128 would fail,
            # and rTorrent doesn't dial again: the next private key is as good as this one.
            public_key = public_key * GENERATOR % PRIME
            secret = secret * peer_key % PRIME
        self._secret = secret.to_bytes(PUBLIC_KEY_LENGTH, "big")
        self._out += public_key.to_bytes(PUBLIC_KEY_LENGTH, "big") + self._pad_b
        self._phase = _Phase.SYNC
        return True

    def _read_sync(self) -> bool:
        buffer, secret = self._buffer, self._secret
        most = _KEY_AND_PAD + SHA1_LENGTH
        start = buffer.find(_hash(b"req1", secret), PUBLIC_KEY_LENGTH, most)
        if start < 0:
            if len(buffer) >= most:
                raise WireError("mse-no-sync", f"not within {most} bytes")
            return False
        named_at, end = start + SHA1_LENGTH, start + 2 * SHA1_LENGTH
        if len(buffer) < end:
            return False
        named = _exclusive_or(buffer[named_at:end], _hash(b"req3", secret))
        info_hash = self._find_skey(named)
        if info_hash is None:
            raise WireError("mse-unknown-torrent")
        del buffer[:end]
        self._info_hash = info_hash
        self._decrypt = _rc4(_hash(b"keyA", secret, info_hash))
        self._encrypt = _rc4(_hash(b"keyB", secret, info_hash))
        self._phase = _Phase.HEADER
        return True

    def _read_header(self) -> bool:
        header = self._take(_HEADER.size)
        if header is None:
            return False
        vc, provided, pad_length = _HEADER.unpack(header)
        if vc != _VC:
            raise WireError("mse-bad-vc")
        if pad_length > LONGEST_PAD:
            raise WireError("mse-bad-pad", f"{pad_length} bytes")
        self._method = self._choose(provided)
        self._expected = pad_length + _LENGTH.size
        self._phase = _Phase.PAD
        return True

    def _choose(self, provided: int) -> Method:
        if self._policy == "allow" and provided & Method.PLAIN:
            return Method.PLAIN
        if provided & Method.RC4:
            return Method.RC4
        raise WireError("mse-no-method", f"offered {provided:#x}")

    def _read_pad(self) -> bool:
        pad = self._take(self._expected)
        if pad is None:
            return False
        (self._expected,) = _LENGTH.unpack(pad[-_LENGTH.size :])
        if self._expected > LONGEST_INITIAL:
            raise WireError("mse-bad-length", f"{self._expected} bytes")
        self._phase = _Phase.INITIAL
        return True

    def _read_initial(self) -> Established | None:
        initial = self._take(self._expected)
        if initial is None:
            return None
        later = bytes(self._buffer)
        self._buffer.clear()
        self._out += self._encrypt.update(_HEADER.pack(_VC, self._method, 0))
        self._phase = _Phase.ESTABLISHED
        if self._method is Method.PLAIN:
            return Established(self._info_hash, initial + later, None, None)
        payload = initial + self._decrypt.update(later)
        return Established(self._info_hash, payload, self._decrypt, self._encrypt)

    def _take(self, count: int) -> bytes | None:
        """Return the next `count` bytes in clear, None until all of them are there."""
        if len(self._buffer) < count:
            return None
        clear = self._decrypt.update(self._buffer[:count])
        del self._buffer[:count]
        return clear


def looks_plain(start: Buffer) -> bool | None:
    """Tell whether a connection that starts so is plain BitTorrent; None if more bytes must tell.

    20 bytes tell in any case. Anything else is a public key, or no BitTorrent at all.
    """
    start = bytes(start[: len(PROTOCOL)])
    if start == PROTOCOL:
        return True
    return None if PROTOCOL.startswith(start) else False


def read_key(start: Buffer) -> int | None:
    """Return the dialler's public key at the start of a handshake, None until all of it is there.

    WireError where our answer would be wasted.
    """
    if len(start) < PUBLIC_KEY_LENGTH:
        return None
    key = int.from_bytes(start[:PUBLIC_KEY_LENGTH], "big")
    if not 2 <= key <= PRIME - 2:
        # 0, 1 and P-1 have powers that anybody can tell.
        raise WireError("mse-bad-key")
    # No dialler can send more before it has our key: save the exponentiations.
    if len(start) > _KEY_AND_PAD:
        raise WireError("mse-no-sync", f"{len(start)} bytes before our key")
    return key


def rc4_available() -> bool:
    """Tell whether OpenSSL has RC4: CRYPTOGRAPHY_OPENSSL_NO_LEGACY and FIPS take it away."""
    try:
        _rc4(bytes(SHA1_LENGTH))
    except UnsupportedAlgorithm:
        return False
    return True


def _rc4(key: bytes) -> Keystream:
    context = Cipher(ARC4(key), mode=None).encryptor()
    context.update(bytes(DISCARDED))
    return context


def _hash(*parts: bytes) -> bytes:
    return sha1(b"".join(parts))


def _exclusive_or(left: bytes | bytearray, right: bytes) -> bytes:
    both = int.from_bytes(left, "big") ^ int.from_bytes(right, "big")
    return both.to_bytes(len(right), "big")

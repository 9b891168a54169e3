"""Message stream encryption: the fuzzer's bytes stand behind a key exchange that is done."""

import contextlib
import hashlib
import random

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext

from seeder.errors import WireError
from seeder.peer.encryption import EncryptionLayer
from seeder.peer.messages import PROTOCOL
from seeder.peer.mse import GENERATOR, LONGEST_INITIAL, PRIME, MsePolicy, Responder, SkeyIndex
from tests.fuzz.inputs import Choices, chunks, target

_HASH = bytes(range(20))
_THEIRS, _OURS = 2**159 + 12345, bytes(range(1, 21))
_PUBLIC = pow(GENERATOR, _THEIRS, PRIME).to_bytes(96, "big")
_SECRET = pow(pow(GENERATOR, int.from_bytes(_OURS, "big"), PRIME), _THEIRS, PRIME).to_bytes(
    96, "big"
)
_INDEX = SkeyIndex()
_INDEX.add(_HASH)


def _sha1(*parts: bytes) -> bytes:
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).digest()


def _keystream(name: bytes) -> CipherContext:
    made = Cipher(ARC4(_sha1(name, _SECRET, _HASH)), mode=None).encryptor()
    made.update(bytes(1024))
    return made


_SYNC = _sha1(b"req1", _SECRET) + bytes(
    a ^ b for a, b in zip(_sha1(b"req2", _HASH), _sha1(b"req3", _SECRET), strict=True)
)


def _clear(provide: int, pad: bytes, initial: bytes) -> bytes:
    return (
        bytes(8)
        + provide.to_bytes(4, "big")
        + len(pad).to_bytes(2, "big")
        + pad
        + len(initial).to_bytes(2, "big")
        + initial
    )


@target(
    *(
        bytes((flags, 0, 9)) + _clear(provide, pad, PROTOCOL)
        for flags in (0, 1, 2)
        for provide, pad in ((1, b""), (2, bytes(9)), (3, bytes(512)), (0, b""))
    ),
    b"\x04\x20\0" + bytes(60),
    b"\x08\x05\x01" + PROTOCOL + bytes(48),
    b"\x10\x05\x01" + bytes(700),
    blown_up=96 * 1024,
)
def mse(data: bytes) -> None:
    """The side that is dialled: the same outcome however the bytes arrive, or a WireError."""
    choices = Choices(data)
    flags, pad_length, schedule = choices.number(), choices.number(), choices.number()
    clear = choices.rest()
    policy: MsePolicy = "require" if flags & 1 else "allow"
    if flags & 8:  # nothing but the fuzzer's bytes
        stream = clear
    elif flags & 4:  # behind our key, no synchronisation
        stream = _PUBLIC + clear
    else:
        pad = clear[:pad_length]
        stream = _PUBLIC + pad + _SYNC + _keystream(b"keyA").update(clear[pad_length:])
    outcomes = {
        _outcome(policy, parts, offered=not flags & 16)
        for parts in ([stream[:96], stream[96:]], chunks(stream, random.Random(schedule)))
    }
    reasons = {reason for reason, *_ in outcomes}
    if "mse-no-sync" not in reasons:
        # More than a dialler can know before our key is refused if it comes at once.
        assert len(outcomes) == 1
    if not flags & 12 and reasons == {""}:
        [(_, got, out)] = outcomes
        _check(clear[pad_length:], got, out, policy)


def _outcome(policy: MsePolicy, parts: list[bytes], *, offered: bool) -> tuple[str, bytes, bytes]:
    """Return why it ended (nothing: it didn't), what arrived in clear, what was answered."""
    made = EncryptionLayer(
        policy if offered else None,
        lambda: Responder(_INDEX.find, policy, private_key=_OURS, pad_b=b"pad"),
    )
    got = out = b""
    try:
        for part in parts:
            got += bytes(made.receive(part))
            if made.waits:
                got += made.exchange()
            out += made.data_to_send()
            assert made.settled or not got
            assert made._responder is None or len(made._responder._buffer) < 2 * LONGEST_INITIAL
    except WireError as error:
        return error.reason, b"", b""
    return "", got, out


def _check(clear: bytes, got: bytes, out: bytes, policy: MsePolicy) -> None:
    """Hold the outcome, which is no error, against what the dialler said."""
    provided, pad = int.from_bytes(clear[8:12], "big"), int.from_bytes(clear[12:14], "big")
    start = 14 + pad + 2
    initial = int.from_bytes(clear[start - 2 : start], "big")
    if len(clear) < 14 or len(clear) < start + initial:
        assert not got
        return
    assert clear[:8] == bytes(8)
    assert initial <= LONGEST_INITIAL
    plain = policy == "allow" and provided & 1
    assert plain or provided & 2
    later = _later(clear, start + initial) if plain else clear[start + initial :]
    assert got == clear[start : start + initial] + later
    answer = _keystream(b"keyB").update(out[96 + 3 :])
    assert answer[:8] == bytes(8)
    assert int.from_bytes(answer[8:12], "big") == (1 if plain else 2)


def _later(clear: bytes, start: int) -> bytes:
    """Return what follows the handshake as it stands on the wire: it isn't decrypted."""
    return _keystream(b"keyA").update(clear)[start:]


@target(PROTOCOL, PROTOCOL[:5], b"\x13Bit" + bytes(96), bytes(20))
def first_bytes(data: bytes) -> None:
    """Which protocol a connection speaks, from its first bytes."""
    for offered in (True, False):
        with contextlib.suppress(WireError):
            _outcome("allow", [data], offered=offered)

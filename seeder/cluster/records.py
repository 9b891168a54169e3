"""Peers as the store has them: a name of 26 or 38 bytes, a value of 37 and the client's key.

The name is the info hash and the compact endpoint; and the peer id of one that went and was unknown
where it said so, which says nothing of another client there. The value is when the peer was heard
of (us, 8 bytes), what of it (a byte of flags), `downloaded` (8), the peer id (20) and the key.

Of two values for one name the later one counts, and of two of the same time the greater one: so it
doesn't matter what is lost, doubled or late on the way. That a completion was counted outlasts a
later value of the same client.

No I/O.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from math import inf, isfinite

from seeder.net.addresses import V4_ENDPOINT, V6_ENDPOINT
from seeder.torrent.info import InfoHash
from seeder.torrent.layout import SHA1_LENGTH
from seeder.tracker.announce import LARGEST_COUNT, MOST_KEY_BYTES, PEER_ID_LENGTH, AnnounceEvent
from seeder.tracker.journal import SharedVisit
from seeder.tracker.owed import ClaimName, OwedClaim, Settled
from seeder.tracker.passkeys import Passkey, check_holder
from seeder.tracker.told import SharedPeer

_HEAD = struct.Struct(">QBQ20s")
_SIZES = struct.Struct(">BB")
_PASSKEY = struct.Struct(">BIIQ")
_CLAIM = struct.Struct(">QQ")
_SAID = struct.Struct(">Q")
_SETTLED = struct.Struct(">QQQQ")
_COMPLETE, _WANTS_NOTHING, _STRAY, _KEYED, _COUNTED = 1, 2, 4, 8, 128
"""_KEYED: behind the head stand the length of the client's key, when its passkey was issued and
ends, `uploaded`, the key, and whose the passkey is. _STRAY: of a peer that went."""
_EVENTS = (
    AnnounceEvent.NONE,
    AnnounceEvent.STARTED,
    AnnounceEvent.COMPLETED,
    AnnounceEvent.STOPPED,
)
_EVENT_SHIFT, _EVENT_MASK = 4, 3
_MOST_COMPLETED = 2**31 - 1
"""What a scrape by UDP has room for."""


def name_of(peer: SharedPeer) -> bytes:
    """Return the name of a peer."""
    return peer.info_hash + peer.whose


def pack(peer: SharedPeer, at: Callable[[float], int]) -> bytes:
    """Return the value of a peer; `at` makes the time that all share (us) of ours (s)."""
    event = _EVENTS.index(peer.event) if peer.event in _EVENTS else 0
    flags = (
        peer.complete * _COMPLETE
        + peer.wants_nothing * _WANTS_NOTHING
        + peer.is_stray * _STRAY
        + (peer.passkey is not None) * _KEYED
        + peer.counted * _COUNTED
        + (event << _EVENT_SHIFT)
    )
    downloaded = min(peer.downloaded, LARGEST_COUNT)
    head = _HEAD.pack(max(0, at(peer.seen)), flags, downloaded, peer.peer_id)
    if peer.passkey is None:
        return head + peer.key
    holder, issued, expires = peer.passkey
    uploaded = min(peer.uploaded, LARGEST_COUNT)
    more = _PASSKEY.pack(len(peer.key), issued, expires, uploaded)
    return head + more + peer.key + holder.encode()


def time_of(value: bytes) -> int:
    """Return when a packed peer was heard of (us)."""
    return int.from_bytes(value[:8], "big")


def unpack(name: bytes, value: bytes, moment: Callable[[int], float]) -> SharedPeer:
    """Return the peer of a name and a value; ValueError. `moment` is the inverse of `at`."""
    is_stray = len(value) > 8 and bool(value[8] & _STRAY)
    endpoint = name[SHA1_LENGTH : -PEER_ID_LENGTH if is_stray else None]
    key, passkey, uploaded = value[_HEAD.size :], None, 0
    if len(value) > _HEAD.size and value[8] & _KEYED:
        key, passkey, uploaded = _unpack_passkey(key)
    if len(endpoint) not in (V4_ENDPOINT, V6_ENDPOINT) or endpoint[-2:] == b"\0\0":
        raise ValueError("not the name of a peer")
    if len(value) < _HEAD.size or len(key) > MOST_KEY_BYTES:
        raise ValueError("not a peer's value")
    seen, flags, downloaded, peer_id = _HEAD.unpack_from(value)
    event = _EVENTS[flags >> _EVENT_SHIFT & _EVENT_MASK]
    if flags & _STRAY and event is not AnnounceEvent.STOPPED:
        raise ValueError("not a peer's flags")
    return SharedPeer(
        InfoHash(name[:SHA1_LENGTH]),
        endpoint,
        peer_id,
        key,
        moment(seen),
        # Earlier versions wrote larger ones.
        min(downloaded, LARGEST_COUNT),
        event,
        bool(flags & _COMPLETE),
        bool(flags & _WANTS_NOTHING),
        bool(flags & _COUNTED),
        passkey,
        uploaded,
        is_stray,
    )


def _unpack_passkey(data: bytes) -> tuple[bytes, Passkey, int]:
    """Return a client's key, its passkey and `uploaded`, which stand behind a head; ValueError."""
    if len(data) < _PASSKEY.size:
        raise ValueError("not a passkey")
    length, issued, expires, uploaded = _PASSKEY.unpack_from(data)
    stop = _PASSKEY.size + length
    passkey = Passkey(check_holder(data[stop:].decode()), issued, expires)
    return data[_PASSKEY.size : stop], passkey, min(uploaded, LARGEST_COUNT)


def pack_claim(claim: OwedClaim, at: Callable[[float], int]) -> tuple[bytes, bytes]:
    """Return bytes that are owed as a name and a value: a peer's, behind where they begin."""
    head = _CLAIM.pack(_packed_beginning(claim.began, at), claim.low)
    return name_of(claim.peer), head + pack(claim.peer, at)


def unpack_claim(name: bytes, value: bytes, moment: Callable[[int], float]) -> OwedClaim:
    """Return the bytes of a name and a value; ValueError."""
    if len(value) < _CLAIM.size:
        raise ValueError("not a claim")
    began, low = _CLAIM.unpack_from(value)
    peer = unpack(name, value[_CLAIM.size :], moment)
    if low > peer.downloaded or peer.gone:
        raise ValueError("not what a peer can claim")
    return OwedClaim(peer, low, _unpacked_beginning(began, moment))


def pack_said(seen: float, at: Callable[[float], int]) -> bytes:
    """Return when a client had said what is settled as a value; the name is as for bytes."""
    return _SAID.pack(max(0, at(seen)))


def unpack_said(value: bytes, moment: Callable[[int], float]) -> float:
    """Return when a client had said what is settled; ValueError."""
    if not value:
        return inf  # earlier versions don't tell
    if len(value) != _SAID.size:
        raise ValueError("not when anything was said")
    return moment(*_SAID.unpack(value))


def pack_settled(settled: Settled, at: Callable[[float], int]) -> bytes:
    """Return which bytes are settled as a value; the name is of the torrent and the session."""
    seen, began, low, high = settled
    return _SETTLED.pack(max(0, at(seen)), _packed_beginning(began, at), low, high)


def unpack_settled(value: bytes, moment: Callable[[int], float]) -> Settled:
    """Return which bytes are settled; ValueError."""
    if len(value) != _SETTLED.size:
        raise ValueError("not what is settled")
    seen, began, low, high = _SETTLED.unpack(value)
    return Settled(moment(seen), _unpacked_beginning(began, moment), low, high)


def unpack_claim_name(name: bytes) -> ClaimName:
    """Return whose claim a name is of."""
    return ClaimName(InfoHash(name[:SHA1_LENGTH]), name[SHA1_LENGTH:])


def _packed_beginning(began: float, at: Callable[[float], int]) -> int:
    return max(1, at(began)) if isfinite(began) else 0


def _unpacked_beginning(packed: int, moment: Callable[[int], float]) -> float:
    return moment(packed) if packed else -inf


def join(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return names and values in one piece."""
    return b"".join(_SIZES.pack(len(name), len(value)) + name + value for name, value in pairs)


def split(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names and values of what `join` made; ValueError at anything else."""
    at, end = 0, len(data)
    while at < end:
        if at + _SIZES.size > end:
            raise ValueError("torn")
        name, value = _SIZES.unpack_from(data, at)
        at += _SIZES.size
        if at + name + value > end:
            raise ValueError("torn")
        yield data[at : at + name], data[at + name : at + name + value]
        at += name + value


def pack_visit(visit: SharedVisit) -> tuple[bytes, bytes]:
    """Return a visit as a name and a value."""
    return visit.info_hash + visit.address, min(visit.at_once, 0xFFFF).to_bytes(2, "big")


def unpack_visit(name: bytes, value: bytes) -> SharedVisit:
    """Return the visit of a name and a value; ValueError."""
    address = name[SHA1_LENGTH:]
    if len(address) not in (V4_ENDPOINT - 2, V6_ENDPOINT - 2) or len(value) != 2:
        raise ValueError("not a visit")
    return SharedVisit(InfoHash(name[:SHA1_LENGTH]), address, int.from_bytes(value, "big"))


def pack_count(info_hash: bytes, count: int) -> tuple[bytes, bytes]:
    """Return a number of completions as a name and a value."""
    return info_hash, b"%d" % count


def unpack_count(name: bytes, value: bytes) -> tuple[InfoHash, int]:
    """Return what a name and a value say of completions; ValueError."""
    count = int(value)
    if not 0 <= count <= _MOST_COMPLETED:
        raise ValueError("not a number of completions")
    return InfoHash(name), count

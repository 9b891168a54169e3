"""Swarms as rows for JSON, without loss: a restart loses no peer and counts nothing twice.

A large swarm is several rows. Times become ages, since the clock of one run means nothing to the
next.

No I/O.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from math import inf, isfinite
from typing import NamedTuple, NotRequired, TypeAlias, TypedDict

from seeder.net.addresses import V4_ENDPOINT, V6_ENDPOINT
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import KEY_LENGTH, LARGEST_COUNT, PEER_ID_LENGTH, client_key
from seeder.tracker.members import SavedMember
from seeder.tracker.passkeys import LATEST_SECOND, Passkey, check_holder

Cell: TypeAlias = str | int | float

_WHOSE = tuple(each + more for each in (V4_ENDPOINT, V6_ENDPOINT) for more in (0, PEER_ID_LENGTH))
ROW_ENTRIES = 250
"""Peers, and sessions, in a row: as many as take about half a millisecond."""


class SavedPeer(NamedTuple):
    """A listed peer."""

    endpoint: bytes
    peer_id: bytes
    key: bytes
    complete: bool
    wants_nothing: bool
    seen: float


class SavedSession(NamedTuple):
    """A client's session, and what was counted for it in bytes."""

    peer_id: bytes
    key: bytes
    downloaded: int
    claimed: int
    completed: bool
    endpoint: bytes
    """Where it announced from; empty where an earlier version didn't save that."""
    seen: float


class SavedCompletion(NamedTuple):
    """That a client completed."""

    endpoint: bytes
    peer_id: bytes
    key: bytes
    downloaded: int
    seen: float
    """When it said so."""


class SavedBytes(NamedTuple):
    """That a client has received some bytes: see `seeder.tracker.owed.OwedClaim`."""

    endpoint: bytes
    peer_id: bytes
    key: bytes
    low: int
    downloaded: int
    began: float
    seen: float


class SavedDownload(NamedTuple):
    """What is known of a session's download: see `seeder.tracker.downloads`."""

    endpoint: bytes
    peer_id: bytes
    key: bytes
    began: float
    gaps: tuple[tuple[int, int], ...]
    seen: float
    """When the session was seen last."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted for a swarm when it was saved."""

    completed: int = 0
    claimed: int | None = 0
    """Bytes; None where an earlier version didn't save that."""


@dataclass(frozen=True, slots=True)
class SavedSwarm:
    """One swarm, or a part of it."""

    info_hash: InfoHash
    counted: Counted
    peers: list[SavedPeer]
    sessions: list[SavedSession]
    members: list[SavedMember] = field(default_factory=list)
    """Of a private swarm."""
    gone: list[tuple[bytes, float]] = field(default_factory=list)
    """In a cluster: whose peers went, as of `SharedPeer.whose`, and when."""
    owed: list[SavedCompletion] = field(default_factory=list)
    """In a cluster: who completed, which another node is to count."""
    owed_bytes: list[SavedBytes] = field(default_factory=list)
    """In a cluster: bytes that another node is to count."""
    downloads: list[SavedDownload] = field(default_factory=list)
    """In a cluster: of those sessions of which there is anything to know."""

    def seen_since(self, oldest: float) -> "SavedSwarm":
        """Return what of it was seen at or after `oldest`."""
        peers = [peer for peer in self.peers if peer.seen >= oldest]
        sessions = [session for session in self.sessions if session.seen >= oldest]
        members = [member for member in self.members if member.seen >= oldest]
        gone = [each for each in self.gone if each[1] >= oldest]
        return replace(
            self,
            peers=peers,
            sessions=sessions,
            members=members,
            gone=gone,
            owed=[each for each in self.owed if each.seen >= oldest],
            owed_bytes=[each for each in self.owed_bytes if each.seen >= oldest],
            downloads=[each for each in self.downloads if each.seen >= oldest],
        )

    def extend(self, other: "SavedSwarm") -> None:
        """Take in another part of the same swarm."""
        self.peers.extend(other.peers)
        self.sessions.extend(other.sessions)
        self.members.extend(other.members)
        self.gone.extend(other.gone)
        self.owed.extend(other.owed)
        self.owed_bytes.extend(other.owed_bytes)
        self.downloads.extend(other.downloads)

    def is_gone(self, oldest: float) -> bool:
        """Tell whether nothing in it was seen at or after `oldest`."""
        return not (
            any(peer.seen >= oldest for peer in reversed(self.peers))
            or any(session.seen >= oldest for session in reversed(self.sessions))
            or any(member.seen >= oldest for member in self.members)
            or any(seen >= oldest for _, seen in self.gone)
            or any(each.seen >= oldest for each in self.owed)
            or any(each.seen >= oldest for each in self.owed_bytes)
        )


class SwarmRow(TypedDict):
    """A saved swarm for JSON: bytes in hex, flags as 0 or 1, ages in seconds."""

    info_hash: str
    completed: int
    claimed: int | None
    peers: list[list[Cell]]
    sessions: list[list[Cell]]
    members: NotRequired[list[list[Cell]]]
    gone: NotRequired[list[list[Cell]]]
    owed: NotRequired[list[list[Cell]]]
    owed_bytes: NotRequired[list[list[Cell]]]
    downloads: NotRequired[list[list[Cell]]]


def to_rows(
    info_hash: InfoHash,
    counted: Counted,
    peers: Iterable[SavedPeer],
    sessions: Iterable[SavedSession],
    now: float,
    *,
    members: Iterable[SavedMember] = (),
    gone: Iterable[tuple[bytes, float]] = (),
    owed: Iterable[SavedCompletion] = (),
    owed_bytes: Iterable[SavedBytes] = (),
    downloads: Iterable[SavedDownload] = (),
) -> Iterator[SwarmRow]:
    """Yield a swarm as its rows, at least one.

    In order: who went, what is owed, downloads, members, peers, sessions.
    """
    bare = SwarmRow(
        info_hash=info_hash.hex(),
        completed=counted.completed,
        claimed=counted.claimed,
        peers=[],
        sessions=[],
    )
    for some in _some(_gone_cells(each, now) for each in gone):
        yield {**bare, "gone": some}
    for some in _some(_cells(each, now) for each in owed):
        yield {**bare, "owed": some}
    for some in _some(_bytes_cells(each, now) for each in owed_bytes):
        yield {**bare, "owed_bytes": some}
    for some in _some(_download_cells(each, now) for each in downloads):
        yield {**bare, "downloads": some}
    for some in _some(_member_cells(member, now) for member in members):
        yield {**bare, "members": some}
    peers, sessions = iter(peers), iter(sessions)
    first = True
    while True:
        peer_cells = [_cells(peer, now) for peer in islice(peers, ROW_ENTRIES)]
        room = ROW_ENTRIES - len(peer_cells)
        session_cells = [_cells(session, now) for session in islice(sessions, room)]
        if not (first or peer_cells or session_cells):
            return
        first = False
        yield {**bare, "peers": peer_cells, "sessions": session_cells}


def _some(cells: Iterable[list[Cell]]) -> Iterator[list[list[Cell]]]:
    left = iter(cells)
    while some := list(islice(left, ROW_ENTRIES)):
        yield some


def _cells(entry: SavedPeer | SavedSession | SavedCompletion, now: float) -> list[Cell]:
    values = [value.hex() if isinstance(value, bytes) else int(value) for value in entry[:-1]]
    return [*values, now - entry.seen]


def _gone_cells(gone: tuple[bytes, float], now: float) -> list[Cell]:
    whose, seen = gone
    return [whose.hex(), now - seen]


def _bytes_cells(claim: SavedBytes, now: float) -> list[Cell]:
    *whose, low, downloaded, began, seen = claim
    return [*map(bytes.hex, whose), low, downloaded, _before(began, seen), now - seen]


def _download_cells(download: SavedDownload, now: float) -> list[Cell]:
    *whose, began, gaps, seen = download
    ends = [end for gap in gaps for end in gap]
    return [*map(bytes.hex, whose), _before(began, seen), *ends, now - seen]


def _before(began: float, seen: float) -> float:
    """Return how long before another moment (s) something began; -1 where that is unknown."""
    return max(0.0, seen - began) if isfinite(began) else -1.0


def _member_cells(member: SavedMember, now: float) -> list[Cell]:
    """Return a member as cells; its key can't be made of them."""
    holder, issued, expires = member.passkey
    return [
        member.endpoint.hex(),
        member.peer_id.hex(),
        holder,
        issued,
        expires,
        member.uploaded,
        member.downloaded,
        now - member.seen,
    ]


def from_row(row: SwarmRow, now: float) -> SavedSwarm:
    """Return what `to_rows` made a row of; ValueError for anything else."""
    try:
        claimed = row.get("claimed")
        return SavedSwarm(
            InfoHash.from_hex(row["info_hash"]),
            Counted(
                _count(row["completed"]),
                None if claimed is None else _count(claimed),
            ),
            [_peer(cells, now) for cells in row["peers"]],
            [_session(cells, now) for cells in row["sessions"]],
            [_member(cells, now) for cells in row.get("members", [])],
            [(_bytes(whose, *_WHOSE), now - _age(age)) for whose, age in row.get("gone", [])],
            [_completion(cells, now) for cells in row.get("owed", [])],
            [_claim(cells, now) for cells in row.get("owed_bytes", [])],
            [_download(cells, now) for cells in row.get("downloads", [])],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a saved swarm: {error!r}") from error


def _peer(cells: Iterable[Cell], now: float) -> SavedPeer:
    endpoint, peer_id, key, complete, wants_nothing, age = cells
    return SavedPeer(
        _bytes(endpoint, V4_ENDPOINT, V6_ENDPOINT),
        _bytes(peer_id, PEER_ID_LENGTH),
        _key(key),
        bool(complete),
        bool(wants_nothing),
        now - _age(age),
    )


def _session(cells: Iterable[Cell], now: float) -> SavedSession:
    peer_id, key, downloaded, claimed, completed, *endpoint, age = cells
    [where] = endpoint or [""]
    return SavedSession(
        _bytes(peer_id, PEER_ID_LENGTH),
        _key(key),
        _count(downloaded),
        _count(claimed),
        bool(completed),
        _bytes(where, 0, V4_ENDPOINT, V6_ENDPOINT),
        now - _age(age),
    )


def _member(cells: Iterable[Cell], now: float) -> SavedMember:
    endpoint, peer_id, holder, issued, expires, uploaded, downloaded, age = cells
    if not isinstance(holder, str):
        raise ValueError(f"{holder!r} is no holder")
    return SavedMember(
        _bytes(endpoint, V4_ENDPOINT, V6_ENDPOINT),
        _bytes(peer_id, PEER_ID_LENGTH),
        Passkey(check_holder(holder), _moment(issued), _moment(expires)),
        _count(uploaded),
        _count(downloaded),
        now - _age(age),
    )


def _completion(cells: Iterable[Cell], now: float) -> SavedCompletion:
    endpoint, peer_id, key, downloaded, age = cells
    return SavedCompletion(
        _bytes(endpoint, V4_ENDPOINT, V6_ENDPOINT),
        _bytes(peer_id, PEER_ID_LENGTH),
        _key(key),
        _count(downloaded),
        now - _age(age),
    )


def _claim(cells: Iterable[Cell], now: float) -> SavedBytes:
    endpoint, peer_id, key, low, downloaded, before, age = cells
    seen = now - _age(age)
    return SavedBytes(
        _bytes(endpoint, V4_ENDPOINT, V6_ENDPOINT),
        _bytes(peer_id, PEER_ID_LENGTH),
        _key(key),
        _count(low),
        _count(downloaded),
        _beginning(before, seen),
        seen,
    )


def _download(cells: Iterable[Cell], now: float) -> SavedDownload:
    endpoint, peer_id, key, before, *ends, age = cells
    seen = now - _age(age)
    gaps = tuple(zip(map(_count, ends[::2]), map(_count, ends[1::2]), strict=True))
    if any(low >= high for low, high in gaps):
        raise ValueError("an empty gap")
    return SavedDownload(
        _bytes(endpoint, 0, V4_ENDPOINT, V6_ENDPOINT),
        _bytes(peer_id, PEER_ID_LENGTH),
        _key(key),
        _beginning(before, seen),
        gaps,
        seen,
    )


def _beginning(before: Cell, seen: float) -> float:
    if isinstance(before, str):
        raise ValueError(f"{before!r} is no time")
    return -inf if before < 0 else seen - _age(before)


def _moment(cell: Cell) -> int:
    if _count(cell) > LATEST_SECOND:
        raise ValueError(f"{cell!r} is no time")
    return _count(cell)


def _bytes(cell: Cell, *lengths: int) -> bytes:
    if not isinstance(cell, str):
        raise ValueError(f"{cell!r} is not hexadecimal")
    value = bytes.fromhex(cell)
    if lengths and len(value) not in lengths:
        raise ValueError(f"{cell!r} has a wrong length")
    return value


def _key(cell: Cell) -> bytes:
    key = _bytes(cell)
    # Earlier versions saved it as clients write it, which is nearly always in eight digits.
    return client_key(key) if len(key) == 2 * KEY_LENGTH else key


def _count(cell: Cell) -> int:
    if not isinstance(cell, int) or cell < 0:
        raise ValueError(f"{cell!r} is not a count")
    # Earlier versions saved larger ones.
    return min(cell, LARGEST_COUNT)


def _age(cell: Cell) -> float:
    if isinstance(cell, str) or not isfinite(cell):
        raise ValueError(f"{cell!r} is not an age")
    return max(cell, 0.0)

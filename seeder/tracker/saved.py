"""Swarms as rows for JSON, without loss: a restart loses no peer and counts nothing twice.

Times become ages, since the clock of one run means nothing to the next.

No I/O.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple, TypeAlias, TypedDict

from seeder.net.addresses import V4_ENDPOINT, V6_ENDPOINT
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import PEER_ID_LENGTH

Cell: TypeAlias = str | int | float


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


@dataclass(frozen=True, slots=True)
class SavedSwarm:
    """One swarm; its peers are sorted, the longest unseen first."""

    info_hash: InfoHash
    completed: int
    peers: Sequence[SavedPeer]
    sessions: Sequence[SavedSession]

    def seen_since(self, oldest: float) -> bool:
        """Tell whether anything in it was seen at or after `oldest`."""
        if self.peers and self.peers[-1].seen >= oldest:
            return True
        return any(session.seen >= oldest for session in reversed(self.sessions))


class SwarmRow(TypedDict):
    """A saved swarm for JSON: bytes in hex, flags as 0 or 1, ages in seconds."""

    info_hash: str
    completed: int
    peers: list[list[Cell]]
    sessions: list[list[Cell]]


def to_row(saved: SavedSwarm, now: float) -> SwarmRow:
    """Return a swarm as its row."""
    return SwarmRow(
        info_hash=saved.info_hash.hex(),
        completed=saved.completed,
        peers=[_cells(peer, now) for peer in saved.peers],
        sessions=[_cells(session, now) for session in saved.sessions],
    )


def _cells(entry: SavedPeer | SavedSession, now: float) -> list[Cell]:
    values = [value.hex() if isinstance(value, bytes) else int(value) for value in entry[:-1]]
    return [*values, now - entry.seen]


def from_row(row: SwarmRow, now: float) -> SavedSwarm:
    """Return the swarm that `to_row` made a row of; ValueError for anything else."""
    try:
        return SavedSwarm(
            InfoHash.from_hex(row["info_hash"]),
            _count(row["completed"]),
            [_peer(cells, now) for cells in row["peers"]],
            [_session(cells, now) for cells in row["sessions"]],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a saved swarm: {error!r}") from error


def _peer(cells: Iterable[Cell], now: float) -> SavedPeer:
    endpoint, peer_id, key, complete, wants_nothing, age = cells
    return SavedPeer(
        _bytes(endpoint, V4_ENDPOINT, V6_ENDPOINT),
        _bytes(peer_id, PEER_ID_LENGTH),
        _bytes(key),
        bool(complete),
        bool(wants_nothing),
        now - _age(age),
    )


def _session(cells: Iterable[Cell], now: float) -> SavedSession:
    peer_id, key, downloaded, claimed, completed, *endpoint, age = cells
    [where] = endpoint or [""]
    return SavedSession(
        _bytes(peer_id, PEER_ID_LENGTH),
        _bytes(key),
        _count(downloaded),
        _count(claimed),
        bool(completed),
        _bytes(where, 0, V4_ENDPOINT, V6_ENDPOINT),
        now - _age(age),
    )


def _bytes(cell: Cell, *lengths: int) -> bytes:
    if not isinstance(cell, str):
        raise ValueError(f"{cell!r} is not hexadecimal")
    value = bytes.fromhex(cell)
    if lengths and len(value) not in lengths:
        raise ValueError(f"{cell!r} has a wrong length")
    return value


def _count(cell: Cell) -> int:
    if not isinstance(cell, int) or cell < 0:
        raise ValueError(f"{cell!r} is not a count")
    return cell


def _age(cell: Cell) -> float:
    if isinstance(cell, str) or not isfinite(cell):
        raise ValueError(f"{cell!r} is not an age")
    return max(cell, 0.0)

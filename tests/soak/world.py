"""What is true: the objects with all states that they were in, and what clients really received."""

import hashlib
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e.s3 import Publisher
from tests.support.objects import KIB, MIB, content

BUCKET = "soak"
PREFIX = "many/"
PIECE_LENGTH = 64 * KIB
"""What the daemon chooses for objects of these sizes."""
KEYS = {f"object-{number}": size for number, size in enumerate((1, 2, 3, 5, 8))}
"""Objects with entries of their own, and their sizes in MiB."""
BELOW_PREFIX = 8
SMALLEST = 40 * KIB
"""Bytes that every object has at least."""
CHANGE = 1000
"""Bytes by which an object grows or shrinks, at most, when it is replaced."""


@dataclass(frozen=True)
class State:
    """One state of an object: how to make its bytes again, and their hashes."""

    seed: int
    size: int
    etag: str
    digest: str
    pieces: bytes

    @property
    def body(self) -> bytes:
        return content(self.size, seed=self.seed)


def _state(seed: int, size: int) -> State:
    body = content(size, seed=seed)
    parts = (body[at : at + PIECE_LENGTH] for at in range(0, size, PIECE_LENGTH))
    return State(
        seed,
        size,
        f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"',
        hashlib.sha256(body).hexdigest(),
        b"".join(hashlib.sha1(part, usedforsecurity=False).digest() for part in parts),
    )


@dataclass
class Truth:
    """What the clients counted; all of it behind one lock."""

    received: int = 0
    """Bytes of objects that any client took from the daemon: pieces, and bodies over HTTP."""
    done: Counter[str] = field(default_factory=Counter)
    """Downloads that came whole and right, announces that were answered and so on, by kind."""
    given_up: Counter[str] = field(default_factory=Counter)
    """Those that were cut off or refused: allowed, while things break and are replaced."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why, in a few words."""
    wrong: list[str] = field(default_factory=list)
    """What may never be: bytes that are no state of the object, answers that can't be read."""


class World:
    """The bucket's objects, and what is true of them."""

    def __init__(self, publisher: Publisher) -> None:
        self.truth = Truth()
        self._publisher = publisher
        self._lock = threading.Lock()
        self._states: dict[str, list[State]] = {}
        self._seed = 0

    def fill(self) -> None:
        """Make the bucket and its objects."""
        self._publisher.create_bucket(BUCKET)
        for key, size in KEYS.items():
            self.put(key, size * MIB + 7)
        for number in range(BELOW_PREFIX):
            self.put(f"{PREFIX}{number:02}", SMALLEST + 30 * number * KIB + CHANGE)

    @property
    def keys(self) -> list[str]:
        with self._lock:
            return list(self._states)

    def put(self, key: str, size: int) -> None:
        """Upload new bytes under a key."""
        with self._lock:
            self._seed += 1
            made = _state(self._seed, size)
            # Noted first: whoever reads it may come before the answer.
            self._states.setdefault(key, []).append(made)
        self._publisher.put(BUCKET, key, made.body)

    def replace(self, key: str) -> None:
        """Upload other bytes of about the same size."""
        size = self._states[key][0].size
        self.put(key, size + random.randrange(-CHANGE, CHANGE))

    def delete(self, key: str) -> None:
        self._publisher.raw.delete_object(Bucket=BUCKET, Key=key)

    def restore(self, key: str) -> None:
        """Upload the bytes that a deleted key had."""
        self._publisher.put(BUCKET, key, self._states[key][-1].body)

    # -- what clients say

    def check_digest(self, kind: str, key: str, digest: str) -> None:
        """Note a whole download; its bytes have to be those of a state of the object."""
        with self._lock:
            right = any(state.digest == digest for state in self._states[key])
        self.note(kind, right=right, about=f"{kind} of {key}: bytes of no state of it")

    def check_pieces(self, key: str, pieces: bytes) -> None:
        """Note a torrent; its hashes have to be those of a state of the object."""
        with self._lock:
            right = any(state.pieces == pieces for state in self._states[key])
        self.note("torrent", right=right, about=f"torrent of {key}: hashes of no state of it")

    def by_etag(self, key: str, etag: str) -> State | None:
        with self._lock:
            return next((state for state in self._states[key] if state.etag == etag), None)

    def received(self, count: int) -> None:
        with self._lock:
            self.truth.received += count

    def note(self, kind: str, *, right: bool = True, about: str = "") -> None:
        """Count something that was done, or note that it was wrong."""
        with self._lock:
            if right:
                self.truth.done[kind] += 1
            else:
                self.truth.wrong.append(about)

    @contextmanager
    def may_fail(self, kind: str, *errors: type[BaseException]) -> Iterator[None]:
        """Count what the errors end as given up."""
        try:
            yield
        except errors as error:
            said = " ".join(str(error).split("\n", 1)[0].split()[:12])
            with self._lock:
                self.truth.given_up[kind] += 1
                self.truth.reasons[f"{kind}: {type(error).__name__} {said}"] += 1

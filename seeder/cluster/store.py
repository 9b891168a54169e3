"""What is asked of the store: a script, which Redis runs as one, or what is new in a stream.

Each is one round trip. A test that loses, doubles or delays what is asked wraps a `Store`.

No I/O.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

from seeder.errors import StoreAway

Reply: TypeAlias = "int | bytes | list[Reply] | None"
"""What a script returns: whole numbers, texts, nothing, and lists of these."""
Argument: TypeAlias = bytes | str | int


@dataclass(frozen=True, slots=True)
class Script:
    """A script in Redis' Lua: its keys and arguments are KEYS and ARGV."""

    text: str
    sha: bytes = field(init=False)
    """By which Redis knows it once it has run."""

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest.encode())


class StreamEntry(NamedTuple):
    """One entry of a stream."""

    id: bytes
    fields: Sequence[bytes]
    """Names and values by turns."""


class Store(Protocol):
    """The cluster's shared store; StoreAway from each method when it can't be asked, or refuses.

    What was asked may have been done all the same.
    """

    async def run_links(self) -> None:
        """Keep up what it is asked by, until cancelled."""

    async def run(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[Argument] = ()
    ) -> Reply:
        """Run a script and return what it returns."""

    async def read(
        self, stream: bytes, after: bytes, *, most: int, wait: float
    ) -> list[StreamEntry]:
        """Return up to `most` entries of a stream behind the id `after`.

        If there is none, wait up to `wait` seconds for the first.
        """


def reason_of(error: StoreAway | ValueError) -> str:
    """Return what is wrong, to be said behind "the store of the cluster"."""
    if isinstance(error, StoreAway):
        return error.reason
    return f"has under a key of ours what no node has written: {error}"


def listed(reply: Reply) -> list[Reply]:
    """Return a reply that is a list; ValueError for another."""
    if not isinstance(reply, list):
        raise ValueError(f"a list was expected of the store, not {reply!r:.80}")
    return reply


def texted(reply: Reply) -> bytes:
    """Return a reply that is a text; ValueError for another."""
    if not isinstance(reply, bytes):
        raise ValueError(f"a text was expected of the store, not {reply!r:.80}")
    return reply


def numbered(reply: Reply) -> int:
    """Return a reply that is a whole number, or a text of one; ValueError for another."""
    return int(reply) if isinstance(reply, int | bytes) else int(texted(reply))

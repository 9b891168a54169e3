"""Passkeys made, listed and revoked by the operator: by a command, or at a running daemon."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from seeder.config.sections import Config
from seeder.errors import StorageError
from seeder.gateway.keys import read_or_make_signer
from seeder.gateway.register_file import RegisterFile, RegisterStore
from seeder.ledger.reading import records_of
from seeder.s3.clock import TOLERATED
from seeder.torrent.torrent import Torrent
from seeder.tracker.passkeys import Passkey
from seeder.tracker.register import Register, Revocation
from seeder.units import rounded_time


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A passkey in the list; times in Unix seconds."""

    name: str
    object: str | None
    """BUCKET/KEY; None of a holder that was revoked, and whose keys have been over for long."""
    made: int | None
    until: int | None
    last_seen: int | None
    """When the holder was last seen, with any of its keys."""
    state: str
    """"good", "expired" or "revoked"."""
    revoked_at: int | None = None
    """When that was decided."""


def key_document(key: ListedKey) -> dict[str, str | int | None]:
    """Return a key in the form of the control API."""
    names = ("name", "object", "made", "until", "last_seen", "state")
    return {name: getattr(key, name) for name in names}


def make_key(config: Config, torrent: Torrent, holder: str, valid: float) -> tuple[str, Passkey]:
    """Make a passkey for a torrent; return it as text for URLs, and what it says. It blocks.

    ConfigError, StorageError.
    """
    signer, now = read_or_make_signer(config), time.time()
    name = str(torrent.pinned.ref)

    def issue(register: Register) -> Passkey:
        return register.issue(holder, name, now, valid, by_operator=True)

    passkey = RegisterFile(config.state_directory).change(issue, now)
    return signer.sign(passkey, torrent.info_hash), passkey


def doubt_clock(torrent: Torrent, made: Passkey) -> str | None:
    """Return what is told of a key that was made before its object was, by S3's clock; None of one
    that wasn't: this machine's clock may be right."""
    told = torrent.pinned.description
    modified = 0 if told is None or told.modified is None else told.modified
    if made.issued >= modified - TOLERATED:
        return None
    behind = rounded_time(modified - made.issued)
    return (
        f"{torrent.pinned.ref}: this machine's clock is at least {behind} behind S3's: the passkey"
        " ends as much too early; set it (NTP), and make another"
    )


def revoke_at(
    store: RegisterStore, holder: str, now: float, known: Revocation | None = None
) -> None:
    """Revoke all passkeys that a holder has by now, and those of a revocation that is `known`.

    It blocks; StorageError.
    """

    def revoke(register: Register) -> None:
        if known is not None:
            register.note_revoked(holder, known)
        register.revoke(holder, now)

    store.change(revoke, now)


def listed_keys(register: Register, seen: Mapping[str, int], now: float) -> Iterator[ListedKey]:
    """Yield every passkey that is known, with what became of it, in the order of names."""
    until = register.until()
    for holder in sorted({*register.made, *register.revoked}):
        revoked = register.revoked.get(holder)
        at = None if revoked is None else revoked.at
        made = sorted(register.of(holder), key=lambda each: each.name)
        if revoked is not None and not made:
            yield ListedKey(holder, None, None, None, seen.get(holder), "revoked", at)
        for each in made:
            is_revoked = revoked is not None and each.issued <= until[holder]
            state = "good" if each.expires > now else "expired"
            yield ListedKey(
                holder,
                each.name,
                each.issued,
                each.expires,
                seen.get(holder),
                "revoked" if is_revoked else state,
                at if is_revoked else None,
            )


def last_seen(ledgers: Iterable[Path]) -> Mapping[str, int]:
    """Return when each holder was last seen (Unix s), as far as the ledgers can be read."""
    seen: dict[str, int] = {}
    for path in ledgers:
        with suppress(StorageError), records_of(path) as records:
            for each in records.holders(0, 0):
                seen[each.name] = max(each.seen, seen.get(each.name, 0))
    return seen

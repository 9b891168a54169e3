"""`seeder keys` and `seeder torrent --for`: passkeys made, listed and revoked beside the daemon."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from seeder.config.sections import Config
from seeder.config.texts import closest
from seeder.daemon.foundation import LEDGER
from seeder.errors import ConfigError, StorageError
from seeder.gateway.keys import read_or_make_signer
from seeder.gateway.register_file import RegisterFile
from seeder.ledger.reading import records_of
from seeder.torrent.catalog import Torrent
from seeder.tracker.passkeys import Passkey
from seeder.tracker.register import Register, Revocation
from seeder.units import counted


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A passkey in the list; times in Unix seconds."""

    name: str
    object: str
    """BUCKET/KEY; empty of a holder that was revoked, and whose keys have been over for long."""
    made: int | None
    until: int | None
    last_seen: int | None
    """When the holder was last seen, with any of its keys."""
    state: str


def make_key(config: Config, torrent: Torrent, holder: str, valid: float) -> tuple[str, Passkey]:
    """Make a passkey for a torrent; return it as text for URLs, and what it says.

    ConfigError, StorageError.
    """
    signer, now = read_or_make_signer(config), time.time()
    name = str(torrent.pinned.ref)

    def issue(register: Register) -> Passkey:
        return register.issue(holder, name, now, valid, by_operator=True)

    passkey = RegisterFile(config.state_directory).change(issue, now)
    return signer.sign(passkey, torrent.info_hash), passkey


def revoke_keys(
    configs: Sequence[Config], holder: str, *, unknown: bool, show: Callable[[str], None]
) -> None:
    """Revoke all passkeys that a holder has by now, at every node; StorageError.

    ConfigError if it has none, unless `unknown` revokes those of a holder that isn't known here.
    """
    now, known = time.time(), _joined(configs)
    names = {*known.made, *(key.access_key_id for each in configs for key in each.gateway.keys)}
    if known.knows(holder) or holder in names or unknown:
        known.revoke(holder, now)
        last = known.revoked[holder]

        def revoke(register: Register) -> None:
            register.note_revoked(holder, last)
            register.revoke(holder, now)

        for config in configs:
            RegisterFile(config.state_directory).change(revoke, now)
        show(f"{holder}: all passkeys made until {moment_text(last.at)} are revoked")
        return
    guess = closest(holder, sorted(names))
    raise ConfigError(
        [
            f"{holder}: no passkey was made for that name here"
            + (f'; did you mean "{guess}"?' if guess else "; --unknown revokes it all the same")
        ]
    )


def _joined(configs: Sequence[Config]) -> Register:
    """Return what the registers of all nodes have."""
    register = Register()
    for config in configs:
        register.join(RegisterFile(config.state_directory).load())
    return register


def list_keys(configs: Sequence[Config], *, as_json: bool, show: Callable[[str], None]) -> None:
    """Print every passkey that is known, with what became of it; StorageError."""
    register, now = _joined(configs), time.time()
    keys = list(_keys(register, _last_seen(configs), now))
    if as_json:
        show(json.dumps({"keys": [_document(key) for key in keys]}, indent=2))
        return
    if not keys:
        show("no passkeys; `seeder torrent --for NAME BUCKET/KEY` makes one")
        return
    rows: list[tuple[str, ...]] = [("name", "object", "made", "until", "last seen", "state")]
    rows += [
        (
            key.name,
            key.object or "-",
            *(
                "-" if at is None else moment_text(at)
                for at in (key.made, key.until, key.last_seen)
            ),
            key.state,
        )
        for key in keys
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        show("  ".join(cells).rstrip())
    # A name that was revoked without a passkey has a row, too.
    made = sum(key.made is not None for key in keys)
    show(f"{counted(made, 'passkey')}; what was sent by name: seeder report --by name")


def _keys(register: Register, seen: Mapping[str, int], now: float) -> Iterator[ListedKey]:
    until = register.until()
    for holder in sorted({*register.made, *register.revoked}):
        revoked = register.revoked.get(holder)
        made = sorted(register.of(holder), key=lambda each: each.name)
        if revoked is not None and not made:
            yield ListedKey(holder, "", None, None, seen.get(holder), _revoked(revoked))
        for each in made:
            state = "good" if each.expires > now else "expired"
            if revoked is not None and each.issued <= until[holder]:
                state = _revoked(revoked)
            yield ListedKey(holder, each.name, each.issued, each.expires, seen.get(holder), state)


def _revoked(revocation: Revocation) -> str:
    return f"revoked {moment_text(revocation.at)}"


def _document(key: ListedKey) -> dict[str, object]:
    return {
        "name": key.name,
        "object": key.object or None,
        "made": key.made,
        "until": key.until,
        "last_seen": key.last_seen,
        "state": key.state.partition(" ")[0],
    }


def _last_seen(configs: Sequence[Config]) -> Mapping[str, int]:
    """Return when each holder was last seen (Unix s), as far as the ledgers can be read."""
    seen: dict[str, int] = {}
    for config in configs:
        with suppress(StorageError), records_of(config.state_directory / LEDGER) as records:
            for each in records.holders(0, 0):
                seen[each.name] = max(each.seen, seen.get(each.name, 0))
    return seen


def moment_text(at: float) -> str:
    """Return a moment (Unix s) as a date and a time of UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")

"""`seeder keys` and `seeder torrent --for`: passkeys made, listed and revoked beside the daemon."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from seeder.config.sections import Config
from seeder.config.texts import closest
from seeder.daemon.foundation import LEDGER
from seeder.errors import ConfigError
from seeder.gateway.passkeys import key_document, last_seen, listed_keys, revoke_at
from seeder.gateway.register_file import RegisterFile
from seeder.tracker.register import Register
from seeder.units import counted


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
        for config in configs:
            revoke_at(RegisterFile(config.state_directory), holder, now, last)
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
    ledgers = [config.state_directory / LEDGER for config in configs]
    keys = list(listed_keys(register, last_seen(ledgers), now))
    if as_json:
        show(json.dumps({"keys": list(map(key_document, keys))}, indent=2))
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
            key.state if key.revoked_at is None else f"revoked {moment_text(key.revoked_at)}",
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


def moment_text(at: float) -> str:
    """Return a moment (Unix s) as a date and a time of UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")

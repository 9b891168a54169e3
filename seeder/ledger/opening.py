"""Opening the ledger, whatever lies in its place. Blocks; no trio.

What is damaged, or no file, is set aside under another name, with an error in the log, and a new
file begins. A healthy file of somebody else, or of a newer seeder, is refused. Anything else that
keeps a file from being opened may pass: then it is read as far as that goes, and opened later.
"""

import logging
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from seeder.errors import LedgerDamaged, StorageError
from seeder.files import set_aside, storage_errors
from seeder.ledger.budget import Spent
from seeder.ledger.counters import AccountKey
from seeder.ledger.file import LedgerFile
from seeder.ledger.reading import read_ledger
from seeder.ledger.records import Entry

_LOG = logging.getLogger(__name__)

_BESIDE = ("-wal", "-shm", "-journal")
"""The files that SQLite keeps beside a database, by the ends of their names."""
_SMALLEST = 512
"""Bytes of the smallest page of SQLite's."""
_BEGUN_ANEW = "savings, and what was spent of the budgets, begin at zero"


@dataclass(frozen=True, slots=True)
class Former:
    """What former runs counted, as far as it could be read."""

    entries: Mapping[AccountKey, Entry] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)


def open_ledger(path: Path, busy: float) -> LedgerFile:
    """Open the ledger, made if it is missing; LedgerRefused, or StorageError if it may pass.

    `busy` is how long to wait for another program's lock (s).
    """
    with storage_errors(path, "opened"):
        _make_way(path)
    try:
        _check_size(path)
        return _open_checked(path, busy)
    except LedgerDamaged as error:
        _set_aside(path, str(error), _BEGUN_ANEW)
        return LedgerFile(path, busy)


def replace_ledger(file: LedgerFile, error: LedgerDamaged, busy: float) -> LedgerFile:
    """Return a new file with what is known of the counts of a damaged one; StorageError.

    Which hours they were counted in is lost.
    """
    file.close()
    known = file.written
    kept = "a new one has its counts from memory, but not when they were counted"
    _set_aside(file.path, str(error), kept if known else _BEGUN_ANEW)
    made = LedgerFile(file.path, busy)
    made.write_former(known, file.groups)
    return made


def read_former(path: Path, now: float) -> Former:
    """Return what a ledger holds that can't be opened for writing; nothing if it can't be read."""
    try:
        recorded = read_ledger(path, now=now)
    except StorageError:
        return Former()
    accounts = (recorded.ledger.unattributed, *recorded.ledger.accounts)
    return Former({account.key: Entry.of(account) for account in accounts}, recorded.spent)


def _check_size(path: Path) -> None:
    """Look at a file before SQLite does, which would delete the WAL beside one without a page."""
    with storage_errors(path, "read"), suppress(FileNotFoundError):
        if path.stat().st_size < _SMALLEST and Path(f"{path}-wal").stat().st_size:
            raise LedgerDamaged(f"{path}: this is not a SQLite file")


def _open_checked(path: Path, busy: float) -> LedgerFile:
    file = LedgerFile(path, busy)
    try:
        file.check()
    except BaseException:
        file.close()
        raise
    return file


def _make_way(path: Path) -> None:
    """Set aside what SQLite couldn't use, or would wait for; a link to a file is the operator's."""
    for beside in ("", *_BESIDE):
        name = Path(f"{path}{beside}")
        try:
            found = name.lstat() if beside else name.stat()
        except FileNotFoundError:
            continue
        except OSError:
            if not name.is_symlink():
                raise
        else:
            if stat.S_ISREG(found.st_mode):
                continue
        why = "it is no file" if beside else f"the ledger is no file: {_BEGUN_ANEW}"
        set_aside(name, why, level=logging.WARNING if beside else logging.ERROR)
    with suppress(FileNotFoundError):
        if not path.stat().st_size:
            _LOG.warning("%s: the ledger is empty: %s", path, _BEGUN_ANEW)


def _set_aside(path: Path, why: str, instead: str) -> None:
    why = why.removeprefix(f"{path}: ")
    with storage_errors(path, "set aside"):
        aside = set_aside(path, f"the ledger can't be used ({why}): {instead}", level=logging.ERROR)
        # With its WAL beside it, `sqlite3 NAME .recover` finds more.
        for beside in _BESIDE:
            with suppress(FileNotFoundError):
                os.rename(f"{path}{beside}", f"{aside}{beside}")

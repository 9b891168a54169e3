"""What goes wrong with the ledger's SQLite file, in words for the operator. No I/O."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seeder.errors import LedgerDamaged, StorageError

DAMAGED = "the file is damaged"
_NO_SUCH_TYPE = 3091
"""SQLITE_CONSTRAINT_DATATYPE (https://sqlite.org/rescode.html); Python 3.11 has no name for it."""


class NotOurs(Exception):
    """A row is not one that was ever written."""


def code(error: sqlite3.Error) -> str:
    """Return the primary result code's name without its prefix, such as "FULL"; "" if none."""
    return str(getattr(error, "sqlite_errorname", "")).removeprefix("SQLITE_").partition("_")[0]


@contextmanager
def explaining(path: Path, wanted: str) -> Iterator[None]:
    """Turn SQLite's errors into a StorageError: the path, what is wrong, what to do about it."""
    try:
        yield
    except UnicodeDecodeError as error:
        # sqlite3 reads what SQLite says, and texts in the file, as UTF-8.
        raise LedgerDamaged(f"{path}: {DAMAGED}") from error
    except NotOurs as error:
        raise LedgerDamaged(f"{path}: {DAMAGED}") from error
    except sqlite3.Error as error:
        match code(error):
            case "NOTADB":
                raise LedgerDamaged(f"{path}: this is not a SQLite file") from error
            # Our statements fail only on tables or sums that aren't those that we wrote.
            case "CORRUPT" | "ERROR":
                raise LedgerDamaged(f"{path}: {DAMAGED}") from error
            case "READONLY" | "CANTOPEN" | "PERM" | "AUTH":
                text = f"it can't be {wanted}; give this user access to it and its directory"
            case "FULL":
                text = "its disk is full; make room"
            case "BUSY" | "LOCKED":
                text = "another program holds its lock; end that program"
            case _ if getattr(error, "sqlite_errorcode", 0) == _NO_SUCH_TYPE:
                # What was added to is too large for an integer.
                raise LedgerDamaged(f"{path}: {DAMAGED}") from error
            case "" if "decode to UTF-8" in str(error):
                raise LedgerDamaged(f"{path}: {DAMAGED}") from error
            case _:
                text = str(error)
        raise StorageError(f"{path}: {text}") from error

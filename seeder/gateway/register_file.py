"""The register of passkeys on disk, which a running daemon and commands change in turns. Blocks; no
trio.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from seeder.errors import StorageError
from seeder.files import (
    give_to_owner,
    make_directory,
    open_regular,
    read_file,
    replace_file,
    storage_errors,
)
from seeder.plain_json import dump_json, parse_json
from seeder.tracker.register import Register, read_register
from seeder.units import MIB

REGISTER = "passkeys.json"
"""Below the state directory."""
_LARGEST = 64 * MIB

Result = TypeVar("Result")
Stamp: TypeAlias = tuple[int, ...] | None
"""Another one whenever the register may have changed; None where there is no file."""


class RegisterStore(Protocol):
    """Where the register is kept; several nodes may have one in common."""

    def stamp(self) -> Stamp:
        """Return what tells whether it has changed; StorageError."""

    def load(self) -> Register:
        """Return the register; StorageError, also where it is damaged."""

    def change(self, change: Callable[[Register], Result], now: float) -> Result:
        """Change the register, as nobody else does meanwhile, and return what `change` returns.

        `now` is Unix time (s). StorageError.
        """


class RegisterFile:
    """A register in the state directory. It is replaced as a whole, under a lock of its own.

    Where it is damaged nobody knows which keys were revoked: it is left as it is, for the operator.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / REGISTER
        self._lock = self._path.with_suffix(".lock")

    def stamp(self) -> Stamp:
        with storage_errors(self._path, "read"):
            try:
                found = os.stat(self._path)
            except FileNotFoundError:
                return None
        return found.st_ino, found.st_mtime_ns, found.st_size, found.st_ctime_ns

    def load(self) -> Register:
        with storage_errors(self._path, "read"):
            data = read_file(self._path, _LARGEST)
        if data is None:
            return Register()
        try:
            return read_register(parse_json(data))
        except ValueError as error:
            raise StorageError(
                f"{self._path}: it is damaged ({error}), so nobody knows which passkeys were"
                " revoked: restore it, or move it away, and every passkey is good until it expires"
            ) from error

    def change(self, change: Callable[[Register], Result], now: float) -> Result:
        with self._locked():
            register = self.load()
            result = change(register)
            data = dump_json(register.trimmed(now).document())
            if len(data) > _LARGEST:
                raise StorageError(
                    f"{self._path}: there is no room for another revocation: let passkeys be signed"
                    " with another secret, which ends all of them, and move the file away"
                )
            with storage_errors(self._path, "written"):
                replace_file(self._path, data, durable=True, mode=0o600)
                give_to_owner(self._path, self._path.parent)
        return result

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with storage_errors(self._lock, "locked"):
            make_directory(self._path.parent)
            descriptor = open_regular(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                give_to_owner(self._lock, self._path.parent)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except BaseException:
                os.close(descriptor)
                raise
        try:
            yield
        finally:
            os.close(descriptor)

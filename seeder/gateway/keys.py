"""Secrets, read from files or systemd credentials, never from the TOML: those of [[gateway.keys]],
and the one that passkeys are signed with, which is made where none is named.
"""

import os
import re
import secrets
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from seeder.config.public import GatewaySettings
from seeder.config.secrets import CREDENTIALS, read_secret, secret_path
from seeder.config.sections import Config
from seeder.errors import StorageError, Unavailable
from seeder.files import give_to_owner, replace_file, storage_errors
from seeder.gateway.access import ReadKey
from seeder.tracker.passkeys import PasskeySigner

PASSKEY_SECRET = "passkey.secret"
"""Below the state directory: what passkeys are signed with, if the configuration names nothing."""
SHARED_SECRETS = "passkey.shared"
"""Beside it: the secrets of all nodes of a cluster, a line each; the first one signs."""
_SECRET = re.compile(rb"[!-~]{16,128}\r?\n?")
_SECRETS = re.compile(rb"[!-~]{16,128}(\n[!-~]{16,128})*\n?")
_WANTED = "one line of 16 to 128 characters without blanks"


def read_keys(
    settings: GatewaySettings,
    environment: Mapping[str, str] = os.environ,
    *,
    without: Container[str] = (),
) -> tuple[ReadKey, ...]:
    """Return the access keys with their secrets, except those with an id in `without`.

    Unavailable lists every secret that can't be had.
    """
    keys, problems = [], []
    for index, key in enumerate(settings.keys):
        if key.access_key_id in without:
            continue
        try:
            path = secret_path(key.secret_file, key.secret_credential, environment)
            secret = read_secret(path, _SECRET, _WANTED)
        except ValueError as error:
            problems.append(f"gateway.keys[{index}]: the secret of {key.access_key_id}: {error}")
        else:
            keys.append(ReadKey(key.access_key_id, secret, key.objects))
    if problems:
        raise Unavailable(problems)
    return tuple(keys)


def out_of_reach(
    settings: GatewaySettings, environment: Mapping[str, str] = os.environ
) -> Iterator[str]:
    """Yield the ids of keys whose secrets only a systemd service can read, unless we are one."""
    if not environment.get(CREDENTIALS):
        yield from (key.access_key_id for key in settings.keys if key.secret_credential)


def read_signer(config: Config) -> PasskeySigner | None:
    """Return what signs passkeys; None if there is no secret yet.

    Unavailable if the configuration names one that can't be had; StorageError.
    """
    named = config.tracker.passkey_secret_file
    if named is not None:
        try:
            return PasskeySigner(read_secret(named, _SECRET, _WANTED).encode())
        except ValueError as error:
            raise Unavailable([f"tracker.passkey_secret_file: {error}"]) from error
    found = dict.fromkeys((*_shared_secrets(config), *own_secrets(config)))
    return PasskeySigner(*(each.encode() for each in found)) if found else None


def own_secrets(config: Config) -> tuple[str, ...]:
    """Return what this node signs passkeys with, for the others of its cluster; StorageError.

    Nothing if it has made no secret, or the configuration names one: then it does so at each node.
    """
    path = config.state_directory / PASSKEY_SECRET
    if config.tracker.passkey_secret_file is not None:
        return ()
    return tuple(_lines_of(path, _SECRET, _WANTED))


def _shared_secrets(config: Config) -> list[str]:
    path = config.state_directory / SHARED_SECRETS
    return _lines_of(path, _SECRETS, "lines of 16 to 128 characters without blanks")


def _lines_of(path: Path, pattern: re.Pattern[bytes], wanted: str) -> list[str]:
    """Return the lines of a file with secrets, none if there is no file; StorageError."""
    if not os.path.lexists(path):
        return []
    try:
        return read_secret(path, pattern, wanted).split("\n")
    except ValueError as error:
        raise StorageError(f"the secret of passkeys: {error}") from error


def keep_shared_secrets(config: Config, secrets: Sequence[str]) -> None:
    """Keep the secrets of all nodes for the next start; StorageError."""
    path = config.state_directory / SHARED_SECRETS
    with storage_errors(path, "written"):
        data = "".join(f"{each}\n" for each in secrets).encode()
        replace_file(path, data, durable=True, mode=0o600)
        give_to_owner(path, path.parent)


def read_or_make_signer(config: Config) -> PasskeySigner:
    """Return what signs passkeys; its secret is made if there is none. As for `read_signer`."""
    signer = read_signer(config)
    while signer is None:
        _make_secret(config.state_directory / PASSKEY_SECRET)
        signer = read_signer(config)
    return signer


def _make_secret(path: Path) -> None:
    """Make a secret, whole from the first moment on; nothing if another process was faster."""
    with storage_errors(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(f"{secrets.token_hex(32)}\n")
                file.flush()
                os.fsync(file.fileno())
            give_to_owner(made, path.parent)
            with suppress(FileExistsError):
                os.link(made, path)
        finally:
            os.unlink(made)

"""The secrets of [[gateway.keys]]: read from files or systemd credentials, never from the TOML."""

import os
import re
import stat
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

from seeder.config.sections import GatewaySettings, ReadKeySettings
from seeder.errors import ConfigError
from seeder.gateway.access import ReadKey

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""The variable with the directory in which systemd puts what LoadCredential= names."""
_LONGEST = 256
"""Bytes of a file that are read; a longer one holds no secret."""
_SECRET = re.compile(rb"[!-~]{16,128}\r?\n?")


def read_keys(
    settings: GatewaySettings,
    environment: Mapping[str, str] = os.environ,
    *,
    without: Container[str] = (),
) -> tuple[ReadKey, ...]:
    """Return the access keys with their secrets, except those with an id in `without`.

    ConfigError lists every secret that can't be had.
    """
    keys, problems = [], []
    for index, key in enumerate(settings.keys):
        if key.access_key_id in without:
            continue
        try:
            secret = _secret(_path(key, environment))
        except ValueError as error:
            problems.append(f"gateway.keys[{index}]: the secret of {key.access_key_id}: {error}")
        else:
            keys.append(ReadKey(key.access_key_id, secret, key.objects))
    if problems:
        raise ConfigError(problems)
    return tuple(keys)


def out_of_reach(
    settings: GatewaySettings, environment: Mapping[str, str] = os.environ
) -> Iterator[str]:
    """Yield the ids of keys whose secrets only a systemd service can read, unless we are one."""
    if not environment.get(CREDENTIALS):
        yield from (key.access_key_id for key in settings.keys if key.secret_credential)


def _path(key: ReadKeySettings, environment: Mapping[str, str]) -> Path:
    if key.secret_file is not None:
        return key.secret_file
    assert key.secret_credential is not None
    directory = environment.get(CREDENTIALS)
    if not directory:
        name = key.secret_credential
        raise ValueError(
            f'the credential "{name}" is not there: it takes a service of systemd with'
            f" LoadCredential={name}:PATH"
        )
    return Path(directory) / key.secret_credential


def _secret(path: Path) -> str:
    """Return the one line of a file; ValueError says what is wrong, without showing the line.

    Others must be able neither to read the file nor to write it.
    """
    try:
        # Without O_NONBLOCK we'd wait for the writer of a pipe.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as f:
            status = os.fstat(f.fileno())
            data = f.read(_LONGEST) if stat.S_ISREG(status.st_mode) else b""
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is no file")
    if status.st_mode & 0o027:
        raise ValueError(f"others can read or change {path}; chmod 600 {path}")
    if not _SECRET.fullmatch(data):
        raise ValueError(f"{path}: want one line of 16 to 128 characters without blanks")
    return data.decode().rstrip()

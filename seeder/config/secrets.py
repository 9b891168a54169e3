"""Secrets, which never stand in the TOML: read from files or systemd credentials."""

import re
from collections.abc import Mapping
from pathlib import Path

from seeder.files import read_named

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""The variable with the directory in which systemd puts what LoadCredential= names."""
_LONGEST = 4096
"""Bytes of a file that are read; a longer one holds no secret."""


def secret_path(file: Path | None, credential: str | None, environment: Mapping[str, str]) -> Path:
    """Return where a secret is, in a file or a credential, of which one is named; ValueError."""
    if file is not None:
        return file
    assert credential is not None
    directory = environment.get(CREDENTIALS)
    if not directory:
        raise ValueError(
            f'the credential "{credential}" is not there: it takes a service of systemd with'
            f" LoadCredential={credential}:PATH"
        )
    return Path(directory) / credential


def read_secret(path: Path, pattern: re.Pattern[bytes], wanted: str) -> str:
    """Return the one line of a file; ValueError says what is wrong, without showing the line.

    Others must be able neither to read the file nor to write it.
    """
    data = read_named(path, _LONGEST, secret=True)
    try:
        if pattern.fullmatch(data):
            return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        pass
    raise ValueError(f"{path}: want {wanted}")

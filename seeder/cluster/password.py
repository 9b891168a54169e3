"""The password of the cluster's store: read from a file or a systemd credential."""

import os
import re
from collections.abc import Mapping

from seeder.config.node import ClusterSettings
from seeder.config.secrets import read_secret, secret_path
from seeder.errors import Unavailable

_PASSWORD = re.compile(rb"[^\r\n]{1,512}\r?\n?")


def read_password(
    settings: ClusterSettings, environment: Mapping[str, str] = os.environ
) -> str | None:
    """Return the password that the settings name, None if they name none; Unavailable."""
    file, credential = settings.password_file, settings.password_credential
    if file is None and credential is None:
        return None
    try:
        path = secret_path(file, credential, environment)
        return read_secret(path, _PASSWORD, "one line of at most 512 characters")
    except ValueError as error:
        raise Unavailable([f"cluster: the store's password: {error}"]) from error

"""The token of the control API over TCP, read from a file or a systemd credential."""

import os
import re
from collections.abc import Mapping

from seeder.config.node import AdminSettings
from seeder.config.secrets import CREDENTIALS, read_secret, secret_path
from seeder.errors import Unavailable

_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]{16,256}=*\r?\n?")
"""RFC 6750, 2.1."""
_WANTED = "one line of 16 to 256 letters, digits, . _ ~ + / -, such as of `openssl rand -hex 32`"


def read_token(admin: AdminSettings, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the token; None if none is configured. Unavailable, which doesn't show it."""
    if admin.token_file is None and admin.token_credential is None:
        return None
    key = "token_file" if admin.token_file is not None else "token_credential"
    try:
        path = secret_path(admin.token_file, admin.token_credential, environment)
        return read_secret(path, _TOKEN, _WANTED)
    except ValueError as error:
        raise Unavailable([f"admin.{key}: {error}"]) from None


def token_is_out_of_reach(
    admin: AdminSettings, environment: Mapping[str, str] = os.environ
) -> bool:
    """Tell whether only a systemd service can read the token, and we are none."""
    return admin.token_credential is not None and not environment.get(CREDENTIALS)

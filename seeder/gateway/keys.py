"""The secrets of [[gateway.keys]]: read from files or systemd credentials, never from the TOML."""

import os
import re
from collections.abc import Container, Iterator, Mapping

from seeder.config.secrets import CREDENTIALS, read_secret, secret_path
from seeder.config.sections import GatewaySettings
from seeder.errors import ConfigError
from seeder.gateway.access import ReadKey

_SECRET = re.compile(rb"[!-~]{16,128}\r?\n?")
_WANTED = "one line of 16 to 128 characters without blanks"


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
            path = secret_path(key.secret_file, key.secret_credential, environment)
            secret = read_secret(path, _SECRET, _WANTED)
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

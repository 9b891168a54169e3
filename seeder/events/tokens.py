"""The tokens of webhooks, read from files or systemd credentials."""

import os
import re
from collections.abc import Container, Iterator, Mapping, Sequence

from seeder.config.events import EventSettings
from seeder.config.secrets import CREDENTIALS, read_secret, secret_path
from seeder.errors import Unavailable

_TOKEN = re.compile(rb"[A-Za-z0-9._~-]{16,128}\r?\n?")
_WANTED = "one line of 16 to 128 letters, digits, . _ ~ -"
"""They stand in URLs as they are."""


def read_tokens(
    sources: Sequence[EventSettings],
    environment: Mapping[str, str] = os.environ,
    *,
    without: Container[str] = (),
) -> dict[str, str]:
    """Return the tokens by the names of the webhooks, but of those in `without`.

    Unavailable lists each that can't be had.
    """
    tokens, problems = {}, []
    for index, each in enumerate(sources):
        if each.has_token and each.name not in without:
            try:
                path = secret_path(each.token_file, each.token_credential, environment)
                tokens[each.name] = read_secret(path, _TOKEN, _WANTED)
            except ValueError as error:
                problems.append(f"events[{index}]: the token of {each.name}: {error}")
    if problems:
        raise Unavailable(problems)
    return tokens


def out_of_reach(
    sources: Sequence[EventSettings], environment: Mapping[str, str] = os.environ
) -> Iterator[str]:
    """Yield the names of those whose tokens only a systemd service can read, unless we are one."""
    if not environment.get(CREDENTIALS):
        yield from (each.name for each in sources if each.token_credential)

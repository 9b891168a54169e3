"""What stands in files of its own, or in systemd's credentials, because the configuration is no
place for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seeder.config.sections import Config
from seeder.control.tokens import read_token
from seeder.events.tokens import read_tokens
from seeder.gateway.access import ReadKey
from seeder.gateway.keys import read_keys


@dataclass(frozen=True, slots=True)
class Secrets:
    """What others have to show before they are served."""

    keys: Sequence[ReadKey]
    """Of those who may read by S3's API."""
    tokens: Mapping[str, str]
    """Of the webhooks, by name."""
    token: str | None
    """Of the control API by TCP; None where none is configured."""


def read_secrets(config: Config) -> Secrets:
    """Read what a configuration names; ConfigError, of which Unavailable is one."""
    return Secrets(read_keys(config.gateway), read_tokens(config.events), read_token(config.admin))

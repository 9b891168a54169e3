"""Options that several commands have, and what is read from options; click.BadParameter."""

import click

from seeder.config.sections import Config
from seeder.tracker.passkeys import check_holder
from seeder.units import MINUTE, parse_moment, parse_time

name_argument = click.argument("name", metavar="BUCKET/KEY")


def parsed_moment(text: str | None, option: str, now: float) -> float | None:
    """Return the moment (Unix s) that an option names, None without one."""
    try:
        return None if text is None else parse_moment(text, now)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint=option) from error


def split_name(name: str) -> tuple[str, str]:
    """Return bucket and key."""
    bucket, slash, key = name.partition("/")
    if not bucket or not slash:  # the bundle of a whole bucket has no key
        raise click.BadParameter(f"{name!r}: want BUCKET/KEY", param_hint="BUCKET/KEY")
    return bucket, key


def parsed_validity(text: str | None, config: Config) -> float:
    """Return for how many seconds a passkey is good: --valid, or as the configuration says."""
    if text is None:
        return config.tracker.passkey_valid
    try:
        seconds = parse_time(text)
        if seconds < MINUTE:
            raise ValueError("want a minute at least")
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint="--valid") from error
    return seconds


def checked_holder(name: str, hint: str) -> None:
    """Check the name of a holder of passkeys that an option or argument (`hint`) has."""
    try:
        check_holder(name)
    except ValueError as error:
        raise click.BadParameter(f"{name!r}: {error}", param_hint=hint) from error

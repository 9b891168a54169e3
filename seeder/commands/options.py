"""Options that several commands have, and what is read from options; click.BadParameter."""

from pathlib import Path

import click

from seeder.commands.ending import fail, load_or_fail
from seeder.config.load import find_instances
from seeder.config.sections import Config
from seeder.errors import ConfigError
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


def instances_of(path: Path | None) -> list[str | None]:
    """Return the instances that have run on this machine by a file; None is a node by itself."""
    try:
        found = find_instances(path)
    except ConfigError as error:
        fail(error)
    # Where none has run yet, the message about a missing ledger names the first one's.
    return [None] if found is None else [*found] or ["1"]


def configs_of(path: Path | None, instance: str | None) -> list[Config]:
    """Return the configurations of all nodes that run by a file, or of the one that is named."""
    instances = [instance] if instance is not None else instances_of(path)
    return [load_or_fail(path, each) for each in instances]

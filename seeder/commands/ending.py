"""How a command ends: errors become lines on stderr, and an exit code."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

import click
import trio

from seeder.commands.links import links_of
from seeder.config.added import with_added
from seeder.config.load import load
from seeder.config.sections import Config
from seeder.errors import ConfigError, SeederError, StorageError, Unavailable

FAILED, UNUSABLE = 1, 2
INTERRUPTED = 128 + 2  # as a shell has it for SIGINT


def complain_plainly(text: str) -> None:
    """Print a line to stderr."""
    click.echo(text, err=True)


def fail(error: SeederError, complain: Callable[[str], None] = complain_plainly) -> NoReturn:
    """Tell an error, each mistake of a configuration in a line, and end with its exit code.

    The service manager starts again what failed, and leaves alone what is UNUSABLE.
    """
    if isinstance(error, ConfigError):
        for problem in error.problems:
            complain(problem)
        sys.exit(FAILED if isinstance(error, Unavailable) else UNUSABLE)
    complain(str(error))
    sys.exit(FAILED)


def load_or_fail(
    path: Path | None, instance: str | None, complain: Callable[[str], None] = complain_plainly
) -> Config:
    """Return a configuration by which a node could run; else the command ends."""
    try:
        config = load(path, instance)
        links_of(config)
    except ConfigError as error:
        fail(error, complain)
    return config


def all_published(config: Config) -> Config:
    """Return a configuration with what was added at run time, as far as that can be read."""
    try:
        return with_added(config)
    except StorageError as error:
        complain_plainly(f"warning: {error}; what was added at run time is left out")
        return config


def run_or_fail(
    main: Callable[[], Awaitable[None]], complain: Callable[[str], None] = complain_plainly
) -> None:
    """Run `main` on trio; an error becomes a line and an exit code."""
    try:
        trio.run(main)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except SeederError as error:
        fail(error, complain)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            sys.exit(INTERRUPTED)
        ours, others = group.split(SeederError)
        if others is not None or ours is None:
            raise
        fail(_first(ours), complain)


def _first(group: BaseExceptionGroup[SeederError]) -> SeederError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, SeederError)
    return error

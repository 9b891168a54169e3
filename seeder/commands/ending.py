"""How a command ends: errors become lines on stderr, and an exit code."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import click
import trio

from seeder.daemon.crashes import FAILED
from seeder.errors import ConfigError, ControlRefused, SeederError, Unavailable

UNUSABLE = 2
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
    for line in _lines(error):
        complain(line)
    sys.exit(FAILED)


def fail_if_any(errors: Sequence[SeederError]) -> None:
    """Tell what went wrong with each of several, and end with 1; go on if nothing did."""
    for error in errors[:-1]:
        for line in _lines(error):
            complain_plainly(line)
    if errors:
        fail(errors[-1])


def _lines(error: SeederError) -> Sequence[str]:
    problems = error.problems if isinstance(error, ControlRefused) else ()
    return problems or (str(error),)


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

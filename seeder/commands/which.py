"""Options that say which node is meant: by which file or variables, and which instance of it."""

import os
from pathlib import Path

import click

from seeder.config.directories import SYSTEM_FILE
from seeder.config.environment import names_keys
from seeder.config.instances import is_instance

_LIKELY = (Path("seeder.toml"), SYSTEM_FILE)
"""What is offered, and never taken unasked: a torrent ends for all by a file that isn't meant."""


def _file_or_variables(
    context: click.Context, option: click.Parameter, path: Path | None
) -> Path | None:
    if path is None and not context.resilient_parsing and not names_keys(os.environ):
        hint = "Without a file, its keys are set in the environment, as SEEDER_SECTION__KEY."
        if found := next((each for each in _LIKELY if os.path.isfile(each)), None):
            hint = f"There is {found}: -c {found}"
        raise click.MissingParameter(hint, context, option)
    return path


config_option = click.option(
    "-c",
    "--config",
    "path",
    envvar="SEEDER_CONFIG",
    type=click.Path(path_type=Path),
    callback=_file_or_variables,
    help="The TOML file that says what to publish; SEEDER_SECTION__KEY in the environment is one of"
    " its keys.",
)


def _checked_instance(
    _context: click.Context, _option: click.Parameter, name: str | None
) -> str | None:
    if name is None or is_instance(name):
        return name
    raise click.BadParameter(f"{name!r}: want up to 64 letters, digits, - _ and dots, such as 1")


instance_option = click.option(
    "--instance",
    metavar="NAME",
    envvar="SEEDER_INSTANCE",
    callback=_checked_instance,
    help="What %i stands for in the file, where several nodes run by it.",
)

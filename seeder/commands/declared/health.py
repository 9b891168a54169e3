"""`seeder health`, which imports little: it is called every few seconds."""

import sys
from pathlib import Path

import click

from seeder.commands.health import ask_health
from seeder.commands.which import config_option, instance_option


@click.command()
@config_option
@instance_option
@click.option("--alive", is_flag=True, help="Ask only whether it is alive, not whether it serves.")
def health(path: Path | None, instance: str | None, alive: bool) -> None:
    """Ask the running daemon whether it is ready: for health checks and probes.

    One line says how it is. Exit code 0 if it is ready, though perhaps degraded; else 1.
    """
    found = ask_health(path, instance, alive_is_enough=alive)
    click.echo(found.line)
    sys.exit(not found.well)

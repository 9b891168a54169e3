"""`seeder status`, `reload`, `ban`, `unban` and `bans`: a running node as a whole."""

from typing import Any

import click

from seeder.commands.control import operating
from seeder.commands.declared.nodes import do, verb_of, verb_options
from seeder.units import parse_time

_network = click.argument("network")


@click.command()
@verb_options
def status(**given: Any) -> None:
    """Tell how the node stands, on one screen.

    Where several run here and none is named, all of them.
    """
    do(operating.status, verb_of(given))


@click.command()
@click.option("--wait", is_flag=True, help="However long it takes; else for 2 s.")
@verb_options
def reload(**given: Any) -> None:
    """Have the node read its configuration again, and tell what came of it.

    A file with mistakes changes nothing: all are listed, and the exit code is 1.
    """
    do(operating.reload, verb_of(given), wait=given.pop("wait"))


@click.command()
@_network
@click.option("--for", "seconds", metavar="TIME", help='How long, such as "1h"; else for good.')
@click.option("--note", metavar="TEXT", help="Why, for who looks later.")
@verb_options
def ban(**given: Any) -> None:
    """Let nobody from NETWORK in: an address, or as 203.0.113.0/24.

    It holds at tracker, seeder and gateway at once, over restarts too.
    """
    verb, seconds = verb_of(given), given["seconds"]
    if seconds is not None:
        try:
            parse_time(seconds)
        except ValueError as error:
            raise click.BadParameter(f"{seconds!r}: {error}", param_hint="--for") from error
    do(operating.ban, verb, given["network"], seconds, given["note"])


@click.command()
@_network
@verb_options
def unban(**given: Any) -> None:
    """End the ban of NETWORK, written as it was banned."""
    do(operating.unban, verb_of(given), given["network"])


@click.command()
@verb_options
def bans(**given: Any) -> None:
    """List who is banned, until when and why."""
    do(operating.bans, verb_of(given))

"""`seeder keys list` and `seeder keys revoke`."""

from pathlib import Path

import click

from seeder.commands.ending import fail
from seeder.commands.groups import GuessingGroup
from seeder.commands.keys import list_keys, revoke_keys
from seeder.commands.loading import configs_of
from seeder.commands.options import checked_holder
from seeder.commands.which import config_option, instance_option
from seeder.errors import SeederError


@click.group(cls=GuessingGroup)
def keys() -> None:
    """List and revoke passkeys, beside a running daemon or without one."""


@keys.command("list")
@config_option
@instance_option
@click.option("--json", "as_json", is_flag=True, help="For programs; times are Unix seconds.")
def list_passkeys(path: Path | None, instance: str | None, as_json: bool) -> None:
    """Print for whom passkeys were made, until when, and which are revoked.

    Where several nodes run by the file and none is named, those of all on this machine.
    """
    try:
        list_keys(configs_of(path, instance), as_json=as_json, show=click.echo)
    except SeederError as error:
        fail(error)


@keys.command()
@config_option
@instance_option
@click.argument("name")
@click.option("--unknown", is_flag=True, help="Also if no passkey was made for it here.")
def revoke(path: Path | None, instance: str | None, name: str, unknown: bool) -> None:
    """Revoke every passkey that was made for NAME until now.

    Tracker, seeder and web seed heed it within seconds. One that is made later is good. Where
    several nodes run by the file and none is named, it is for all on this machine.
    """
    checked_holder(name, "NAME")
    try:
        revoke_keys(configs_of(path, instance), name, unknown=unknown, show=click.echo)
    except SeederError as error:
        fail(error)

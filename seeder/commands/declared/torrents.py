"""`seeder torrent` and `seeder magnet`."""

import logging
import sys
from functools import partial
from pathlib import Path

import click

from seeder.commands.ending import complain_plainly, run_or_fail
from seeder.commands.loading import all_published, load_or_fail
from seeder.commands.options import checked_holder, name_argument, parsed_validity, split_name
from seeder.commands.torrent import magnet_link, write_torrent
from seeder.commands.which import config_option, instance_option
from seeder.daemon.logs import log_to_stderr


@click.command()
@config_option
@instance_option
@name_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write it.")
@click.option(
    "--for", "holder", metavar="NAME", help="Whose passkey is in it, if the object is private."
)
@click.option("--valid", metavar="TIME", help='How long that is good, such as "30d".')
def torrent(
    *,
    path: Path | None,
    instance: str | None,
    name: str,
    output: Path | None,
    holder: str | None,
    valid: str | None,
) -> None:
    """Write the torrent file of a configured object.

    That of a private object is made for somebody by name, and can be revoked: see `seeder keys`.
    """
    if output is None and sys.stdout.isatty():
        raise click.UsageError("a torrent is no text for a terminal: name a file with -o")
    if valid is not None and holder is None:
        raise click.UsageError("--valid: is of a passkey; name its holder with --for")
    log_to_stderr(logging.WARNING)
    config = all_published(load_or_fail(path, instance))
    bucket, key = split_name(name)
    seconds = parsed_validity(valid, config)
    if holder is not None:
        checked_holder(holder, "--for")
    run_or_fail(
        partial(
            write_torrent,
            config,
            bucket,
            key,
            output=output,
            holder=holder,
            valid=seconds,
            complain=complain_plainly,
        )
    )


@click.command()
@config_option
@instance_option
@name_argument
def magnet(path: Path | None, instance: str | None, name: str) -> None:
    """Print the magnet link of a configured object."""
    log_to_stderr(logging.WARNING)
    config = all_published(load_or_fail(path, instance))
    bucket, key = split_name(name)

    async def show() -> None:
        click.echo(await magnet_link(config, bucket, key))

    run_or_fail(show)

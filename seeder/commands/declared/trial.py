"""`seeder diagnose` and `seeder demo`."""

import json
import sys
from functools import partial

import click

from seeder.commands.ending import run_or_fail
from seeder.daemon.crashes import FAILED
from seeder.units import parse_size, rounded_size


@click.command()
@click.argument("source", metavar="URL|MAGNET|FILE")
@click.option("--json", "as_json", is_flag=True, help="Print all that was found as JSON.")
@click.option("--private", is_flag=True, help="Ask private addresses too that it names.")
def diagnose(source: str, as_json: bool, private: bool) -> None:
    """Try a torrent as a downloader would: its trackers, peers and web seeds.

    Exit code 0 if somebody gives a right piece and nobody a wrong one, else 1.
    """
    from seeder.commands.diagnose import diagnose as diagnose_torrent  # noqa: PLC0415  (needless for the demo)
    from seeder.commands.diagnosis import render_diagnosis  # noqa: PLC0415  (needless for the demo)

    async def run() -> None:
        found = await diagnose_torrent(source, private=private)
        if as_json:
            click.echo(json.dumps(found.document(), indent=2))
        else:
            render_diagnosis(found, click.echo)
        if not found.works:
            sys.exit(FAILED)

    run_or_fail(run)


@click.command()
@click.option("--size", default="64 MiB", show_default=True, help="Of the object that is made.")
@click.option("--fast", is_flag=True, help="Upload as fast as it goes, not for people to watch.")
@click.option("--keep", is_flag=True, help="Leave it running until Ctrl-C, with its status page.")
def demo(size: str, fast: bool, keep: bool) -> None:
    """Publish a made object from an S3 server on this machine to four real clients."""
    from rich.console import Console  # noqa: PLC0415  (needless for diagnose)

    from seeder.commands import demo as show  # noqa: PLC0415  (needs the extra `demo`)

    try:
        count = parse_size(size)
        if not 1 <= count <= show.LARGEST:
            raise ValueError(f'want a size from "1 B" to "{rounded_size(show.LARGEST)}"')
    except ValueError as error:
        raise click.BadParameter(f"{size!r}: {error}", param_hint="--size") from error
    asked = show.Show(size=count, console=Console(), fast=fast, keep=keep)
    run_or_fail(partial(show.run, asked))

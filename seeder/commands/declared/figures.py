"""`seeder report` and `seeder estimate`."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from seeder.commands.ending import fail
from seeder.commands.estimate import make_estimate
from seeder.commands.loading import all_published, instances_of, load_or_fail
from seeder.commands.options import parsed_moment
from seeder.commands.report import ReportWanted
from seeder.commands.report import report as tell
from seeder.commands.which import config_option, instance_option
from seeder.daemon.foundation import LEDGER
from seeder.errors import SeederError
from seeder.ledger.statement import WAYS, By
from seeder.units import parse_size


@click.command()
@config_option
@instance_option
@click.option(
    "--ledger",
    "ledgers",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A node's ledger, or its state directory, to be read instead; several are added up.",
)
@click.option(
    "--by",
    type=click.Choice((*WAYS, "group", "name")),
    default="torrent",
    show_default=True,
    help="A line for each.",
)
@click.option(
    "--since", metavar="TIME", help='From then on: "7d" ago, "2026-03", "2026-03-01 12:30".'
)
@click.option("--until", metavar="TIME", help="Up to then, said in the same way.")
@click.option("--json", "as_json", is_flag=True, help="The form of /status.json, and the bill.")
@click.option("--csv", "as_csv", is_flag=True, help="The bill for a spreadsheet.")
@click.option(
    "--html", "page", type=click.Path(path_type=Path), help="The bill as a page, to FILE."
)
def report(
    *,
    path: Path | None,
    instance: str | None,
    ledgers: Sequence[Path],
    by: By | Literal["group", "name"],
    since: str | None,
    until: str | None,
    as_json: bool,
    as_csv: bool,
    page: Path | None,
) -> None:
    """Print what S3 billed, what it would have billed without us, and what was saved.

    Where several nodes run by the file and none is named, it is the sum of all on this machine.
    """
    if sum((as_json, as_csv, page is not None)) > 1:
        raise click.UsageError("--json, --csv and --html: choose one")
    if by in ("group", "name") and page is not None:
        raise click.UsageError(f"--by {by} has no page; choose --json or --csv")
    instances = [instance] if instance is not None else instances_of(path)
    configs = [load_or_fail(path, each) for each in instances]
    config = all_published(configs[0])
    read = [each / LEDGER if os.path.isdir(each) else each for each in ledgers] or [
        each.state_directory / LEDGER for each in configs
    ]
    now = time.time()
    begin, end = parsed_moment(since, "--since", now), parsed_moment(until, "--until", now)
    if begin is not None and begin > now:
        raise click.BadParameter(f"{since!r}: that is to come", param_hint="--since")
    if end is not None and begin is not None and end <= begin:
        raise click.BadParameter(f"{until!r}: not after --since", param_hint="--until")
    asked = ReportWanted(by, begin, end, as_json, as_csv, page)
    try:
        tell(config, read, asked, click.echo)
    except SeederError as error:
        fail(error)


@click.command()
@config_option
@instance_option
@click.option("--downloads", required=True, type=click.IntRange(1, 10**9), help="Of each object.")
@click.option(
    "--at-once",
    default=1,
    show_default=True,
    type=click.IntRange(1, 10**9),
    help="How many of them go on at the same time.",
)
@click.option("--size", help="Of one object, instead of those that the ledger knows.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def estimate(
    *,
    path: Path | None,
    instance: str | None,
    downloads: int,
    at_once: int,
    size: str | None,
    as_json: bool,
) -> None:
    """Say what downloads to come would cost with and without us."""
    config = all_published(load_or_fail(path, instance))
    try:
        count = None if size is None else max(1, parse_size(size))
    except ValueError as error:
        raise click.BadParameter(f"{size!r}: {error}", param_hint="--size") from error
    try:
        found = make_estimate(config, downloads, at_once, count)
    except SeederError as error:
        fail(error)
    for line in [json.dumps(found.document(), indent=2)] if as_json else found.lines():
        click.echo(line)

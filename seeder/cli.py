"""The command line. Results go to stdout, logs and complaints to stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
"""

import json
import logging
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import click

from seeder import __version__
from seeder.commands.check import check_online
from seeder.commands.check_config import check_offline
from seeder.commands.ending import FAILED, complain_plainly, fail, load_or_fail, run_or_fail
from seeder.commands.keys import list_keys, revoke_keys
from seeder.commands.manual import SHELLS, Shell, completion, manual
from seeder.commands.options import (
    checked_holder,
    config_option,
    instance_option,
    name_argument,
    parsed_moment,
    parsed_validity,
    split_name,
)
from seeder.config.load import find_instances
from seeder.config.sections import Config
from seeder.daemon import run as daemon
from seeder.daemon.foundation import LEDGER
from seeder.daemon.logs import FORMS, Form, log_to_stderr
from seeder.daemon.watching import FileWatch
from seeder.errors import ConfigError, SeederError
from seeder.ledger.statement import WAYS, By
from seeder.units import parse_size, rounded_size


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="seeder")
def main() -> None:
    """Publish large S3 objects by BitTorrent."""


@main.command()
@config_option
@instance_option
@click.option("-v", "--verbose", is_flag=True, help="Log debug lines too.")
@click.option(
    "--log-format",
    "form",
    type=click.Choice(FORMS),
    default="text",
    show_default=True,
    help="Lines for people, or a JSON object in each.",
)
def run(path: Path | None, instance: str | None, verbose: bool, form: Form) -> None:
    """Run the daemon: tracker, seeder, status page."""
    log = log_to_stderr(logging.DEBUG if verbose else logging.INFO, form=form)
    complain = complain_plainly if log.plain else log.complain
    log.catch_crashes()
    watch = FileWatch(path)  # as it is before it is read
    config = load_or_fail(path, instance, complain)
    run_or_fail(partial(daemon.run, watch, config, log, instance), complain)


@main.command()
@config_option
@instance_option
@click.option("--online", is_flag=True, help="Ask S3 for every object too.")
def check(path: Path | None, instance: str | None, online: bool) -> None:
    """Check the configuration; every mistake is listed, and what is seldom meant.

    Exit code 2 for a mistake, 1 if --online finds an object that can't be published, else 0, with
    warnings too.
    """
    config = load_or_fail(path, instance)
    try:
        check_offline(config, path, instance, click.echo)
    except ConfigError as error:
        fail(error)
    if online:
        log_to_stderr(logging.WARNING)
        run_or_fail(partial(check_online, config, click.echo))


@main.command()
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
    from seeder.commands.report import ReportWanted  # noqa: PLC0415  (needless for others)
    from seeder.commands.report import report as tell  # noqa: PLC0415  (needless for others)

    if sum((as_json, as_csv, page is not None)) > 1:
        raise click.UsageError("--json, --csv and --html: choose one")
    if by in ("group", "name") and page is not None:
        raise click.UsageError(f"--by {by} has no page; choose --json or --csv")
    instances = [instance] if instance is not None else _instances(path)
    configs = [load_or_fail(path, each) for each in instances]
    config = configs[0]
    read = [each / LEDGER if each.is_dir() else each for each in ledgers] or [
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


def _instances(path: Path | None) -> list[str | None]:
    """Return the instances that have run on this machine by a file; None is a node by itself."""
    try:
        found = find_instances(path)
    except ConfigError as error:
        fail(error)
    # Where none has run yet, the message about a missing ledger names the first one's.
    return [None] if found is None else [*found] or ["1"]


@main.command()
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
def estimate(
    path: Path | None, instance: str | None, downloads: int, at_once: int, size: str | None
) -> None:
    """Say what downloads to come would cost with and without us."""
    from seeder.commands.estimate import show_estimate  # noqa: PLC0415  (needless for others)

    config = load_or_fail(path, instance)
    try:
        count = None if size is None else max(1, parse_size(size))
    except ValueError as error:
        raise click.BadParameter(f"{size!r}: {error}", param_hint="--size") from error
    try:
        show_estimate(config, downloads, at_once, count, click.echo)
    except SeederError as error:
        fail(error)


@main.command()
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
    from seeder.commands.torrent import write_torrent  # noqa: PLC0415  (needless for others)

    if output is None and sys.stdout.isatty():
        raise click.UsageError("a torrent is no text for a terminal: name a file with -o")
    log_to_stderr(logging.WARNING)
    config = load_or_fail(path, instance)
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


@main.group()
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
        list_keys(_configs(path, instance), as_json=as_json, show=click.echo)
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
        revoke_keys(_configs(path, instance), name, unknown=unknown, show=click.echo)
    except SeederError as error:
        fail(error)


def _configs(path: Path | None, instance: str | None) -> list[Config]:
    instances = [instance] if instance is not None else _instances(path)
    return [load_or_fail(path, each) for each in instances]


@main.command()
@config_option
@instance_option
@name_argument
def magnet(path: Path | None, instance: str | None, name: str) -> None:
    """Print the magnet link of a configured object."""
    from seeder.commands.torrent import magnet_link  # noqa: PLC0415  (needless for others)

    log_to_stderr(logging.WARNING)
    config = load_or_fail(path, instance)
    bucket, key = split_name(name)

    async def show() -> None:
        click.echo(await magnet_link(config, bucket, key))

    run_or_fail(show)


@main.command()
@click.argument("source", metavar="URL|MAGNET|FILE")
@click.option("--json", "as_json", is_flag=True, help="Print all that was found as JSON.")
@click.option("--private", is_flag=True, help="Ask private addresses too that it names.")
def diagnose(source: str, as_json: bool, private: bool) -> None:
    """Try a torrent as a downloader would: its trackers, peers and web seeds.

    Exit code 0 if somebody gives a right piece and nobody a wrong one, else 1.
    """
    from seeder.commands.diagnose import diagnose as diagnose_torrent  # noqa: PLC0415  (needless for others)
    from seeder.commands.diagnose import render_diagnosis  # noqa: PLC0415  (needless for others)

    async def run() -> None:
        found = await diagnose_torrent(source, private=private)
        if as_json:
            click.echo(json.dumps(found.document(), indent=2))
        else:
            render_diagnosis(found, click.echo)
        if not found.works:
            sys.exit(FAILED)

    run_or_fail(run)


@main.command()
@click.option("--size", default="64 MiB", show_default=True, help="Of the object that is made.")
@click.option("--fast", is_flag=True, help="Upload as fast as it goes, not for people to watch.")
@click.option("--keep", is_flag=True, help="Leave it running until Ctrl-C, with its status page.")
def demo(size: str, fast: bool, keep: bool) -> None:
    """Publish a made object from an S3 server on this machine to four real clients."""
    from rich.console import Console  # noqa: PLC0415  (needless for others)

    from seeder.commands import demo as show  # noqa: PLC0415  (needs the extra `demo`)

    try:
        count = parse_size(size)
        if not 1 <= count <= show.LARGEST:
            raise ValueError(f'want a size from "1 B" to "{rounded_size(show.LARGEST)}"')
    except ValueError as error:
        raise click.BadParameter(f"{size!r}: {error}", param_hint="--size") from error
    asked = show.Show(size=count, console=Console(), fast=fast, keep=keep)
    run_or_fail(partial(show.run, asked))


@main.command()
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--systemd", is_flag=True, help="Units, too, which run this very installation.")
@click.option("--force", is_flag=True, help="Write files anew that are there and differ.")
def init(directory: Path, systemd: bool, force: bool) -> None:
    """Write an example configuration, a dashboard and alerts to DIRECTORY.

    What is there stays as it is. What to do next is printed.
    """
    from seeder.commands.examples import write_examples  # noqa: PLC0415  (needless for others)

    try:
        write_examples(directory, systemd=systemd, force=force, show=click.echo)
    except SeederError as error:
        fail(error)


@main.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def print_completion(shell: Shell) -> None:
    """Print a script by which a shell completes commands, options and files.

    For bash, ~/.local/share/bash-completion/completions/seeder is its place; or run
    eval "$(seeder completion bash)".
    """
    click.echo(completion(main, shell), nl=False)


@main.command()
def man() -> None:
    """Print the manual page: seeder man | man -l -"""
    click.echo(manual(main), nl=False)


if __name__ == "__main__":
    main()

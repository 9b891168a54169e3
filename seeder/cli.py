"""The command line. Results go to stdout, logs and complaints to stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal, NoReturn

import click
import trio

from seeder import __version__
from seeder.cluster.cluster import explain_cluster
from seeder.commands.check import check_online
from seeder.commands.keys import list_keys, make_key, moment_text, revoke_keys
from seeder.commands.machine import doubt_machine
from seeder.commands.manual import SHELLS, Shell, completion, manual
from seeder.commands.torrent import configured, find_torrent
from seeder.config.advice import advise
from seeder.config.environment import names_keys
from seeder.config.groups import explain_groups
from seeder.config.instances import is_instance
from seeder.config.load import doubt_instances, find_instances, load, source_name
from seeder.config.sections import Config
from seeder.config.unlikely import doubt
from seeder.daemon import run as daemon
from seeder.daemon.foundation import LEDGER
from seeder.daemon.logs import FORMS, Form, log_to_stderr
from seeder.daemon.watching import FileWatch
from seeder.errors import ConfigError, SeederError, StorageError
from seeder.events.tokens import out_of_reach as hidden_tokens
from seeder.events.tokens import read_tokens
from seeder.gateway.certificates import (
    certificate_names,
    doubts,
    is_due,
    is_out_of_reach,
    read_tls,
)
from seeder.gateway.keys import out_of_reach, read_keys
from seeder.gateway.links import Links, announce_url
from seeder.ledger.spending import explain_limits
from seeder.ledger.statement import WAYS, By
from seeder.net.certificates import Certificate
from seeder.tracker.passkeys import check_holder
from seeder.units import MINUTE, parse_moment, parse_size, parse_time, rounded_size
from seeder.upload.standing import explain_copies, explain_listed

FAILED, UNUSABLE = 1, 2
INTERRUPTED = 128 + 2  # as a shell has it for SIGINT


def _file_or_variables(
    context: click.Context, option: click.Parameter, path: Path | None
) -> Path | None:
    if path is None and not context.resilient_parsing and not names_keys(os.environ):
        hint = "Without a file, its keys are set in the environment, as SEEDER_SECTION__KEY."
        raise click.MissingParameter(hint, context, option)
    return path


_config = click.option(
    "-c",
    "--config",
    "path",
    envvar="SEEDER_CONFIG",
    type=click.Path(path_type=Path),
    callback=_file_or_variables,
    help="The TOML file that says what to publish; SEEDER_SECTION__KEY in the environment is one of"
    " its keys.",
)
_name = click.argument("name", metavar="BUCKET/KEY")


def _checked_instance(
    _context: click.Context, _option: click.Parameter, name: str | None
) -> str | None:
    if name is None or is_instance(name):
        return name
    raise click.BadParameter(f"{name!r}: want up to 64 letters, digits, - _ and dots, such as 1")


_instance = click.option(
    "--instance",
    metavar="NAME",
    envvar="SEEDER_INSTANCE",
    callback=_checked_instance,
    help="What %i stands for in the file, where several nodes run by it.",
)


def _complain(text: str) -> None:
    click.echo(text, err=True)


def _fail(error: SeederError, complain: Callable[[str], None] = _complain) -> NoReturn:
    if isinstance(error, ConfigError):
        for problem in error.problems:
            complain(problem)
        sys.exit(UNUSABLE)
    complain(str(error))
    sys.exit(FAILED)


def _load(
    path: Path | None, instance: str | None, complain: Callable[[str], None] = _complain
) -> Config:
    try:
        config = load(path, instance)
        _links(config)
    except ConfigError as error:
        _fail(error, complain)
    return config


def _run(main: Callable[[], Awaitable[None]], complain: Callable[[str], None] = _complain) -> None:
    """Run `main` on trio; an error becomes a line and an exit code."""
    try:
        trio.run(main)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except SeederError as error:
        _fail(error, complain)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            sys.exit(INTERRUPTED)
        ours, others = group.split(SeederError)
        if others is not None or ours is None:
            raise
        _fail(_first(ours), complain)


def _first(group: BaseExceptionGroup[SeederError]) -> SeederError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, SeederError)
    return error


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="seeder")
def main() -> None:
    """Publish large S3 objects by BitTorrent."""


@main.command()
@_config
@_instance
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
    complain = _complain if log.plain else log.complain
    log.catch_crashes()
    watch = FileWatch(path)  # as it is before it is read
    config = _load(path, instance, complain)
    _run(partial(daemon.run, watch, config, log, instance), complain)


@main.command()
@_config
@_instance
@click.option("--online", is_flag=True, help="Ask S3 for every object too.")
def check(path: Path | None, instance: str | None, online: bool) -> None:
    """Check the configuration; every mistake is listed, and what is seldom meant.

    Exit code 2 for a mistake, 1 if --online finds an object that can't be published, else 0, with
    warnings too.
    """
    config = _load(path, instance)
    unseen = list(out_of_reach(config.gateway))
    unseen_tokens = list(hidden_tokens(config.events))
    try:
        read_keys(config.gateway, without=unseen)
        read_tokens(config.events, without=unseen_tokens)
        certificate = _certificate(config)
        about_cluster = tuple(explain_cluster(config.cluster))
    except ConfigError as error:
        _fail(error)
    prefixes = sum(entry.prefix is not None for entry in config.objects)
    count = len(config.objects) - prefixes
    kinds = [(count, "object", "objects"), (prefixes, "prefix", "prefixes")]
    found = [f"{number} {one if number == 1 else more}" for number, one, more in kinds if number]
    click.echo(f"{source_name(path)}: ok, {' and '.join(found)}")
    about_tls = () if certificate is None else _doubts(config, certificate)
    alike = doubt_instances(path, instance)
    for warning in chain(advise(config), doubt(config), alike, doubt_machine(config), about_tls):
        click.echo(f"warning: {warning}")
    for line in (*about_cluster, *explain_limits(config)):
        click.echo(line)
    for line in explain_groups(config.tracker.groups, config.peer.public_address):
        click.echo(line)
    peer = config.peer
    listed = config.tracker.peers_per_address
    click.echo(explain_listed(listed, peer.origin_copies_per_address))
    click.echo(explain_copies(peer.copies_per_address, peer.connections_per_address))
    for access_key_id in unseen:
        click.echo(f"gateway.keys: {access_key_id}: not checked: only the service reads its secret")
    for name in unseen_tokens:
        click.echo(f"events: {name}: not checked: only the service reads its token")
    if config.tracker.tls and certificate is None:
        click.echo("tracker.tls_certificate: not checked: only the service reads its credentials")
    if online:
        log_to_stderr(logging.WARNING)
        _run(partial(check_online, config, click.echo))


def _certificate(config: Config) -> Certificate | None:
    """Return the certificate, None if there is none or only the service has it; ConfigError."""
    tracker = config.tracker
    return read_tls(tracker) if tracker.tls and not is_out_of_reach(tracker) else None


def _doubts(config: Config, certificate: Certificate) -> Iterator[str]:
    with suppress(ConfigError):
        port = config.tracker.main_listen[0].port
        announce = announce_url(config, port, certificate.names)
        yield from doubts(config, certificate, announce)
    yield from is_due(certificate, time.time())


@main.command()
@_config
@_instance
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
    from seeder.commands.report import ReportWanted  # noqa: PLC0415  (needless for others, which start sooner)
    from seeder.commands.report import report as tell  # noqa: PLC0415  (needless for others, which start sooner)

    if sum((as_json, as_csv, page is not None)) > 1:
        raise click.UsageError("--json, --csv and --html: choose one")
    if by in ("group", "name") and page is not None:
        raise click.UsageError(f"--by {by} has no page; choose --json or --csv")
    instances = [instance] if instance is not None else _instances(path)
    configs = [_load(path, each) for each in instances]
    config = configs[0]
    read = [each / LEDGER if each.is_dir() else each for each in ledgers] or [
        each.state_directory / LEDGER for each in configs
    ]
    now = time.time()
    begin, end = _moment(since, "--since", now), _moment(until, "--until", now)
    if begin is not None and begin > now:
        raise click.BadParameter(f"{since!r}: that is to come", param_hint="--since")
    if end is not None and begin is not None and end <= begin:
        raise click.BadParameter(f"{until!r}: not after --since", param_hint="--until")
    asked = ReportWanted(by, begin, end, as_json, as_csv, page)
    try:
        tell(config, read, asked, click.echo)
    except SeederError as error:
        _fail(error)


def _instances(path: Path | None) -> list[str | None]:
    """Return the instances that have run on this machine by a file; None is a node by itself."""
    try:
        found = find_instances(path)
    except ConfigError as error:
        _fail(error)
    # Where none has run yet, the message about a missing ledger names the first one's.
    return [None] if found is None else [*found] or ["1"]


def _moment(text: str | None, option: str, now: float) -> float | None:
    try:
        return None if text is None else parse_moment(text, now)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint=option) from error


@main.command()
@_config
@_instance
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
    from seeder.commands.estimate import show_estimate  # noqa: PLC0415  (needless for others, which start sooner)

    config = _load(path, instance)
    try:
        count = None if size is None else max(1, parse_size(size))
    except ValueError as error:
        raise click.BadParameter(f"{size!r}: {error}", param_hint="--size") from error
    try:
        show_estimate(config, downloads, at_once, count, click.echo)
    except SeederError as error:
        _fail(error)


def _split(name: str) -> tuple[str, str]:
    bucket, slash, key = name.partition("/")
    if not bucket or not slash:  # the bundle of a whole bucket has no key
        raise click.BadParameter(f"{name!r}: want BUCKET/KEY", param_hint="BUCKET/KEY")
    return bucket, key


def _links(config: Config) -> Links:
    tracker = config.tracker
    udp_port = tracker.udp_listen[0].port if tracker.udp_listen else 0
    announce = announce_url(config, tracker.main_listen[0].port, certificate_names(tracker))
    return Links.of(config, announce, udp_port=udp_port)


@main.command()
@_config
@_instance
@_name
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
    log_to_stderr(logging.WARNING)
    config = _load(path, instance)
    links = _links(config)
    bucket, key = _split(name)
    seconds = _validity(valid, config)
    if holder is not None:
        try:
            check_holder(holder)
        except ValueError as error:
            raise click.BadParameter(f"{holder!r}: {error}", param_hint="--for") from error

    async def write() -> None:
        found = await find_torrent(config, bucket, key)
        public = configured(config, bucket, key).is_public
        passkey, whose = None, ""
        if found.private and not public:
            if holder is None:
                raise ConfigError(
                    [f"{name}: is private: say whom its torrent is for, with --for NAME"]
                )
            passkey, made = await trio.to_thread.run_sync(make_key, config, found, holder, seconds)
            whose = f", for {holder} until {moment_text(made.expires)} (UTC)"
        elif holder is not None:
            raise ConfigError([f"{name}: needs no passkey: anybody may have it; leave out --for"])
        data = links.torrent_file(found, public=public, passkey=passkey)
        if output is None:
            sys.stdout.buffer.write(data)
        else:
            try:
                await trio.to_thread.run_sync(
                    _write_file, output, data, 0o666 if passkey is None else 0o600
                )
            except OSError as error:
                raise StorageError(f"{output}: can't be written: {error.strerror}") from error
            told = (
                f"{found.info_hash}, {rounded_size(found.pinned.size)}, metainfo from {found.rung}"
            )
            click.echo(f"{output}: {told}{whose}", err=True)

    _run(write)


def _validity(text: str | None, config: Config) -> float:
    if text is None:
        return config.tracker.passkey_valid
    try:
        seconds = parse_time(text)
        if seconds < MINUTE:
            raise ValueError("want a minute at least")
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint="--valid") from error
    return seconds


def _write_file(path: Path, data: bytes, mode: int) -> None:
    """Write a file; a new one gets `mode`, less the umask."""
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)


@main.group()
def keys() -> None:
    """List and revoke passkeys, beside a running daemon or without one."""


@keys.command("list")
@_config
@_instance
@click.option("--json", "as_json", is_flag=True, help="For programs; times are Unix seconds.")
def list_passkeys(path: Path | None, instance: str | None, as_json: bool) -> None:
    """Print for whom passkeys were made, until when, and which are revoked.

    Where several nodes run by the file and none is named, those of all on this machine.
    """
    try:
        list_keys(_configs(path, instance), as_json=as_json, show=click.echo)
    except SeederError as error:
        _fail(error)


@keys.command()
@_config
@_instance
@click.argument("name")
@click.option("--unknown", is_flag=True, help="Also if no passkey was made for it here.")
def revoke(path: Path | None, instance: str | None, name: str, unknown: bool) -> None:
    """Revoke every passkey that was made for NAME until now.

    Tracker, seeder and web seed heed it within seconds. One that is made later is good. Where
    several nodes run by the file and none is named, it is for all on this machine.
    """
    try:
        check_holder(name)
    except ValueError as error:
        raise click.BadParameter(f"{name!r}: {error}", param_hint="NAME") from error
    try:
        revoke_keys(_configs(path, instance), name, unknown=unknown, show=click.echo)
    except SeederError as error:
        _fail(error)


def _configs(path: Path | None, instance: str | None) -> list[Config]:
    instances = [instance] if instance is not None else _instances(path)
    return [_load(path, each) for each in instances]


@main.command()
@_config
@_instance
@_name
def magnet(path: Path | None, instance: str | None, name: str) -> None:
    """Print the magnet link of a configured object."""
    log_to_stderr(logging.WARNING)
    config = _load(path, instance)
    links = _links(config)
    bucket, key = _split(name)

    async def write() -> None:
        found = await find_torrent(config, bucket, key)
        public = configured(config, bucket, key).is_public
        if found.private and not public:
            raise ConfigError(
                [f"{name}: is private, and has no magnet link: make a torrent with --for NAME"]
            )
        click.echo(links.magnet(found, public=public))

    _run(write)


@main.command()
@click.argument("source", metavar="URL|MAGNET|FILE")
@click.option("--json", "as_json", is_flag=True, help="Print all that was found as JSON.")
@click.option("--private", is_flag=True, help="Ask private addresses too that it names.")
def diagnose(source: str, as_json: bool, private: bool) -> None:
    """Try a torrent as a downloader would: its trackers, peers and web seeds.

    Exit code 0 if somebody gives a right piece and nobody a wrong one, else 1.
    """

    from seeder.commands.diagnose import diagnose as diagnose_torrent  # noqa: PLC0415  (needless for others, which start sooner)
    from seeder.commands.diagnose import render_diagnosis  # noqa: PLC0415  (needless for others, which start sooner)

    async def run() -> None:
        found = await diagnose_torrent(source, private=private)
        if as_json:
            click.echo(json.dumps(found.document(), indent=2))
        else:
            render_diagnosis(found, click.echo)
        if not found.works:
            sys.exit(FAILED)

    _run(run)


@main.command()
@click.option("--size", default="64 MiB", show_default=True, help="Of the object that is made.")
@click.option("--fast", is_flag=True, help="Upload as fast as it goes, not for people to watch.")
@click.option("--keep", is_flag=True, help="Leave it running until Ctrl-C, with its status page.")
def demo(size: str, fast: bool, keep: bool) -> None:
    """Publish a made object from an S3 server on this machine to four real clients."""
    from rich.console import Console  # noqa: PLC0415  (needless for others, which start sooner)

    from seeder.commands import demo as show  # noqa: PLC0415  (needs the extra `demo`)

    try:
        count = parse_size(size)
        if not 1 <= count <= show.LARGEST:
            raise ValueError(f'want a size from "1 B" to "{rounded_size(show.LARGEST)}"')
    except ValueError as error:
        raise click.BadParameter(f"{size!r}: {error}", param_hint="--size") from error
    asked = show.Show(size=count, console=Console(), fast=fast, keep=keep)
    _run(partial(show.run, asked))


@main.command()
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--systemd", is_flag=True, help="Units, too, which run this very installation.")
@click.option("--force", is_flag=True, help="Write files anew that are there and differ.")
def init(directory: Path, systemd: bool, force: bool) -> None:
    """Write an example configuration, a dashboard and alerts to DIRECTORY.

    What is there stays as it is. What to do next is printed.
    """
    from seeder.commands.examples import write_examples  # noqa: PLC0415  (needless for others, which start sooner)

    try:
        write_examples(directory, systemd=systemd, force=force, show=click.echo)
    except SeederError as error:
        _fail(error)


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

"""`seeder run` and `seeder check`."""

import logging
from functools import partial
from pathlib import Path

import click

from seeder.commands.beginning import heed_early_reloads, hold_standard_streams
from seeder.commands.check import check_online
from seeder.commands.check_config import check_offline
from seeder.commands.ending import INTERRUPTED, complain_plainly, fail, run_or_fail
from seeder.commands.findings import Findings
from seeder.commands.loading import all_published, load_or_fail
from seeder.commands.which import config_option, instance_option
from seeder.config.load import source_name
from seeder.daemon import run as daemon
from seeder.daemon.crashes import Crashes
from seeder.daemon.logs import FORMS, Form, log_to_stderr
from seeder.daemon.watching import FileWatch
from seeder.errors import ConfigError


@click.command()
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
    hold_standard_streams()
    log = log_to_stderr(logging.DEBUG if verbose else logging.INFO, form=form)
    complain = complain_plainly if log.plain else log.complain
    crashes = Crashes()
    crashes.catch()
    heed_early_reloads()
    watch = FileWatch(path)  # as it is before it is read
    config = load_or_fail(path, instance, complain, beside=False)
    run_or_fail(partial(daemon.run, watch, config, log, crashes, instance), complain)


@click.command()
@config_option
@instance_option
@click.option("--online", is_flag=True, help="Ask S3 for every object too.")
@click.option("--json", "as_json", is_flag=True, help="All that was found, for programs.")
def check(path: Path | None, instance: str | None, online: bool, as_json: bool) -> None:
    """Check the configuration; every mistake is listed, and what is seldom meant.

    Exit code 2 for a mistake, 1 if a file that it names can't be used or --online finds an object
    that can't be published, else 0, with warnings too.
    """
    findings = Findings(click.echo, as_json=as_json)
    try:
        _check(path, instance, findings, online=online, as_json=as_json)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            raise
        findings.end(configuration=source_name(path), online=online)
        raise
    findings.end(configuration=source_name(path), online=online)


def _check(
    path: Path | None, instance: str | None, findings: Findings, *, online: bool, as_json: bool
) -> None:
    complain = findings.mistake if as_json else complain_plainly
    config = load_or_fail(path, instance, complain)
    try:
        check_offline(config, path, instance, findings)
    except ConfigError as error:
        fail(error, complain)
    if online:
        log_to_stderr(logging.WARNING)
        complain = findings.fault if as_json else complain_plainly
        run_or_fail(partial(check_online, all_published(config), findings), complain)

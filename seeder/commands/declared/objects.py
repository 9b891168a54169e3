"""`seeder add`, `set`, `rm`, `ls`, `show`, `refresh` and `warm`: what a running node publishes."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, TypeVar

import click

from seeder.commands.control import objects
from seeder.commands.control.listing import list_kind
from seeder.commands.control.names import Target, parse_target
from seeder.commands.control.pages import ListName
from seeder.commands.declared.nodes import complete_name, do, verb_of, verb_options
from seeder.config.environment import entry_value
from seeder.config.fields import SourceFile
from seeder.config.origins import DEFAULT_ORIGIN
from seeder.torrent.publications import SHOWN_STATES

_F = TypeVar("_F", bound=Callable[..., object])
_name = click.argument("name", metavar="BUCKET/KEY", shell_complete=complete_name)
_prefix = click.option("--prefix", "is_prefix", is_flag=True, help="All below BUCKET/PREFIX.")
_bundle = click.option("--bundle", is_flag=True, help="The one torrent of all below BUCKET/PREFIX.")
_more = (
    click.option("--origin", metavar="NAME", help="The origin, if it isn't [origin] itself."),
    click.option("--version-id", metavar="ID", help="The version, if the entry names one."),
)


def _named(command: _F) -> _F:
    """Give a command the argument and options that name an object or prefix."""
    for option in (*reversed(_more), _bundle, _prefix, _name):
        command = option(command)
    return command


def _target(given: dict[str, Any]) -> Target:
    """Return what those name, and take them out of all that were given."""
    name, is_prefix = given.pop("name"), given.pop("is_prefix")
    origin, version = given.pop("origin"), given.pop("version_id")
    try:
        return parse_target(
            name,
            is_prefix=is_prefix,
            origin=origin,
            version_id=version,
            is_bundle=given.pop("bundle"),
        )
    except ValueError as error:
        raise click.BadParameter(f"{name!r}: {error}", param_hint="BUCKET/KEY") from error


@click.command()
@_named
@click.option("--set", "pairs", metavar="KEY=VALUE", multiple=True, help="A key of [[objects]].")
@click.option("--private", is_flag=True, help="Make its torrent private.")
@click.option("--warm", is_flag=True, help="Read it into the cache ahead.")
@click.option("--publish-at", metavar="TIME", help="Not before, such as 2027-01-15T18:00:00Z.")
@click.option("--wait", is_flag=True, help="Until its torrent is there, or the prefix listed.")
@verb_options
def add(**given: Any) -> None:
    """Publish an object, or all below a prefix, from now on.

    The node keeps it beside the file's entries, over restarts too. In a cluster all nodes do.
    """
    verb, wait = verb_of(given), given.pop("wait")
    target = _target(given)
    settings = _settings(given.pop("pairs"), "--set")
    moment = given.pop("publish_at")
    if moment is not None:
        settings["publish_at"] = moment
    settings |= {key: True for key, value in given.items() if value}
    do(objects.add, verb, target, settings, wait=wait)


@click.command("set")
@_named
@click.argument("pairs", metavar="KEY=VALUE...", nargs=-1)
@click.option("--unset", metavar="KEY", multiple=True, help="Back to the default.")
@verb_options
def change(**given: Any) -> None:
    """Change keys of an entry that was added; the others stay.

    What stands in the file is changed there.
    """
    verb = verb_of(given)
    settings = _settings(given.pop("pairs"), "KEY=VALUE") | dict.fromkeys(given.pop("unset"))
    if not settings:
        raise click.UsageError("want KEY=VALUE, or --unset KEY")
    do(objects.change, verb, _target(given), settings)


def _settings(pairs: Sequence[str], place: str) -> dict[str, object]:
    """Return keys of [[objects]] with the values that texts stand for, as in the environment."""
    found: dict[str, object] = {}
    source = SourceFile(Path.cwd(), frozenset({DEFAULT_ORIGIN}))
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not key or not equals:
            raise click.BadParameter(f"{pair!r}: want KEY=VALUE", param_hint=place)
        try:
            value = entry_value(key, text.strip(), source)
        except ValueError as error:
            raise click.BadParameter(f"{pair!r}: {error}", param_hint=place) from error
        # JSON has no dates; the API takes them as texts.
        found[key] = value.isoformat() if isinstance(value, datetime | date | time) else value
    return found


@click.command()
@_named
@verb_options
def rm(**given: Any) -> None:
    """End what was added; what stands in the file is taken out there.

    Its torrent ends for all, and the object stays in S3.
    """
    verb = verb_of(given)
    do(objects.remove, verb, _target(given))


@click.command()
@click.argument("name", metavar="[BUCKET/PREFIX]", default="", shell_complete=complete_name)
@click.option("--state", type=click.Choice(SHOWN_STATES), help="Only those.")
@click.option("--all", "everything", is_flag=True, help="However many there are.")
@click.option("--prefixes", is_flag=True, help="Prefixes instead of objects.")
@verb_options
def ls(**given: Any) -> None:
    """List what is published, and how it stands.

    Where several nodes run here and none is named, each object once.
    """
    verb, name = verb_of(given), given["name"].removeprefix("s3://")
    if given["prefixes"] and given["state"]:
        raise click.UsageError("--state: is of objects, and --prefixes lists none")
    query = {key: text for key, text in (("prefix", name), ("state", given["state"])) if text}
    kind: ListName = "prefixes" if given["prefixes"] else "objects"
    do(list_kind, verb, kind, query, everything=given["everything"])


@click.command()
@_named
@verb_options
def show(**given: Any) -> None:
    """Tell all of an object or prefix: state, torrent, figures, settings."""
    verb = verb_of(given)
    do(objects.show, verb, _target(given))


@click.command()
@_named
@click.option("--rehash", is_flag=True, help="Make and check its metainfo anew, too.")
@click.option("--wait", is_flag=True, help="Until S3 has answered.")
@verb_options
def refresh(**given: Any) -> None:
    """Ask S3 now whether an object, or what is below a prefix, has changed."""
    verb, wait = verb_of(given), given.pop("wait")
    action: objects.Action = "rehash" if given.pop("rehash") else "refresh"
    do(objects.act, verb, _target(given), action, wait=wait)


@click.command()
@_named
@click.option("--wait", is_flag=True, help="Until all of it is there.")
@verb_options
def warm(**given: Any) -> None:
    """Read an object, or all below a prefix, into the cache."""
    verb, wait = verb_of(given), given.pop("wait")
    do(objects.act, verb, _target(given), "warm", wait=wait)

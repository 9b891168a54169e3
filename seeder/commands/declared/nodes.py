"""The options by which verbs find the node that they are for, and complete what it has."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from seeder.commands.control.nodes import NodesWanted
from seeder.commands.control.objects import Verb
from seeder.commands.ending import INTERRUPTED, fail
from seeder.commands.which import instance_option
from seeder.errors import SeederError

_F = TypeVar("_F", bound=Callable[..., object])
_COMPLETED = 100
_PATIENCE = 0.4
"""Seconds that a shell waits for names."""

_CONFIG = click.option(
    "-c",
    "--config",
    "path",
    envvar="SEEDER_CONFIG",
    type=click.Path(path_type=Path),
    help="The file that the node runs by, which says where its socket is; without one, that of the"
    " system's service or of a node of your own.",
)
_OTHERS = (
    click.option(
        "--socket", type=click.Path(path_type=Path), help="The node's socket (admin.socket)."
    ),
    click.option("--url", metavar="URL", help="Of its admin listener, instead of a socket."),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        help="The file with the token that --url takes (admin.token_file).",
    ),
    click.option("--json", "as_json", is_flag=True, help="What the API answers, for programs."),
)


def verb_options(command: _F) -> _F:
    """Give a command the options that say which node is meant, and --json."""
    for option in (*reversed(_OTHERS), instance_option, _CONFIG):
        command = option(command)
    return command


def verb_of(given: dict[str, Any]) -> Verb:
    """Return what those options say, and take them out of all that were given."""
    nodes = NodesWanted(
        path=given.pop("path"),
        instance=given.pop("instance"),
        socket=given.pop("socket"),
        url=given.pop("url"),
        token_file=given.pop("token_file"),
    )
    return Verb(nodes, click.echo, given.pop("as_json"))


def do(act: Callable[..., None], *arguments: object, **named: object) -> None:
    """Do it; what goes wrong is a line, and the exit code."""
    try:
        act(*arguments, **named)
    except SeederError as error:
        fail(error)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def complete_name(context: click.Context, _argument: click.Parameter, begun: str) -> list[str]:
    """Return names of objects that begin so, as the node has them; none if it doesn't say."""
    from seeder.commands.control.completing import names_of  # noqa: PLC0415  (for shells alone)

    given = context.params
    wanted = NodesWanted(
        **{key: given.get(key) for key in ("path", "instance", "socket", "url", "token_file")}
    )
    return names_of(
        wanted, begun, most=_COMPLETED, seconds=_PATIENCE, prefixes=bool(given.get("is_prefix"))
    )

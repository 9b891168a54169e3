"""Names for a shell to complete: as many as come at once, and silence about all that goes wrong."""

from contextlib import suppress
from urllib.parse import urlencode

from seeder.commands.control.client import ControlClient, Json
from seeder.commands.control.nodes import NodesWanted
from seeder.errors import SeederError


def names_of(
    wanted: NodesWanted, begun: str, *, most: int, seconds: float, prefixes: bool
) -> list[str]:
    """Return up to `most` names that begin with a text, if the node gives them in that time (s)."""
    found: list[str] = []
    with suppress(SeederError), ControlClient(wanted.nodes()[0], connect=seconds) as client:
        path = "/prefixes" if prefixes else f"/objects?{urlencode(_query(begun, most))}"
        answer: Json = client.ask(path, patience=seconds)
        for each in answer["prefixes" if prefixes else "objects"]:
            name = f"{each['bucket']}/{each.get('prefix' if prefixes else 'key', '')}"
            # A shell would take a line of its own for another name.
            if name.startswith(begun) and name.isprintable():
                found.append(name)
    return found[:most]


def _query(begun: str, most: int) -> dict[str, str]:
    """Return what asks for objects; before the slash nobody knows the bucket yet."""
    query = {"limit": str(most)}
    return query | {"prefix": begun} if "/" in begun else query

"""Lists of the API, page after page."""

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias
from urllib.parse import urlencode

from seeder.commands.control.client import ControlClient
from seeder.commands.control.names import Target
from seeder.commands.control.object_table import Row
from seeder.config.origins import DEFAULT_ORIGIN

ListName: TypeAlias = Literal["objects", "prefixes"]
MOST_A_PAGE = 1000


def page_path(kind: ListName, query: Mapping[str, str], limit: int) -> str:
    """Return what asks for so many of a kind."""
    return f"/{kind}?{urlencode({**query, 'limit': str(limit)})}"


def pages_from(
    client: ControlClient, kind: ListName, query: Mapping[str, str], limit: int
) -> Iterator[Row]:
    """Yield all of a kind, from now on: the first page is asked for before anything is yielded.

    ControlFailed, then or later.
    """
    return _pages(client, kind, query, limit, client.ask(page_path(kind, query, limit)))


def _pages(
    client: ControlClient, kind: ListName, query: Mapping[str, str], limit: int, page: Row
) -> Iterator[Row]:
    while True:
        yield from page[kind]
        if page["next"] is None:
            return
        page = client.ask(page_path(kind, {**query, "after": page["next"]}, limit))


def objects_below(client: ControlClient, target: Target) -> Iterator[Row]:
    """Yield the objects of a prefix, or the one that its bundle is; ControlFailed."""
    for row in pages_from(client, "objects", {"prefix": str(target)}, MOST_A_PAGE):
        if row["origin"] == (target.origin or DEFAULT_ORIGIN):
            yield row

"""Lists of the API, page after page."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from seeder.commands.control.client import ControlClient
from seeder.commands.control.names import Target
from seeder.commands.control.object_table import Row
from seeder.config.sections import DEFAULT_ORIGIN

LARGEST_PAGE = 1000


def page_path(query: Mapping[str, str], limit: int) -> str:
    """Return what asks for so many objects."""
    return f"/objects?{urlencode({**query, 'limit': str(limit)})}"


def pages_from(
    client: ControlClient, query: Mapping[str, str], limit: int, page: Row
) -> Iterator[Row]:
    """Yield the objects of a page, and of those that follow; ControlFailed."""
    while True:
        yield from page["objects"]
        if page["next"] is None:
            return
        page = client.ask(page_path({**query, "after": page["next"]}, limit))


def objects_below(client: ControlClient, target: Target) -> Iterator[Row]:
    """Yield the objects of a prefix, or the one that its bundle is; ControlFailed."""
    query = {"prefix": str(target)}
    page: Row = client.ask(page_path(query, LARGEST_PAGE))
    for row in pages_from(client, query, LARGEST_PAGE, page):
        if row["origin"] == (target.origin or DEFAULT_ORIGIN):
            yield row

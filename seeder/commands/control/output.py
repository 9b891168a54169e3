"""JSON as the API gives it, for programs."""

import json
from collections.abc import Callable, Sequence

from seeder.commands.control.client import Json


def show_json(document: Json, show: Callable[[str], None]) -> None:
    """Print an answer; one without a body is nothing."""
    if document is not None:
        # Escaped, so that a terminal obeys nothing of it.
        show(json.dumps(document, indent=2))


def show_answers(told: Sequence[tuple[str | None, Json]], show: Callable[[str], None]) -> None:
    """Print the answer of a node, or those of several with the names of their instances."""
    if len(told) == 1:
        show_json(told[0][1], show)
    elif told:
        nodes = [{"instance": instance, "answer": answer} for instance, answer in told]
        show_json({"nodes": nodes}, show)

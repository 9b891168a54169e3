"""Texts for people: nothing in them that a terminal would obey, folded to its width. No I/O."""

from collections.abc import Iterator

from rich.cells import cell_len, chop_cells


def printable(text: str) -> str:
    """Return `text` without what a terminal would obey: keys and reasons come from outside."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def folded(head: str, text: str, width: int | None) -> Iterator[str]:
    """Yield `head` and a text behind it, in lines of the width; further ones are indented."""
    room = None if width is None else width - cell_len(head)
    if room is None or cell_len(text) <= room:
        yield f"{head}{text}".rstrip()
        return
    for part in chop_cells(text, max(room, 10)):
        yield f"{head}{part}".rstrip()
        head = " " * cell_len(head)

"""S3's XML documents, untrusted, read element by element. No I/O."""

from collections.abc import Callable, Mapping
from xml.parsers import expat

_DEEPEST = 8
"""Elements within each other; a page of a listing has 4."""


def read_xml(
    document: bytes,
    take: Callable[[list[str], str], None],
    *,
    is_root: Callable[[str], bool] | None = None,
    longest: int,
) -> None:
    """Call `take` with the path and the text of each element when it ends.

    The path holds the names from the root's on, without their namespaces, which servers write
    differently; the list is changed afterwards. ValueError if the document isn't XML, has a
    document type (entities are declared in one, and S3 sends none), a root that `is_root` doesn't
    accept, or a text of more than `longest` characters. Elements before that have been taken
    already.
    """
    path: list[str] = []
    text = ""

    def start(name: str, _: Mapping[str, str]) -> None:
        nonlocal text
        name = name.rpartition(" ")[2]
        if not path and is_root is not None and not is_root(name):
            raise ValueError(f"it is a {name[:40]}")
        path.append(name)
        if len(path) > _DEEPEST:
            raise ValueError("it is too deep")
        text = ""

    def add(more: str) -> None:
        nonlocal text
        if len(text) + len(more) <= longest:
            text += more
        elif not more.isspace():  # more blanks than that between two elements are dropped
            raise ValueError("a text in it is too long")

    def end(_: str) -> None:
        nonlocal text
        take(path, text)
        path.pop()
        text = ""

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = start
    parser.CharacterDataHandler = add
    parser.EndElementHandler = end
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, LookupError) as error:  # LookupError: an unknown encoding
        raise ValueError(str(error)) from error


def _refuse_doctype(*_: object) -> None:
    raise ValueError("it has a document type")

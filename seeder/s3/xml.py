"""S3's XML documents, untrusted, read element by element. No I/O."""

from collections.abc import Callable, Mapping
from xml.parsers import expat

_DEEPEST = 8
"""Elements within each other; a page of a listing has 4."""
_MOST_ELEMENTS = 200_000
"""A page of a listing has some 15 for each of its thousand keys."""
_LONGEST_NAME = 100
"""Characters of an element's name with its prefix."""


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
    accept, a text of more than `longest` characters, or more elements, or more within each other,
    than any document of S3. Elements before that have been taken already.
    """
    path: list[str] = []
    text = ""
    elements = 0

    def start(name: str, _: Mapping[str, str]) -> None:
        nonlocal text, elements
        elements += 1
        if elements > _MOST_ELEMENTS or len(name) > _LONGEST_NAME:
            raise ValueError("it has too many elements, or one with too long a name")
        name = name.rpartition(":")[2]
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

    # Namespaces aren't resolved: expat would put their name, which may have megabytes, before that
    # of each element.
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = start
    parser.CharacterDataHandler = add
    parser.EndElementHandler = end
    if document.count(b"=") > _MOST_ELEMENTS:
        raise ValueError("it has too many attributes")  # expat takes all of a tag at once
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, LookupError) as error:  # LookupError: an unknown encoding
        raise ValueError(str(error)) from error


def _refuse_doctype(*_: object) -> None:
    raise ValueError("it has a document type")

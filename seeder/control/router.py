"""Finds the operation that a request asks for, and what its path names. No I/O."""

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from seeder.control.operations import API_ROOT, AnyOperation, Problem

_VARIABLE = re.compile(r"\{(\+?)(\w+)\}")
_LONE_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Router:
    """The operations by their paths."""

    def __init__(self, operations: Sequence[AnyOperation]) -> None:
        self.operations = tuple(operations)
        self._paths: dict[str, tuple[re.Pattern[str], dict[str, AnyOperation]]] = {}
        for each in operations:
            known = self._paths.setdefault(each.template, (_pattern(each.template), {}))
            assert known[1].setdefault(each.method, each) is each, each

    def find(self, method: bytes, path: bytes) -> tuple[AnyOperation, dict[str, str]]:
        """Return the operation, and the variables in its path; Problem 400, 404 or 405."""
        text = path.decode("latin-1")
        if text == f"{API_ROOT}/":
            text = API_ROOT
        asked = "GET" if method == b"HEAD" else method.decode("latin-1")
        for pattern, methods in self._paths.values():
            if (found := pattern.fullmatch(text)) is None:
                continue
            if (operation := methods.get(asked)) is None:
                allowed = ", ".join(_allowed(methods))
                raise Problem(
                    HTTPStatus.METHOD_NOT_ALLOWED,
                    f"this takes {allowed}",
                    headers=((b"Allow", allowed.encode()),),
                )
            return operation, {name: _decoded(raw) for name, raw in found.groupdict().items()}
        hint = "; a colon in a name is written %3A" if ":" in text else ""
        raise Problem(
            HTTPStatus.NOT_FOUND, f"there is no such path; {API_ROOT}/openapi.json lists all{hint}"
        )


def _pattern(template: str) -> re.Pattern[str]:
    """Return what a path has to match; variables have no colon, which begins an action."""
    pattern, end = re.escape(API_ROOT), 0
    for variable in _VARIABLE.finditer(template):
        pattern += re.escape(template[end : variable.start()])
        pattern += f"(?P<{variable[2]}>{'[^:]*' if variable[1] else '[^/]+'})"
        end = variable.end()
    return re.compile(pattern + re.escape(template[end:]))


def _allowed(methods: dict[str, AnyOperation]) -> Iterator[str]:
    for method in methods:
        yield method
        if method == "GET":
            yield "HEAD"


def _decoded(raw: str) -> str:
    """Return a variable of a path as text; Problem."""
    encoded = raw.encode("latin-1")
    try:
        if _LONE_PERCENT.search(encoded):
            raise ValueError(raw)
        return unquote_to_bytes(encoded).decode()
    except ValueError:
        raise Problem(HTTPStatus.BAD_REQUEST, "the path is not UTF-8 in percent-encoding") from None

"""Answers and problems as responses of HTTP. No I/O."""

import json
from http import HTTPStatus

from seeder.control.operations import ApiAnswer, Problem
from seeder.http.messages import Header, Response

_HEADERS: tuple[Header, ...] = (
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
)
_UNWRITTEN = b"Seeder-Unwritten"
"""The header of an answer to what is in force, and written only later: why."""
_JSON = (b"Content-Type", b"application/json")
_PROBLEM = (b"Content-Type", b"application/problem+json")


def answered(answer: ApiAnswer) -> Response:
    """Return an operation's answer as a response."""
    named: tuple[Header, ...] = ()
    if answer.location is not None:
        named = ((b"Location", answer.location.encode()),)
    if answer.unwritten is not None:
        named = (*named, (_UNWRITTEN, answer.unwritten.encode("unicode_escape")))
    if answer.body is None:
        return Response(answer.status, headers=(*_HEADERS, *named))
    body = answer.body.model_dump_json().encode()
    return Response(answer.status, body, (_JSON, *_HEADERS, *named))


def refused(problem: Problem) -> Response:
    """Return a problem as RFC 9457 writes it."""
    document: dict[str, object] = {
        "title": HTTPStatus(problem.status).phrase,
        "status": int(problem.status),
        "detail": problem.detail,
    }
    if len(problem.errors) > 1:
        document["errors"] = problem.errors
    body = json.dumps(document).encode()
    return Response(problem.status, body, (_PROBLEM, *_HEADERS, *problem.headers))

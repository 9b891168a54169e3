"""Reads what a request says: its query and its JSON body, checked by an operation's models."""

from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from seeder.control.operations import AnyOperation, Nothing, Problem
from seeder.http.messages import Request, decoded_query
from seeder.plain_json import read_json
from seeder.units import MIB

LARGEST_BODY = MIB
_MOST_PARAMETERS = 32
_MOST_ERRORS = 100
_JSON = b"application/json"
_MERGE_PATCH = b"application/merge-patch+json"
"""RFC 7396."""
M = TypeVar("M", bound=BaseModel)


def read_query(model: type[M], request: Request) -> M:
    """Return the parameters of a query; Problem 400."""
    values: dict[str, str] = {}
    pairs = decoded_query(request.query)
    if len(pairs) > _MOST_PARAMETERS:
        raise Problem(HTTPStatus.BAD_REQUEST, "the query has too many parameters")
    for raw_name, raw_value in pairs:
        try:
            name, value = raw_name.decode(), raw_value.decode()
        except ValueError:
            raise Problem(HTTPStatus.BAD_REQUEST, "the query is not UTF-8") from None
        if name in values:
            raise Problem(HTTPStatus.BAD_REQUEST, f"the query has {name[:80]!r} twice")
        values[name] = value
    return _validated(model, values, HTTPStatus.BAD_REQUEST, "the query")


def read_body(operation: AnyOperation, request: Request) -> Any:
    """Return the body as the operation's model; Problem 400, 413, 415 or 422."""
    if not operation.has_body:
        if request.body:
            raise Problem(HTTPStatus.BAD_REQUEST, "this takes no body")
        return Nothing()
    if is_too_long(request):
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"want at most {LARGEST_BODY} bytes")
    kind = (request.header(b"content-type") or b"").partition(b";")[0].strip().lower()
    if kind != _JSON and not (kind == _MERGE_PATCH and operation.method == "PATCH"):
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "want Content-Type: application/json")
    try:
        value = read_json(request.body, unique=True)
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body can't be read: {error}") from None
    return _validated(operation.body, value, HTTPStatus.UNPROCESSABLE_ENTITY, "the body")


def is_too_long(request: Request) -> bool:
    """Tell whether a request says that its body has too many bytes."""
    length = request.header(b"content-length") or b"0"
    return len(length) > 15 or int(length) > LARGEST_BODY


def _validated(model: type[M], value: object, status: int, what: str) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        mistakes = error.errors(include_url=False)[:_MOST_ERRORS]
        lines = tuple(_line(each, what) for each in mistakes)
    raise Problem(status, lines[0], lines)


def _line(error: ErrorDetails, what: str) -> str:
    """Return one of pydantic's errors as a line: where, and what is wanted."""
    place = ""
    for step in error["loc"]:
        place += f"[{step}]" if isinstance(step, int) else f"{'.' * bool(place)}{step[:80]}"
    if error["type"] == "value_error":
        wanted = str(error["ctx"]["error"])
    elif error["type"] == "extra_forbidden":
        wanted = "unknown"
    elif error["type"] == "missing":
        wanted = "missing"
    elif error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        wanted = "want a JSON object"
    else:
        wanted = error["msg"][:1].lower() + error["msg"][1:]
    return f"{place or what}: {wanted}"

"""What an operation of the control API is: its place, what it takes, what it does and answers.

Each is declared once. The router and the OpenAPI document are both made of these declarations, so
that they can't differ. No I/O.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict

API_ROOT = "/api/v1"
"""The path below which all operations are."""
ApiMethod: TypeAlias = Literal["GET", "POST", "PATCH", "DELETE"]


class JsonObject(BaseModel):
    """An object of the API with no members but its fields; their docstrings describe them."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        defer_build=True,  # they are needed when somebody asks, not at the start
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class OpenObject(JsonObject):
    """An object of the API that may have more members than its fields."""

    model_config = ConfigDict(extra="allow")


class QueryObject(JsonObject):
    """The parameters of a query; each value comes as text."""

    model_config = ConfigDict(strict=False)


class Nothing(QueryObject):
    """No parameters, or no body."""


Q = TypeVar("Q", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ApiCall(Generic[Q, B]):
    """A request for an operation, with all that it says checked."""

    path: Mapping[str, str]
    """The variables of the template, decoded."""
    query: Q
    body: B


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """What an operation answers."""

    body: BaseModel | None = None
    status: int = HTTPStatus.OK
    location: str | None = None
    """The path of what was made."""
    unwritten: str | None = None
    """Why what is in force isn't on disk yet, in one line."""


class Problem(Exception):
    """Why something wasn't done (RFC 9457): `detail` is one line that says what to do instead."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: tuple[str, ...] = (),
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        """Every mistake, where there are several."""
        self.headers = headers


@dataclass(frozen=True, slots=True)
class ApiOperation(Generic[Q, B]):
    """One thing that can be asked for.

    `template` is a path below /api/v1 as RFC 6570 writes it: `{name}` is a step, and `{+name}` at
    the end may have slashes or be empty; neither has a colon there unless it is encoded.
    """

    method: ApiMethod
    template: str
    name: str
    """Its operationId, such as "listKeys"."""
    summary: str
    query: type[Q]
    body: type[B]
    act: Callable[[ApiCall[Q, B]], Awaitable[ApiAnswer]]
    answers: Mapping[int, type[BaseModel] | None]
    """What it may answer when all is well, by status."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """Why it may be refused, by status, beside what every operation may be refused for."""
    starting: bool = False
    """Whether it is answered before the node is ready."""

    @property
    def has_body(self) -> bool:
        """Whether a body belongs to it."""
        return self.body is not Nothing


AnyOperation: TypeAlias = ApiOperation[Any, Any]

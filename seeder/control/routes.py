"""Answers requests below /api: finds their operation, lets it act, and words what went wrong."""

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from http import HTTPStatus

from seeder import __version__
from seeder.control.access import TokenDoor, check_origin
from seeder.control.answers import answered, refused
from seeder.control.document import openapi
from seeder.control.operations import (
    AnyOperation,
    ApiAnswer,
    ApiCall,
    ApiOperation,
    Nothing,
    OpenObject,
    Problem,
)
from seeder.control.reading import LARGEST_BODY, is_too_long, read_body, read_query
from seeder.control.router import Router
from seeder.errors import SeederError
from seeder.http.messages import Request, RequestRefused, Response, shown_target

_LOG = logging.getLogger(__name__)

_BELOW = b"/api/"


def is_control(request: Request) -> bool:
    """Tell whether a request is for the control API."""
    return request.path.startswith(_BELOW) or request.path == b"/api"


class ControlRoutes:
    """The handler of the control API; `unready` tells why the node isn't ready, if it isn't."""

    def __init__(
        self, operations: Sequence[AnyOperation], unready: Callable[[], str | None]
    ) -> None:
        self._unready = unready
        own: AnyOperation = ApiOperation(
            method="GET",
            template="/openapi.json",
            name="getDocument",
            summary="This document",
            query=Nothing,
            body=Nothing,
            act=self._tell,
            answers={HTTPStatus.OK: OpenObject},
            starting=True,
        )
        self._router = Router([*operations, own])

    async def answer(self, request: Request) -> Response:
        """ApiAnswer a request that is let in."""
        try:
            return await self._act(request)
        except Problem as problem:
            return refused(problem)
        except Exception:
            _LOG.exception("the handler of %r failed", shown_target(request.path))
            why = "a fault of the seeder's own; its log says more"
            return refused(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, why))

    async def _act(self, request: Request) -> Response:
        check_origin(request)
        operation, path = self._router.find(request.method, request.path)
        reason = self._unready()
        if reason is not None and not operation.starting:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {reason}")
        query = read_query(operation.query, request)
        body = read_body(operation, request)
        try:
            return answered(await operation.act(ApiCall(path, query, body)))
        except SeederError as error:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error

    @cached_property
    def _document(self) -> OpenObject:
        return OpenObject.model_validate(openapi(self._router.operations, __version__))

    async def _tell(self, _call: ApiCall[Nothing, Nothing]) -> ApiAnswer:
        return ApiAnswer(self._document)


class TokenRoutes:
    """The same for who has the token."""

    def __init__(self, door: TokenDoor, routes: ControlRoutes) -> None:
        self._door = door
        self._routes = routes

    def wanted(self, request: Request) -> int:
        """Return how many bytes are read of a request's body: none from who isn't let in."""
        return wanted(request) if self._door.admits(request) else 0

    async def __call__(self, request: Request) -> Response:
        """ApiAnswer a request, if it is let in."""
        try:
            self._door.check(request)
        except Problem as problem:
            return refused(problem)
        return await self._routes.answer(request)


def wanted(request: Request) -> int:
    """Return how many bytes are read of a request's body: none if it says that it has too many."""
    return 0 if is_too_long(request) else LARGEST_BODY


def worded(_request: Request, refusal: RequestRefused) -> Response:
    """Return the answer to a request whose body the server didn't take."""
    return refused(Problem(refusal.status, str(refusal)))

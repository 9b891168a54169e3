"""Reloading the configuration, and what became of it: /api/v1/reload."""

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from seeder.admin.reloads import ReloadOutcome, ReloadReport, Reloads
from seeder.control.operations import (
    AnyOperation,
    ApiAnswer,
    ApiCall,
    ApiOperation,
    JsonObject,
    Nothing,
    Problem,
)


class LastReload(JsonObject):
    """What became of a reload."""

    at: float
    """When it was over (Unix s)."""
    outcome: ReloadOutcome
    """"ok": all of the configuration is in force; "partial": but for what `reason` says;
    "refused": nothing of it, the one before stays."""
    reason: str | None
    """Why it wasn't "ok"."""
    changed: list[str]
    """The keys that have another value in force than before."""
    restart: list[str]
    """The keys that have another value, which only a restart takes up."""
    errors: list[str]
    """Every mistake of a configuration that was refused."""


class ReloadStatus(JsonObject):
    """The last reload."""

    last: LastReload | None
    """null before the first."""


class ReloadResource:
    """The configuration's reloads; `reload` makes one, after those that are under way."""

    def __init__(self, reloads: Reloads, reload: Callable[[], Awaitable[ReloadReport]]) -> None:
        self._reloads = reloads
        self._reload = reload

    def operations(self) -> Sequence[AnyOperation]:
        """Return what can be asked for."""
        return (
            ApiOperation(
                method="GET",
                template="/reload",
                name="getReload",
                summary="What became of the last reload of the configuration",
                query=Nothing,
                body=Nothing,
                act=self._get,
                answers={HTTPStatus.OK: ReloadStatus},
            ),
            ApiOperation(
                method="POST",
                template="/reload",
                name="reload",
                summary="Read the configuration again, and wait until it is in force",
                query=Nothing,
                body=Nothing,
                act=self._post,
                answers={HTTPStatus.OK: LastReload},
                problems={
                    HTTPStatus.UNPROCESSABLE_ENTITY: "The configuration is refused, and the one"
                    " before stays in force; `errors` lists every mistake."
                },
            ),
        )

    async def _get(self, _call: ApiCall[Nothing, Nothing]) -> ApiAnswer:
        return ApiAnswer(ReloadStatus(last=last_reload(self._reloads)))

    async def _post(self, _call: ApiCall[Nothing, Nothing]) -> ApiAnswer:
        report = await self._reload()
        if report.outcome == "refused":
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"not reloaded, the old configuration stays in force: {report.reason}",
                report.errors,
            )
        return ApiAnswer(_told(report))


def last_reload(reloads: Reloads) -> LastReload | None:
    """Return the last reload; None before the first."""
    return None if reloads.report is None else _told(reloads.report)


def _told(report: ReloadReport) -> LastReload:
    return LastReload(
        at=report.at,
        outcome=report.outcome,
        reason=report.reason,
        changed=list(report.changed),
        restart=list(report.restart),
        errors=list(report.errors),
    )

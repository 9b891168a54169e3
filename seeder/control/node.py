"""What the node as a whole tells of itself: GET /api/v1 and GET /api/v1/status."""

from collections.abc import Sequence
from http import HTTPStatus
from itertools import islice

from seeder import __version__
from seeder.admin.cockpit import SHOWN_NOTICES
from seeder.admin.notices import notices
from seeder.admin.overview import Overview
from seeder.control.lately import NodeRates, counted_today, rates_of, states_of
from seeder.control.operations import (
    API_ROOT,
    AnyOperation,
    ApiAnswer,
    ApiCall,
    ApiOperation,
    JsonObject,
    Nothing,
    OpenObject,
)
from seeder.control.reloads import LastReload, last_reload


class Root(JsonObject):
    """What answers here."""

    name: str
    version: str
    openapi: str
    """The path of the OpenAPI document."""


class NodeStatus(JsonObject):
    """How the node stands."""

    version: str
    started: float
    """When it started (Unix s)."""
    ready: bool
    """Whether every listener is open, and what was known is served."""
    unready: str | None
    """Why it isn't ready."""
    summary: str
    """One line, as `systemctl status` shows it."""
    totals: OpenObject
    """The totals of /status.json."""
    today: OpenObject | None
    """What was counted since midnight (UTC), in the names of the totals; null while the ledger
    can't be read."""
    rates: NodeRates
    objects: dict[str, int]
    """How many there are, by state."""
    published_bytes: int
    """Of these objects, as far as it is known; the totals have former ones, too."""
    connected: int
    """Peers connected."""
    budget: list[OpenObject]
    """The limits as they stand, as in /status.json."""
    notices: list[str]
    """What needs a person, as on the status page."""
    listeners: dict[str, list[str]]
    """Where it listens, by what for."""
    last_reload: LastReload | None
    """The last reload of the configuration; null before the first."""
    degraded: str | None
    """What is wrong with the cluster's store, while the node goes on by itself."""


class NodeResource:
    """The node; `listeners` are its addresses, and its UNIX socket."""

    def __init__(self, overview: Overview, socket: str | None) -> None:
        self._overview = overview
        self._socket = socket

    def operations(self) -> Sequence[AnyOperation]:
        """Return what can be asked for."""
        return (
            ApiOperation(
                method="GET",
                template="",
                name="getRoot",
                summary="What answers here",
                query=Nothing,
                body=Nothing,
                act=self._root,
                answers={HTTPStatus.OK: Root},
                starting=True,
            ),
            ApiOperation(
                method="GET",
                template="/status",
                name="getStatus",
                summary="How the node stands",
                query=Nothing,
                body=Nothing,
                act=self._status,
                answers={HTTPStatus.OK: NodeStatus},
                starting=True,
            ),
        )

    async def _root(self, _call: ApiCall[Nothing, Nothing]) -> ApiAnswer:
        return ApiAnswer(
            Root(name="seeder", version=__version__, openapi=f"{API_ROOT}/openapi.json"),
        )

    async def _status(self, _call: ApiCall[Nothing, Nothing]) -> ApiAnswer:
        overview = self._overview
        document = (await overview.status(0)).document
        listeners = {name: list(map(str, each)) for name, each in overview.listeners.items()}
        if self._socket is not None:
            listeners["control"] = [self._socket]
        states, size = await states_of(overview)
        status = NodeStatus(
            version=__version__,
            started=overview.started_at,
            ready=overview.unready is None,
            unready=overview.unready,
            summary=await overview.summary(),
            totals=OpenObject.model_validate(document["totals"]),
            today=await counted_today(overview),
            rates=await rates_of(overview.history),
            objects=states,
            published_bytes=size,
            connected=overview.hub.statistics().connected,
            budget=[OpenObject.model_validate(each.document()) for each in overview.budget.left()],
            notices=[*islice(notices(overview), SHOWN_NOTICES)],
            listeners=listeners,
            last_reload=last_reload(overview.reloads),
            degraded=None if overview.cluster is None else overview.cluster.fault,
        )
        return ApiAnswer(status)

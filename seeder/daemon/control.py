"""The control API of a running node, at both of its doors: the UNIX socket, and the admin listener
for who has the token.
"""

import logging
import socket
from collections.abc import Awaitable, Sequence
from functools import partial
from pathlib import Path

import trio

from seeder.admin.peers import PeerRates
from seeder.control.bans import BanResource
from seeder.control.describing import Describer
from seeder.control.keys import KeyResource
from seeder.control.node import NodeResource
from seeder.control.objects import ObjectsResource
from seeder.control.operations import AnyOperation
from seeder.control.peers import PeerResource
from seeder.control.prefixes import PrefixesResource
from seeder.control.reloads import ReloadResource
from seeder.control.routes import ControlRoutes, TokenRoutes, is_control, wanted, worded
from seeder.daemon.descriptors import CONTROL
from seeder.daemon.foundation import LEDGER
from seeder.daemon.node import Node
from seeder.daemon.reloading import Reloader
from seeder.errors import StateUnusable, StorageError
from seeder.http.messages import Request, RequestRefused, Response
from seeder.http.server import serve as serve_web
from seeder.http.service import ServerLimits, Service
from seeder.net.epoch import Epoch
from seeder.net.local import LocalListener, listening_at

_LOG = logging.getLogger(__name__)

_PATIENCE = 600.0
"""Seconds for an answer: a reload of many objects takes its time."""


TRY_EVERY = 10.0
"""Seconds between two tries to make the socket."""


class NodeControl:
    """Answers at both doors; of the admin listener, what isn't for it goes to the pages there."""

    def __init__(self, node: Node, reloader: Reloader) -> None:
        self._node = node
        self._routes = ControlRoutes(_operations(node, reloader), lambda: node.overview.unready)
        self._by_token = TokenRoutes(node.token_door, self._routes)

    async def serve(
        self, path: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Answer at the UNIX socket until cancelled; who may connect there needs no token.

        StateUnusable if somebody listens there. Where there can't be a socket, the node goes on
        without (a disk may be full), and it is tried again.
        """
        is_new, told = True, False
        while True:
            try:
                with listening_at(path, "admin.socket") as local:
                    await self._answer_at(local, task_status if is_new else None)
                    _LOG.warning("admin.socket: somebody removed %s; it is made again", path)
                    is_new = told = False
                    continue
            except StorageError as error:
                if is_new and isinstance(error, StateUnusable):
                    raise
                if not told:
                    _LOG.error("%s; the control API isn't there, and is tried again", error)
                if is_new:
                    task_status.started()
                is_new, told = False, True
            await trio.sleep(TRY_EVERY)

    async def _answer_at(self, local: LocalListener, status: trio.TaskStatus[None] | None) -> None:
        """Answer there until it is gone."""
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(
                    serve_web,
                    [local.socket],
                    Service(
                        self._routes.answer,
                        ServerLimits(connections=CONTROL, in_turn=True, handler_timeout=_PATIENCE),
                        bodies=wanted,
                        worded=worded,
                    ),
                )
            )
            if status is None:
                _LOG.info("admin.socket: listening at %s", self._node.config.control_socket)
            else:
                status.started()
            while True:
                await trio.sleep(TRY_EVERY)
                if not local.is_there:
                    nursery.cancel_scope.cancel()

    async def serve_admin(
        self,
        listeners: Sequence[socket.socket],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Answer at the admin listener until cancelled."""
        await serve_web(
            listeners,
            Service(
                self._answer,
                ServerLimits(connections=self._node.descriptors.admin, handler_timeout=_PATIENCE),
                bodies=self._wanted,
                worded=_worded,
            ),
            task_status=task_status,
        )

    def _answer(self, request: Request) -> Response | Awaitable[Response]:
        return self._by_token(request) if is_control(request) else self._node.admin(request)

    def _wanted(self, request: Request) -> int:
        takes = self._by_token if is_control(request) else self._node.events.webhooks
        return takes.wanted(request)


def _worded(request: Request, refusal: RequestRefused) -> Response | None:
    return worded(request, refusal) if is_control(request) else None


def _operations(node: Node, reloader: Reloader) -> list[AnyOperation]:
    """Return all that can be asked of a node: a resource is named here, and nowhere else."""
    path = node.config.control_socket
    catalog, publisher, additions = node.catalog, node.publisher, node.additions
    epoch = Epoch()
    describer = Describer(
        accounts=node.overview.accounts,
        publisher=publisher,
        additions=additions,
        cache=node.foundation.cache,
        links=node.links,
        prices=lambda: node.overview.prices,
        stalled=node.overview.stalled,
        warming_of=node.warmer.progress_of,
        is_ours=node.warmer.is_ours,
        epoch=epoch,
    )
    warm = node.warmer.ask
    keys = KeyResource(
        config=lambda: node.config,
        catalog=node.catalog,
        ledger=node.config.state_directory / LEDGER,
        look=node.passkeys.look,
        revoke=node.passkeys.revoke,
    )
    return [
        *NodeResource(node.overview, None if path is None else str(path)).operations(),
        *ObjectsResource(catalog, publisher, additions, describer, warm).operations(),
        *PrefixesResource(catalog, publisher, additions, warm, epoch).operations(),
        *ReloadResource(node.overview.reloads, reloader.ask).operations(),
        *keys.operations(),
        *PeerResource(PeerRates(node.hub)).operations(),
        *BanResource(node.bans).operations(),
    ]

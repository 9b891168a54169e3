"""A node in this process: run for a block, asked over HTTP, waited for."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import trio

from seeder.config.sections import Config
from seeder.daemon.node import Node
from seeder.daemon.run import serve
from seeder.net.addresses import HostPort
from seeder.torrent.publications import State
from seeder.units import MIB
from tests.support.objects import content

BODY = content(20 * MIB)
LOOPBACK = "127.0.0.1"


@asynccontextmanager
async def serving(config: Config, **options: Any) -> AsyncIterator[Node]:
    """Run a node for the length of a block."""
    async with trio.open_nursery() as nursery:
        with trio.fail_after(60):
            node: Node = await nursery.start(partial(serve, config, **options))
        yield node
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds, a minute at most."""
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event)
            await trio.sleep(0.01)


def served(node: Node) -> bool:
    """Tell whether the object's torrent is live."""
    found = node.catalog.by_name("quotes", "Nelson")
    return found is not None and found.state is State.SERVING


async def get(address: HostPort, target: str) -> tuple[int, str]:
    """Return status and text of a page."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://{address}{target}")
        return answer.status_code, answer.text


def connects(address: HostPort) -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(tuple(address)) == 0

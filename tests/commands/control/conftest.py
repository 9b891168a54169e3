"""A scripted node, and the commands that ask it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.commands.control.support import ScriptedNode, scripted, seeder
from tests.commands.support import Result


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[ScriptedNode]:
    async with scripted(tmp_path / "control.sock") as node:
        yield node


@pytest.fixture
def ask(node: ScriptedNode) -> Callable[..., Awaitable[Result]]:
    """Runs a verb for the scripted node."""

    async def run(verb: str, *words: str | Path) -> Result:
        return await seeder(verb, *words, "--socket", node.socket)

    return run

"""The verbs of the command line, at a running node."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from seeder.config.sections import Config
from seeder.daemon.node import Node
from seeder.daemon.reloading import Reloader
from seeder.daemon.systemd import Notifier
from seeder.daemon.watching import FileWatch
from seeder.units import rounded_size
from tests.commands.control.support import seeder
from tests.commands.support import Result
from tests.daemon.support import BODY, served, serving, until

SIZE = rounded_size(len(BODY))
Ask = Callable[..., Awaitable[Result]]


@pytest.fixture
async def node(config: Config, file: Path) -> AsyncIterator[Node]:
    reloader = Reloader(FileWatch(file), None, Notifier(None), lambda _: None)
    async with serving(config, reloader=reloader) as node:
        await until(lambda: served(node))
        yield node


@pytest.fixture
def ask(file: Path, node: Node) -> Ask:
    """Runs a verb for the node, which is found by its file."""

    async def run(verb: str, *words: str) -> Result:
        return await seeder(verb, *words, "-c", file)

    return run


def write_more(file: Path, text: str) -> None:
    file.write_text(f"{file.read_text()}\n{text}\n")


async def test_status_is_one_screen(ask: Ask, node: Node) -> None:
    result = await ask("status")
    assert (result.code, result.err) == (0, "")
    lines = result.out.decode().splitlines()
    assert len(lines) <= 24
    assert lines[0].endswith(": ready")
    assert f"         admin {node.admin_address}" in lines
    assert f"objects  1 of {SIZE}: 1 serving" in lines
    assert "peers    0 connections; the tracker knows of 0 leechers and 0 seeds" in lines
    assert any(line.startswith(f"today    {SIZE} read from S3, 0 B uploaded") for line in lines)
    assert lines[-1] == "reload   none since the start"


async def test_status_as_json_is_the_api_s(ask: Ask) -> None:
    status = json.loads((await ask("status", "--json")).out)
    assert status["objects"]["serving"] == 1
    assert status["today"]["origin_bytes"] == status["totals"]["origin_bytes"] > 0
    assert status["budget"] == status["notices"] == []


async def test_reload_tells_what_is_new(ask: Ask, file: Path) -> None:
    assert (await ask("reload", "--wait")).out == b"reloaded: nothing changed\n"
    write_more(file, '[budget]\norigin_bytes_per_day = "1 TiB"')
    assert (await ask("reload")).out == b"reloaded: budget.origin_bytes_per_day\n"
    assert "budget   1.00 TiB of 1.00 TiB left" in (await ask("status")).out.decode()


async def test_a_reload_of_a_wrong_file_fails_with_every_mistake(ask: Ask, file: Path) -> None:
    write_more(file, '[budget]\nnonsense = 1\n[log]\nmore = "nonsense"')
    result = await ask("reload", "--wait")
    assert (result.code, result.out) == (1, b"")
    assert len(result.err.splitlines()) == 2
    assert result.err.startswith("budget.nonsense: unknown key")
    write_more(file, "[[[")
    result = await ask("reload", "--wait")
    assert result.code == 1
    assert "not TOML" in result.line
    assert "trouble  the last reload isn't in force" in (await ask("status")).out.decode()


async def test_a_setting_that_takes_a_restart_is_said_and_the_rest_is_in_force(
    ask: Ask, file: Path
) -> None:
    write_more(file, "[gateway]\nlisting = true\n[savings]\nprice_per_gb = 0.05")
    result = await ask("reload", "--wait")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(b"reloaded in part: gateway.listing")


async def test_the_verbs_of_a_stopped_node_are_one_line(config: Config, file: Path) -> None:
    async with serving(config):
        pass
    for verb in ("status", "reload", "ls", "bans"):
        result = await seeder(verb, "-c", file)
        assert (result.code, result.out) == (1, b"")
        assert result.line.startswith("no seeder runs here: there is no ")

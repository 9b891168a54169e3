"""The verbs of the command line, at a running node."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from seeder.cli import main
from seeder.config.sections import Config
from seeder.daemon.node import Node
from seeder.daemon.reloading import Reloader
from seeder.daemon.systemd import Notifier
from seeder.daemon.watching import FileWatch
from seeder.units import rounded_size
from tests.commands.control.support import seeder
from tests.commands.support import Result
from tests.daemon.support import BODY, served, serving, until
from tests.s3.objects_server import ObjectsServer

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


async def lines_of(ask: Ask, *words: str) -> list[str]:
    return (await ask(*words)).out.decode().splitlines()


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


async def test_an_object_comes_is_followed_and_goes(
    ask: Ask, store: ObjectsServer, node: Node
) -> None:
    store.objects["Hardy \x1b[31m: kiss me?"] = b"x" * 3000
    name = "quotes/Hardy \x1b[31m: kiss me?"
    shown = "quotes/Hardy \\x1b[31m: kiss me?"
    result = await ask("add", name, "--set", "refresh=1h", "--wait")
    assert result.code == 0, result.err
    lines = result.out.decode().splitlines()
    assert lines[0] == f"{shown}: serving"
    assert lines[2].startswith("magnet:?xt=urn:btih:")
    assert (await ask("ls", "quotes/H")).out.decode().splitlines()[1:] == [
        f"serving     2.93 KiB    100%      0      0        0 B  {shown}  (added)"
    ]
    lines = (await ask("show", name)).out.decode().splitlines()
    assert lines[0].split(maxsplit=1) == ["object", f"{shown}  (added)"]
    assert lines[-1].split(maxsplit=1) == ["settings", 'refresh = "3600s"']
    for words in (("refresh", name), ("refresh", "--rehash", name), ("warm", name)):
        result = await ask(*words, "--wait")
        assert result.code == 0, result.err
    result = await ask("set", name, "warm=true", "--unset", "refresh")
    assert (result.code, result.out.decode()) == (0, f"{shown}: changed\n")
    assert (await ask("show", name)).out.decode().splitlines()[-1].split(maxsplit=1) == [
        "settings",
        "warm = true",
    ]
    result = await ask("set", name, "refresh=soon", "colour=red")
    assert (result.code, len(result.err.splitlines())) == (1, 2), result.err
    assert (await ask("rm", name)).out.decode() == f"{shown}: removed\n"
    assert (await ask("show", name)).code == 1
    assert len(node.catalog.publications) == 1
    # What has gone counts in the report alone.
    assert f"objects  1 of {SIZE}: 1 serving" in (await ask("status")).out.decode().splitlines()


async def test_what_can_not_be_published_ends_the_wait_at_once(ask: Ask) -> None:
    result = await ask("add", "quotes/missing", "--wait")
    assert (result.code, result.out) == (1, b"")
    last = result.err.splitlines()[-1]
    assert last.startswith("quotes/missing: S3 answers 404")
    assert last.endswith("; it is added all the same, and tried again; seeder rm takes it out")
    assert "failed" in (await ask("ls", "--state", "failed")).out.decode()
    [told] = [each for each in await lines_of(ask, "status") if each.startswith("trouble")]
    assert told.startswith("trouble  quotes/missing  (added): failed: S3 answers 404")


async def test_a_key_that_is_none_can_not_be_unset(ask: Ask) -> None:
    name = "quotes/missing"
    assert (await ask("add", name, "--set", "refresh=1h")).code == 0
    result = await ask("set", name, "--unset", "refrsh")
    assert (result.code, result.line) == (1, 'refrsh: unknown key; did you mean "refresh"?')
    again = await ask("add", name)
    assert again.code == 1
    assert again.line.endswith("with other settings; change those (seeder set), or remove it first")
    assert (await ask("set", name, "--unset", "refresh")).code == 0
    assert (await ask("add", name)).code == 0


async def test_the_keys_of_json_have_one_order(ask: Ask) -> None:
    told = [[*json.loads((await ask("show", "quotes/Nelson", "--json")).out)]]
    listed = json.loads((await ask("ls", "--json")).out)["objects"]
    counted = [key for key in told[0] if key.endswith("_bytes")]
    assert [*listed[0]] == told[0]
    assert counted[:2] == ["cached_bytes", "origin_bytes"]


async def test_what_stands_in_the_file_is_changed_there(ask: Ask, file: Path) -> None:
    for words in (
        ("add", "quotes/Nelson"),
        ("rm", "quotes/Nelson"),
        ("set", "quotes/Nelson", "warm=1"),
    ):
        result = await ask(*words)
        assert (result.code, result.out) == (1, b"")
        assert result.line.startswith(f"quotes/Nelson: is in {file}; change it there")
    shown = (await ask("show", "quotes/Nelson")).out.decode().splitlines()
    assert f"from       {file}" in shown


async def test_a_prefix_comes_is_listed_and_goes(ask: Ask, store: ObjectsServer) -> None:
    store.objects |= {f"isos/{name}": b"x" * 3000 for name in "ab"}
    result = await ask("add", "quotes/isos/", "--prefix", "--wait")
    assert (result.code, result.out) == (0, b"quotes/isos/: listed, 2 objects\n")
    assert (await ask("ls", "--prefixes")).out.decode().splitlines() == [
        "  OBJECTS  PREFIX",
        "        2  quotes/isos/  (added)",
    ]
    result = await ask("warm", "quotes/isos/", "--prefix", "--wait")
    assert (result.code, result.out) == (
        0,
        b"quotes/isos/: 5.86 KiB of 5.86 KiB in the cache, 100%\n",
    )
    result = await ask("refresh", "--rehash", "quotes/isos/", "--prefix", "--wait")
    assert (result.code, result.out) == (0, b"quotes/isos/: hashed anew, 2 objects\n")
    store.objects["isos/a"] = b"y" * 4000
    result = await ask("refresh", "quotes/isos/a", "--wait")
    assert (result.code, result.out) == (0, b"quotes/isos/a: serving\n"), result.err
    size = next(
        line
        for line in (await ask("show", "quotes/isos/a")).out.decode().splitlines()
        if line.startswith("size")
    )
    assert "4,000 bytes" in size
    assert "below isos/" in (await ask("show", "quotes/isos/a")).out.decode()
    assert (await ask("rm", "quotes/isos/", "--prefix")).code == 0
    assert "isos" not in (await ask("ls")).out.decode()


async def test_who_is_banned_is_listed_until_the_ban_ends(ask: Ask) -> None:
    assert (await ask("bans")).out == b"nobody is banned\n"
    result = await ask("ban", "203.0.113.0/24", "--for", "1h", "--note", "too many")
    assert result.out.startswith(b"203.0.113.0/24: banned until ")
    await ask("ban", "2001:db8::/48")
    lines = (await ask("bans")).out.decode().splitlines()
    assert lines[0].startswith("2001:db8::/48   since ") or lines[0].startswith("203.0.113.0/24")
    assert any(line.endswith("  too many") for line in lines)
    assert lines[-1] == "2 bans"
    assert (await ask("unban", "203.0.113.0/24")).code == 0
    result = await ask("unban", "203.0.113.0/24")
    assert (result.code, result.line) == (
        1,
        "203.0.113.0/24: isn't banned; seeder bans lists who is",
    )
    assert (await ask("ban", "nonsense")).line.startswith("network: want a network")
    assert (await ask("ban", "203.0.113.0/24", "--for", "soon")).code == 2


async def test_names_are_completed_of_what_the_node_has(ask: Ask, file: Path) -> None:
    def complete(words: str, number: int) -> list[str]:
        variables = {"_SEEDER_COMPLETE": "bash_complete", "COMP_WORDS": words}
        variables["COMP_CWORD"] = str(number)
        done = CliRunner().invoke(main, [], prog_name="seeder", env=variables)
        return [*filter(None, done.stdout.splitlines())]

    async def completed(words: str) -> list[str]:
        return await trio.to_thread.run_sync(complete, words, len(words.split()) - 1)

    assert await completed(f"seeder show -c {file} quo") == ["plain,quotes/Nelson"]
    assert await completed(f"seeder rm -c {file} quotes/N") == ["plain,quotes/Nelson"]
    assert await completed(f"seeder rm -c {file} quotes/X") == []
    assert await completed("seeder rm --socket /nonexistent quo") == []

"""`seeder ls`: a table that stays readable, however many objects and however wide the terminal."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

from seeder.commands.control import listing
from seeder.commands.control.object_table import ObjectTable
from tests.commands.control.support import (
    ScriptedNode,
    an_object,
    answer,
    problem,
    scripted,
    seeder,
)
from tests.commands.support import Result

Ask = Callable[..., Awaitable[Result]]
MIB = 1024**2


async def test_objects_are_rows_and_what_ails_one_stands_below(
    ask: Ask, node: ScriptedNode
) -> None:
    node.objects = [
        an_object("Nelson", size=3 * MIB, cached_bytes=MIB, peers=1200),
        an_object("evil\x1b[2J", source="added", state="failed", reason="no\x07 such object"),
        an_object("big", origin="minio", size=None, cached_bytes=None, uploaded_bytes=0),
    ]
    result = await ask("ls")
    assert (result.code, result.err) == (0, "")
    assert result.out.decode().splitlines() == [
        "STATE           SIZE  CACHED  PEERS  SEEDS       SENT  OBJECT",
        "serving     3.00 MiB     33%  1,200      1   8.00 KiB  quotes/Nelson",
        "failed      4.00 KiB    100%      2      1   8.00 KiB  quotes/evil\\x1b[2J  (added)",
        "    no\\x07 such object",
        "serving            –       –      2      1        0 B  quotes/big  (origin minio)",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal_and_no_name_is_cut(width: int) -> None:
    key, reason = "kérnels/日本語/" + "x" * 150, "it is broken " * 20
    table = ObjectTable(width)
    lines = [*table.row(an_object(key, state="failed", reason=reason, size=1000 * MIB))]
    assert max(map(cell_len, [table.header(), *lines])) <= width
    joined = "".join(line.strip() for line in lines)
    assert "".join(f"quotes/{key}".split()) in joined.replace(" ", "")
    assert lines[0].startswith("failed ")


async def test_a_long_list_ends_early_unless_all_are_wanted(ask: Ask, node: ScriptedNode) -> None:
    node.objects = [an_object(f"{number:05}") for number in range(101)]
    lines = (await ask("ls")).out.decode().splitlines()
    assert len(lines) == 1 + listing.SHOWN + 1
    assert lines[-1].startswith("and more than these 100: --all")
    node.objects = node.objects[:100]
    lines = (await ask("ls")).out.decode().splitlines()
    assert lines[-1].endswith("quotes/00099")


async def test_a_hundred_thousand_come_page_by_page(ask: Ask, node: ScriptedNode) -> None:
    node.objects = [an_object(f"{number:06}") for number in range(100_000)]
    result = await ask("ls", "--all")
    lines = result.out.decode().splitlines()
    assert len(lines) == 100_001
    assert lines[-1].endswith("quotes/099999")
    assert len(node.seen) == 100


async def test_bucket_prefix_and_state_narrow_it(ask: Ask, node: ScriptedNode) -> None:
    node.objects = [an_object("a/1"), an_object("a/2", state="failed"), an_object("b")]
    result = await ask("ls", "s3://quotes/a/", "--state", "failed")
    assert [line.split()[-1] for line in result.out.decode().splitlines()] == [
        "OBJECT",
        "quotes/a/2",
    ]
    result = await ask("ls", "quotes/none")
    assert (result.code, result.out.decode().partition(";")[0]) == (0, "no such object")
    assert (await ask("ls", "--state", "asleep")).code == 2
    # As every state that is shown, it may be asked for.
    assert (await ask("ls", "--state", "stalled")).code == 0


async def test_json_is_a_page_or_all_of_them(ask: Ask, node: ScriptedNode) -> None:
    node.objects = [an_object(f"{number:05}") for number in range(1500)]
    page = json.loads((await ask("ls", "--json")).out)
    assert (page["objects"], page["next"]) == (node.objects[:100], "100")
    whole = json.loads((await ask("ls", "--json", "--all")).out)
    assert whole == {"objects": node.objects, "next": None}
    node.objects = []
    assert json.loads((await ask("ls", "--json", "--all")).out) == {"objects": [], "next": None}


async def test_prefixes_are_listed_by_themselves(ask: Ask, node: ScriptedNode) -> None:
    isos = {"bucket": "quotes", "prefix": "isos/", "objects": 12, "source": "added"}
    bad = {"bucket": "b", "prefix": "", "objects": None, "reason": "AccessDenied", "bundle": True}
    pages = [{"prefixes": [isos], "next": "x"}, {"prefixes": [bad], "next": None}]
    node.on("GET /prefixes", *map(answer, pages))
    result = await ask("ls", "--prefixes")
    assert result.out.decode().splitlines() == [
        "  OBJECTS  PREFIX",
        "       12  quotes/isos/  (added)",
        "        –  b/  (bundle)",
        "    AccessDenied",
    ]
    node.on("GET /prefixes", *map(answer, pages))
    whole = json.loads((await ask("ls", "--prefixes", "--all", "--json")).out)
    assert whole == {"prefixes": [isos, bad], "next": None}
    assert (await ask("ls", "--state", "failed", "--prefixes")).code == 2


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A file by which two nodes run."""
    path = tmp_path / "seeder.toml"
    path.write_text('state_directory = "state/%i"\n')
    for name in ("1", "2"):
        (tmp_path / "state" / name).mkdir(parents=True)
    return path


async def test_the_objects_of_several_nodes_are_listed_once(two: Path) -> None:
    state = two.parent / "state"
    async with (
        scripted(state / "1" / "control.sock") as first,
        scripted(state / "2" / "control.sock") as second,
    ):
        first.objects = [an_object("a"), an_object("b")]
        second.objects = [an_object("b", state="faulty", reason="away"), an_object("c")]
        result = await seeder("ls", "-c", two)
        lines = result.out.decode().splitlines()
        assert [line.split()[-1] for line in lines] == [
            "OBJECT",
            "quotes/a",
            "quotes/b",
            "away",
            "quotes/c",
        ]
        assert "16.0 KiB" in lines[2]
        result = await seeder("ls", "-c", two, "--instance", "2", "--json")
        assert json.loads(result.out)["objects"] == second.objects
        result = await seeder("ls", "-c", two, "--json")
        nodes = json.loads(result.out)["nodes"]
        assert [each["instance"] for each in nodes] == ["1", "2"]
        assert nodes[0]["answer"]["objects"] == first.objects


async def test_one_of_several_nodes_that_is_away_is_said_and_hides_nothing(two: Path) -> None:
    state = two.parent / "state"
    (state / "1" / "control.sock").touch()
    async with scripted(state / "2" / "control.sock") as second:
        second.objects = [an_object("a")]
        result = await seeder("ls", "-c", two)
        assert result.code == 1
        assert result.out.decode().splitlines()[-1].endswith("quotes/a")
        assert str(state / "1" / "control.sock") in result.line
        result = await seeder("status", "-c", two)
        assert [line[:3] for line in result.err.splitlines()] == ["1: ", "2: "]
        # What is shared is asked of whoever answers.
        second.on("GET ", answer({"name": "seeder"}))
        second.on("GET /objects/quotes/a", answer(an_object("a")))
        result = await seeder("show", "-c", two, "quotes/a")
        assert (result.code, result.err) == (0, "")


async def test_what_one_of_several_nodes_has_is_enough(two: Path) -> None:
    state = two.parent / "state"
    async with (
        scripted(state / "1" / "control.sock") as first,
        scripted(state / "2" / "control.sock") as second,
    ):
        first.on("POST /objects/quotes/a:refresh", problem(404, "quotes/a: nothing"))
        second.on("POST /objects/quotes/a:refresh", answer(an_object("a"), 202))
        result = await seeder("refresh", "quotes/a", "-c", two)
        assert (result.code, result.out, result.err) == (
            0,
            b"2: quotes/a: S3 is being asked\n",
            "",
        )
        second.on("POST /objects/quotes/a:refresh", problem(404, "quotes/a: nothing"))
        result = await seeder("refresh", "quotes/a", "-c", two)
        assert result.code == 1
        assert [line.partition(";")[0] for line in result.err.splitlines()] == [
            "1: quotes/a: nothing",
            "2: quotes/a: nothing",
        ]


@pytest.mark.parametrize(
    ("cached", "shown"), [(0, "0%"), (2048, "50%"), (4095, "99%"), (4096, "100%")]
)
async def test_only_all_of_it_is_100_percent(
    ask: Ask, node: ScriptedNode, cached: int, shown: str
) -> None:
    node.objects = [an_object("a", cached_bytes=cached)]
    assert (await ask("ls")).out.decode().splitlines()[1].split()[3] == shown

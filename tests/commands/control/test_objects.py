"""The verbs for objects and prefixes: what they ask for, and what they tell."""

import json
import re
import signal
from collections.abc import Awaitable, Callable

import pytest

from seeder.commands.control import following
from tests.commands.control.support import (
    ScriptedNode,
    a_prefix,
    an_object,
    answer,
    on_terminal,
    problem,
    seeder,
)
from tests.commands.support import Result

Ask = Callable[..., Awaitable[Result]]
GIB = 1024**3


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_LOOK", 0.01)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("quotes/Nelson", "/objects/quotes/Nelson"),
        ("s3://quotes/a/b c.iso", "/objects/quotes/a/b%20c.iso"),
        ("quotes/at 12:30?#%41", "/objects/quotes/at%2012%3A30%3F%23%2541"),
        ("quotes//a/../b/.", "/objects/quotes//a/%2E%2E/b/%2E"),
        ("quotes/größe", "/objects/quotes/gr%C3%B6%C3%9Fe"),
    ],
)
async def test_a_name_becomes_the_path_that_means_it(
    ask: Ask, node: ScriptedNode, name: str, target: str
) -> None:
    await ask("show", name)
    assert node.targets == [f"GET {target}"]


async def test_origin_and_version_tell_names_apart(ask: Ask, node: ScriptedNode) -> None:
    await ask("rm", "quotes/x", "--origin", "minio", "--version-id", "v/1")
    assert node.targets == ["DELETE /objects/quotes/x?origin=minio&version_id=v%2F1"]


async def test_add_sends_an_entry_in_the_file_s_spelling(ask: Ask, node: ScriptedNode) -> None:
    node.on("POST /objects", answer(an_object("x", state="waiting"), 201))
    settings = ("refresh=1h", "metainfo=['build']", "public=false", "version_id=17")
    words = [word for each in settings for word in ("--set", each)]
    moment = ("--publish-at", "2027-01-15T18:00:00Z")
    result = await ask("add", "quotes/x", *words, "--private", "--warm", *moment)
    assert (result.code, result.err) == (0, "")
    assert node.body() == {
        "bucket": "quotes",
        "key": "x",
        "refresh": "1h",
        "metainfo": ["build"],
        "public": False,
        "version_id": "17",
        "publish_at": "2027-01-15T18:00:00Z",
        "private": True,
        "warm": True,
    }
    assert node.seen[-1].header(b"content-type") == b"application/json"
    assert result.out.decode().splitlines() == [
        "quotes/x: added",
        "http://127.0.0.1:6969/quotes/x?torrent",
        "magnet:?xt=urn:btih:" + "ab" * 20,
    ]


async def test_set_changes_keys_and_says_nothing_of_the_others(
    ask: Ask, node: ScriptedNode
) -> None:
    node.on("PATCH /objects/quotes/x", answer(an_object("x")))
    result = await ask("set", "quotes/x", "refresh=1h", "--unset", "warm")
    assert (result.code, result.out) == (0, b"quotes/x: changed\n")
    assert (node.targets, node.body()) == (
        ["PATCH /objects/quotes/x"],
        {"refresh": "1h", "warm": None},
    )
    assert (await ask("set", "quotes/x")).code == 2
    assert (await ask("set", "quotes/x", "refresh")).code == 2


async def test_a_prefix_may_be_a_whole_bucket_and_a_bundle_is_one(
    ask: Ask, node: ScriptedNode
) -> None:
    await ask("add", "quotes", "--prefix", "--set", "max_objects=5")
    assert (node.targets[-1], node.body()) == (
        "POST /prefixes",
        {"bucket": "quotes", "prefix": "", "max_objects": 5},
    )
    await ask("add", "quotes/isos/", "--bundle")
    assert node.body() == {"bucket": "quotes", "prefix": "isos/", "bundle": True}
    await ask("show", "quotes/isos/", "--bundle")
    assert node.targets[-1] == "GET /prefixes/quotes/isos/?bundle=true"
    await ask("warm", "quotes", "--prefix")
    assert node.targets[-1] == "POST /prefixes/quotes/:warm"


async def test_every_mistake_of_an_entry_is_a_line(ask: Ask, node: ScriptedNode) -> None:
    mistakes = ("objects[0].refresh: want a time", "objects[0].colour: unknown key")
    node.on("POST /objects", problem(422, mistakes[0], *mistakes))
    result = await ask("add", "quotes/x")
    assert (result.code, result.err.splitlines()) == (
        1,
        ["refresh: want a time", "colour: unknown key"],
    )


async def test_a_name_that_is_not_there_says_where_to_look(ask: Ask, node: ScriptedNode) -> None:
    node.on("DELETE /objects/quotes/isos/", problem(404, "quotes/isos/: no such object"))
    result = await ask("rm", "quotes/isos/")
    assert (result.code, result.line) == (
        1,
        "quotes/isos/: no such object; seeder ls shows the objects, seeder ls --prefixes the"
        " prefixes; a prefix takes --prefix",
    )


@pytest.mark.parametrize("name", ["quotes", "quotes/", "/x", "", "s3://", "s3://quotes"])
async def test_what_names_no_object_is_wrong_usage(ask: Ask, node: ScriptedNode, name: str) -> None:
    result = await ask("show", name)
    assert (result.code, result.out, node.seen) == (2, b"", [])


@pytest.mark.parametrize("verb", ["add", "rm", "show", "warm"])
async def test_a_url_is_no_name(ask: Ask, node: ScriptedNode, verb: str) -> None:
    result = await ask(verb, "https://quotes.s3.amazonaws.com/Nelson")
    assert (result.code, result.out, node.seen) == (2, b"", [])
    assert "this is a URL; want BUCKET/KEY or s3://BUCKET/KEY" in result.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["quotes/isos/"], 'it ends with a slash; for all below it: prefix = "isos/"'),
        (["quotes/*.iso"], "there are no patterns, this is a name"),
        (["quotes/quotes/x", "--prefix"], "it begins with the name of its bucket"),
    ],
)
async def test_a_name_that_is_seldom_meant_is_warned_of(
    ask: Ask, node: ScriptedNode, words: list[str], why: str
) -> None:
    for kind in ("objects", "prefixes"):
        node.on(f"POST /{kind}", answer(an_object("x"), 201))
    result = await ask("add", *words)
    assert result.code == 0
    assert result.line.startswith(f"warning: {words[0]}: {why}")


async def test_what_the_node_warns_of_is_told_beside_the_result(
    ask: Ask, node: ScriptedNode
) -> None:
    found = an_object("x", warnings=["the bundle quotes/ has quotes/\x1b in it"])
    node.on("POST /objects", answer(found, 201))
    node.on("PATCH /objects/quotes/x", answer(found))
    for words in (("add", "quotes/x"), ("set", "quotes/x", "private=true")):
        result = await ask(*words)
        assert (result.code, result.line) == (
            0,
            "warning: the bundle quotes/ has quotes/\\x1b in it",
        )
        assert b"bundle" not in result.out


async def test_json_is_what_the_api_gave(ask: Ask, node: ScriptedNode) -> None:
    found = an_object("x", settings={"refresh": "1h"}, key="evil\x1b\u202e")
    node.on("GET /objects/quotes/x", answer(found))
    result = await ask("show", "quotes/x", "--json")
    assert json.loads(result.out) == found
    assert result.out.isascii()


async def test_show_tells_all_that_is_known(ask: Ask, node: ScriptedNode) -> None:
    found = an_object(
        "evil\x1b[31m",
        state="faulty",
        reason="S3 gives other bytes",
        source="added",
        added_at=1_795_992_160.0,
        size=3 * GIB,
        cached_bytes=GIB,
        warming={"done_bytes": GIB, "total_bytes": 3 * GIB},
        settings={"refresh": "1h", "metainfo": ["build"]},
    )
    node.on("GET /objects/quotes/x", answer(found))
    lines = (await ask("show", "quotes/x")).out.decode().splitlines()
    assert lines[:5] == [
        "object     quotes/evil\\x1b[31m  (added)",
        "state      faulty: S3 gives other bytes",
        "from       added at run time",
        "added      2026-11-29 22:42 UTC",
        "size       3.00 GiB (3,221,225,472 bytes, 1 piece)",
    ]
    assert "warming    1.00 GiB of 3.00 GiB, 33%" in lines
    assert lines[-2:] == ['settings   metainfo = ["build"]', '           refresh = "1h"']


async def test_show_names_the_file_and_no_object_twice(ask: Ask, node: ScriptedNode) -> None:
    reason = "quotes/a \\x1b b: S3 answers 404"
    node.on("GET /objects/quotes/x", answer(an_object("a \x1b b", state="failed", reason=reason)))
    lines = (await ask("show", "quotes/x")).out.decode().splitlines()
    assert lines[:3] == [
        "object     quotes/a \\x1b b",
        "state      failed: S3 answers 404",
        "from       /etc/seeder/seeder.toml",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("show", "quotes/\udcff"),
        ("show", "quotes/x", "--version-id", "\udcff"),
        ("add", "quotes/x", "--set", "torrent_file=/\udcff"),
        ("set", "quotes/x", "warm=true", "\udcff=1"),
        ("add", "quotes/x", "--publish-at", "\udcff"),
        ("ls", "quotes/\udcff"),
        ("ban", "203.0.113.0/24", "--note", "\udcff"),
        ("unban", "\udcff"),
        ("keys", "revoke", "\udcff"),
        ("report", "--since", "\udcff"),
    ],
    ids=" ".join,
)
async def test_an_argument_that_is_not_utf_8_is_said_in_one_line(words: tuple[str, ...]) -> None:
    result = await seeder(*words)
    assert (result.code, result.out) == (2, b"")
    last = result.err.splitlines()[-1]
    assert "\\xff" in last
    assert last.endswith("' is not UTF-8: want a text in UTF-8")


# -- --wait


async def test_add_waits_until_the_torrent_is_there(ask: Ask, node: ScriptedNode) -> None:
    node.on("POST /objects", answer(an_object("x", state="waiting"), 201))
    node.on(
        "GET /objects/quotes/x",
        answer(an_object("x", state="waiting")),
        answer(an_object("x", state="building", progress=0.25, rate=2048.0, time_left=30)),
        answer(an_object("x", state="building", progress=0.5)),
        answer(an_object("x")),
    )
    result = await ask("add", "quotes/x", "--wait")
    assert result.code == 0
    assert result.out.decode().splitlines()[0] == "quotes/x: serving"
    # A line for each kind of thing: no terminal is there.
    assert result.err.splitlines() == [
        "quotes/x: waiting",
        "quotes/x: building 25%, 2.00 KiB/s, 30 s left",
    ]


async def test_an_object_that_fails_ends_the_wait_with_its_reason(
    ask: Ask, node: ScriptedNode
) -> None:
    reason = "quotes/a \\x1b b: there is no such object (404)"
    node.on("POST /objects", answer(an_object("a \x1b b", state="waiting"), 201))
    failed = an_object("a \x1b b", state="failed", reason=reason)
    node.on("GET /objects/quotes/a%20%1B%20b", answer(failed))
    result = await ask("add", "quotes/a \x1b b", "--wait")
    assert (result.code, result.out) == (1, b"")
    stays = "it is added all the same, and tried again; seeder rm takes it out"
    assert result.err.splitlines()[-1] == f"{reason}; {stays}"


async def test_a_bundle_is_waited_for_as_an_object(ask: Ask, node: ScriptedNode) -> None:
    bundle = a_prefix("isos/", bundle=True, listed_at=None, looked_at=None, objects=0)
    node.on("POST /prefixes", answer({**bundle, "state": "waiting"}, 201))
    node.on(
        "GET /prefixes/quotes/isos/",
        answer({**bundle, "state": "waiting"}),
        answer({**bundle, "state": "serving", "objects": 2}),
    )
    result = await ask("add", "quotes/isos/", "--bundle", "--wait")
    assert result.out == b"quotes/isos/: serving\n"


async def test_a_bundle_that_was_served_before_is_waited_for_until_it_was_listed(
    ask: Ask, node: ScriptedNode
) -> None:
    bundle = a_prefix("isos/", bundle=True, state="serving", asked_at=2.0, looked_at=1.0)
    node.on("POST /prefixes/quotes/isos/:refresh", answer(bundle, 202))
    node.on("GET /prefixes/quotes/isos/", answer(bundle), answer(bundle | {"looked_at": 2.0}))
    result = await ask("refresh", "quotes/isos/", "--prefix", "--wait")
    assert result.err == "quotes/isos/: S3 is being asked\n"
    assert result.out == b"quotes/isos/: serving\n"


async def test_warm_waits_until_all_of_it_is_cached(ask: Ask, node: ScriptedNode) -> None:
    warming = {"done_bytes": 1024, "total_bytes": 4096}
    node.on("POST /objects/quotes/x:warm", answer(an_object("x", cached_bytes=0), 202))
    node.on(
        "GET /objects/quotes/x",
        answer(an_object("x", cached_bytes=1024, warming=warming)),
        answer(an_object("x")),
    )
    result = await ask("warm", "quotes/x", "--wait")
    assert (result.code, result.out) == (
        0,
        b"quotes/x: 4.00 KiB of 4.00 KiB in the cache, 100%\n",
    )


async def test_a_cache_that_is_too_small_ends_the_wait(
    ask: Ask, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_SETTLING", 0.0)
    node.on("POST /objects/quotes/x:warm", answer(an_object("x"), 202))
    node.on("GET /objects/quotes/x", answer(an_object("x", cached_bytes=1024)))
    result = await ask("warm", "quotes/x", "--wait")
    assert result.code == 1
    assert "1.00 KiB of 4.00 KiB in the cache, 25%, and no more comes" in result.err


async def test_pieces_on_their_way_to_the_disk_are_waited_for(ask: Ask, node: ScriptedNode) -> None:
    node.on("POST /objects/quotes/x:warm", answer(an_object("x"), 202))
    node.on(
        "GET /objects/quotes/x", answer(an_object("x", cached_bytes=1024)), answer(an_object("x"))
    )
    assert (await ask("warm", "quotes/x", "--wait")).code == 0


async def test_a_cache_that_waits_for_something_says_for_what(ask: Ask, node: ScriptedNode) -> None:
    warming = {"done_bytes": 0, "total_bytes": 4096, "reason": "the budget is spent"}
    node.on("POST /objects/quotes/x:warm", answer(an_object("x"), 202))
    node.on(
        "GET /objects/quotes/x",
        answer(an_object("x", cached_bytes=0, warming=warming)),
        answer(an_object("x")),
    )
    result = await ask("warm", "quotes/x", "--wait")
    assert result.code == 0
    assert "in the cache, 0%: the budget is spent; the node tries again" in result.err


async def test_a_node_that_does_not_seed_an_object_leaves_it_to_those_that_do(
    ask: Ask, node: ScriptedNode
) -> None:
    found = an_object("x", cached_bytes=0, seeded_here=False, seeded_by=["b", "c"])
    node.on("POST /objects/quotes/x:warm", answer(found, 202))
    node.on("GET /objects/quotes/x", answer(found))
    result = await ask("warm", "quotes/x", "--wait")
    assert (result.code, result.out) == (
        0,
        b"quotes/x: left to the nodes that seed it: b, c\n",
    )


async def test_warm_waits_for_all_below_a_prefix(ask: Ask, node: ScriptedNode) -> None:
    isos = a_prefix("isos/")
    node.on("POST /prefixes/quotes/isos/:warm", answer(isos, 202))
    node.on("GET /prefixes/quotes/isos/", answer(isos))
    warming = {"done_bytes": 0, "total_bytes": 4096, "reason": None}
    half = [an_object("isos/a"), an_object("isos/b", cached_bytes=0, warming=warming)]
    whole = [an_object("isos/a"), an_object("isos/b")]
    pages = [answer({"objects": each, "next": None}) for each in (half, whole)]
    node.on("GET /objects", *pages)
    result = await ask("warm", "quotes/isos/", "--prefix", "--wait")
    assert (result.code, result.out) == (
        0,
        b"quotes/isos/: 8.00 KiB of 8.00 KiB in the cache, 100%\n",
    )
    assert result.err == "quotes/isos/: 4.00 KiB of 8.00 KiB in the cache, 50%\n"


@pytest.mark.parametrize("source", ["file", "prefix"])
async def test_refresh_waits_until_s3_was_asked_once_more(
    ask: Ask, node: ScriptedNode, source: str
) -> None:
    found = an_object("x", source=source, asked_at=2.0, looked_at=1.0)
    node.on("POST /objects/quotes/x:refresh", answer(found, 202))
    # A look that had begun before is over, then the one that was asked for.
    looks = [answer(found | {"looked_at": at}) for at in (1.0, 1.5, 2.0)]
    node.on("GET /objects/quotes/x", *looks)
    result = await ask("refresh", "quotes/x", "--wait")
    assert result.out == b"quotes/x: serving\n"
    assert result.err == "quotes/x: S3 is being asked\n"
    assert node.targets.count("GET /objects/quotes/x") == 3


async def test_a_look_that_failed_is_said_though_the_torrent_is_served(
    ask: Ask, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_UNTIL_MENDED", 0.0)
    found = an_object("x", source="prefix", asked_at=2.0, looked_at=2.0, look_fault="S3 is away")
    node.on("POST /objects/quotes/x:refresh", answer(found | {"looked_at": 1.0}, 202))
    node.on("GET /objects/quotes/x", answer(found))
    result = await ask("refresh", "quotes/x", "--wait")
    assert (result.code, result.out) == (1, b"")
    assert result.err.splitlines()[-1] == "quotes/x: S3 is away"


async def test_a_prefix_is_waited_for_until_it_is_listed_once_more(
    ask: Ask, node: ScriptedNode
) -> None:
    isos = a_prefix("isos/", asked_at=2.0, looked_at=1.0)
    node.on("POST /prefixes/quotes/isos/:refresh", answer(isos, 202))
    left_out = "1 object is left out: a: too large"
    listed = isos | {"looked_at": 2.0, "reason": left_out}
    node.on("GET /prefixes/quotes/isos/", answer(isos), answer(listed))
    result = await ask("refresh", "quotes/isos/", "--prefix", "--wait")
    assert result.out.decode() == f"quotes/isos/: listed, 1 object: {left_out}\n"
    assert (result.code, result.err) == (0, "quotes/isos/: being listed\n")


async def test_a_prefix_is_waited_for_until_all_below_it_is_hashed_anew(
    ask: Ask, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_UNTIL_MENDED", 0.0)
    isos = a_prefix("isos/", objects=2)
    node.on("POST /prefixes/quotes/isos/:rehash", answer(isos | {"rehashing": 2}, 202))
    hashed = [answer(isos | {"rehashing": left}) for left in (2, 1, 0)]
    node.on("GET /prefixes/quotes/isos/", *hashed)
    node.on("GET /objects", answer({"objects": [an_object("isos/a")], "next": None}))
    words = ("refresh", "--rehash", "quotes/isos/", "--prefix", "--wait")
    result = await ask(*words)
    assert (result.code, result.out) == (0, b"quotes/isos/: hashed anew, 2 objects\n")
    assert result.err == "quotes/isos/: 2 objects to be hashed anew\n"
    faulty = an_object("isos/b", look_fault="it isn't readable")
    node.on("GET /objects", answer({"objects": [an_object("isos/a"), faulty], "next": None}))
    result = await ask(*words)
    last = result.err.splitlines()[-1]
    assert (result.code, last) == (1, "quotes/isos/: isos/b: it isn't readable")


async def test_after_an_interrupt_the_work_goes_on_and_the_terminal_is_in_order(
    node: ScriptedNode,
) -> None:
    node.on("POST /objects", answer(an_object("x", state="waiting"), 201))
    node.on("GET /objects/quotes/x", answer(an_object("x", state="building", progress=0.5)))
    words = ("add", "quotes/x", "--wait", "--socket", node.socket)
    async with on_terminal(*words) as command:
        await command.until("building 50%")
        command.process.send_signal(signal.SIGINT)
        assert await command.end() == 130
    # One line, written over again and again, and what is said at the end.
    assert command.text.count("\n") == 2
    last = command.text.splitlines()[-1]
    assert last == "it goes on at the node: seeder show quotes/x tells how far"
    assert [each for each in node.targets if not each.startswith("GET")] == ["POST /objects"]


async def test_a_line_of_progress_fits_a_narrow_terminal(node: ScriptedNode) -> None:
    key = "x" * 100
    node.on("POST /objects", answer(an_object(key, state="waiting"), 201))
    waiting = answer(an_object(key, state="waiting"))
    node.on(f"GET /objects/quotes/{key}", waiting, answer(an_object(key)))
    words = ("add", f"quotes/{key}", "--wait", "--socket", node.socket)
    async with on_terminal(*words, columns=40) as command:
        assert await command.end() == 0
    shown = re.findall(r"\r([^\r\n\x1b]+)\x1b\[K", command.text)
    # The line makes room for the result.
    assert f"\r\x1b[Kquotes/{key}: serving\r\n" in command.text
    assert shown
    assert max(map(len, shown)) < 40


async def test_what_happens_without_waiting_is_said(ask: Ask, node: ScriptedNode) -> None:
    node.on("POST /objects/quotes/x:rehash", answer(an_object("x"), 202))
    node.on("POST /prefixes/quotes/isos/:refresh", answer({"bucket": "quotes"}, 202))
    result = await ask("refresh", "quotes/x", "--rehash")
    assert result.out == b"quotes/x: its metainfo is being made anew\n"
    result = await ask("refresh", "quotes/isos/", "--prefix")
    assert result.out == b"quotes/isos/: S3 is being asked\n"

"""Whoever can't be asked is one line that says what to do."""

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from seeder.commands.control.client import ControlClient
from seeder.config.whereabouts import Whereabouts
from seeder.errors import ControlFailed, ControlSilent
from seeder.http.messages import Request, Response
from tests.commands.control.support import JSON, ScriptedNode, answer, problem, scripted, seeder
from tests.commands.support import Result
from tests.http.serving import serving

Ask = Callable[..., Awaitable[Result]]


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("a-token-of-24-characters\n")
    path.chmod(0o600)
    return path


async def test_a_node_that_does_not_run_is_one_line(tmp_path: Path) -> None:
    result = await seeder("status", "--socket", tmp_path / "control.sock")
    assert (result.code, result.out) == (1, b"")
    assert result.line.startswith(f"no seeder runs here: there is no {tmp_path}/control.sock;")
    assert "systemctl start seeder" in result.line


async def test_a_socket_that_a_killed_node_left_is_told_from_none(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    result = await seeder("status", "--socket", path)
    assert result.code == 1
    assert result.line.startswith(f"no seeder runs here: it ended and left {path};")


async def test_a_file_that_is_no_socket_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("no socket")
    result = await seeder("ls", "--socket", path)
    assert (result.code, result.out) == (1, b"")
    assert str(path) in result.line


def test_a_socket_of_somebody_else_says_who_may_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ControlClient, "_try", refuse)
    path = tmp_path / "control.sock"
    with (
        ControlClient(Whereabouts(None, path)) as client,
        pytest.raises(ControlFailed, match=r"no permission: ask as root .*sudo seeder"),
    ):
        client.ask("/status")


async def test_a_path_that_is_too_long_for_a_socket_works(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 120)
    directory.mkdir()
    async with scripted(directory / "control.sock") as node:
        node.on("GET /bans", Response(200, b'{"bans": []}', (JSON,)))
        result = await seeder("bans", "--socket", node.socket)
    assert (result.code, result.out, result.err) == (0, b"nobody is banned\n", "")


async def test_what_answers_without_the_api_is_older_or_a_stranger(token: Path) -> None:
    def older(_: Request) -> Response:
        return Response(404, b"no such page; the status page is at /\n")

    async with serving(older) as port:
        url = f"http://127.0.0.1:{port}"
        result = await seeder("status", "--url", url, "--token-file", token)
    assert result.code == 1
    assert result.line == (
        f"{url}/api/v1: no control API (404): the daemon is older than this command, or something"
        " else answers there; restart it after an upgrade"
    )


async def test_a_stranger_is_asked_for_nothing(token: Path) -> None:
    seen: list[Request] = []

    def greet(request: Request) -> Response:
        seen.append(request)
        return Response(200, b'{"hello": "world"}', (JSON,))

    async with serving(greet) as port:
        url = f"http://127.0.0.1:{port}"
        result = await seeder("rm", "quotes/x", "--url", url, "--token-file", token)
    assert result.code == 1
    assert result.line.startswith(f"{url}/api/v1: no control API: the daemon is older")
    assert [each.method for each in seen] == [b"GET"]


async def test_a_node_by_its_url_is_told_what_to_do(token: Path) -> None:
    seen: list[Request] = []

    def node(request: Request) -> Response:
        seen.append(request)
        return Response(200, b'{"name": "seeder", "bans": []}', (JSON,))

    async with serving(node) as port:
        url = f"http://127.0.0.1:{port}"
        result = await seeder("bans", "--url", f"{url}/", "--token-file", token)
    assert (result.code, result.out) == (0, b"nobody is banned\n")
    assert [each.path for each in seen] == [b"/api/v1", b"/api/v1/bans"]
    assert {each.header(b"authorization") for each in seen} == {b"Bearer a-token-of-24-characters"}


async def test_the_token_goes_along_and_a_wrong_one_is_one_line(token: Path) -> None:
    seen: list[Request] = []

    def refuse(request: Request) -> Response:
        seen.append(request)
        return problem(401, "the token is wrong")

    async with serving(refuse) as port:
        url = f"http://127.0.0.1:{port}"
        result = await seeder("status", "--url", f"{url}/api/v1/", "--token-file", token)
    assert (result.code, result.line) == (1, f"{url}: the token is wrong")
    [request] = seen
    assert request.path == b"/api/v1"
    assert request.header(b"authorization") == b"Bearer a-token-of-24-characters"


async def test_the_answer_of_a_proxy_is_told_from_the_node_s(token: Path) -> None:
    def refuse(_: Request) -> Response:
        return Response(502, b"<html>Bad Gateway</html>")

    async with serving(refuse) as port:
        url = f"http://127.0.0.1:{port}"
        result = await seeder("ls", "--url", url, "--token-file", token)
    assert result.line == (
        f"{url}: status 502, which isn't the node's own answer: mind the proxy before it"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--url", "http://127.0.0.1:9"), "--url: want --token-file, too"),
        (("--url", "127.0.0.1:9"), "--url: want --token-file, too"),
        (("--token-file", "x"), "--token-file: goes with --url"),
        (("--url", "http://a", "--socket", "x", "--token-file", "x"), "--url, --socket: choose"),
    ],
)
async def test_options_that_do_not_go_together_are_wrong_usage(
    words: tuple[str, ...], said: str
) -> None:
    result = await seeder("status", *words)
    assert result.code == 2
    assert result.line.startswith(said)


async def test_a_url_that_is_none_is_wrong_usage(token: Path) -> None:
    result = await seeder("status", "--url", "127.0.0.1:9180", "--token-file", token)
    assert (result.code, result.line) == (
        2,
        "--url: '127.0.0.1:9180': want a URL such as http://127.0.0.1:9180",
    )


async def test_a_token_that_others_can_read_is_wrong_usage(token: Path) -> None:
    token.chmod(0o644)  # noqa: ASYNC240
    result = await seeder("status", "--url", "http://127.0.0.1:9", "--token-file", token)
    assert (result.code, result.line) == (
        2,
        f"--token-file: others can read or change {token}; chmod 600 {token}, or 640",
    )


def test_a_node_that_gives_no_answer_is_waited_for_so_long_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with (
            ControlClient(Whereabouts(None, path)) as client,
            pytest.raises(ControlSilent, match=r"no answer within 0.2 s: the node is busy"),
        ):
            client.ask("/status", patience=0.2)


async def test_what_a_node_says_is_never_obeyed_by_a_terminal(ask: Ask, node: ScriptedNode) -> None:
    node.on("GET /objects/quotes/x", problem(422, "bad \x1b[2Jkey"))
    result = await ask("show", "quotes/x")
    assert (result.code, result.line) == (1, "bad \\x1b[2Jkey")


async def test_what_is_in_force_and_not_yet_written_is_said_beside_the_answer(
    ask: Ask, node: ScriptedNode
) -> None:
    why = (b"Seeder-Unwritten", b"/x/bans.json: can't be written: No space left on device")
    ban = {"network": "203.0.113.0/24", "until": None, "note": "", "at": 1_795_992_160.0}
    node.on("POST /bans", answer(ban, 201)._replace(headers=(JSON, why)))
    node.on("DELETE /bans/203.0.113.0%2F24", Response(204, headers=(why,)))
    for verb in ("ban", "unban"):
        result = await ask(verb, "203.0.113.0/24")
        assert result.code == 0
        assert "it is in force, and written as soon as that works" in result.line
        assert why[1].decode() in result.line

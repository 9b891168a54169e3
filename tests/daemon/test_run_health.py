"""`seeder health` beside a node: how it is, in one line and an exit code."""

import socket
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from seeder.config.node import AdminSettings
from seeder.config.sections import Config
from tests.commands.support import environment
from tests.daemon.support import LOOPBACK, serving
from tests.support.ports import free_port


async def health(*words: str | Path, **variables: str) -> tuple[int, str]:
    """Run the command, and return its exit code and the only line that it writes."""
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-m", "seeder", "health", *words],
            capture_stdout=True,
            check=False,
            env=environment(**variables),
        )
    [line] = done.stdout.decode().splitlines()
    return done.returncode, line


async def test_a_node_that_serves_is_ready_by_its_file_or_by_the_environment_alone(
    config: Config, file: Path
) -> None:
    port = config.admin.listen[0].port
    async with serving(config):
        assert await health("-c", file) == (0, "ready")
        everywhere = {"SEEDER_ADMIN__LISTEN": f'["0.0.0.0:{port}"]'}
        assert await health(**everywhere) == (0, "ready")


async def test_a_node_that_still_starts_is_alive_but_not_ready(config: Config, file: Path) -> None:
    async with serving(config) as node:
        node.overview.unready = "starting"
        assert await health("-c", file) == (1, "not ready: starting")
        assert await health("-c", file, "--alive") == (0, "alive")


async def test_what_is_wrong_in_the_file_by_now_makes_no_running_node_ill(
    config: Config, file: Path
) -> None:
    at = {"SEEDER_ADMIN__LISTEN": f'["{config.admin.listen[0]}"]'}
    async with serving(config):
        right = await trio.Path(file).read_text()
        await trio.Path(file).write_text(f'{right}\n[log]\nlevel = "loud"\n[nonsense]\n')
        assert await health("-c", file) == (0, "ready")
        await trio.Path(file).write_text(f"{right}\n[log\n")
        assert await health("-c", file) == (0, "ready")
        await trio.Path(file).write_text('[admin]\nlisten = ["nowhere"]\ntoken_file = "gone"\n')
        assert await health("-c", file, **at) == (0, "ready")
        await trio.Path(file).unlink()
        assert await health("-c", file, **at) == (0, "ready")


async def test_who_does_not_answer_is_named_with_the_setting(file: Path, config: Config) -> None:
    assert await health("-c", file) == (
        1,
        f"no answer at {config.admin.listen[0]} ([admin] listen): Connection refused;"
        " does the daemon run?",
    )


@pytest.mark.parametrize("listen", ["[]", f'["{LOOPBACK}:0"]'])
async def test_who_listens_at_no_address_that_is_known_is_asked_at_the_socket(
    config: Config, file: Path, listen: str
) -> None:
    silent = config.model_copy(update={"admin": AdminSettings(listen=())})
    path = config.state_directory / "control.sock"
    nowhere = {"SEEDER_ADMIN__LISTEN": listen}
    async with serving(silent) as node:
        assert await health("-c", file, **nowhere) == (0, "ready")
        node.overview.unready = "starting"
        assert await health("-c", file, **nowhere) == (1, "not ready: starting")
        assert await health("-c", file, "--alive", **nowhere) == (0, "alive")
    code, line = await health("-c", file, **nowhere)
    assert (code, line.partition(":")[0]) == (1, f"no answer at {path} ([admin] socket)")
    code, line = await health("-c", file, SEEDER_ADMIN__SOCKET="off", **nowhere)
    assert (code, line.partition(":")[0]) == (
        1,
        "admin.listen names no port and admin.socket is off",
    )


async def test_who_only_takes_the_connection_is_not_waited_for(nursery: trio.Nursery) -> None:
    with socket.create_server((LOOPBACK, 0)) as mute:
        at = f'["{LOOPBACK}:{mute.getsockname()[1]}"]'
        with trio.fail_after(30):
            code, line = await health(SEEDER_ADMIN__LISTEN=at)
    assert code == 1
    assert "timed out" in line


async def _answer(stream: trio.SocketStream, answer: bytes) -> None:
    async with stream:
        await stream.receive_some(4096)
        await stream.send_all(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 No\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n\x1b\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
    ],
)
async def test_another_server_at_the_address_is_not_taken_for_ours(
    nursery: trio.Nursery, answer: bytes
) -> None:
    port = free_port(LOOPBACK)
    serve = partial(_answer, answer=answer)
    await nursery.start(partial(trio.serve_tcp, serve, port, host=LOOPBACK))
    code, line = await health(SEEDER_ADMIN__LISTEN=f'["{LOOPBACK}:{port}"]')
    assert code == 1
    assert f"{LOOPBACK}:{port}" in line
    assert line.isprintable()


async def test_it_loads_neither_the_daemon_nor_what_talks_to_s3() -> None:
    heavy = ["trio", "httpx", "botocore", "cryptography", "rich", "seeder.daemon"]
    loaded = f"[each for each in {heavy} if each in sys.modules]"
    program = f"import sys, seeder.commands.declared.health; print({loaded})"
    done = await trio.run_process(
        [sys.executable, "-c", program], capture_stdout=True, env=environment()
    )
    assert done.stdout.decode().strip() == "[]"

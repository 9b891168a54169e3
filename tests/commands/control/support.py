"""A node whose answers the test writes, at a UNIX socket, and the verbs that ask it."""

import fcntl
import json
import os
import struct
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import trio
from click.testing import CliRunner

from seeder.cli import main
from seeder.http.messages import Request, Response
from seeder.http.server import serve
from seeder.http.service import Service
from seeder.net.local import listening_at
from tests.commands.support import PROGRAM, Result
from tests.support.processes import python_environment

JSON = (b"Content-Type", b"application/json")
PROBLEM = (b"Content-Type", b"application/problem+json")


def answer(document: object, status: int = 200) -> Response:
    return Response(status, json.dumps(document).encode(), (JSON,))


def problem(status: int, detail: str, *errors: str) -> Response:
    document: dict[str, object] = {"title": "Refused", "status": status, "detail": detail}
    if errors:
        document["errors"] = errors
    return Response(status, json.dumps(document).encode(), (PROBLEM,))


def an_object(name: str, **more: Any) -> dict[str, Any]:
    """Return an object as the API has it, which is served."""
    return {
        "origin": "default",
        "bucket": "quotes",
        "key": name,
        "version_id": None,
        "state": "serving",
        "reason": None,
        "info_hash": "ab" * 20,
        "info_hash_v2": None,
        "size": 4096,
        "pieces": 1,
        "torrent_url": f"http://127.0.0.1:6969/quotes/{name}?torrent",
        "magnet": "magnet:?xt=urn:btih:" + "ab" * 20,
        "peers": 2,
        "seeds": 1,
        "configured_in": "/etc/seeder/seeder.toml",
        "source": "file",
        "prefix": None,
        "added_at": None,
        "publish_at": None,
        "asked_at": None,
        "looked_at": 1_795_992_160.0,
        "look_fault": None,
        "private": False,
        "seeded_here": True,
        "cached_bytes": 4096,
        "warming": None,
        "origin_bytes": 4096,
        "origin_requests": 2,
        "uploaded_bytes": 8192,
        "delivered_verified_bytes": 8192,
        "delivered_claimed_bytes": 9000,
        "completed": 1,
        **more,
    }


def a_prefix(name: str, **more: Any) -> dict[str, Any]:
    """Return a prefix as the API has it, which was listed."""
    return {
        "origin": "default",
        "bucket": "quotes",
        "prefix": name,
        "bundle": False,
        "state": "followed",
        "reason": None,
        "configured_in": "/etc/seeder/seeder.toml",
        "source": "file",
        "shadowed": False,
        "added_at": None,
        "objects": 1,
        "listed_at": 1_795_992_160.0,
        "rehashing": 0,
        "settings": {},
        "asked_at": None,
        "looked_at": 1_795_992_160.0,
        "look_fault": None,
        **more,
    }


@dataclass
class ScriptedNode:
    """Answers by method and path below /api/v1; the last answer of a list stays."""

    socket: Path
    answers: dict[str, list[Response]] = field(default_factory=dict)
    seen: list[Request] = field(default_factory=list)
    objects: Sequence[Mapping[str, Any]] = ()
    """What GET /objects lists, page by page."""

    def on(self, what: str, *answers: Response) -> None:
        """Answer "METHOD /path" so, one after the other."""
        self.answers[what] = [*answers]

    @property
    def targets(self) -> list[str]:
        """What was asked for, as it stood in the requests."""
        return [
            f"{each.method.decode()} {each.path.decode().removeprefix('/api/v1')}"
            + (f"?{each.query.decode()}" if each.query else "")
            for each in self.seen
        ]

    def body(self, number: int = -1) -> Any:
        """Return the JSON of a request's body."""
        return json.loads(self.seen[number].body)

    def handle(self, request: Request) -> Response:
        self.seen.append(request)
        path = request.path.decode().removeprefix("/api/v1")
        script = self.answers.get(f"{request.method.decode()} {path}")
        if script:
            return script.pop(0) if len(script) > 1 else script[0]
        if path == "/objects" and request.method == b"GET":
            return self._page(parse_qs(request.query.decode()))
        return problem(404, "there is no such path; /api/v1/openapi.json lists all")

    def _page(self, query: Mapping[str, list[str]]) -> Response:
        prefix, limit = query.get("prefix", [""])[0], int(query.get("limit", ["100"])[0])
        begin = int(query.get("after", ["0"])[0])
        found = [each for each in self.objects if f"quotes/{each['key']}".startswith(prefix)]
        found = [each for each in found if each["state"] in query.get("state", [each["state"]])]
        more = begin + limit
        after = str(more) if more < len(found) else None
        return answer({"objects": found[begin:more], "next": after})


@asynccontextmanager
async def scripted(socket: Path) -> AsyncIterator[ScriptedNode]:
    """Run a node at a socket."""
    node = ScriptedNode(socket)
    with listening_at(socket, "admin.socket") as local:
        async with trio.open_nursery() as nursery:
            run = partial(serve, [local.socket], Service(node.handle, bodies=lambda _: 1 << 20))
            await nursery.start(run)
            yield node
            nursery.cancel_scope.cancel()


async def seeder(*words: str | Path) -> Result:
    """Run a command in this process."""
    run: Callable[[], Result] = partial(_run, [str(each) for each in words])
    return await trio.to_thread.run_sync(run)


@dataclass
class OnTerminal:
    """A command on a terminal of its own, and all that it wrote there."""

    process: trio.Process
    terminal: int
    text: str = ""

    async def until(self, wanted: str) -> None:
        """Read until a text has come."""
        while wanted not in self.text and await self._read():
            pass

    async def end(self) -> int:
        """Read until it ends; return its exit code."""
        while await self._read():
            pass
        return await self.process.wait()

    async def _read(self) -> bool:
        await trio.lowlevel.wait_readable(self.terminal)
        try:
            data = os.read(self.terminal, 65536)
        except OSError:  # EIO: nobody has it open any more
            return False
        self.text += data.decode()
        return True


@asynccontextmanager
async def on_terminal(*words: str | Path, columns: int = 80) -> AsyncIterator[OnTerminal]:
    """Run a command on a terminal that is so wide; it is killed at the end of the block."""
    master, slave = os.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        async with trio.open_nursery() as nursery:
            run = partial(
                trio.run_process,
                [*PROGRAM, *words],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                check=False,
                env=python_environment(HOME="/nonexistent"),
            )
            process = await nursery.start(run)
            os.close(slave)
            slave = -1
            with trio.fail_after(60):
                yield OnTerminal(process, master)
            nursery.cancel_scope.cancel()
    finally:
        os.close(master)
        if slave >= 0:
            os.close(slave)


def _run(words: Sequence[str]) -> Result:
    done = CliRunner().invoke(main, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Result(done.exit_code, done.stdout_bytes, done.stderr)

"""The control API of a running node: at its UNIX socket, and on the admin listener with a token."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from seeder.config.sections import Config
from seeder.daemon.node import Node
from tests.daemon.support import BODY, serving

TOKEN = "a-token-of-24-characters"


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    token = tmp_path / "api.token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    admin = config.admin.model_copy(update={"token_file": token})
    return config.model_copy(update={"admin": admin})


@pytest.fixture
async def node(config: Config) -> AsyncIterator[Node]:
    async with serving(config) as node:
        yield node


@pytest.fixture
async def local(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the UNIX socket."""
    async with at_socket(node.config) as client:
        yield client


@pytest.fixture
async def remote(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the admin listener without a token."""
    base = f"http://{node.admin_address}/api/v1"
    async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
        yield client


def at_socket(config: Config) -> httpx.AsyncClient:
    path = config.control_socket
    assert path is not None
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost/api/v1", timeout=20)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem that an answer is, with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


async def test_the_socket_is_for_its_owner_alone_and_goes_with_the_node(config: Config) -> None:
    path = config.control_socket
    assert path is not None
    async with serving(config):
        found = path.stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o600
    assert not path.exists()


async def test_the_socket_tells_how_the_node_stands(node: Node, local: httpx.AsyncClient) -> None:
    assert (await local.get("")).json()["openapi"] == "/api/v1/openapi.json"
    status = (await local.get("/status")).json()
    assert status["ready"] is True
    assert status["totals"]["size"] == len(BODY)
    assert status["listeners"]["control"] == [str(node.config.control_socket)]
    assert status["last_reload"] is None


async def test_tcp_takes_the_token_and_nothing_less(remote: httpx.AsyncClient) -> None:
    missing = await remote.get("/status")
    problem(missing, 401)
    assert missing.headers["www-authenticate"].startswith("Bearer")
    problem(await remote.get("/status", headers=bearer(TOKEN[:-1])), 401)
    assert (await remote.get("/status", headers=bearer(TOKEN))).status_code == 200

"""A running node and clients of its control API."""

from typing import Any

import httpx

from seeder.config.sections import Config
from seeder.daemon.node import Node

TOKEN = "a-token-of-24-characters"


def at_socket(config: Config) -> httpx.AsyncClient:
    """Return a client of the node's UNIX socket."""
    transport = httpx.AsyncHTTPTransport(uds=str(config.control_socket))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost/api/v1", timeout=20)


def at_listener(node: Node, token: str | None = None) -> httpx.AsyncClient:
    """Return a client of the admin listener."""
    headers = {} if token is None else bearer(token)
    base = f"http://{node.admin_address}/api/v1"
    return httpx.AsyncClient(base_url=base, headers=headers, trust_env=False)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def problem_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem that an answer is, with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document

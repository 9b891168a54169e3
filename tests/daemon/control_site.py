"""A running node and clients of its control API, which hold every answer to its schema."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jsonschema_rs

from seeder.config.sections import Config
from seeder.daemon.node import Node

TOKEN = "a-token-of-24-characters"
ROOT = "/api/v1"


@asynccontextmanager
async def at_socket(config: Config) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the node's UNIX socket."""
    transport = httpx.AsyncHTTPTransport(uds=str(config.control_socket))
    base = f"http://localhost{ROOT}"
    async with httpx.AsyncClient(transport=transport, base_url=base, timeout=20) as client:
        await hold(client)
        yield client


@asynccontextmanager
async def at_listener(node: Node, token: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the admin listener with this token."""
    base, headers = f"http://{node.admin_address}{ROOT}", bearer(token)
    async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False) as client:
        await hold(client)
        yield client


async def hold(client: httpx.AsyncClient) -> None:
    """Have a client hold each answer to the document from now on."""
    held = Contract((await client.get("/openapi.json")).json())

    async def check(answer: httpx.Response) -> None:
        await answer.aread()
        held.check(answer)

    client.event_hooks = {"response": [check]}


class Contract:
    """The OpenAPI document, as far as it says what an answer has."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._paths = {
            re.compile(re.sub(r"\\\{\w+\\\}", "[^:]*", re.escape(path))): methods
            for path, methods in document["paths"].items()
        }

    def check(self, answer: httpx.Response) -> None:
        """Fail unless the document has an answer of that status, kind and content."""
        request = answer.request
        path = request.url.raw_path.decode().partition("?")[0]
        path = ROOT if path == f"{ROOT}/" else path
        methods = next((each for known, each in self._paths.items() if known.fullmatch(path)), None)
        method = "get" if request.method == "HEAD" else request.method.lower()
        if methods is None or method not in methods:
            assert answer.status_code in (401, 403, 404, 405, 421), answer
            return
        told = methods[method]["responses"][str(answer.status_code)]
        if "content" not in told or request.method == "HEAD":
            assert answer.content == b""
            return
        schema = told["content"][answer.headers["content-type"]]["schema"]
        whole = {**schema, "components": self._document["components"]}
        jsonschema_rs.validate(whole, json.loads(answer.content))


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

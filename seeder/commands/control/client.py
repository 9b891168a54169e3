"""Asks a running node over its UNIX socket, or by a URL with a token; ControlFailed."""

import errno
import json
import os
import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import click
import httpx

from seeder.commands.texts import printable
from seeder.config.secrets import read_secret
from seeder.config.whereabouts import Whereabouts
from seeder.control.operations import API_ROOT
from seeder.errors import ConfigError, ControlFailed, ControlRefused, ControlSilent
from seeder.net.local import local_address

Json: TypeAlias = Any
PATIENCE = 60.0
"""Seconds for an answer that takes no work."""
_CONNECT = 5.0
_UNWRITTEN = "seeder-unwritten"
"""The header that says why what is in force isn't on disk yet."""
_TOKEN = re.compile(rb"[\x21-\x7e]{1,512}\r?\n?")
_PROBLEM = "application/problem+json"
_JSON = "application/json"
_OF_TOKENS = (401, 403, 429)
_OF_PROXIES = (401, 403, 407, 502, 503, 504)
_OLDER = (
    "the daemon is older than this command, or something else answers there; restart it after an"
    " upgrade"
)


@dataclass(frozen=True, slots=True)
class RemoteNode:
    """A node by the URL of its admin listener, or of a proxy before it."""

    url: str
    token_file: Path


class ControlClient:
    """The API of one node; it connects when it is asked first, and has to be closed."""

    def __init__(self, node: Whereabouts | RemoteNode, *, connect: float = _CONNECT) -> None:
        """`connect` is how long that may take (s). ConfigError if there is no such token or URL."""
        self._stack = ExitStack()
        self._connect = connect
        self.instance: str | None = None
        """Of a node of this machine, its instance if it has one."""
        self._socket: Path | None = None
        if isinstance(node, RemoteNode):
            self._url = _checked_url(node.url)
            self._token = _read_token(node.token_file)
        else:
            self.instance, self._socket = node.instance, node.socket
            self._url, self._token = "http://localhost", ""
        self._client: httpx.Client | None = None

    @property
    def place(self) -> str:
        """Where the node is asked."""
        return self._url if self._socket is None else str(self._socket)

    def __enter__(self) -> "ControlClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: Mapping[str, object] | None = None,
        patience: float | None = PATIENCE,
    ) -> Json:
        """Return the answer's JSON, None if it has none; ControlFailed, ControlRefused.

        `path` is below /api/v1, encoded, with its query. An answer may take `patience` seconds;
        None: for ever.
        """
        if self._socket is None and self._client is None:
            self._check_who_answers()
        answer = self._exchange(method, path, body, patience)
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            document = json.loads(answer.content) if kind in (_JSON, _PROBLEM) else None
        except ValueError:
            kind, document = "", None
        if answer.is_success and (kind == _JSON or not answer.content):
            if (why := answer.headers.get(_UNWRITTEN)) is not None:
                line = "it is in force, and written as soon as that works"
                click.echo(f"{line}; a restart before that forgets it: {printable(why)}", err=True)
            return document
        if kind == _PROBLEM and isinstance(document, dict):
            raise self._refused(answer.status_code, document)
        if answer.status_code in _OF_PROXIES:
            raise ControlFailed(
                f"{self.place}: status {answer.status_code}, which isn't the node's own answer:"
                " mind the proxy before it"
            )
        raise ControlFailed(
            f"{self.place}{API_ROOT}: no control API ({answer.status_code}): {_OLDER}"
        )

    def _check_who_answers(self) -> None:
        """ControlFailed unless it is a node that a URL leads to; nothing has been asked of it."""
        try:
            self._client = self._stack.enter_context(self._open())
            root = self.ask("")
        except ControlSilent as error:
            raise ControlFailed(str(error)) from error
        if not isinstance(root, dict) or root.get("name") != "seeder":
            raise ControlFailed(f"{self._url}{API_ROOT}: no control API: {_OLDER}")

    def _exchange(
        self, method: str, path: str, body: Mapping[str, object] | None, patience: float | None
    ) -> httpx.Response:
        try:
            if self._client is None:
                self._client = self._stack.enter_context(self._open())
            return self._client.request(
                method,
                self._url + API_ROOT,
                json=body,
                timeout=httpx.Timeout(patience, connect=self._connect),
                # As it is: httpx would take steps of the path away.
                extensions={"target": (urlsplit(self._url).path + API_ROOT + path).encode()},
            )
        except httpx.ConnectTimeout as error:
            raise self._silent(self._connect) from error
        except httpx.TimeoutException as error:
            raise self._silent(patience or 0) from error
        except (httpx.HTTPError, OSError) as error:
            raise ControlFailed(f"{self.place}: {_why(error)}") from error

    def _open(self) -> httpx.Client:
        """Return a client that isn't connected, unless nobody listens; ControlFailed, OSError."""
        if self._socket is None:
            headers = {"Authorization": f"Bearer {self._token}"}
            secure = self._url.startswith("https:")
            verify = ssl.create_default_context() if secure else False
            return httpx.Client(headers=headers, verify=verify, trust_env=False)
        try:
            address = self._stack.enter_context(local_address(self._socket))
            self._try(address)
        except OSError as error:
            raise self._away(error) from error
        transport = httpx.HTTPTransport(uds=address, verify=False, trust_env=False)
        return httpx.Client(transport=transport, trust_env=False)

    def _try(self, address: str) -> None:
        """Find out whether somebody listens; OSError."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(self._connect)
            probe.connect(address)

    def _away(self, error: OSError) -> ControlFailed:
        """Return why nobody can be asked at the socket, and what to do."""
        who = "no seeder runs here"
        start = "start it: systemctl start seeder, or seeder run -c FILE"
        if self.instance is not None:
            start = f"start it: systemctl start seeder@{self.instance}"
        match error.errno:
            case errno.ENOENT | errno.ENOTDIR:
                text = f"{who}: there is no {self._socket}; {start}; or say where it is: -c FILE"
            case errno.ECONNREFUSED:
                text = f"{who}: it ended and left {self._socket}; {start}"
            case errno.EACCES | errno.EPERM:
                text = (
                    f"{self._socket}: no permission: ask as root or as the daemon's user"
                    f" (sudo seeder ...), or by --url with --token-file; you are {_user()}"
                )
            case errno.EPROTOTYPE | errno.ENOTSOCK:
                text = f"{self._socket}: is no socket of a seeder; say where it is: --socket PATH"
            case _ if isinstance(error, TimeoutError) or error.errno == errno.EAGAIN:
                return self._silent(self._connect)
            case _:
                text = f"{self._socket}: {error.strerror or error}"
        return ControlFailed(text)

    def _refused(self, status: int, problem: Mapping[str, object]) -> ControlRefused:
        """Return a problem (RFC 9457) as the lines that a person gets."""
        listed = problem.get("errors")
        errors = [printable(str(each)) for each in listed] if isinstance(listed, list) else []
        text = printable(str(problem.get("detail") or problem.get("title") or f"status {status}"))
        if status in _OF_TOKENS:
            text = f"{self.place}: {text}"
        return ControlRefused(text, status, errors)

    def _silent(self, seconds: float) -> ControlSilent:
        return ControlSilent(
            f"{self.place}: no answer within {seconds:g} s: the node is busy, or stopped; its log"
            " says more"
        )


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    try:
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError([f"--url: {url!r}: want a URL such as http://127.0.0.1:9180"])
    return url.rstrip("/").removesuffix(API_ROOT)


def _read_token(path: Path) -> str:
    try:
        return read_secret(path, _TOKEN, "one line with the token")
    except ValueError as error:
        raise ConfigError([f"--token-file: {error}"]) from None


def _why(error: Exception) -> str:
    """Return what went wrong on the way, in the words of whatever found out."""
    inner: BaseException = error
    while (cause := inner.__cause__ or inner.__context__) is not None:
        inner = cause
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"the certificate isn't trusted: {inner.verify_message}"
    if isinstance(inner, ssl.SSLError):
        return f"speaks no TLS: {inner.reason or inner}"
    if isinstance(inner, OSError) and inner.strerror:
        return f"can't be reached: {inner.strerror}"
    return f"the connection broke: {error}"


def _user() -> str:
    return "root" if os.geteuid() == 0 else f"user {os.geteuid()}"

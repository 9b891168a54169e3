"""The seeder itself, started as an operator starts it: `seeder run -c FILE` under sd_notify."""

import http.client
import json
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.closing import Closing
from tests.support.ports import free_port
from tests.support.processes import Child, HarnessError, python_environment
from tests.support.toml import Settings, toml

_COMPLAINT = re.compile(r"\S+ \S+ (WARNING|ERROR) ")


class SeederDaemon(Closing):
    """One `seeder run` on `address`; free ports, state and cache are filled in where missing.

    `settings` is the configuration as nested dicts and lists, as the TOML of the design says.
    The daemon's stderr and state lie below `directory` and survive a stop, so that another start
    finds them.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        directory: Path,
        address: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        arguments: Sequence[str] = (),
        program: Sequence[str | Path] = (sys.executable, "-m", "seeder.cli"),
    ) -> None:
        self.address = address
        self.directory = directory
        self.tracker_port = free_port(address)
        self.peer_port = free_port(address)
        self.admin_port = free_port(address)
        self.notifications: Notifications | None = None
        self._environment = dict(environment or {})
        self._prefix = tuple(prefix)
        self._arguments = tuple(arguments)
        self._program = tuple(program)
        self._child: Child | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self._settings = settings
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Write another configuration; the daemon sees it at its next start or reload."""
        self.path.write_text(toml(_merged({**self._places(), **self._addresses()}, settings)))

    def _places(self) -> dict[str, object]:
        return {
            "state_directory": str(self.directory / "state"),
            "cache": {"directory": str(self.directory / "cache")},
        }

    def _addresses(self) -> dict[str, object]:
        return {
            "tracker": {"listen": [f"{self.address}:{self.tracker_port}"]},
            "peer": {
                "listen": [f"{self.address}:{self.peer_port}"],
                "public_address": f"{self.address}:{self.peer_port}",
            },
            "admin": {"listen": [f"{self.address}:{self.admin_port}"]},
        }

    def add(self, **sections: object) -> None:
        """Write further sections, of what isn't known before the daemon's ports are."""
        self.configure({**self._settings, **sections})

    @property
    def path(self) -> Path:
        """The configuration file."""
        return self.directory / "seeder.toml"

    @property
    def announce_url(self) -> str:
        return f"http://{self.address}:{self.tracker_port}/announce"

    @property
    def admin_url(self) -> str:
        """Where the status page is, without a slash at the end."""
        return f"http://{self.address}:{self.admin_port}"

    @property
    def peer_address(self) -> tuple[str, int]:
        """Where peers connect."""
        return self.address, self.peer_port

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def log(self) -> str:
        """Everything that the daemon wrote to stderr and stdout, over all its starts."""
        path = self.directory / "seeder.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def complaints(self) -> list[str]:
        """Return the lines of the log that say that something is wrong."""
        return [line for line in self.log.splitlines() if _COMPLAINT.match(line)]

    # -- life -----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def close(self) -> None:
        self.kill()

    def start(self, *, timeout: float = 30, wait: bool = True) -> None:
        """Start the daemon and wait for its READY=1; HarnessError with its log if it ends."""
        if self._child is not None:
            raise HarnessError("the daemon runs already")
        self.notifications = Notifications()
        environment = python_environment(
            NOTIFY_SOCKET=str(self.notifications.path),
            HOME=str(self.directory),
            **self._environment,
        )
        self._child = Child(
            [*self._program, "run", "-c", self.path, *self._arguments],
            log=self.directory / "seeder.log",
            env=environment,
            cwd=self.directory,
            prefix=self._prefix,
        )
        if wait:
            self.wait_until_ready(timeout=timeout)

    def wait_until_ready(self, *, times: int = 1, timeout: float = 30) -> None:
        """Wait until the daemon said READY=1 so many times since its start."""
        child = self._running
        assert self.notifications is not None
        said = self.notifications.wait_for(
            "READY=1", times=times, timeout=timeout, alive=lambda: child.running
        )
        if not said:
            raise child.failure("was not ready")

    def reload(self, *, timeout: float = 30) -> None:
        """SIGHUP, then wait for RELOADING=1 and the READY=1 behind it."""
        assert self.notifications is not None
        ready = self.notifications.count("READY=1")
        reloading = self.notifications.count("RELOADING=1")
        self._running.signal(signal.SIGHUP)
        self.wait_until_ready(times=ready + 1, timeout=timeout)
        if self.notifications.count("RELOADING=1") != reloading + 1:
            raise self._running.failure("did not say RELOADING=1")

    def stop(self, *, timeout: float = 30) -> int:
        """SIGTERM, wait for the end, and return the exit code."""
        self._running.signal(signal.SIGTERM)
        return self.wait(timeout=timeout)

    def wait(self, *, timeout: float = 30) -> int:
        """Wait until the daemon ends by itself and return the exit code."""
        code = self._running.wait(timeout)
        self._forget()
        return code

    def kill(self) -> None:
        """SIGKILL, as a crash or the kernel would. Harmless if it is not running."""
        if self._child is not None:
            self._child.kill()
            self._forget()

    def _forget(self) -> None:
        self._child = None
        if self.notifications is not None:
            self.notifications.close()

    @property
    def _running(self) -> Child:
        if self._child is None:
            raise HarnessError("the daemon is not running")
        return self._child

    # -- what it says ---------------------------------------------------------------------------

    def get(self, target: str, *, admin: bool = False) -> tuple[int, bytes]:
        """GET from the public listener, or the admin one, and return status and body."""
        port = self.admin_port if admin else self.tracker_port
        connection = http.client.HTTPConnection(self.address, port, timeout=30)
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        """Return /status.json."""
        code, body = self.get("/status.json", admin=True)
        if code != 200:
            raise HarnessError(f"/status.json answered {code}: {body[:200]!r}")
        answer: dict[str, Any] = json.loads(body)
        return answer

    def torrent_status(self, bucket: str, key: str) -> dict[str, Any]:
        """Return the entry of one object in /status.json; HarnessError if it has none."""
        found = self.find_torrent(bucket, key)
        if found is None:
            raise HarnessError(f"/status.json has no {bucket}/{key}")
        return found

    def find_torrent(self, bucket: str, key: str) -> dict[str, Any] | None:
        """Return the entry of one object in /status.json; None if it has none."""
        for torrent in self.status()["torrents"]:
            if torrent["bucket"] == bucket and torrent["key"] == key:
                answer: dict[str, Any] = torrent
                return answer
        return None


class Notifications:
    """The service manager's side of sd_notify: reads every message at once, as systemd does."""

    def __init__(self) -> None:
        # The path of a UNIX socket has at most 107 bytes, which pytest's directories exceed.
        self._directory = Path(tempfile.mkdtemp(prefix="notify-"))
        self.path = self._directory / "socket"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._arrived = threading.Condition()
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def lines(self) -> list[str]:
        """Return every line that has come, in order."""
        with self._arrived:
            return list(self._lines)

    def count(self, line: str) -> int:
        """Return how often `line` has come."""
        return self.lines().count(line)

    def wait_for(self, line: str, *, times: int, timeout: float, alive: Callable[[], bool]) -> bool:
        """Wait until `line` has come so often; False if time is up or the sender ended."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while self._lines.count(line) < times:
                if time.monotonic() > deadline or not alive():
                    return False
                # Woken by a message; the time is for noticing that the sender ended.
                self._arrived.wait(0.05)
        return True

    def close(self) -> None:
        """Stop reading; what came stays."""
        if self._socket.fileno() < 0:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._reader.join()
        self._socket.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _read(self) -> None:
        while message := self._socket.recv(4096):
            with self._arrived:
                self._lines += message.decode(errors="replace").splitlines()
                self._arrived.notify_all()


def _merged(defaults: Settings, settings: Settings) -> dict[str, object]:
    """Return `defaults` overlaid with `settings`, table by table."""
    merged = dict(defaults)
    for key, value in settings.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged

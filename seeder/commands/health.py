"""`seeder health`: asks the running daemon how it is, at its admin listener or else its socket.

It is run every few seconds by whoever watches the daemon, so it imports little.
"""

import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path

from seeder.config.asking import asked_at
from seeder.control.operations import API_ROOT
from seeder.net.addresses import HostPort

PATIENCE = 4.0
"""Seconds that an answer may take; who calls us often waits for 5."""
_LONGEST_ANSWER = 1 << 20
_HINT = "; does the daemon run?"
_STRANGER = "the answer of a server that isn't the seeder's"
_OWN = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a listener on every address of this machine is asked."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How the daemon is, in one line."""

    well: bool
    line: str


def ask_health(path: Path | None, instance: str | None, *, alive_is_enough: bool) -> Condition:
    """Ask the daemon that runs by a configuration whether it is ready, or just alive.

    Where the configuration has a mistake now, a daemon may run by an earlier one all the same: it
    is asked where it most likely listens.
    """
    places = asked_at(path, instance)
    page = "/healthz" if alive_is_enough else "/readyz"
    # Port 0 is one that the system chooses: nobody else knows it.
    listening = [each for each in places.admin.listen if each.port]
    line = "admin.listen names no port and admin.socket is off: nobody can ask the daemon; set one"
    for address in listening:
        try:
            return _read_page(*_get(_Tcp(address), page))
        except OSError as error:
            line = f"no answer at {address} ([admin] listen): {_reason(error)}{_HINT}"
        except ValueError:
            return Condition(False, f"{address}: {_STRANGER}")
    if listening or places.control_socket is None:
        return Condition(False, line)
    try:
        return _read_status(
            *_get(_Unix(places.control_socket), f"{API_ROOT}/status"), alive_is_enough
        )
    except OSError as error:
        line = f"no answer at {places.control_socket} ([admin] socket): {_reason(error)}{_HINT}"
        return Condition(False, line)
    except (ValueError, TypeError, KeyError):
        return Condition(False, f"{places.control_socket}: {_STRANGER}")


def _read_page(status: int, text: str) -> Condition:
    """Return what /healthz or /readyz says; ValueError if it isn't ours."""
    line = text.partition("\n")[0]
    if not line.startswith(("alive", "ready", "not ready")):
        raise ValueError
    return Condition(status == 200, "".join(each for each in line if each.isprintable()))


def _read_status(_status: int, text: str, alive_is_enough: bool) -> Condition:
    """Return the same of the control API; KeyError, TypeError, ValueError if it isn't ours."""
    node = json.loads(text)
    if alive_is_enough:
        return Condition(bool(node["version"]), "alive")
    if not node["ready"]:
        return Condition(False, f"not ready: {node['unready']}")
    degraded = node["degraded"]
    return Condition(True, f"ready, degraded: {degraded}" if degraded else "ready")


class _Tcp(http.client.HTTPConnection):
    """A connection to an address where the daemon listens."""

    def __init__(self, address: HostPort) -> None:
        host = _OWN.get(address.host, address.host)
        super().__init__(host, address.port, timeout=PATIENCE)


class _Unix(http.client.HTTPConnection):
    """A connection to the daemon's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """Connect; OSError."""
        from seeder.net.local import local_address  # noqa: PLC0415  (it takes time to load)

        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        with local_address(self._path) as address:
            self.sock.connect(address)


def _get(connection: http.client.HTTPConnection, page: str) -> tuple[int, str]:
    """Return status and text of a page; OSError if nobody answers, ValueError if it is no HTTP."""
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        return answer.status, answer.read(_LONGEST_ANSWER).decode(errors="replace")
    except http.client.HTTPException as error:
        raise ValueError(str(error)) from error
    finally:
        connection.close()


def _reason(error: OSError) -> str:
    return error.strerror or str(error)

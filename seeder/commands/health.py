"""`seeder health`: asks the running daemon's admin listener how it is.

It is run every few seconds by whoever watches the daemon, so it imports little.
"""

import http.client
from dataclasses import dataclass
from pathlib import Path

from seeder.config.load import load_admin
from seeder.config.sections import AdminSettings
from seeder.errors import ConfigError
from seeder.net.addresses import HostPort

PATIENCE = 4.0
"""Seconds that an answer may take; who calls us often waits for 5."""
_LONGEST_ANSWER = 1000
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
    mistake = ""
    try:
        admin = load_admin(path, instance)
    except ConfigError as error:
        mistake = f"; {error.problems[0]}"
        try:
            admin = load_admin(None, instance)
        except ConfigError:
            admin = AdminSettings()
    if not admin.listen:
        return Condition(False, "admin.listen: is empty, so nobody can ask the daemon; name one")
    page = "/healthz" if alive_is_enough else "/readyz"
    for address in admin.listen:
        try:
            status, text = _get(address, page)
        except OSError as error:
            reason = error.strerror or str(error)
            line = f"no answer at {address} ([admin] listen): {reason}; does the daemon run?"
            continue
        except http.client.HTTPException:
            return Condition(False, f"{address}: {_STRANGER}")
        ours = text.startswith(("alive", "ready", "not ready"))
        return Condition(ours and status == 200, text if ours else f"{address}: {text}")
    return Condition(False, line + mistake)


def _get(address: HostPort, page: str) -> tuple[int, str]:
    """Return the status of a page and the first line of it; OSError, HTTPException."""
    host = _OWN.get(address.host, address.host)
    connection = http.client.HTTPConnection(host, address.port, timeout=PATIENCE)
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        body = answer.read(_LONGEST_ANSWER).decode(errors="replace")
    finally:
        connection.close()
    lines = body.splitlines()
    plain = lines and answer.headers.get_content_type() == "text/plain"
    line = lines[0] if plain else _STRANGER
    return answer.status, "".join(each for each in line if each.isprintable())

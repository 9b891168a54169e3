"""What systemd and we tell each other: sd_notify(3), the watchdog, sockets (sd_listen_fds(3)).

Without systemd all of it does nothing.
"""

import os
import socket
import time
from collections.abc import Mapping, MutableMapping

import trio

from seeder.errors import ConfigError
from seeder.units import whole_number

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
SOCKET_NAMES = ("tracker", "tracker-tls", "peer", "admin")
GOING_ON_EVERY = 20.0
"""Seconds between two words to the service manager that something goes on."""
LONGEST_RELOAD = LONGEST_START = 1800.0
LONGEST_STOP = 60.0
"""Seconds until it may think otherwise: a hundred thousand objects take a while."""
_LONGEST_STATUS = 1000
"""Characters."""


class Notifier:
    """Tells the service manager how we are; never raises, and is silent without a manager."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Notifier":
        """Return a notifier for $NOTIFY_SOCKET."""
        return cls(environ.get("NOTIFY_SOCKET"))

    def ready(self) -> None:
        """Say that starting or reloading is over."""
        self._send("READY=1")

    def going_on(self, seconds: float) -> None:
        """Say that what was begun goes on and will for so long, whatever the unit's timeout says.

        That may be a start, a reload (TimeoutStartSec) or a stop (TimeoutStopSec).
        """
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    async def ask_for_time(self, scope: trio.CancelScope) -> None:
        """Say so again and again as long as a scope lasts."""
        with scope:
            while True:
                self.going_on(3 * GOING_ON_EVERY)
                await trio.sleep(GOING_ON_EVERY)

    def reloading(self) -> None:
        """Say that a reload has begun; `ready` ends it."""
        # The time is for Type=notify-reload (systemd 253); older ones ignore it.
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that we are about to end."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        line = "".join(c if c.isprintable() else " " for c in text)[:_LONGEST_STATUS]
        self._send(f"STATUS={line}")

    def watchdog(self) -> None:
        """Say that we are alive; due every `watchdog_interval` seconds."""
        self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if not self._address or self._address[0] not in "@/":
            return  # no address, or a kind that systemd 252 doesn't have, such as vsock
        # A leading @ stands for the NUL of Linux's abstract namespace.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                # systemd reads at once; if it doesn't, this holds up the peers for 0.1 s at most.
                sender.settimeout(0.1)
                sender.sendto(state.encode("utf-8", "replace"), address)
        except (OSError, ValueError):
            return


def watchdog_interval(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return the seconds between two `Notifier.watchdog` calls: half of what systemd waits."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = whole_number(environ.get("WATCHDOG_USEC", "")) or 0
    return microseconds / 2e6 if microseconds else None


def activated_sockets(
    environ: MutableMapping[str, str] = os.environ, *, first: int = FIRST_DESCRIPTOR
) -> dict[str, list[socket.socket]]:
    """Take over the listening sockets that systemd passed, by FileDescriptorName.

    They are non-blocking and close on exec; the variables leave `environ`, so that no child
    takes them again. ConfigError when what was passed can't be used.
    """
    pid = environ.pop("LISTEN_PID", "")
    count = whole_number(environ.pop("LISTEN_FDS", "")) or 0
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    sockets: dict[str, list[socket.socket]] = {}
    if not count or pid != str(os.getpid()):
        return sockets
    problems = []
    for position in range(count):
        name = names[position] if position < len(names) else ""
        try:
            listener = socket.socket(fileno=first + position)
        except OSError as error:
            problems.append(f"LISTEN_FDS: descriptor {first + position} is no socket: {error}")
            continue
        listener.setblocking(False)
        listener.set_inheritable(False)
        sockets.setdefault(name, []).append(listener)
        if problem := _socket_problem(name, listener):
            problems.append(problem)
    if problems:
        for listener in (each for group in sockets.values() for each in group):
            listener.close()
        raise ConfigError(problems)
    return sockets


def _socket_problem(name: str, listener: socket.socket) -> str | None:
    if name not in SOCKET_NAMES:
        wanted = ", ".join(SOCKET_NAMES)
        return f'LISTEN_FDNAMES: "{name}" is unknown; set FileDescriptorName to one of {wanted}'
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return f"{name}: systemd passed a socket that is not of IPv4 or IPv6; see its ListenStream"
    if name == "tracker" and listener.type is socket.SOCK_DGRAM:
        return None
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return f"{name}: systemd passed a socket that doesn't listen; use ListenStream, Accept=no"
    return None

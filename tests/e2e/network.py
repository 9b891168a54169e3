"""Networks for tests: this machine's loopback, or a private namespace that real clients accept.

Many clients refuse peers on 127.0.0.0/8 or keep one peer per address. A namespace gives each of
them a private address on its own lo. It lives as long as a descriptor of this process refers to
it, so nothing is left behind however the process ends.
"""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.processes import HarnessError, missing_programs, run

S3_ADDRESS, DAEMON_ADDRESS, FIRST_CLIENT_ADDRESS = 1, 2, 3
"""Numbers of addresses: the S3 servers', the daemon's; clients have the rest."""
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_OWN_NAMESPACE = Path("/proc/thread-self/ns/net")


class Network:
    """The loopback of this machine: every program gets an address of 127.0.0.0/8."""

    private = False
    prefix: tuple[str, ...] = ()
    """What to put before a command line to run it in this network."""

    def address(self, number: int) -> str:
        """Return the address of program `number` (1..16)."""
        _check_number(number)
        return f"127.0.0.{number}"

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put this thread, and what it opens and starts, into the network."""
        yield

    def run(self, argv: Sequence[str | Path], *, timeout: float = 60) -> str:
        """Run a short command inside and return its stdout."""
        return run(argv, timeout=timeout, prefix=self.prefix)

    def claim(self, *prefixes: str) -> None:
        """Have every address of some prefixes (CIDR), for tests that need thousands of them."""
        raise HarnessError("only a namespace has addresses to spare")

    def close(self) -> None:
        """Give the network up; programs that still run inside keep it."""


class Namespace(Network):
    """A network namespace with 10.9.0.1 to 10.9.0.16 on its lo. HarnessError where not allowed.

    `entered()` moves the calling thread alone: threads started inside (libtorrent's) stay inside,
    threads that existed before stay out.
    """

    private = True

    def __init__(self) -> None:
        self._descriptor = _new_namespace()
        self.prefix = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self._descriptor}", "--")
        lines = ["link set lo up", *(f"addr add {self.address(n)}/24 dev lo" for n in range(1, 17))]
        # The rule that addresses of one's own are delivered to comes first: make room before it.
        lines += ["rule add pref 100 lookup local", "rule del pref 0"]
        self._ip(lines)

    def address(self, number: int) -> str:
        _check_number(number)
        return f"10.9.0.{number}"

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        before = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _set_namespace(self._descriptor)
            try:
                yield
            finally:
                _set_namespace(before)
        finally:
            os.close(before)

    @contextlib.contextmanager
    def without(self, *connections: str) -> Iterator[None]:
        """Make connections fail that ip-rule(8) would select: "from A to B", "to A dport N"."""
        rules = [f"pref 10 {selected} unreachable" for selected in connections]
        self._ip([f"rule add {rule}" for rule in rules])
        try:
            yield
        finally:
            self._ip([f"rule del {rule}" for rule in rules])

    def claim(self, *prefixes: str) -> None:
        self._ip([f"route replace local {prefix} dev lo" for prefix in prefixes])
        with self.entered():
            # IPv4 addresses of a local route may be bound; those of IPv6 only so.
            Path("/proc/sys/net/ipv6/ip_nonlocal_bind").write_text("1", encoding="ascii")

    def _ip(self, lines: Sequence[str]) -> None:
        with self.entered():
            subprocess.run(["ip", "-batch", "-"], input="\n".join(lines).encode(), check=True)

    def close(self) -> None:
        os.close(self._descriptor)


def why_no_namespace() -> str | None:
    """Return the reason why a namespace can't be made here, or None if it can."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    missing = missing_programs("ip", "nsenter")
    if missing:
        return f"a network namespace needs {', '.join(missing)} (iproute2, util-linux)"
    try:
        os.close(_new_namespace())
    except HarnessError as error:
        return str(error)
    return None


def _check_number(number: int) -> None:
    if not 1 <= number <= 16:
        raise ValueError(f"no address number {number}: 1 to 16")


def _new_namespace() -> int:
    """Make a namespace, leave it again, and return a descriptor of it."""
    before = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("unshare", _CLONE_NEWNET)
        made = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        _set_namespace(before)
        return made
    finally:
        os.close(before)


def _set_namespace(descriptor: int) -> None:
    _call("setns", descriptor, _CLONE_NEWNET)


def _call(name: str, *arguments: int) -> None:
    # os.setns and os.unshare exist from Python 3.12 on only.
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        raise HarnessError(f"can't {name} a network: {os.strerror(ctypes.get_errno())}")

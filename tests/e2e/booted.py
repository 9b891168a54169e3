"""A real systemd as PID 1, in seconds: systemd-nspawn boots this machine's own Debian.

Its files are a throw-away overlay over those of this machine. It shares a network with the test, so
that S3 servers and clients need not be inside. It has a namespace of processes, whose first one the
kernel kills when the tests end, even by SIGKILL, and all others with it; and one of mounts, which
goes with them. What is left then is an empty cgroup, which the next start sweeps away, an empty
directory and a log.
"""

import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support.closing import Closing
from tests.support.processes import Child, HarnessError, clean_environment, missing_programs

_PROGRAMS = ("systemd-nspawn", "dbus-daemon", "nsenter", "unshare", "mount", "tar")
_PREFIX = "seeder-tests-"
_LOOK_EVERY = 0.1
"""Seconds: each look starts several programs."""
_ROOM = "2G"
"""Of memory, at most, that its files take."""
# In namespaces of its own. Services and timers that this machine's packages enable don't start.
_BOOT = r"""
set -e
echo 0 >"$CGROUP/cgroup.procs"
mount -t tmpfs -o size=$ROOM tmpfs "$HOME"
mkdir "$HOME/upper" "$HOME/work" "$HOME/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$HOME/upper,workdir=$HOME/work" "$HOME/root"
cd "$HOME/root"
rm -rf etc/systemd/system/*.wants etc/rc?.d etc/machine-id usr/sbin/policy-rc.d
mkdir -p etc/systemd/system/multi-user.target.wants run tmp
: >etc/machine-id
echo booted >etc/hostname
exec systemd-nspawn --directory="$HOME/root" --boot --register=no --keep-unit --quiet \
    --network-namespace-path=/proc/self/ns/net --machine=booted --console=pipe \
    systemd.unit=multi-user.target systemd.mask=getty.target systemd.mask=systemd-sysctl.service
"""
_APART = (
    *("unshare", "--mount", "--propagation", "private"),
    *("--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENTER = ("nsenter", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "--target")


def why_no_boot() -> str | None:
    """Return why no systemd can be booted here; None where one can."""
    if os.geteuid() != 0:
        return "booting systemd takes root"
    if missing := missing_programs(*_PROGRAMS):
        return f"booting systemd takes {', '.join(missing)} (systemd-container, dbus)"
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as home:
        trial = (
            f"mount -t tmpfs tmpfs {home} && cd {home} && mkdir u w r"
            " && mount -t overlay overlay -o lowerdir=/,upperdir=u,workdir=w r && test -d r/etc"
        )
        done = subprocess.run(
            [*_APART, "sh", "-c", trial], capture_output=True, text=True, check=False
        )
    if done.returncode:
        return f"no overlay can be mounted in a namespace here: {done.stderr.strip()}"
    with suppress(OSError):
        _Cgroup(_PREFIX + "trial").close()
        return None
    return "no cgroup can be made here"


class Booted(Closing):
    """A machine that has booted, with the network of the calling thread."""

    def __init__(self) -> None:
        """Boot it; HarnessError with what it printed if it doesn't come up."""
        self._home = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._cgroup = _Cgroup(self._home.name)
        environment = {
            "PATH": _PATH,
            "HOME": str(self._home),
            "CGROUP": str(self._cgroup.path),
            "ROOM": _ROOM,
        } | self._cgroup.environment
        log = Path(f"{self._home}.log")
        self._child = Child(
            [*_APART, "sh", "-c", _BOOT],
            log=log,
            env=environment,
        )
        try:
            self._child.wait_until(lambda: self._find() is not None, timeout=60, what="systemd")
            self.pid = self._find() or 0
            self._child.wait_until(self._is_up, timeout=60, what="end of the boot")
        except BaseException:
            self.close()
            raise

    def _find(self) -> int | None:
        """Return the PID of the machine's systemd, seen from here."""
        for nspawn in _children(self._child.pid):
            for child in _children(nspawn):
                with suppress(OSError):
                    if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                        return child
        return None

    def _is_up(self) -> bool:
        # "degraded": a unit of this machine's Debian that has no place in a container.
        state = self.run("systemctl is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def path(self, inside: str) -> Path:
        """Return where a file of the machine is, seen from here."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        """Put a file into the machine, with the directories above it."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def run(
        self, command: str, *, check: bool = True, timeout: float = 90
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of the shell inside; HarnessError with what it said if it fails."""
        done = subprocess.run(
            self.command(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env=clean_environment(),
        )
        if check and done.returncode:
            raise HarnessError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def command(self, command: str) -> list[str]:
        """Return the words that run a command of the shell inside."""
        inside = ("env", "-i", f"PATH={_PATH}", "HOME=/root", "LANG=C.UTF-8", "sh", "-c", command)
        return [*_ENTER, str(self.pid), "--", *inside]

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run(f"systemctl show --value -p {name} {shlex.quote(unit)}").stdout.strip()

    def journal(self, unit: str) -> str:
        """Return what a unit wrote, and what systemd said of it, since the machine's boot."""
        return self.run(f"journalctl --no-pager -o cat -u {shlex.quote(unit)}").stdout

    def wait_for(
        self, unit: str, condition: Callable[[], bool], *, timeout: float = 60, what: str
    ) -> None:
        """Poll until a condition holds; HarnessError with the unit's journal otherwise."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise HarnessError(f"no {what} within {timeout:g} s\n{self.journal(unit)[-3000:]}")
            time.sleep(_LOOK_EVERY)

    def close(self) -> None:
        """Take it down at once; its files are gone with it."""
        for nspawn in _children(self._child.pid):
            with suppress(ProcessLookupError):
                os.kill(nspawn, signal.SIGKILL)
        with suppress(HarnessError):
            self._child.wait(30)  # for whoever is to reap it
        self._child.kill()
        self._cgroup.close()
        with suppress(OSError):
            self._home.rmdir()
        with suppress(OSError):
            self._child.log.unlink()


def _children(pid: int) -> list[int]:
    """Return the children of a process, none if it has ended."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, path.read_text().split())
    return found


class _Cgroup(Closing):
    """A cgroup for one machine: two in the same one would end each other's services."""

    def __init__(self, name: str) -> None:
        top, self.environment = _hierarchy()
        for left in top.glob(f"{_PREFIX}*"):
            if not Path("/proc", left.name.rpartition("-")[2]).exists():
                _remove(left)
        self.path = top / f"{name}-{os.getpid()}"
        self.path.mkdir()

    def close(self) -> None:
        """Remove it as soon as its processes are gone."""
        deadline = time.monotonic() + 30
        while not _remove(self.path) and time.monotonic() < deadline:
            time.sleep(0.01)


def _remove(cgroup: Path) -> bool:
    """Remove a cgroup with those below it; False if there are processes in it."""
    for directory, _, _ in os.walk(cgroup, topdown=False):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _hierarchy() -> tuple[Path, dict[str, str]]:
    """Return where this process's cgroup is, and what tells nspawn which kind it is."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    found = {name: path for _, name, path in (line.split(":", 2) for line in lines)}
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists():
        return top / found[""].lstrip("/"), {}
    named = top / "systemd" / found["name=systemd"].lstrip("/")
    return named, {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0"}

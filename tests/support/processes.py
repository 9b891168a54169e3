"""Programs that the harness starts: in the foreground, one group each, dead when the harness is."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.support.closing import Closing

POLL_SECONDS = 0.01


# Settings of S3 clients and of service managers, proxies, what colours or wraps output, and what
# makes another Python of Python.
_FOREIGN = re.compile(
    r"(AWS|BOTO|SEEDER|NOTIFY|WATCHDOG|LISTEN|STATE|CACHE|CREDENTIALS|JOURNAL|INVOCATION)_\w*"
    r"|PYTHON(?!PATH)\w*|\w*_PROXY|(NO|FORCE)_COLOR|CLICOLOR\w*|COLUMNS|LINES",
    re.IGNORECASE,
)


class HarnessError(Exception):
    """A program of the harness failed; the text carries the end of its log."""


def missing_programs(*names: str) -> list[str]:
    """Return those of `names` that are not on the PATH."""
    return [name for name in names if shutil.which(name) is None]


def poll_until(condition: Callable[[], bool], *, timeout: float, what: str) -> None:
    """Poll `condition` until it holds; HarnessError naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise HarnessError(f"no {what} within {timeout:g} s")
        time.sleep(POLL_SECONDS)


class Child(Closing):
    """One program that runs in the foreground; stdout and stderr are appended to `log`.

    The kernel kills it when the thread that started it ends, so that an interrupted or killed
    test run leaves nothing behind. Worker threads end early, hence only the main thread may start
    one. setpriv sets that signal after the fork, where Python could not do it safely beside
    libtorrent's threads.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("start programs from the main thread: they die with their thread")
        self.argv = [str(word) for word in argv]
        self.name = Path(self.argv[0]).name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*prefix, "setpriv", "--pdeathsig", "KILL", "--", *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=clean_environment() if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The program's own pid: the prefix and setpriv only exec."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        return self.returncode is None

    def output(self) -> str:
        """Return everything that it printed so far."""
        return self.log.read_text(errors="replace")

    def failure(self, what: str) -> HarnessError:
        """Return an error for `what`, with the exit code and the last lines of the log."""
        state = "still running" if self.running else f"exit code {self.returncode}"
        return HarnessError(f"{self.name}: {what} ({state})\n{self.output()[-2000:]}")

    def wait_until(self, condition: Callable[[], bool], *, timeout: float, what: str) -> None:
        """Poll until `condition` holds; HarnessError if the program ends first or time is up."""
        deadline = time.monotonic() + timeout
        while not condition():
            if not self.running:
                raise self.failure(f"ended before {what}")
            if time.monotonic() > deadline:
                raise self.failure(f"no {what} within {timeout:g} s")
            time.sleep(POLL_SECONDS)

    def wait(self, timeout: float) -> int:
        """Wait for the end and return the exit code; HarnessError after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self.failure(f"did not end within {timeout:g} s") from None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone, if it still runs."""
        if self.running:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the program and what it started, and reap it. Again is harmless."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        self.kill()


def run(argv: Sequence[str | Path], *, timeout: float = 60, prefix: Sequence[str] = ()) -> str:
    """Run a short command to its end and return its stdout; HarnessError if it fails."""
    words = [*prefix, *(str(word) for word in argv)]
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
        env=clean_environment(),
    )
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace")[-2000:]
        raise HarnessError(f"{Path(words[len(prefix)]).name} failed with {done.returncode}: {text}")
    return done.stdout.decode(errors="replace")


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what a program of the tests might heed."""
    return {name: value for name, value in os.environ.items() if not _FOREIGN.fullmatch(name)}


def python_environment(**extra: str) -> dict[str, str]:
    """Return a clean environment for a Python program of this project."""
    own = {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONUNBUFFERED": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return clean_environment() | own | extra

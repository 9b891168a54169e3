"""Every target under Atheris for a moment: the short pass that the tests run.

    python -m tests.fuzz.glance [TARGET ...]

What costs the most is to import the seeder as code that is watched. This process does so once, and
forks for each target, one after the other; libFuzzer then ends that child. All bounds are CPU time:
however busy the machine is, a target gets as far. The corpus stays as it is.
"""

import contextlib
import faulthandler
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from seeder.units import DAY
from tests.fuzz import inputs, libfuzzer
from tests.fuzz.inputs import FINDINGS, TARGETS, Target
from tests.fuzz.worker import Finder, run

SECONDS = 1.5
"""CPU seconds of a target, if its seeds and corpus don't take longer."""
MOST_SECONDS = 60
"""CPU seconds after which a target is killed: an input has no end."""
LEAST = 20
"""Inputs of its own making that the fuzzer tries in any case."""


def main(names: Sequence[str]) -> int:
    """Run the targets, all if none is named; 0 without a finding."""
    failed = 0
    for name in names or sorted(TARGETS):
        with tempfile.TemporaryDirectory(prefix=f"glance-{name}-") as directory:
            work = Path(directory)
            child = os.fork()
            if not child:
                _glance(TARGETS[name], work)
            _, status = os.waitpid(child, 0)
            told = (work / "told").read_text("utf-8") if (work / "told").exists() else ""
            log = (work / "log").read_text("utf-8", "replace")
            if told and not status and "FOUND " not in log:
                print(f"{name:18}{told}", flush=True)
                continue
            failed += 1
            code = os.waitstatus_to_exitcode(status)
            print(f"{name:18}failed ({told or f'exit code {code}'}):\n{log[-8000:]}", flush=True)
            libfuzzer.keep_artifacts(work, FINDINGS / name, log)
    return int(failed > 0)


def _glance(tried: Target, work: Path) -> NoReturn:
    """Run one target in the child, which ends here."""
    log = os.open(work / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    with contextlib.suppress(BaseException):
        # Where the time went when it is up.
        faulthandler.register(signal.SIGXCPU, all_threads=False, chain=True)
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS + 5))
        _fuzz(tried, work)
    traceback.print_exc()
    os._exit(1)


def _fuzz(tried: Target, work: Path) -> NoReturn:
    finder = Finder(tried, FINDINGS / tried.name)
    libfuzzer.write_seeds(tried, work / "seeds")
    libfuzzer.write_dictionary(tried, work / "dictionary")
    kept = sum(1 for _ in inputs.kept_inputs(tried))
    started = time.process_time()

    def one(data: bytes) -> None:
        finder.one(data)
        seconds = time.process_time() - started
        if seconds > SECONDS and finder.count >= kept + LEAST:
            text = f"{finder.count:>8} executions{kept:>6} kept{seconds:>7.1f} s"
            (work / "told").write_text(text, encoding="utf-8")
            sys.stderr.flush()
            os._exit(0)

    # Each time the same inputs, as far as the code stays the same. Its timeout is wall time.
    options = [*libfuzzer.LIMITS, "-seed=1", f"-timeout={DAY}", "-verbosity=0"]
    found = work / "found"  # the first directory is where libFuzzer writes
    found.mkdir()
    directories = [found, *(path for path in (tried.corpus, work / "seeds") if path.is_dir())]
    run(
        one,
        [
            "glance",
            *options,
            f"-dict={work / 'dictionary'}",
            f"-artifact_prefix={work}/",
            *map(str, directories),
        ],
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""One target under Atheris, in a process of its own: `tests.fuzz` starts it, a person doesn't.

    python -m tests.fuzz.worker TARGET FINDINGS PROGRAM [options and directories of libFuzzer]

An input that fails is noted below FINDINGS, once for each place where it failed, and the run goes
on. PROGRAM is what libFuzzer starts for its inner steps.
"""

import logging
import random
import sys
import traceback
from collections.abc import Callable, Sequence
from hashlib import sha1
from pathlib import Path
from typing import NoReturn

import atheris

with atheris.instrument_imports(include=["seeder"]):
    from tests.fuzz import inputs
    from tests.fuzz import targets as targets  # noqa: PLC0414  (fills the table)

MOST_SECONDS = 5 * inputs.MOST_SECONDS
"""Under Atheris the code that is watched takes several times as long."""
EACH = 500
"""So many inputs from one that is blown up to the next."""


class Finder:
    """Gives a target its inputs, and keeps those that failed."""

    def __init__(self, tried: inputs.Target, findings: Path) -> None:
        self.count = 0
        """Inputs that libFuzzer has given."""
        self._tried = tried
        self._findings = findings
        self._places: set[str] = set()
        self._rng = random.Random(1)

    def one(self, data: bytes) -> None:
        """Try one input; every so often, also that one blown up."""
        self._try(data)
        self.count += 1
        if self.count % EACH == 0:
            for longer in inputs.blown_up(self._tried, [data], self._rng):
                self._try(longer)

    def _try(self, data: bytes) -> None:
        try:
            inputs.check(self._tried, data, most_seconds=MOST_SECONDS)
        except Exception as error:
            self._keep(data, error)

    def _keep(self, data: bytes, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}"
        if place in self._places:
            return
        self._places.add(place)
        self._findings.mkdir(parents=True, exist_ok=True)
        stem = sha1(place.encode(), usedforsecurity=False).hexdigest()[:16]
        (self._findings / stem).write_bytes(data)
        text = "".join(traceback.format_exception(error))
        (self._findings / f"{stem}.txt").write_text(text, encoding="utf-8", errors="replace")
        print(f"FOUND {stem}: {place}: {error!s:.200}".replace("\n", " "), file=sys.stderr)


def run(one: Callable[[bytes], None], arguments: Sequence[str]) -> NoReturn:
    """Run libFuzzer, which ends the process; the arguments begin with the program's name."""
    logging.disable()  # each damaged file is worth a line, and there are millions
    atheris.Setup([*arguments], one, enable_python_coverage=True)
    atheris.Fuzz()
    raise AssertionError("libFuzzer has returned")


def main(arguments: Sequence[str]) -> NoReturn:
    """Run one target."""
    name, findings, *rest = arguments
    run(Finder(inputs.TARGETS[name], Path(findings)).one, rest)


if __name__ == "__main__":
    main(sys.argv[1:])

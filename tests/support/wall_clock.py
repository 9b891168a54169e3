"""A wall clock that can be set, for a program of its own: the machine's is never touched."""

import shutil
import struct
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest


class WallClock:
    """What a program takes for the time that is started with `environment`."""

    def __init__(self, directory: Path) -> None:
        """Skips the test where there is no C compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler (cc)")
        source = Path(__file__).with_suffix(".c")
        library, self._file = directory / "wall_clock.so", directory / "wall_clock"
        built = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-lm"]
        subprocess.run(built, check=True)
        self.step_to_real()
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "WALL_CLOCK": str(self._file),
        }

    def step_to(self, moment: float) -> None:
        """Set it to a moment (Unix s), from which on it runs."""
        self.step_ahead(moment - time.time())

    def step_to_real(self) -> None:
        """Set it as the machine's."""
        self.step_ahead(0.0)

    def step_ahead(self, seconds: float) -> None:
        """Set it ahead of the machine's, or behind it."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("d", seconds))

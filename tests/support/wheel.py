"""The wheel, built as whoever packages it does, and fresh environments to install it in."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import python_environment, run

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", ".gitignore", "seeder", "config", "systemd")
EPOCH = 1_700_000_000  # 2023-11-14 22:13:20 UTC


def copy_sources(directory: Path) -> Path:
    """Copy what is built from, and return the copy."""
    directory.mkdir(parents=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, directory / name, ignore=ignored)
        else:
            shutil.copy(source, directory)
    return directory


def build(sources: Path, target: str, *, umask: int = 0o022) -> Path:
    """Build a wheel or an sdist by the project's own backend."""
    out = sources.parent / f"{sources.name}-{target}"
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", out],
        cwd=sources,
        env=python_environment(SOURCE_DATE_EPOCH=str(EPOCH)),
        umask=umask,
        capture_output=True,
        check=True,
    )
    [made] = out.iterdir()
    return made


@dataclass(frozen=True)
class Installed:
    """A fresh environment, without pip, that a wheel is installed in."""

    directory: Path

    @property
    def program(self) -> Path:
        return self.directory / "bin" / "seeder"

    @property
    def libraries(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.directory / "lib" / version / "site-packages"

    def pip_install(self, *words: str | Path) -> None:
        """Install something by this environment's pip; HarnessError if it can't be had."""
        python = self.directory / "bin" / "python"
        pip = ("-m", "pip", "--disable-pip-version-check", "--python", python)
        run([sys.executable, *pip, "install", "--quiet", "--no-input", *words], timeout=300)

    def environment(self) -> dict[str, str]:
        """Return an environment in which only that one is used."""
        env = python_environment(AWS_ACCESS_KEY_ID="A", AWS_SECRET_ACCESS_KEY="B")
        del env["PYTHONPATH"]
        path = f"{self.program.parent}{os.pathsep}{os.environ['PATH']}"
        return env | {"PATH": path, "HOME": str(self.directory)}

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command that works."""
        return subprocess.run(
            words,
            env=self.environment(),
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )


def make_environment(directory: Path) -> Installed:
    """Make an environment of this Python."""
    run([sys.executable, "-m", "venv", "--without-pip", directory])
    return Installed(directory)

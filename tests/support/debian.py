"""The Debian package of this tree."""

import os
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import Distribution, distribution
from pathlib import Path

from tests.support.processes import missing_programs, python_environment, run
from tests.support.wheel import ROOT, build, copy_sources

PYTHON = "/usr/bin/python3"
SCRIPT = ROOT / "config" / "debian" / "build.py"


def why_no_package() -> str | None:
    """Return why no package can be built here of what the tests have; None where one can."""
    if missing_programs("dpkg-deb", "dpkg", PYTHON):
        return "a Debian package takes Debian"
    program = "import sys; print(sys.version_info[:2])"
    asked = subprocess.run([PYTHON, "-c", program], capture_output=True, text=True, check=False)
    if asked.stdout.strip() != str(sys.version_info[:2]):
        return "the tests' packages are for another Python than Debian's"
    return None


def build_package(directory: Path) -> None:
    """Build the package of this tree in a directory.

    What it depends on is what the tests run with: nothing is fetched.
    """
    wheel = build(copy_sources(directory / "sources"), "wheel")
    packages = directory / "packages"
    _gather(packages)
    options = ("--wheel", wheel, "--packages", packages)
    subprocess.run(
        [sys.executable, SCRIPT, *options, "--output", directory],
        env=python_environment(),
        stdout=subprocess.DEVNULL,
        check=True,
    )


def change_package(package: Path, made: Path, version: str, example: str) -> Path:
    """Return another version of a package, with another example of a configuration."""
    tree = made.with_suffix("")
    run(["dpkg-deb", "--raw-extract", package, tree])
    control = tree / "DEBIAN" / "control"
    text, count = re.subn(r"(?m)^Version: .*$", f"Version: {version}", control.read_text())
    assert count == 1
    control.write_text(text)
    (tree / "etc/seeder/seeder.toml").write_text(example)
    run(["dpkg-deb", "--root-owner-group", "-Zzstd", "--build", tree, made])
    return made


def _gather(packages: Path) -> None:
    """Link to all that the seeder depends on, as far as it is installed here."""
    packages.mkdir()
    libraries = Path(sysconfig.get_path("purelib"))
    names = {
        Path(str(file)).parts[0]
        for each in _closure("seeder", {"coredis"})
        for file in each.files or ()
        if ".." not in Path(str(file)).parts
    }
    for name in names - {"__pycache__"}:
        os.symlink(libraries / name, packages / name)


def _closure(name: str, more: set[str]) -> list[Distribution]:
    wanted, known = {*_needs(distribution(name)), *more}, {}
    while wanted:
        each = wanted.pop()
        known[each] = found = distribution(each)
        wanted |= _needs(found) - known.keys()
    return list(known.values())


def _needs(package: Distribution) -> set[str]:
    """Return the names of what a package requires and what is installed here."""
    required = set()
    for line in package.requires or ():
        name = re.match(r"[A-Za-z0-9._-]+", line)
        if name is not None and "extra ==" not in line:
            try:
                distribution(name[0])
            except ModuleNotFoundError:
                continue  # of another version of Python
            required.add(re.sub(r"[._-]+", "-", name[0]).lower())
    return required

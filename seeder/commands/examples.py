"""What `seeder init` writes: an example configuration, dashboard and alerts, units of systemd, and
what makes and runs an image.

They come from config/ and systemd/ of the repository, which the wheel carries below examples/.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Set
from pathlib import Path

import seeder
from seeder.files import replace_file, storage_errors

CONFIGURATION = "seeder.toml"
FILES = (CONFIGURATION, "grafana-dashboard.json", "prometheus-rules.yaml")
UNITS = "systemd"
RUN_BY = {
    "container": (
        *("compose.yaml", "prometheus.yaml"),
        *("grafana-datasource.yaml", "grafana-dashboards.yaml"),
    ),
    "kubernetes": ("kubernetes.yaml",),
}
"""What runs the image, by the name of the option: first the file that is named to what reads it."""
_IMAGE = "Containerfile"
_WHEELS = "wheel"
"""A directory with ours and nothing else, of which the image is built."""
_PROGRAM, _HOME = "/opt/seeder/.venv/bin/seeder", "/etc/seeder"
"""What the units name in the repository."""
_HIDDEN = {"/home": "ProtectHome", "/root": "ProtectHome", "/run/user": "ProtectHome"} | {
    "/tmp": "PrivateTmp",
    "/var/tmp": "PrivateTmp",
}
"""Directories that our units don't let the service see, and by which setting."""


def write_examples(
    directory: Path, *, wanted: Set[str], force: bool, show: Callable[[str], None]
) -> None:
    """Write the files, and say what to do next; StorageError.

    Also those that are `wanted`: "systemd", "container", "kubernetes". One that is there stays as
    it is, unless it is to be written anew by `force`.
    """
    # People copy the paths; those with ".." are hard to read.
    home = directory.resolve() if ".." in directory.parts else directory.absolute()
    for path, data in _files(home, wanted):
        show(f"{path}: {_write(path, data, force=force)}")
    for line in _next(home, wanted):
        show(line)


def _files(home: Path, wanted: Set[str]) -> Iterator[tuple[Path, bytes]]:
    source = _source()
    runs = [file for name, files in RUN_BY.items() if name in wanted for file in files]
    for name in (*FILES, *([_IMAGE] if runs else []), *runs):
        yield home / name, (source / "config" / name).read_bytes()
    if UNITS not in wanted:
        return
    for unit in sorted((source / UNITS).iterdir()):
        text = unit.read_text(encoding="utf-8")
        yield home / UNITS / unit.name, _fitted(text, home).encode()


def _source() -> Path:
    """Return where the files come from: the installed package, or the repository."""
    package = Path(seeder.__file__).parent
    carried = package / "examples"
    return carried if carried.is_dir() else package.parent


def _write(path: Path, data: bytes, *, force: bool) -> str:
    """Write a file, unless there is one; return what was done."""
    with storage_errors(path, "written"):
        there = os.path.lexists(path)
        if there and path.is_file() and path.read_bytes() == data:
            return "is there already"
        if there and not force:
            return "is there and differs: left as it is (--force writes it anew)"
        replace_file(path, data, durable=False)
    return "written anew" if there else "written"


def program() -> list[str]:
    """Return the command that runs this installation."""
    script = Path(sys.executable).with_name("seeder")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "seeder"]


def _fitted(unit: str, home: Path) -> str:
    """Return a unit that runs this installation by the configuration in `home`."""
    lines = []
    for line in unit.splitlines(keepends=True):
        if line.startswith("Exec"):
            command = " ".join(_quoted(word) for word in program())
            line = line.replace(_PROGRAM, command).replace(  # noqa: PLW2901
                f"{_HOME}/{CONFIGURATION}", _quoted(str(home / CONFIGURATION))
            )
        elif line.startswith("#"):
            line = line.replace(_HOME, str(home))  # noqa: PLW2901
        lines.append(line)
    return "".join(lines)


def _quoted(word: str) -> str:
    """Return a word as systemd reads it back (systemd.service(5), COMMAND LINES)."""
    escaped = word.replace("\\", r"\\").replace('"', r"\"").replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(c in word for c in " \t\"'\\;") else escaped


def _next(home: Path, wanted: Set[str]) -> Iterator[str]:
    """Yield what to do next, a line each."""
    path = home / CONFIGURATION
    ours = program()
    if shutil.which("seeder") == ours[0]:
        ours = ["seeder"]
    yield f"Next: name your objects and the announce_url in {path}, then"
    yield f"  {shlex.join([*ours, 'check', '-c', str(path)])}"
    if not wanted:
        yield f"  {shlex.join([*ours, 'run', '-c', str(path)])}"
    if UNITS in wanted:
        yield f"  cp {shlex.quote(str(home / UNITS))}/seeder* /etc/systemd/system/"
        yield "  systemctl daemon-reload"
        yield "  systemctl edit seeder    # LoadCredential= for AWS keys, as its unit shows"
        yield "  systemctl enable --now seeder    # systemctl status seeder tells how it does"
        yield from _unseen(home)
    if wanted & RUN_BY.keys():
        yield f"  pip wheel --no-deps -w {_WHEELS} REPOSITORY    # or put your wheel there"
        build = shlex.join(["podman", "build", "--format", "docker", "-t", "seeder"])
        yield f"  {build} -f {shlex.quote(str(home / _IMAGE))} {_WHEELS}"
    if "container" in wanted:
        file = shlex.quote(str(home / RUN_BY["container"][0]))
        yield f"  docker compose -f {file} up -d    # its first lines say what it takes"
    if "kubernetes" in wanted:
        file = shlex.quote(str(home / RUN_BY["kubernetes"][0]))
        yield f"  kubectl apply -f {file}    # <-- marks in it what to change"


def _unseen(home: Path) -> Iterator[str]:
    """Yield a warning for each place that the units hide from the service."""
    for what, place in (
        ("the configuration", home),
        ("this installation", Path(program()[0])),
        ("its Python", Path(os.path.realpath(sys.executable))),
    ):
        for hidden, setting in _HIDDEN.items():
            if place.is_relative_to(hidden):
                yield (
                    f"warning: {what} is below {hidden}, which the units hide from the service"
                    f" ({setting}=): {_REMEDY[what]}"
                )


_REMEDY = {
    "the configuration": f"seeder init {_HOME} --systemd",
    "this installation": "install into /opt/seeder/.venv, and run its seeder init",
    "its Python": "make the environment with the system's python3",
}

"""A base image made of this machine's own Debian packages: no registry is asked for one.

What the packages brought is taken as it lies here, with what their scripts made of it.
"""

import platform
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

PACKAGES = (
    *("python3", "python3-venv", "ca-certificates"),
    # What every Debian has (dpkg's "essential"), as far as a program may ask for it.
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "grep", "libc-bin"),
    *("mawk", "sed", "tar", "tzdata"),
)
_MADE = ("/bin", "/lib", "/lib64", "/sbin", "/etc/ssl/certs", "/etc/ld.so.cache")
"""What packages' scripts make."""
_NEEDLESS = re.compile(r"/usr/share/(doc|man|info|locale|lintian|bug)/|/etc/(passwd|group)")
_MASTERS = "/usr/share/base-passwd"


def why_no_base() -> str | None:
    """Return why no base image can be made here; None where one can."""
    try:
        is_debian = platform.freedesktop_os_release()["ID"] == "debian"
    except OSError:
        is_debian = False
    if not is_debian or shutil.which("apt-cache") is None:
        return "this is no Debian"
    lacking = [name for name in PACKAGES if not Path(f"/var/lib/dpkg/info/{name}.list").exists()]
    return f"not installed: {', '.join(lacking)}" if lacking else None


def make_base(path: Path) -> None:
    """Write the file system as a tar file."""
    with tarfile.open(path, "w") as archive:
        for name in sorted({*_files(), *_made()}):
            archive.add(name, recursive=False)
        for name in ("passwd", "group"):
            archive.add(f"{_MASTERS}/{name}.master", f"etc/{name}")


def _files() -> Iterator[str]:
    words = ["depends", "--recurse", "--installed", "--important"]
    depends = _output("apt-cache", *words, *PACKAGES)
    names = {line for line in depends.splitlines() if re.match(r"[a-z0-9]", line)}
    for line in _output("dpkg-query", "--listfiles", *sorted(names)).splitlines():
        place = Path(line)
        if line.startswith("/") and not _NEEDLESS.match(f"{line}/") and place.exists():
            # Where / and /usr are one, a package's /bin/sh is a way to /usr/bin/sh.
            yield str(place.parent.resolve() / place.name)


def _made() -> Iterator[str]:
    for line in _MADE:
        if Path(line).exists():
            yield line
            yield from (str(each) for each in Path(line).glob("*") if line == "/etc/ssl/certs")


def _output(*words: str) -> str:
    ran = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    return ran.stdout

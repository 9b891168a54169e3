"""Make a Debian package of the seeder: python3 config/debian/build.py [--output DIRECTORY]

It has the seeder and all that it depends on in an environment of its own, /usr/lib/seeder, for the
machine's python3; units of systemd, an example configuration, the manual page and completions.
Nothing is fetched when it is installed. It is for the version of Debian that it is built on; that
takes the Debian packages python3-pip and dpkg.
"""

import argparse
import gzip
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HOME = "usr/lib/seeder"
PROGRAM = "/usr/bin/seeder"
SCRIPTS = ("postinst", "prerm", "postrm")
UNITS = "usr/lib/systemd/system"
BUILT_FOR = "/opt/seeder/.venv/bin/seeder"
"""What the units of the repository run."""
DOCUMENTS = "usr/share/doc/seeder"
EXAMPLE = "etc/seeder/seeder.toml"
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/seeder",
    "zsh": "usr/share/zsh/vendor-completions/_seeder",
    "fish": "usr/share/fish/vendor_completions.d/seeder.fish",
}
DESCRIPTION = """\
 A daemon that publishes large S3 objects by BitTorrent: it gives every object
 a torrent, runs the tracker, and seeds. Each piece is read from S3 once,
 verified and passed on; what that saved is counted in bytes and money.
"""


def main() -> None:
    """Make the package, and print where it is."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--output", type=Path, default=Path(), help="the directory to put it in")
    parser.add_argument("--wheel", type=Path, help="of the seeder; default: one of this repository")
    parser.add_argument(
        "--python", default="/usr/bin/python3", help="of the machines to install on"
    )
    parser.add_argument(
        "--packages", type=Path, help="where those are that it depends on; default: PyPI is asked"
    )
    parser.add_argument("--maintainer", default="the seeder authors <root@localhost>")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seeder-deb-") as work:
        tree = Path(work, "tree")
        wheel = chosen.wheel or _wheel(Path(work))
        _install(tree / HOME, wheel, chosen.python, chosen.packages)
        _add_documents(tree, wheel)
        _add_files(tree)
        name = _add_control(tree, wheel, chosen.python, chosen.maintainer)
        chosen.output.mkdir(parents=True, exist_ok=True)
        made = chosen.output / name
        # Nobody but root may write what root installs, whatever the umask here.
        subprocess.run(["chmod", "-R", "u+rwX,go+rX,go-w", tree], check=True)
        # xz would take a minute for a sixth less.
        build = ["dpkg-deb", "--root-owner-group", "-Zzstd", "--build", tree, made]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    print(made)


def _wheel(work: Path) -> Path:
    _pip("wheel", "--no-deps", "--wheel-dir", work / "wheel", ROOT)
    [made] = (work / "wheel").iterdir()
    return made


def _pip(*words: str | Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *words], check=True)


def _install(home: Path, wheel: Path, python: str, packages: Path | None) -> None:
    """Make the environment, which then knows no other place than /usr/lib/seeder."""
    subprocess.run([python, "-m", "venv", "--without-pip", home], check=True)
    [libraries] = home.glob("lib/python3*/site-packages")
    here = ("--python", home / "bin" / "python", "install", "--no-input", "--no-compile")
    if packages is None:
        _pip(*here, f"{wheel}[redis]")
    else:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(packages, libraries, ignore=ignored, dirs_exist_ok=True)
        _pip(*here, "--no-deps", "--no-index", wheel)
    for program in (home / "bin").iterdir():
        if not program.name.startswith("python"):
            program.unlink()  # those of the packages, and what activates the environment
    script = home / "bin" / "seeder"
    script.write_text(
        f"#!/{HOME}/bin/python\nimport sys\n\nfrom seeder.cli import main\n\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    settings = home / "pyvenv.cfg"
    lines = settings.read_text().splitlines(keepends=True)
    settings.write_text("".join(line for line in lines if not line.startswith("command")))
    shutil.rmtree(home / "include")
    for left in libraries.glob("*.dist-info/direct_url.json"):
        left.unlink()  # it names the place of the wheel
    # The service may not write there. What is compiled holds whatever the files' times are.
    compiling = (python, "-m", "compileall", "-qq", "-j0", "--invalidation-mode", "unchecked-hash")
    # A package may have modules for newer versions of Python, which fail here and aren't imported.
    subprocess.run([*compiling, "-s", home, "-p", f"/{HOME}", home / "lib"], check=False)


def _add_documents(tree: Path, wheel: Path) -> None:
    """Add the manual page and completions, which the program itself makes, and the licences."""
    for shell, path in COMPLETIONS.items():
        _write(tree / path, _told(tree, "completion", shell))
    _write(tree / "usr/share/man/man1/seeder.1.gz", _zipped(_told(tree, "man")))
    with ZipFile(wheel) as archive:
        licences = [
            archive.read(each) for each in archive.namelist() if ".dist-info/licenses/" in each
        ]
    others = f"The packages it depends on have theirs in /{HOME}/lib, in *.dist-info.\n".encode()
    _write(tree / DOCUMENTS / "copyright", b"\n".join([*licences, others]))


def _told(tree: Path, *words: str) -> bytes:
    python = tree / HOME / "bin" / "python"
    command: list[str | Path] = [python, "-I", "-m", "seeder", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def _zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _add_files(tree: Path) -> None:
    """Add the configuration, what systemd runs, and the handbook."""
    _write(tree / EXAMPLE, (ROOT / "config" / "seeder.toml").read_bytes())
    for unit in sorted((ROOT / "systemd").iterdir()):
        text = unit.read_text().replace(BUILT_FOR, PROGRAM)
        _write(tree / UNITS / unit.name, text.encode())
    for name in ("grafana-dashboard.json", "prometheus-rules.yaml"):
        data = (ROOT / "config" / name).read_bytes()
        _write(tree / DOCUMENTS / "examples" / name, data)
    pages = [path for path in (ROOT / "config").iterdir() if path.suffix in (".md", ".png")]
    for path in (ROOT / "README.md", *sorted(pages)):
        _write(tree / DOCUMENTS / path.relative_to(ROOT), path.read_bytes())
    command = tree / PROGRAM[1:]
    command.parent.mkdir(parents=True, exist_ok=True)
    command.symlink_to("../lib/seeder/bin/seeder")


def _add_control(tree: Path, wheel: Path, python: str, maintainer: str) -> str:
    """Add what dpkg reads; return the package's file name."""
    with ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    version = re.sub(r"(?<=\d)(?=(a|b|rc|\.dev)\d)", "~", metadata["Version"])
    architecture = _output("dpkg", "--print-architecture")
    minor = int(_output(python, "-c", "import sys; print(sys.version_info.minor)"))
    summary = metadata["Summary"].removeprefix("An ")  # Debian wants no article
    sums, size = [], 0
    for path in _files(tree):
        size += path.stat().st_size
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        sums.append(f"{digest}  {path.relative_to(tree)}\n")
    _write(tree / "DEBIAN/md5sums", "".join(sums).encode())
    _write(tree / "DEBIAN/conffiles", f"/{EXAMPLE}\n".encode())
    for script in SCRIPTS:
        _write(tree / "DEBIAN" / script, (HERE / script).read_bytes(), mode=0o755)
    # Compiled modules in it are for one minor version of Python.
    fields = {
        "Package": "seeder",
        "Version": version,
        "Architecture": architecture,
        "Maintainer": maintainer,
        "Installed-Size": str(size // 1024),
        "Depends": f"python3 (>= 3.{minor}), python3 (<< 3.{minor + 1}), libc6",
        "Section": "net",
        "Priority": "optional",
        "Description": f"{summary}\n{DESCRIPTION.rstrip()}",
    }
    control = "".join(f"{key}: {value}\n" for key, value in fields.items())
    _write(tree / "DEBIAN/control", control.encode())
    return f"seeder_{version}_{architecture}.deb"


def _files(tree: Path) -> Iterator[Path]:
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _output(*command: str) -> str:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


if __name__ == "__main__":
    main()

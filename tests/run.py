"""Test command: python3 tests/run.py [--quick] [arguments for pytest].

Makes .venv and installs what the tests need: as root on Debian the servers and clients of the
end-to-end tests too. Then runs ruff, mypy and pytest. What is there already is not made again.
"""

from __future__ import annotations  # so that an older Python gets as far as its error message

import argparse
import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

WORKERS = 3
"""Processes that share the tests: most of an end-to-end test is waiting for other programs."""
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
SWIFT_VENV = ROOT / ".venv-swift"
AWS_VENV = ROOT / ".venv-aws"
LOCALSTACK_VENV = ROOT / ".venv-localstack"
TABLES_VENV = ROOT / ".venv-tables"
AUDIT_VENV = ROOT / ".venv-audit"
MANIFESTS_VENV = ROOT / ".venv-manifests"
IMAGE_WHEELS = ROOT / ".image-wheels"

PACKAGES = ("-e", ".[test]")
# The fuzzer has wheels for Linux on x86_64; elsewhere it would have to be compiled by clang.
FUZZ_PACKAGES = ("--only-binary", "atheris", "-e", ".[fuzz]")
# OpenStack Swift speaks S3 too; it has a venv of its own, for it wants much that we don't.
SWIFT_PACKAGES = ("swift==2.38.3", "eventlet==0.41.3", "PasteDeploy==3.1.0", "pyeclib==1.8.0")
SWIFT_CHECK = "import swift.common.middleware.s3api.s3api, swift.obj.mem_server, swift.proxy.server"
# The AWS CLI pins libraries that others need newer; pip compiles nothing, for few of its files run.
AWS_PACKAGES = ("--no-compile", "awscli==1.46.3")
AWS_CHECK = "import awscli.clidriver"
# LocalStack's S3 keeps checksums of parts; its dependencies are those that it was released with.
LOCALSTACK_PACKAGES = (
    "localstack-core[base-runtime]==4.7.*",
    *("cbor2<5.8", "pyopenssl<25", "cryptography<45", "service_identity<25"),
    "moto-ext==5.1.9.post1",  # its SQS stands on that
)
LOCALSTACK_CHECK = (
    "import localstack.runtime.main, localstack.services.s3.provider,"
    " localstack.services.sqs.provider"
)
# What people read tables in S3 with; they want other versions of botocore than the AWS CLI does.
TABLES_PACKAGES = ("--no-compile", "s3fs==2026.9.0", "pandas==3.1.1", "pyarrow==26.0.1")
TABLES_CHECK = "import s3fs, pandas, pyarrow.fs"
# What says which packages an installation is made of, and what is known of these.
AUDIT_PACKAGES = ("cyclonedx-bom[validation]==7.5.0", "pip-audit==2.10.1")
AUDIT_CHECK = "import cyclonedx_py, pip_audit"
# The schemas of Kubernetes and of compose files, offline.
MANIFESTS_PACKAGES = (
    "--no-compile",
    "kubernetes-validate==1.37.0",
    "check-jsonschema==0.39.0",
    "cloudcoil-models-prometheus-operator==0.80.1.0",  # its ServiceMonitor
    "podman-compose==1.6.0",
)
MANIFESTS_CHECK = "import kubernetes_validate, check_jsonschema, cloudcoil, podman_compose"
# WebTorrent and axe, which judges pages by how accessible they are, are npm packages; the lock file
# beside their package.json pins all that they need.
WEBTORRENT = ROOT / ".webtorrent"
WEBTORRENT_PINNED = ROOT / "tests" / "e2e" / "clients" / "npm"
NPM_TRACKER = ROOT / ".npm-tracker"
NPM_TRACKER_PINNED = ROOT / "tests" / "e2e" / "npm_tracker"
WEBTORRENT_NODE = 20  # the oldest version that it runs on
SERVICE_POLICY = Path("/usr/sbin/policy-rc.d")
DEBIAN_PACKAGES = {
    "radosgw": "tests against Ceph",
    "ceph-mon": "tests against Ceph",
    "ceph-osd": "tests against Ceph",
    "ceph-common": "tests against Ceph",
    "liberasurecode1": "tests against OpenStack Swift",
    "transmission-daemon": "tests with Transmission",
    "aria2": "tests with aria2",
    "rtorrent": "tests with rTorrent",
    "qbittorrent-nox": "tests with qBittorrent",
    "iproute2": "tests in a network of their own",
    "opentracker": "tests beside opentracker",
    "curl": "tests with curl",
    "chromium": "tests with Chromium",
    "chromium-driver": "tests of the status page",
    "rclone": "tests with rclone",
    "nginx": "tests behind nginx",
    "caddy": "tests behind Caddy",
    "openssl": "tests behind nginx",
    "systemd": "checks of the systemd units",
    "systemd-container": "tests under a systemd that boots",
    "dbus": "tests under a systemd that boots",
    "fish": "tests of completions",
    "zsh": "tests of completions",
    "mandoc": "checks of the manual page",
    "redis-server": "tests of several nodes",
    "podman": "tests of the container",
    "runc": "tests of the container",
    "python3-venv": "tests of the container",
    "prometheus": "checks of metrics, rules and dashboard",
}


class Failed(Exception):
    """A step failed without which the next ones are useless."""


class Steps:
    """Runs steps, a line each with the outcome and the seconds; remembers which failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def run(self, name: str, *command: str | Path, vital: bool = False) -> bool:
        """Run a command, showing its output only when it fails; Failed if it was vital."""
        print(f"{name} ... ", end="", flush=True)
        started = time.monotonic()
        result = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        seconds = time.monotonic() - started
        if result.returncode == 0:
            print(f"ok ({seconds:.1f} s)", flush=True)
            return True
        print(f"FAILED, exit code {result.returncode} ({seconds:.1f} s)")
        print(result.stdout.decode(errors="replace").rstrip(), flush=True)
        self.failed.append(name)
        if vital:
            raise Failed(name)
        return False


def main() -> int:
    """Run everything; 0 when all of it is well."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="leave the end-to-end tests out")
    options, for_pytest = parser.parse_known_args()
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever calls this may have any python3
        print(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
        return 1
    steps = Steps()
    try:
        install_packages(steps)
    except Failed as error:
        print(f"nothing was tested: {error} failed")
        return 1
    if not options.quick:
        install_fuzzer(steps)
        install_servers_and_clients(steps)
        install_swift(steps)
        install_aws_cli(steps)
        install_localstack(steps)
        install_tables(steps)
        install_audit(steps)
        install_manifests(steps)
        fetch_image_wheels(steps)
        install_npm_packages(steps)
    python = VENV / "bin" / "python"
    steps.run("ruff check", python, "-m", "ruff", "check")
    steps.run("ruff format --check", python, "-m", "ruff", "format", "--check")
    steps.run("mypy", python, "-m", "mypy")
    if steps.failed:
        print(f"FAILED before pytest: {', '.join(steps.failed)}", flush=True)
    selected = ["-m", "not e2e"] if options.quick else []
    # worksteal: the tests of one module may be long, and need not all run in one process.
    shared = ["-n", str(WORKERS), "--dist", "worksteal"]
    command: list[str | Path] = [python, "-m", "pytest", *shared, *selected, *for_pytest]
    result = subprocess.run(command, cwd=ROOT, check=False)
    return result.returncode or int(bool(steps.failed))


def install_packages(steps: Steps) -> None:
    """Make .venv with the package and its test tools in it."""
    wanted = stamp((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if is_made(VENV, wanted):
        return
    make_venv(steps, VENV)
    pip_install(steps, VENV, PACKAGES)
    mark_made(VENV, wanted)


def install_fuzzer(steps: Steps) -> None:
    """Install Atheris in .venv, or say that fuzzing by coverage will be skipped."""
    program = "import importlib.util as i, sys; sys.exit(not i.find_spec('atheris'))"
    there = subprocess.run([VENV / "bin" / "python", "-c", program], check=False)
    if there.returncode == 0:
        return
    try:
        pip_install(steps, VENV, FUZZ_PACKAGES)
    except Failed:
        print("fuzzing by coverage will be skipped")
        here = (sys.platform, platform.machine(), *sys.version_info[:2])
        if here != ("linux", "x86_64", 3, 11):
            steps.failed.pop()  # elsewhere there may be no wheel


def install_servers_and_clients(steps: Steps) -> None:
    """Install what the end-to-end tests drive, or say which of them will be skipped."""
    missing = [name for name in DEBIAN_PACKAGES if not is_installed(name)]
    if not missing:
        return
    reason = why_not_ours_to_install()
    if reason is None:
        apt_install(steps, missing)
        return
    for use in dict.fromkeys(DEBIAN_PACKAGES[name] for name in missing):
        lacking = [name for name in missing if DEBIAN_PACKAGES[name] == use]
        print(f"{use} may be skipped: {', '.join(lacking)} not found, and {reason}")


def install_aws_cli(steps: Steps) -> None:
    """Make .venv-aws, or say that the tests with the AWS CLI will be skipped."""
    install_program(steps, "the AWS CLI", AWS_VENV, AWS_PACKAGES, AWS_CHECK)


def install_swift(steps: Steps) -> None:
    """Make .venv-swift, or say that the tests against Swift will be skipped."""
    install_program(steps, "OpenStack Swift", SWIFT_VENV, SWIFT_PACKAGES, SWIFT_CHECK)


def install_localstack(steps: Steps) -> None:
    """Make .venv-localstack, or say that the tests against LocalStack will be skipped."""
    install_program(steps, "LocalStack", LOCALSTACK_VENV, LOCALSTACK_PACKAGES, LOCALSTACK_CHECK)


def install_tables(steps: Steps) -> None:
    """Make .venv-tables, or say that the tests with pandas and pyarrow will be skipped."""
    install_program(steps, "pandas and pyarrow", TABLES_VENV, TABLES_PACKAGES, TABLES_CHECK)


def install_audit(steps: Steps) -> None:
    """Make .venv-audit, or say that nothing will be said of the packages that we depend on."""
    install_program(steps, "CycloneDX and pip-audit", AUDIT_VENV, AUDIT_PACKAGES, AUDIT_CHECK)


def install_manifests(steps: Steps) -> None:
    """Make .venv-manifests, or say that compose and Kubernetes files won't be held to a schema."""
    install_program(
        steps, "the schemas of Kubernetes", MANIFESTS_VENV, MANIFESTS_PACKAGES, MANIFESTS_CHECK
    )


def fetch_image_wheels(steps: Steps) -> None:
    """Fetch what the image is built of, for Debian's Python, or say that it won't be built."""
    if reason := why_not_ours_to_install():
        print(f"tests of the container will be skipped: {reason}")
        return
    version = "import sys; print('%d.%d' % sys.version_info[:2])"
    python = subprocess.run(
        ["/usr/bin/python3", "-c", version], capture_output=True, text=True, check=True
    ).stdout.strip()
    wanted = stamp((ROOT / "pyproject.toml").read_text(encoding="utf-8") + python)
    if marker_says(IMAGE_WHEELS, wanted):
        return
    shutil.rmtree(IMAGE_WHEELS, ignore_errors=True)
    pip = (VENV / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check")
    for_debian = ("--only-binary", ":all:", "--python-version", python, "--dest", IMAGE_WHEELS)
    words = ("download", "--no-input", *for_debian, ".[redis]", "hatchling>=1.27")
    if steps.run(f"pip download .[redis] for Python {python}", *pip, *words):
        mark_made(IMAGE_WHEELS, wanted)


def install_program(
    steps: Steps, name: str, venv: Path, packages: Sequence[str], check: str
) -> None:
    """Make a venv with a program that comes from PyPI, and run `check` there."""
    wanted = stamp(" ".join(packages))
    if is_made(venv, wanted):
        return
    python = venv / "bin" / "python"
    try:
        make_venv(steps, venv)
        pip_install(steps, venv, packages)
        steps.run(f"importing {name}", python, "-c", check, vital=True)
    except Failed:
        print(f"tests with {name} will be skipped")
        # Elsewhere its C libraries may not be had; where we install them, it has to work.
        if why_not_ours_to_install() is not None:
            steps.failed.pop()
        return
    mark_made(venv, wanted)


def install_npm_packages(steps: Steps) -> None:
    """Make .webtorrent and .npm-tracker by npm, or say what will be skipped."""
    for directory, pinned, name in (
        (WEBTORRENT, WEBTORRENT_PINNED, "WebTorrent and axe"),
        (NPM_TRACKER, NPM_TRACKER_PINNED, "the tests of npm's bittorrent-tracker"),
    ):
        if reason := why_no_npm():
            print(f"tests with {name} will be skipped: {reason}")
        else:
            install_pinned(steps, directory, pinned, name)


def install_pinned(steps: Steps, directory: Path, pinned: Path, name: str) -> None:
    """Make a directory with the npm packages that `pinned` names."""
    files = sorted(path for path in pinned.rglob("*.js*") if path.is_file())
    wanted = stamp("".join(path.read_text(encoding="utf-8") for path in files))
    if marker_says(directory, wanted):
        return
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(pinned, directory, ignore=shutil.ignore_patterns("*.mjs", "*.cjs"))
    # Their scripts and optional packages compile native modules, which they work without.
    quiet = ("--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund")
    if steps.run(f"npm ci of {name}", "npm", "ci", "--prefix", directory, *quiet):
        mark_made(directory, wanted)
    else:
        print(f"tests with {name} will be skipped")


def why_no_npm() -> str | None:
    """Return why npm's packages can't be had here; None where they can."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} not found"
    asked = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    version = asked.stdout.strip()  # such as v20.19.2
    major = version.removeprefix("v").partition(".")[0]
    if not major.isdecimal() or int(major) < WEBTORRENT_NODE:
        return f"it needs Node.js {WEBTORRENT_NODE} or newer; this is {version or 'broken'}"
    return None


def stamp(text: str) -> str:
    """Return what identifies a directory made by this Python for this list of packages."""
    made_by = f"{sys.version}\n{sys.executable}\n{ROOT}\n"
    return hashlib.sha256((made_by + text).encode()).hexdigest()


def is_made(venv: Path, wanted: str) -> bool:
    return marker_says(venv, wanted) and works(venv)


def marker_says(directory: Path, wanted: str) -> bool:
    marker = directory / "made-for"
    return marker.is_file() and marker.read_text(encoding="utf-8") == wanted


def mark_made(directory: Path, wanted: str) -> None:
    (directory / "made-for").write_text(wanted, encoding="utf-8")


def works(venv: Path) -> bool:
    """Tell whether the venv has a Python of our version, with pip."""
    program = "import sys, pip; print(sys.version)"
    try:
        result = subprocess.run(
            [venv / "bin" / "python", "-c", program], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return result.returncode == 0 and result.stdout.strip() == sys.version.strip()


def make_venv(steps: Steps, venv: Path) -> None:
    """Make a venv, unless a working one is there."""
    if works(venv):
        return
    has_ensurepip = subprocess.run(
        [sys.executable, "-m", "ensurepip", "--version"], capture_output=True, check=False
    )
    if has_ensurepip.returncode and why_no_apt() is None:
        apt_install(steps, ["python3-venv"])  # Debian leaves ensurepip out of python3
    steps.run(f"making {venv.name}", sys.executable, "-m", "venv", "--clear", venv, vital=True)


def pip_install(steps: Steps, venv: Path, packages: Sequence[str]) -> None:
    """Install packages in a venv; Failed when they can't be had."""
    pip = (venv / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check")
    name = f"pip install {' '.join(packages)}"
    steps.run(name, *pip, "install", "--no-input", *packages, vital=True)


def why_no_apt() -> str | None:
    """Return why nothing can be installed with apt-get here; None where it can."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-query") is None:
        return "this is no Debian"
    if os.geteuid() != 0:
        return "only root can install it"
    return None


def why_not_ours_to_install() -> str | None:
    """Return why the servers and clients can't be installed here; None where they can.

    Relatives of Debian lack some of them, or call them otherwise, and one that is unknown would
    keep all the others from being installed.
    """
    try:
        is_debian = platform.freedesktop_os_release()["ID"] == "debian"
    except OSError:
        is_debian = False
    return why_no_apt() if is_debian else "this is no Debian"


def is_installed(package: str) -> bool:
    if shutil.which("dpkg-query") is None:
        return False
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout == "installed"


def apt_install(steps: Steps, packages: Sequence[str]) -> None:
    """Install Debian packages; the package lists are fetched only when they lack something."""
    apt = ("apt-get", "--quiet", "--yes", "-o", "DPkg::Lock::Timeout=120")
    install = (*apt, "install", "--no-install-recommends", *packages)
    trial = subprocess.run([*install, "--simulate"], capture_output=True, check=False)
    if trial.returncode:
        steps.run("apt-get update", *apt, "update")
    name = f"apt-get install {' '.join(packages)}"
    with no_service_started():
        if not steps.run(name, *install) and not trial.returncode:
            # Lists that are old name versions that the archive has dropped since.
            steps.failed.remove(name)
            steps.run("apt-get update", *apt, "update")
            steps.run(name, *install)


@contextlib.contextmanager
def no_service_started(policy: Path = SERVICE_POLICY) -> Iterator[None]:
    """Keep Debian's packages from starting their services meanwhile, unless there is a policy.

    Both invoke-rc.d and deb-systemd-invoke ask such a program, and 101 forbids it.
    """
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


if __name__ == "__main__":
    sys.exit(main())

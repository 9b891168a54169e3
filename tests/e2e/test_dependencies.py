"""An installation from the package index: its size, what it is made of, what is known of that."""

import json
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from seeder import __version__
from tests.support.processes import Child, HarnessError, run
from tests.support.sharing import run_directory, shared
from tests.support.wheel import ROOT, Installed, build, copy_sources, make_environment

AUDIT = ROOT / ".venv-audit" / "bin"
LARGEST = 116_000_000
"""Bytes on disk, without pip."""
pytestmark = pytest.mark.timeout(400)  # the first of them installs all of it
TOOLS = pytest.mark.skipif(
    not (AUDIT / "pip-audit").exists(), reason="needs .venv-audit, which tests/run.py makes"
)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The wheel and all that it asks for, and nothing else."""
    try:
        with shared(run_directory(tmp_path_factory) / "index", _install) as directory:
            yield Installed(directory / "venv")
    except HarnessError as error:
        pytest.skip(f"the package index gives no dependencies here: {str(error)[-300:]}")


def _install(directory: Path) -> None:
    wheel = build(copy_sources(directory / "sources"), "wheel")
    make_environment(directory / "venv").pip_install(wheel)


def names(installed: Installed) -> dict[str, str]:
    """Return the packages of an environment with their versions, by their normal names."""
    found = installed.libraries.glob("*.dist-info")
    pairs = (each.name.removesuffix(".dist-info").rsplit("-", 1) for each in found)
    return {name.lower().replace("_", "-").replace(".", "-"): version for name, version in pairs}


def test_what_the_wheel_asks_for_is_all_that_the_daemon_needs(
    installed: Installed, tmp_path: Path
) -> None:
    used = sum(path.lstat().st_size for path in installed.directory.rglob("*") if path.is_file())
    assert used < LARGEST
    environment = installed.environment() | {
        "SEEDER_STATE_DIRECTORY": str(tmp_path / "state"),
        "SEEDER_CACHE__DIRECTORY": str(tmp_path / "cache"),
        "SEEDER_CACHE__DISK": "1 GiB",
        "SEEDER_ORIGIN__ENDPOINT": "http://127.0.0.1:1",
        "SEEDER_OBJECTS__0__BUCKET": "quotes",
        "SEEDER_OBJECTS__0__KEY": "Nelson",
        "SEEDER_TRACKER__LISTEN": '["127.0.0.1:0"]',
        "SEEDER_TRACKER__ANNOUNCE_URL": "http://127.0.0.1:6969/announce",
        "SEEDER_PEER__LISTEN": '["127.0.0.1:0"]',
        "SEEDER_ADMIN__LISTEN": "[]",
    }
    with Child([installed.program, "run"], log=tmp_path / "run.log", env=environment) as daemon:
        daemon.wait_until(lambda: "ready: " in daemon.output(), timeout=60, what="ready")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(60) == 0


@TOOLS
def test_a_bill_of_materials_names_every_package_with_its_licence(
    installed: Installed, tmp_path: Path
) -> None:
    made = tmp_path / "seeder.cdx.json"
    run(
        [
            *(AUDIT / "cyclonedx-py", "environment", installed.directory / "bin" / "python"),
            *("--pyproject", ROOT / "pyproject.toml", "--mc-type", "application"),
            *("--output-reproducible", "--validate", "--of", "JSON", "-o", made),
        ]
    )
    bill = json.loads(made.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    root = bill["metadata"]["component"]
    assert (root["name"], root["version"]) == ("seeder", __version__)
    listed = {each["name"].lower().replace("_", "-"): each for each in bill["components"]}
    assert {name: each["version"] for name, each in listed.items()} | {
        "seeder": __version__
    } == names(installed)
    assert [name for name, each in listed.items() if not each.get("licenses")] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(listed) >= len(project["dependencies"])


@TOOLS
def test_no_package_has_a_known_vulnerability(installed: Installed) -> None:
    done = subprocess.run(
        [
            *(AUDIT / "pip-audit", "--path", installed.libraries),
            *("--progress-spinner", "off", "--format", "json", "--desc", "off"),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    if not done.stdout:
        pytest.skip(f"PyPI's advisories can't be had here: {done.stderr.strip()[-300:]}")
    packages = json.loads(done.stdout)["dependencies"]
    told = [each for each in packages if "skip_reason" not in each]
    if not told:
        reason = packages[0]["skip_reason"]
        pytest.skip(f"PyPI's advisories can't be had here: of {len(packages)} packages, {reason}")
    assert {each["name"]: each["vulns"] for each in told if each["vulns"]} == {}

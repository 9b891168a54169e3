"""The Debian package: installed, upgraded, removed and purged in a booted Debian."""

import re
from pathlib import Path

import pytest

from seeder import __version__
from tests.e2e.booted import Booted
from tests.e2e.ceph import CephRGW
from tests.e2e.network import DAEMON_ADDRESS, Network
from tests.e2e.publishing import wait_for_state
from tests.e2e.unit import SERVICE, Unit
from tests.support.debian import change_package
from tests.support.wheel import ROOT

LATER = f"{__version__}+later"
EXAMPLE = ROOT / "config" / "seeder.toml"
pytestmark = pytest.mark.timeout(300)


def dpkg(machine: Booted, *words: str) -> str:
    """Run dpkg as apt-get would without anybody there; return what it said."""
    return machine.run(
        f"DEBIAN_FRONTEND=noninteractive dpkg --force-confold {' '.join(words)}"
    ).stdout


def put(machine: Booted, package: Path) -> str:
    inside = f"/root/{package.name}"
    machine.path(inside).write_bytes(package.read_bytes())
    return inside


def test_a_debian_machine_takes_it_upgrades_it_and_is_rid_of_it(  # noqa: PLR0917  (fixtures)
    blank_machine: Booted,
    package: Path,
    ceph: CephRGW,
    bucket: str,
    network: Network,
    tmp_path: Path,
) -> None:
    machine = blank_machine
    first = put(machine, package)
    # Debian's own switch: no index of all manual pages is made each time.
    machine.path("/var/lib/man-db/auto-update").unlink(missing_ok=True)

    # Installed, it is there, and neither runs nor will after the next boot.
    told = dpkg(machine, "--install", first)
    assert told.index("systemctl edit seeder    # LoadCredential=") < told.index("enable --now")
    assert machine.show(SERVICE, "ActiveState") == "inactive"
    assert machine.show(SERVICE, "UnitFileState") == "disabled"
    assert machine.run("seeder --version").stdout.strip() == f"seeder, version {__version__}"
    assert machine.path("/etc/seeder/seeder.toml").read_text() == EXAMPLE.read_text()
    assert machine.run("dpkg --verify seeder").stdout == ""
    assert (
        "seeder - publish"
        in machine.run("zcat /usr/share/man/man1/seeder.1.gz | tr -d '\\\\'").stdout
    )
    [handbook] = re.findall(r"The handbook is (/\S+)\.$", told, re.MULTILINE)
    text = machine.path(handbook).read_text()
    for name in re.findall(r"\]\(((?:\.\./README|\w+)\.(?:md|png))", text):
        assert machine.path(str(Path(handbook).parent / name)).exists(), name
    completing = ". /usr/share/bash-completion/completions/seeder && complete -p seeder"
    assert "_seeder_completion seeder" in machine.run(f"bash -c '{completing}'").stdout
    verified = machine.run("systemd-analyze verify seeder.service seeder@1.service", check=False)
    assert [line for line in verified.stderr.splitlines() if "seeder" in line] == []

    # The example is edited, and the service enabled: as the package says.
    unit = Unit(machine, ceph, bucket, network.address(DAEMON_ADDRESS))
    edited = unit.path.read_text()
    machine.run("seeder check -c /etc/seeder/seeder.toml && systemctl enable --now seeder")
    wait_for_state(unit, bucket, "stays")
    before = unit.pid

    # An upgrade goes on with the new version, and leaves the edited file alone.
    example = EXAMPLE.read_text() + "\n# Later, it said more.\n"
    second = put(machine, change_package(package, tmp_path / "later.deb", LATER, example))
    dpkg(machine, "--install", second)
    assert machine.run("dpkg-query -W -f '${Version}' seeder").stdout == LATER
    assert unit.pid not in (before, 0)
    assert unit.path.read_text() == edited
    assert machine.path("/etc/seeder/seeder.toml.dpkg-dist").read_text() == example
    wait_for_state(unit, bucket, "stays")
    counted = unit.status()["totals"]["origin_bytes"]

    # Removed, it doesn't run; what is the operator's is there, and a new installation goes on.
    dpkg(machine, "--remove", "seeder")
    assert machine.run(f"systemctl is-active {SERVICE}", check=False).stdout == "inactive\n"
    assert machine.run("command -v seeder", check=False).returncode != 0
    assert unit.path.read_text() == edited
    assert machine.path("/var/lib/private/seeder/ledger.sqlite").exists()
    dpkg(machine, "--install", second)
    unit.start()
    wait_for_state(unit, bucket, "stays")
    assert unit.status()["totals"]["origin_bytes"] >= counted > 0

    # Purged, it leaves nothing.
    dpkg(machine, "--purge", "seeder")
    places = "/etc/seeder /usr/lib/seeder /var/*/seeder /var/*/private/seeder"
    found = machine.run(f"ls -d {places} 2>/dev/null", check=False).stdout
    assert found.split() == ["/etc/seeder"]  # where the test has put secrets
    assert [path.name for path in unit.path.parent.iterdir()] == ["aws.secret"]
    assert machine.run("systemctl list-unit-files --no-legend 'seeder*'", check=False).stdout == ""
    assert machine.run("find /etc/systemd/system -type l -name 'seeder*'").stdout == ""

"""The seeder as a unit of a booted systemd."""

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.booted import Booted
from tests.e2e.ceph import CephRGW
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, wait_for_state
from tests.support.objects import MIB, content
from tests.support.wheel import ROOT

SERVICE = "seeder.service"
HOME = "/opt/seeder/.venv"
SIZE = 8 * MIB
_AWS = f"""\
[default]
aws_access_key_id = {CephRGW.access_key}
aws_secret_access_key = {CephRGW.secret_key}
"""


def install(machine: Booted, package: Path) -> None:
    """Unpack the environment of a package in /opt/seeder/.venv, and copy the units."""
    inside = machine.path(HOME)
    inside.mkdir(parents=True)
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as files:
        unpack: list[str | Path] = [
            "tar",
            "-x",
            "-C",
            inside,
            "--strip-components=4",
            "./usr/lib/seeder",
        ]
        subprocess.run(unpack, stdin=files.stdout, check=True)
    script = inside / "bin" / "seeder"
    script.write_text(script.read_text().replace("#!/usr/lib/seeder/", f"#!{HOME}/"))
    for path in (ROOT / "systemd").iterdir():
        machine.write(f"/etc/systemd/system/{path.name}", path.read_text())
    machine.run("systemctl daemon-reload")


class Unit(SeederDaemon):
    """seeder.service with a bucket in Ceph, whose keys it has by LoadCredential."""

    def __init__(self, machine: Booted, ceph: CephRGW, bucket: str, address: str) -> None:
        self.machine = machine
        self.bucket = bucket
        self.body = content(SIZE, seed=5)
        ceph.publisher().put(bucket, "stays", self.body)
        self._cursor = self._journal("--lines=0", "--show-cursor").partition("cursor: ")[2].strip()
        settings = {
            "origin": origin(ceph),
            "gateway": {"web_seed": True},
            "objects": [{"bucket": bucket, "key": "stays", "metainfo": ["build"]}],
        }
        super().__init__(settings, directory=machine.path("/etc/seeder"), address=address)
        self.credentials(aws=_AWS)
        self.drop_in(SERVICE, "[Service]\nEnvironment=AWS_SHARED_CREDENTIALS_FILE=%d/aws\n")

    def _places(self) -> dict[str, object]:
        return {}  # systemd's: StateDirectory=, CacheDirectory=

    def credentials(self, **secrets: str) -> None:
        """Have the service given some by LoadCredential, underscores being hyphens in names."""
        lines = ["[Service]"]
        for name, text in secrets.items():
            self.machine.write(f"/etc/seeder/{name}.secret", text, mode=0o600)
            lines.append(f"LoadCredential={name.replace('_', '-')}:/etc/seeder/{name}.secret")
        self.drop_in(SERVICE, "\n".join(lines) + "\n", name="-".join(["with", *secrets]))

    def share_credentials(self, unit: str) -> None:
        """Give another unit what the service is given."""
        source = "/etc/systemd/system/seeder.service.d"
        self.machine.run(f"cp -r {source} /etc/systemd/system/{shlex.quote(unit)}.d")
        self.systemctl("daemon-reload")

    def move_to(self, address: str) -> None:
        """Have it listen at another address from its next start on."""
        self.address = address
        self.configure(self._settings)

    def drop_in(self, unit: str, text: str, *, name: str = "test") -> None:
        """Change a unit, as `systemctl edit` does."""
        self.machine.write(f"/etc/systemd/system/{unit}.d/{name}.conf", text)
        self.systemctl("daemon-reload")

    def systemctl(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run systemctl in the machine; HarnessError if it fails."""
        return self.machine.run(f"systemctl {shlex.join(words)}", check=check)

    def start(self, *, timeout: float = 60, wait: bool = True) -> None:
        """Start it; the service manager says when it is ready."""
        self.systemctl("start", SERVICE, *(() if wait else ("--no-block",)))

    def serve(self) -> None:
        """Start it, and wait until its object is served."""
        self.start()
        wait_for_state(self, self.bucket, "stays")

    def show(self, name: str) -> str:
        """Return a property of the service."""
        return self.machine.show(SERVICE, name)

    def wait_for(self, wanted: Mapping[str, str]) -> None:
        """Wait until properties of the service have some values; HarnessError with its log."""
        self.machine.wait_for(
            SERVICE,
            lambda: all(self.show(name) == value for name, value in wanted.items()),
            what=f"{wanted}",
        )

    @property
    def pid(self) -> int:
        """In the machine."""
        return int(self.show("MainPID"))

    @property
    def log(self) -> str:
        """What it wrote, and systemd about it."""
        # journalctl fails while none of its entries is of such a unit.
        return self._journal(f"--after-cursor={self._cursor}", "--unit=seeder*", check=False)

    def _journal(self, *words: str, check: bool = True) -> str:
        words = ("journalctl", "--no-pager", "--quiet", "--output=cat", *words)
        return self.machine.run(shlex.join(words), check=check).stdout

    def close(self) -> None:
        """Leave nothing of it to the next one."""
        self.machine.run(
            "systemctl stop 'seeder-*.socket' 'seeder*.service';"
            " rm -rf /etc/seeder /etc/systemd/system/seeder*.d /etc/systemd/system/*/seeder*"
            " /var/lib/seeder /var/lib/private/seeder /var/cache/seeder /var/cache/private/seeder;"
            " systemctl daemon-reload; systemctl reset-failed"
        )

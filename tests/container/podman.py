"""podman with a store of its own, and the commands of the handbook as it runs them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.container.base import make_base, why_no_base
from tests.support.closing import Closing
from tests.support.handbook import section
from tests.support.processes import HarnessError, clean_environment, missing_programs

ROOT = Path(__file__).parents[2]
WHEELS = ROOT / ".image-wheels"
"""What tests/run.py has fetched for the image, so that building it asks nobody."""
BASE = "localhost/base"
PAUSE = "localhost/pause"
"""What holds a pod's namespaces: podman's own takes a program that Debian's doesn't depend on."""
_LONGEST_RUN = 300
"""Seconds after which a container is killed, should these tests have died meanwhile."""

_LIMITS = ["nofile=4096:4096", "nproc=4096:4096"]
"""podman's own are above those of a machine that may not raise them."""


def why_no_image() -> str | None:
    """Return why no image can be built and run here; None where it can."""
    if lacking := missing_programs("podman", "runc"):
        return f"not installed: {', '.join(lacking)}"
    if os.geteuid() != 0:
        return "only root has a store of images without further ado"
    if not WHEELS.is_dir():
        return "tests/run.py has fetched no packages for it"
    return why_no_base()


def handbook_command(start: str) -> list[str]:
    """Return the words of the command of "In a container" in the handbook that begins so."""
    lines = re.sub(r" *\\\n *", " ", section("service", "In a container")).splitlines()
    [line] = [each for each in lines if each.startswith(start)]
    return shlex.split(line, comments=True)


def build_images(directory: Path) -> None:
    """Make a store of the image, what it is based on, and what pods need."""
    Podman(directory).build()


class Podman(Closing):
    """A store of images and containers below a directory, beside the images of another."""

    def __init__(self, directory: Path | None = None, *, images: Path | None = None) -> None:
        # Containers' sockets have paths of at most 107 bytes, which pytest's directories exceed.
        self.directory = directory or Path(tempfile.mkdtemp(prefix="podman-"))
        store = {name: f"{self.directory}/{name}" for name in ("graphroot", "runroot")}
        others = [] if images is None else [f"{images}/graphroot"]
        self._write(
            "storage.conf",
            {
                "storage": {"driver": "overlay", **store},
                "storage.options": {"additionalimagestores": others},
            },
        )
        engine = {"runtime": "runc", "cgroup_manager": "cgroupfs", "events_logger": "none"}
        engine |= {"lock_type": "file", "tmp_dir": f"{self.directory}/tmp", "infra_image": PAUSE}
        containers = {"default_ulimits": _LIMITS, "log_driver": "k8s-file"}
        network = {"network_config_dir": f"{self.directory}/networks"}
        self._write(
            "containers.conf", {"containers": containers, "engine": engine, "network": network}
        )

    def _write(self, name: str, tables: Mapping[str, Mapping[str, object]]) -> None:
        lines = []
        for table, values in tables.items():
            lines += [f"[{table}]", *(f"{key} = {json.dumps(values[key])}" for key in values)]
        (self.directory / name).write_text("\n".join(lines) + "\n")

    @property
    def environment(self) -> dict[str, str]:
        """What has any program use this store."""
        return clean_environment() | {
            "CONTAINERS_CONF": f"{self.directory}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.directory}/storage.conf",
        }

    def __call__(self, *words: str | Path, timeout: float = 60) -> str:
        """Run a command of podman and return its stdout; HarnessError if it fails."""
        done = self.attempt(*words, timeout=timeout)
        if done.returncode:
            raise HarnessError(f"podman {words[0]} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def attempt(self, *words: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command of podman, whatever comes of it."""
        return subprocess.run(
            ["podman", *words],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def build(self) -> None:
        """Build the image as the handbook says, on a base of Debian's packages, without network."""
        make_base(self.directory / "base.tar")
        self("import", "--quiet", self.directory / "base.tar", BASE)
        pause = ["--change", 'ENTRYPOINT ["/bin/sleep", "infinity"]']
        pause += ["--change", "STOPSIGNAL SIGKILL"]
        self("import", "--quiet", *pause, self.directory / "base.tar", PAUSE)
        conf = self.directory / "pip.conf"
        conf.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        own = ["--build-arg", f"BASE={BASE}", "--secret", f"id=pip.conf,src={conf}"]
        own += ["--volume", f"{WHEELS}:/wheels:ro", "--network", "none", "--layers=false"]
        own += [f"--ulimit={each}" for each in _LIMITS]  # those of the file are for `run` alone
        _, build, *words = handbook_command("podman build ")
        self(build, *own, *words, timeout=300)

    def build_prometheus(self, name: str) -> None:
        """Give Debian's Prometheus the name of an image, with the account and places of that."""
        place = self.directory / "prometheus"
        place.mkdir()
        shutil.copy("/usr/bin/prometheus", place)
        lines = (
            *(f"FROM {BASE}", "COPY prometheus /bin/prometheus"),
            "RUN mkdir -p /etc/prometheus /prometheus && chown 65534 /prometheus",
            *("USER 65534:65534", "WORKDIR /prometheus", "VOLUME /prometheus"),
            'ENTRYPOINT ["/bin/prometheus", "--storage.tsdb.path=/prometheus"]',
            'CMD ["--config.file=/etc/prometheus/prometheus.yml"]',
        )
        (place / "Containerfile").write_text("\n".join(lines))
        own = ["--network", "none", "--layers=false", *(f"--ulimit={each}" for each in _LIMITS)]
        self("build", "--format", "docker", *own, "-t", name, place)

    def run(self, words: Sequence[str | Path], **mounted: Path) -> None:
        """Start a container in the background; `mounted` is what lies at "$PWD/NAME"."""
        places = {f"$PWD/{name.replace('_', '-')}": str(path) for name, path in mounted.items()}
        filled = [str(each) for each in words]
        for place, path in places.items():
            filled = [each.replace(f"{place}:", f"{path}:") for each in filled]
        self("run", "--timeout", str(_LONGEST_RUN), *filled)

    def close(self) -> None:
        """Kill what runs, and remove all that there is."""
        self.attempt("pod", "rm", "--all", "--force", "--time", "0")
        self.attempt("rm", "--all", "--force", "--time", "0")
        self.attempt("rmi", "--all", "--force")
        shutil.rmtree(self.directory, ignore_errors=True)

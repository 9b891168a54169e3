"""The image, built by config/Containerfile, as the handbook has it run: ready, asked, reloaded,
stopped."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from seeder import __version__
from seeder.commands.examples import write_examples
from tests.container.manifests import IMAGE, pod_of_kubernetes
from tests.container.podman import (
    BASE,
    ROOT,
    Podman,
    build_images,
    handbook_command,
    why_no_image,
)
from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest
from tests.support.processes import poll_until
from tests.support.sharing import run_directory, shared

MakeDaemon = Callable[..., SeederDaemon]
pytestmark = pytest.mark.timeout(400)  # the first of them builds the image
ACCOUNT = 10001
COMPOSE = ROOT / ".venv-manifests" / "bin" / "podman-compose"
LARGEST = 116_000_000
"""Bytes that the image adds to its base."""
INSIDE = {
    "state_directory": "/var/lib/seeder",
    "cache": {"directory": "/var/cache/seeder"},
}
"""Where the image has its volumes."""


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of images, built once for all processes that share the tests."""
    if reason := why_no_image():
        pytest.skip(reason)
    with shared(run_directory(tmp_path_factory) / "images", build_images) as directory:
        yield directory


@pytest.fixture(scope="module")
def podman(images: Path) -> Iterator[Podman]:
    """podman that has the image."""
    with Podman(images=images) as made:
        yield made


@pytest.fixture(autouse=True)
def cleared(podman: Podman) -> Iterator[None]:
    """Remove each test's containers, and show what they logged."""
    yield
    for name in podman("ps", "--all", "--format", "{{.Names}}").split():
        print(podman.attempt("logs", name).stderr)
        podman("rm", "--force", "--time", "0", "--volumes", name)


@dataclass(frozen=True)
class Shelf:
    """Objects of one bucket in Ceph, and a configuration that publishes some of them."""

    site: SeederDaemon
    """Never started: it has the configuration, the ports, and the ways to ask."""
    endpoint: str
    bucket: str
    put: Callable[[str, bytes], None]

    def publish(self, *keys: str) -> None:
        """Write a configuration for the container."""
        objects = [{"bucket": self.bucket, "key": key, "metainfo": ["build"]} for key in keys]
        where = {"endpoint": self.endpoint, "path_style": True}
        self.site.configure({**INSIDE, "origin": where, "objects": objects})

    def credentials(self, directory: Path) -> Path:
        """Write the file with the keys of the bucket's user, for the image's account alone."""
        path = directory / "aws-credentials"
        lines = [f"{name.lower()} = {value}" for name, value in CephRGW.environment().items()]
        path.write_text("\n".join(["[default]", *lines, ""]))
        path.chmod(0o400)
        os.chown(path, ACCOUNT, ACCOUNT)
        return path


@pytest.fixture
def shelf(ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon) -> Shelf:
    def put(key: str, body: bytes) -> None:
        publisher.put(bucket, key, body)

    return Shelf(seeder({**INSIDE}), ceph.endpoint, bucket, put)


def wait_until_healthy(podman: Podman, name: str) -> None:
    """Wait until the image's own health check succeeds."""
    poll_until(
        lambda: podman.attempt("healthcheck", "run", name).returncode == 0,
        timeout=60,
        what="healthy container",
    )


def test_it_runs_as_documented_and_writes_nothing_but_its_volumes(
    podman: Podman, shelf: Shelf, client: ClientFactory, tmp_path: Path
) -> None:
    bodies = {key: content(4 * MIB, seed=len(key)) for key in ("first", "second")}
    for key, body in bodies.items():
        shelf.put(key, body)
    shelf.publish("first")
    _, _, *words = handbook_command("podman run -d ")
    keys = shelf.credentials(tmp_path)
    podman.run(words, container=shelf.site.directory, aws_credentials=keys)
    wait_until_healthy(podman, "seeder")
    wait_for_state(shelf.site, shelf.bucket, "first")

    _, _, *words = handbook_command("podman kill ")
    shelf.publish("first", "second")
    podman("kill", *words)
    wait_for_state(shelf.site, shelf.bucket, "second")
    torrent = tmp_path / "second.torrent"
    torrent.write_bytes(served_torrent(shelf.site, shelf.bucket, "second"))
    leecher = client(Libtorrent)
    assert digest(leecher.download(torrent, timeout=60)) == digest(bodies["second"])

    assert podman("exec", "seeder", "seeder", "health").strip() == "ready"
    assert podman("exec", "seeder", "id", "-u").strip() == str(ACCOUNT)
    assert podman.attempt("exec", "seeder", "touch", "/opt/seeder/x").returncode != 0
    _, _, *words = handbook_command("podman stop ")
    podman("stop", *words)
    assert podman("inspect", "--format", "{{.State.ExitCode}}", "seeder").strip() == "0"
    assert podman.attempt("logs", "seeder").stderr.splitlines()[-1].endswith(" stopped")
    assert changed(podman, "seeder") == []
    for volume in ("seeder-state", "seeder-cache"):
        place = Path(podman("volume", "inspect", "--format", "{{.Mountpoint}}", volume).strip())
        assert any(place.iterdir())
        assert {each.stat().st_uid for each in (place, *place.rglob("*"))} == {ACCOUNT}
        assert place.stat().st_mode & 0o777 == 0o700


def changed(podman: Podman, name: str) -> list[str]:
    """Return what a container has written into the image's file system."""
    lines = podman("container", "diff", name).splitlines()
    mounts = ("/etc", "/run", "/var", "/dev", "/proc", "/sys")
    return [line for line in lines if not line.startswith(tuple(f"C {each}" for each in mounts))]


def test_it_runs_by_the_environment_alone_on_volumes_as_kubernetes_gives_them(
    podman: Podman, shelf: Shelf, tmp_path: Path
) -> None:
    shelf.put("only", content(MIB))
    site = shelf.site
    says = {
        "ORIGIN__ENDPOINT": shelf.endpoint,
        "ORIGIN__PATH_STYLE": "true",
        "OBJECTS__0__BUCKET": shelf.bucket,
        "OBJECTS__0__KEY": "only",
        "TRACKER__LISTEN": f'["{site.address}:{site.tracker_port}"]',
        "PEER__LISTEN": f'["{site.address}:{site.peer_port}"]',
        "ADMIN__LISTEN": f'["{site.address}:{site.admin_port}"]',
    }
    words: list[str | Path] = ["-d", "--name", "plain", "--network", "host", "--read-only"]
    words += ["--read-only-tmpfs=false", "--cap-drop", "all"]
    for name, value in says.items():
        words += ["--env", f"SEEDER_{name}={value}"]
    for name, value in CephRGW.environment().items():
        words += ["--env", f"{name}={value}"]
    for name in ("lib", "cache"):  # fsGroup: of root and the pod's group, which may write
        volume = tmp_path / name
        volume.mkdir()
        os.chown(volume, 0, ACCOUNT)
        volume.chmod(0o2775)
        words += ["--volume", f"{volume}:/var/{name}/seeder"]
    podman.run([*words, "seeder"])
    wait_until_healthy(podman, "plain")
    wait_for_state(site, shelf.bucket, "only")
    podman("stop", "plain")
    assert podman("inspect", "--format", "{{.State.ExitCode}}", "plain").strip() == "0"
    assert changed(podman, "plain") == []
    assert (tmp_path / "lib" / "ledger.sqlite").is_file()


# -- as the examples of config/ run it ------------------------------------------------------------


PROMETHEUS = "http://127.0.0.1:9090/api/v1"


def is_answered(url: str) -> bool:
    """Tell whether a page is answered with status 200."""
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_pod_of_kubernetes_runs_by_its_configmap_and_claims(
    podman: Podman, ceph: CephRGW, shelf: Shelf, namespace: Network, tmp_path: Path
) -> None:
    shelf.put("only", content(MIB))
    site = shelf.site
    site.tracker_port, site.peer_port, site.admin_port = 6969, 6881, 9180
    keys = CephRGW.environment()
    key_id, secret = keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]
    mounted = tmp_path / "mounted"
    mounted.mkdir(mode=0o755)
    changes = {
        "https://s3.example.org": shelf.endpoint,
        'bucket = "quotes"': f'bucket = "{shelf.bucket}"',
        'key = "Nelson"': 'key = "only"',
        "torrents.example.org": site.address,
        "registry.example.org/seeder:0.1.0": IMAGE,
        "= AKIAEXAMPLE": f"= {key_id}",
        "= EXAMPLE": f"= {secret}",
    }
    claims, pod = tmp_path / "claims.yaml", tmp_path / "pod.yaml"
    for file, text in zip((claims, pod), pod_of_kubernetes(changes, mounted), strict=True):
        file.write_text(text)
    read = []
    try:
        podman("play", "kube", claims)
        for _ in range(2):
            podman("play", "kube", pod)
            # What the probes ask.
            for page in ("healthz", "readyz"):
                asked = f"{site.admin_url}/{page}"
                poll_until(partial(is_answered, asked), timeout=60, what=asked)
            wait_for_state(site, shelf.bucket, "only")
            read.append(ceph.body_bytes_sent(shelf.bucket, "only"))
            podman("pod", "stop", "seeder-0")
            name = "seeder-0-seeder"
            assert podman("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0"
            assert changed(podman, name) == ["A /run/secrets/seeder"]  # where it is mounted
            podman("pod", "rm", "--force", "--time", "0", "seeder-0")
        place = podman("volume", "inspect", "--format", "{{.Mountpoint}}", "state-seeder-0").strip()
        # The second one made its metainfo of what the first had left in the claim.
        assert Path(place, "ledger.sqlite").stat().st_uid == ACCOUNT
        assert read[0] == read[1]
    finally:
        podman.attempt("pod", "rm", "--all", "--force", "--time", "0")


def test_compose_runs_the_daemon_and_a_prometheus_that_sees_it(
    podman: Podman, namespace: Network, tmp_path: Path
) -> None:
    for program in ("prometheus", "iptables"):
        if shutil.which(program) is None:
            pytest.skip(f"not installed: {program}")
    if not COMPOSE.exists():
        pytest.skip("needs .venv-manifests, which tests/run.py makes")
    home = tmp_path / "home"
    write_examples(home, wanted={"container"}, force=False, show=print)
    settings = (home / "seeder.toml").read_text()
    # No S3 is there: the daemon is ready without.
    away = '[origin]\nendpoint = "http://127.0.0.1:1"'
    (home / "seeder.toml").write_text(settings.replace("[origin]", away, 1))
    keys = home / "aws-credentials"
    keys.write_text("[default]\naws_access_key_id = A\naws_secret_access_key = B\n")
    keys.chmod(0o400)
    os.chown(keys, ACCOUNT, ACCOUNT)
    home.chmod(0o755)
    podman.build_prometheus("docker.io/prom/prometheus:v3.5.0")
    # Debian's podman resolves no names, and the scrapes needn't take 15 s.
    beside = home / "beside.yaml"
    beside.write_text("services: {}\n")

    def compose(*words: str) -> None:
        subprocess.run(
            [COMPOSE, "-f", home / "compose.yaml", "-f", beside, *words],
            env=podman.environment,
            check=True,
            timeout=60,
        )

    scraped = home / "prometheus.yaml"
    scraped.write_text(scraped.read_text().replace("15s", "1s"))
    try:
        compose("up", "-d", "seeder")
        wait_until_healthy(podman, "seeder_seeder_1")
        address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        found = podman("inspect", "--format", address, "seeder_seeder_1").strip()
        beside.write_text(
            f'services: {{prometheus: {{extra_hosts: ["seeder:{found}"]}}}}\n', encoding="ascii"
        )
        compose("up", "-d", "prometheus")
        poll_until(lambda: value_of("up") == 1, timeout=60, what="a scrape by the name seeder")
        with urlopen(f"{PROMETHEUS}/rules", timeout=5) as answer:
            assert json.load(answer)["data"]["groups"]
        assert is_answered("http://127.0.0.1:9180/readyz")
        assert changed(podman, "seeder_seeder_1") == []
        podman("stop", "seeder_seeder_1")
        assert podman("inspect", "--format", "{{.State.ExitCode}}", "seeder_seeder_1") == "0\n"
    finally:
        compose("down", "-v")


def value_of(query: str) -> float | None:
    """Return what Prometheus answers a query that has one value; None while it has none."""
    try:
        with urlopen(f"{PROMETHEUS}/query?query={quote(query)}", timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
    except OSError:
        return None
    return float(found[0]["value"][1]) if found else None


def test_where_nothing_is_said_it_says_what_it_lacks(podman: Podman) -> None:
    ended = podman.attempt("run", "--network", "none", "--name", "mute", "seeder")
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("objects: there are none; ")


def test_the_image_says_what_it_is(podman: Podman) -> None:
    [image] = json.loads(podman("image", "inspect", "seeder"))
    config: dict[str, Any] = image["Config"]
    assert config["User"] == f"{ACCOUNT}:{ACCOUNT}"
    assert config["StopSignal"] == "SIGTERM"
    assert set(config["Volumes"]) == {"/var/lib/seeder", "/var/cache/seeder"}
    assert set(config["ExposedPorts"]) == {"6969/tcp", "6969/udp", "6881/tcp", "9180/tcp"}
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert image["Healthcheck"]["Test"] == ["CMD", "seeder", "health"]
    [base] = json.loads(podman("image", "inspect", BASE))
    assert image["Size"] - base["Size"] < LARGEST


def test_its_modules_are_compiled_since_nobody_may_write_there_later(podman: Podman) -> None:
    program = "import os, seeder.cli as module; print(os.path.exists(module.__cached__))"
    words = ["--rm", "--network", "none", "--entrypoint", "python", "seeder", "-c", program]
    assert podman("run", *words).strip() == "True"

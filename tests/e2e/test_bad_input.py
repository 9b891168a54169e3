"""Whatever is wrong with a file, a machine or an S3 server is one line that says what to do."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import DAEMON_ADDRESS, Network
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.s3.fault_server import FaultServer, error, in_thread
from tests.s3.objects_server import ObjectsServer
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest, make_torrent
from tests.support.ports import free_port
from tests.support.processes import poll_until, python_environment
from tests.support.toml import toml

MakeDaemon = Callable[..., SeederDaemon]
CREDENTIALS = CephRGW.environment()
ROOT = os.geteuid() == 0
# Root obeys permissions without these.
OBEDIENT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if ROOT else ()


def seeder_command(
    *arguments: str | Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run `seeder` to its end as a shell would."""
    return subprocess.run(
        [sys.executable, "-m", "seeder.cli", *arguments],
        env=python_environment(HOME="/nonexistent", **(environment or {})),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# -- the configuration ----------------------------------------------------------------------------

OBJECT = '[[objects]]\nbucket = "quotes"\nkey = "Nelson"\n'
HERE = 'state_directory = "state"\n'
PLACE = '[tracker]\nlisten = ["127.0.0.1:0"]\n[cache]\ndirectory = "cache"\n'

MISTAKES: dict[str, tuple[str | bytes, list[list[str]]]] = {
    "unknown key": (
        HERE + OBJECT + 'metanfo = ["build"]\n' + PLACE,
        [["objects[0].metanfo", 'did you mean "metainfo"']],
    ),
    "unknown section": (HERE + OBJECT + PLACE + "[trackers]\n", [["trackers", "tracker"]]),
    "no objects": (HERE + PLACE, [["objects", "there are none"]]),
    "wrong size": (
        HERE + OBJECT + PLACE + 'memory = "256 Mebi"\n',
        [["cache.memory", "256 Mebi", "256 MiB"]],
    ),
    "wrong time": (
        HERE + OBJECT + 'refresh = "often"\n' + PLACE,
        [["objects[0].refresh", "often", "30s"]],
    ),
    "no address for clients": (HERE + OBJECT, [["tracker.announce_url", "is missing"]]),
    "a file for a directory": (
        'state_directory = "seeder.toml"\n' + OBJECT + PLACE,
        [["state_directory", "seeder.toml", "want a directory"]],
    ),
    "a password in the endpoint": (
        HERE + OBJECT + '[origin]\nendpoint = "ftp://user:hunter2@example.org"\n' + PLACE,
        [["origin.endpoint", "http"]],
    ),
    "no TOML": (HERE + "[[objects]\n", [["seeder.toml", "line 2"]]),
    "no text": (b"\xff\xfe", [["seeder.toml", "UTF-8"]]),
    "four at once": (
        HERE + OBJECT + 'piece_length = "1000 B"\n' + OBJECT + PLACE + 'disk = "-1"\nmemry = 1\n',
        [
            ["objects[0].piece_length", "power of two"],
            ["cache.disk"],
            ["cache.memry", 'did you mean "memory"'],
            ["objects[1].key", "the same object as objects[0]"],
        ],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_of_a_configuration_is_a_line_and_the_exit_code_is_2(
    name: str, tmp_path: Path
) -> None:
    text, expected = MISTAKES[name]
    (tmp_path / "seeder.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    runs = [
        seeder_command(command, "-c", "seeder.toml", cwd=tmp_path) for command in ("check", "run")
    ]
    for run in runs:
        assert run.returncode == 2
        assert run.stdout == ""
        assert len(run.stderr.splitlines()) == len(expected), run.stderr
        for line, parts in zip(run.stderr.splitlines(), expected, strict=True):
            for part in parts:
                assert part in line
        assert "hunter2" not in run.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seeder.toml"]


def test_a_missing_file_is_named() -> None:
    for command in ("check", "run", "report"):
        run = seeder_command(command, "-c", "/nowhere/seeder.toml")
        assert (run.returncode, run.stdout) == (2, "")
        assert run.stderr == "/nowhere/seeder.toml: can't be read: No such file or directory\n"


# -- the machine ----------------------------------------------------------------------------------


def ends(daemon: SeederDaemon) -> tuple[int, list[str]]:
    """Start a daemon that can't work; return its exit code and what it said."""
    daemon.start(wait=False)
    return daemon.wait(timeout=20), daemon.log.splitlines()


def test_ports_in_use_are_named_all_at_once(seeder: MakeDaemon, network: Network) -> None:
    address = network.address(DAEMON_ADDRESS)
    with contextlib.ExitStack() as stack:
        sections: dict[str, Any] = {}
        for name in ("tracker", "peer", "admin"):
            taken = stack.enter_context(socket.socket())
            taken.bind((address, 0))
            taken.listen()
            sections[name] = {"listen": [f"{address}:{taken.getsockname()[1]}"]}
        code, lines = ends(seeder({"objects": [{"bucket": "quotes", "key": "Nelson"}], **sections}))
    assert code == 1
    assert len(lines) == 3
    for line, (name, section) in zip(lines, sections.items(), strict=True):
        assert line.startswith(f"{name}.listen")
        assert section["listen"][0] in line
        assert "in use" in line


def test_an_address_that_is_not_ours_is_named(seeder: MakeDaemon) -> None:
    settings = {
        "objects": [{"bucket": "quotes", "key": "Nelson"}],
        "peer": {"listen": ["192.0.2.1:6881"]},
    }
    code, [line] = ends(seeder(settings))
    assert code == 1
    assert "peer.listen" in line
    assert "192.0.2.1:6881" in line


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A directory in which nothing can be made."""
    path = tmp_path / "locked"
    path.mkdir(mode=0o500)
    yield path
    path.chmod(0o700)


def test_a_state_directory_that_cannot_be_made_is_named(seeder: MakeDaemon, locked: Path) -> None:
    settings = {
        "state_directory": str(locked / "new"),
        "objects": [{"bucket": "quotes", "key": "Nelson"}],
    }
    code, [line] = ends(seeder(settings, prefix=OBEDIENT))
    assert code == 1
    for part in ("state_directory", str(locked / "new"), "ermission"):
        assert part in line


@pytest.mark.parametrize(
    ("settings", "name", "does"),
    [
        ({"state_directory": ""}, "/ledger.sqlite", "counts wait in memory"),
        ({"cache": {"directory": ""}}, "", "going on with memory and S3"),
        ({"cache": {"directory": "/new"}}, "/new", "going on with memory and S3"),
    ],
)
def test_a_directory_that_cannot_be_written_is_named_and_the_daemon_does_without(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    *,
    seeder: MakeDaemon,
    locked: Path,
    settings: dict[str, Any],
    name: str,
    does: str,
) -> None:
    publisher.put(bucket, "small", b"body")
    objects = [{"bucket": bucket, "key": "small", "metainfo": ["build"]}]
    [(section, value)] = settings.items()
    value = f"{locked}{value}" if isinstance(value, str) else {"directory": f"{locked}{name}"}
    daemon = seeder({"origin": origin(ceph), "objects": objects, section: value}, prefix=OBEDIENT)
    daemon.start()
    line = daemon.complaints()[0]
    for part in (f"{locked}{name}", does):
        assert part in line
    if section == "cache":
        wait_for_state(daemon, bucket, "small")
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.log


def test_a_state_directory_lost_on_the_way_costs_a_line_at_the_stop(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon
) -> None:
    publisher.put(bucket, "small", b"body")
    daemon = seeder(
        {"origin": origin(ceph), "objects": [{"bucket": bucket, "key": "small"}]}, prefix=OBEDIENT
    )
    daemon.start()
    wait_for_state(daemon, bucket, "small")
    state = daemon.directory / "state"
    state.chmod(0o500)
    try:
        assert daemon.stop() == 0
    finally:
        state.chmod(0o700)
    assert "Traceback" not in daemon.log
    assert any(f"{state}/swarms" in line for line in daemon.complaints())


# -- the origin -----------------------------------------------------------------------------------


@pytest.fixture
def faults(network: Network) -> Iterator[FaultServer]:
    with in_thread(FaultServer(), inside=network.entered) as server:
        yield server


# Origin and key; the state that it comes to; what its reason says; what is logged beside that.
TROUBLE: dict[str, tuple[str, str, str, list[str]]] = {
    "wrong secret": ("wrong", "object", "failed", ["403 SignatureDoesNotMatch", "secret key"]),
    "unknown key id": ("unknown", "object", "failed", ["403 InvalidAccessKeyId", "credentials"]),
    "no such profile": ("nobody", "object", "failed", ["profile", "nobody"]),
    "somebody else's": ("anonymous", "object", "failed", ["403 AccessDenied", "not public"]),
    "missing key": ("default", "missing", "failed", ["404 NoSuchKey", "no such key"]),
    "SSE-C": ("default", "encrypted", "failed", ["400", "SSE-C", "SSE-KMS"]),
    "wrong torrent": ("default", "misfit", "failed", ["misfit.torrent", "doesn't fit", "bytes"]),
    "lying torrent": ("default", "liar", "failed", ["liar.torrent", "doesn't fit", "hash"]),
    "no torrent": ("default", "garbage", "failed", ["garbage.torrent", "doesn't fit"]),
    "moved away": ("moved", "object", "waiting", ["301", "elsewhere.example.org", "region"]),
    "nobody there": ("dead", "object", "waiting", ["refused", "check endpoint"]),
    "no such bucket": ("default", "nowhere/object", "failed", ["404 NoSuchBucket", "bucket"]),
}


def test_trouble_with_one_object_is_a_line_and_the_others_are_served(
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    network: Network,
    faults: FaultServer,
    tmp_path: Path,
) -> None:
    body = content(MIB)
    for key in ("object", "good", "misfit", "liar", "garbage"):
        publisher.put(bucket, key, body)
    customer_key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    publisher.put(bucket, "encrypted", body, **customer_key)
    misfit = make_torrent(body[:-1], name="misfit", piece_length=MIB)
    misfit.write(tmp_path / "misfit.torrent")
    liar = make_torrent(bytes(MIB), name="liar", piece_length=MIB)
    liar.write(tmp_path / "liar.torrent")
    (tmp_path / "garbage.torrent").write_bytes(b"d4:infoi1ee")
    profiles = tmp_path / "credentials"
    profiles.write_text(
        f"[wrong]\naws_access_key_id={CephRGW.access_key}\naws_secret_access_key=no\n"
        "[unknown]\naws_access_key_id=AKIANOBODY\naws_secret_access_key=no\n"
    )
    faults.default = error(301, "PermanentRedirect", location="http://elsewhere.example.org/")
    dead = f"http://{network.address(1)}:{free_port(network.address(1))}"
    origins = {
        "wrong": origin(ceph, profile="wrong"),
        "unknown": origin(ceph, profile="unknown"),
        "nobody": origin(ceph, profile="nobody"),
        "anonymous": origin(ceph, anonymous=True),
        "moved": {"endpoint": faults.url, "path_style": True},
        "dead": {"endpoint": dead, "path_style": True},
    }
    objects: list[dict[str, object]] = []
    for origin_name, name, *_ in TROUBLE.values():
        place, _, key = name.rpartition("/")
        objects.append({"origin": origin_name, "bucket": place or bucket, "key": key})
        if (tmp_path / f"{key}.torrent").exists():
            objects[-1]["torrent_file"] = str(tmp_path / f"{key}.torrent")
    # RGW's own torrents lie, which is a line too.
    objects.append({"bucket": bucket, "key": "good", "metainfo": ["build"]})
    daemon = seeder(
        {"origin": origin(ceph), "origins": origins, "objects": objects},
        environment=CREDENTIALS | {"AWS_SHARED_CREDENTIALS_FILE": str(profiles)},
    )
    daemon.start()
    wait_for_state(daemon, bucket, "good")

    found: dict[tuple[str, str], dict[str, Any]] = {}

    def settled() -> bool:
        for torrent in daemon.status()["torrents"]:
            place = "" if torrent["bucket"] == bucket else f"{torrent['bucket']}/"
            found[torrent["origin"], place + torrent["key"]] = torrent
        return all(
            found[origin_name, name]["state"] == state and found[origin_name, name]["reason"]
            for origin_name, name, state, _ in TROUBLE.values()
        )

    try:
        poll_until(settled, timeout=30, what="end of the tries")
    finally:
        print(*((*which, it["state"], it["reason"]) for which, it in found.items()), sep="\n")
    lines = daemon.complaints()
    for which, (origin_name, name, _, parts) in TROUBLE.items():
        reason = found[origin_name, name]["reason"]
        assert "\n" not in reason
        for part in parts:
            assert part in reason, which
        # That S3 is away is said of the origin.
        said = (
            reason.partition(" (attempt")[0].partition(": ")[2] if "refused" in reason else reason
        )
        assert sum(said in line for line in lines) == 1, which
    assert len(lines) == len(TROUBLE), "\n".join(lines)
    assert len(daemon.status()["torrents"]) == len(objects)
    assert "Traceback" not in daemon.log

    torrent = tmp_path / "good"
    torrent.write_bytes(served_torrent(daemon, bucket, "good"))
    assert digest(client(Libtorrent).download(torrent, timeout=30)) == digest(body)
    assert daemon.stop() == 0


def test_without_credentials_the_daemon_says_where_to_put_them(
    ceph: CephRGW, bucket: str, seeder: MakeDaemon
) -> None:
    daemon = seeder(
        {"origin": origin(ceph), "objects": [{"bucket": bucket, "key": "object"}]}, environment={}
    )
    daemon.start()
    wait_for_state(daemon, bucket, "object", "failed")
    [line] = daemon.complaints()
    assert f"{bucket}/object" in line
    assert "AWS_ACCESS_KEY_ID" in line
    assert "anonymous = true" in line
    run = seeder_command("torrent", "-c", daemon.path, f"{bucket}/object")
    assert run.returncode == 1
    assert run.stdout == ""
    [line] = run.stderr.splitlines()
    assert "AWS_ACCESS_KEY_ID" in line


def test_a_bucket_in_another_region_is_asked_there(seeder: MakeDaemon, faults: FaultServer) -> None:
    body = content(MIB)
    store = ObjectsServer(objects={"object": body})

    async def moved(seen: Any, stream: Any) -> None:
        if seen.region != "eu-central-1":
            await error(301, "PermanentRedirect", x_amz_bucket_region="eu-central-1")(seen, stream)
        else:
            await store.serve(seen, stream)

    faults.default = moved
    daemon = seeder(
        {
            "origin": {"endpoint": faults.url, "path_style": True},
            "objects": [{"bucket": "quotes", "key": "object"}],
        }
    )
    daemon.start()
    wait_for_state(daemon, "quotes", "object")
    assert not daemon.complaints()
    told = [line for line in daemon.log.splitlines() if "eu-central-1" in line]
    assert len(told) == 1
    assert "quotes" in told[0]


def test_an_origin_that_is_away_at_the_start_is_waited_for(
    seeder: MakeDaemon, network: Network
) -> None:
    with network.entered():
        port = free_port("127.0.0.1")
    daemon = seeder(
        {
            "origin": {"endpoint": f"http://127.0.0.1:{port}", "path_style": True},
            "objects": [{"bucket": "quotes", "key": "object"}],
        }
    )
    daemon.start()
    assert daemon.get("/readyz", admin=True) == (200, b"ready\n")

    def told() -> bool:
        return bool(daemon.torrent_status("quotes", "object")["reason"])

    poll_until(told, timeout=20, what="reason")
    torrent = daemon.torrent_status("quotes", "object")
    assert torrent["state"] == "waiting"
    assert "quotes/object" in torrent["reason"]
    assert f"127.0.0.1:{port}" in torrent["reason"]
    assert daemon.get("/quotes/object?torrent")[0] == 503
    server = FaultServer(default=ObjectsServer(objects={"object": b"body"}).serve)
    with in_thread(server, port=port, inside=network.entered):
        wait_for_state(daemon, "quotes", "object")
    [line] = daemon.complaints()
    assert "is away since" in line
    assert "Connection refused; check endpoint and the network" in line


def test_the_same_trouble_is_told_by_the_command_line(
    ceph: CephRGW, publisher: Publisher, bucket: str, tmp_path: Path
) -> None:
    publisher.put(bucket, "good", b"body")
    path = tmp_path / "seeder.toml"
    objects = [{"bucket": bucket, "key": key} for key in ("good", "missing")]
    settings = {
        "state_directory": "state",
        "origin": origin(ceph),
        "objects": objects,
        "tracker": {"listen": ["127.0.0.1:6969"]},
        "cache": {"directory": "cache"},
    }
    path.write_text(toml(settings))
    for command in ("torrent", "magnet"):
        run = seeder_command(
            command, "-c", path, f"{bucket}/missing", environment=CREDENTIALS, cwd=tmp_path
        )
        assert (run.returncode, run.stdout) == (1, "")
        [line] = run.stderr.splitlines()
        assert line.startswith(f"{bucket}/missing: S3 answers 404 NoSuchKey")
    run = seeder_command("check", "--online", "-c", path, environment=CREDENTIALS)
    assert run.returncode == 1
    # What the configuration comes to stands before.
    *_, good, missing, allowed, tracker = run.stdout.splitlines()
    assert good.startswith(f"{bucket}/good: ok, 4 bytes")
    assert missing.startswith(f"{bucket}/missing: S3 answers 404 NoSuchKey")
    assert allowed.startswith(f"{bucket}: s3:GetObject allowed, s3:ListBucket allowed, s3:Get")
    assert tracker.startswith("warning: tracker.announce_url: http://127.0.0.1:6969/announce: ")
    assert run.stderr == "1 of 2 entries can't be published\n"

"""Objects that are added to a running seeder: for real clients, until they are removed."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import announce, origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content, digest
from tests.support.processes import poll_until

FIRST, OTHER = content(4 * MIB, seed=31), content(3 * MIB, seed=32)


class Api:
    """The control API of a daemon, at its socket."""

    def __init__(self, daemon: SeederDaemon) -> None:
        self._path = str(daemon.directory / "state" / "control.sock")

    def ask(self, method: str, path: str, status: int, body: object = None) -> Any:
        transport = httpx.HTTPTransport(uds=self._path)
        base = "http://localhost/api/v1"
        with httpx.Client(transport=transport, base_url=base, timeout=30) as client:
            answer = client.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


@pytest.fixture
def daemon(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: Callable[..., SeederDaemon]
) -> SeederDaemon:
    """A daemon with one object in its file."""
    publisher.put(bucket, "first", FIRST)
    entry = {"bucket": bucket, "key": "first", "metainfo": ["build"]}
    daemon = seeder({"origin": origin(ceph), "objects": [entry]})
    daemon.start()
    return daemon


def save(daemon: SeederDaemon, bucket: str, key: str, directory: Path) -> Path:
    path = directory / f"{secrets.token_hex(4)}.torrent"
    path.write_bytes(served_torrent(daemon, bucket, key))
    return path


def test_an_added_object_is_downloaded_outlives_a_kill_and_ends_with_its_reason(
    daemon: SeederDaemon,
    publisher: Publisher,
    bucket: str,
    client: ClientFactory,
    tmp_path: Path,
) -> None:
    publisher.put(bucket, "later/a b:c", OTHER)
    api = Api(daemon)
    entry = {"bucket": bucket, "key": "later/a b:c", "metainfo": ["build"]}
    made = api.ask("POST", "/objects", 201, entry)
    assert made["source"] == "added"
    found = wait_for_state(daemon, bucket, "later/a b:c")
    leecher = client(Libtorrent)
    arrived = leecher.download(save(daemon, bucket, "later/a b:c", tmp_path), timeout=60)
    assert digest(arrived) == digest(OTHER)
    daemon.kill()
    daemon.start()
    again = wait_for_state(daemon, bucket, "later/a b:c")
    assert again["info_hash"] == found["info_hash"]
    api = Api(daemon)
    path = f"/objects/{bucket}/later/a%20b%3Ac"
    assert api.ask("GET", path, 200)["info_hash"] == found["info_hash"]
    api.ask("DELETE", path, 204)
    reason = announce(daemon, bytes.fromhex(found["info_hash"]))[b"failure reason"].decode()
    assert "the torrent is no longer published here" in reason
    daemon.kill()
    daemon.start()
    api = Api(daemon)
    assert [each["key"] for each in api.ask("GET", "/objects", 200)["objects"]] == ["first"]


def test_what_an_entry_may_say_holds_for_added_ones(
    daemon: SeederDaemon, publisher: Publisher, bucket: str
) -> None:
    for key in ("set/a", "set/b", "set/c"):
        publisher.put(bucket, key, content(64 * KIB, seed=ord(key[-1])))
    api, build = Api(daemon), {"bucket": bucket, "metainfo": ["build"]}
    bundle = api.ask("POST", "/prefixes", 201, {**build, "prefix": "set/", "bundle": True})
    assert bundle["bundle"] is True
    soon = datetime.now(UTC) + timedelta(seconds=4)
    at = soon.isoformat(timespec="seconds").replace("+00:00", "Z")
    api.ask("POST", "/objects", 201, {**build, "key": "set/a", "publish_at": at})
    api.ask("POST", "/objects", 201, {**build, "key": "set/b", "private": True})
    api.ask("POST", "/objects", 201, {**build, "key": "set/c", "write_sidecar": True})
    assert daemon.get(f"/{bucket}/set/a?torrent")[0] == 404
    wait_for_state(daemon, bucket, "set/a")
    private = wait_for_state(daemon, bucket, "set/b")
    wait_for_state(daemon, bucket, "set/c")
    poll_until(
        lambda: api.ask("GET", f"/prefixes/{bucket}/set/", 200)["state"] == "serving",
        timeout=30,
        what="bundle",
    )
    poll_until(
        lambda: daemon.status()["sidecars"]["written"] == 1, timeout=30, what="written torrent"
    )
    assert publisher.get(bucket, "set/c.torrent") == served_torrent(daemon, bucket, "set/c")
    refusal = announce(daemon, bytes.fromhex(private["info_hash"]))
    assert b"failure reason" in refusal
    assert api.ask("GET", f"/objects/{bucket}/set/b", 200)["private"] is True
    assert api.ask("GET", f"/prefixes/{bucket}/set/", 200)["objects"] == 3


def test_a_version_is_added_by_its_id(
    ceph: CephRGW, publisher: Publisher, seeder: Callable[..., SeederDaemon], daemon: SeederDaemon
) -> None:
    name = f"versions-{secrets.token_hex(6)}"
    publisher.create_bucket(name, versioned=True)
    publisher.put(name, "key", FIRST)
    version = publisher.head(name, "key")["VersionId"]
    publisher.put(name, "key", OTHER)
    api = Api(daemon)
    entry = {"bucket": name, "key": "key", "metainfo": ["build"], "version_id": version}
    api.ask("POST", "/objects", 201, entry)
    path = f"/objects/{name}/key?version_id={version}"
    poll_until(
        lambda: api.ask("GET", path, 200)["state"] == "serving", timeout=30, what="its torrent"
    )
    assert api.ask("GET", path, 200)["size"] == len(FIRST)
    api.ask("GET", f"/objects/{name}/key", 404)
    api.ask("DELETE", path, 204)

"""Objects below a prefix, added, replaced and removed while a client downloads one of them."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import announce, origin, read_torrent, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest
from tests.support.processes import poll_until

BODIES = {name: content(4 * MIB, seed=seed) for seed, name in enumerate(("kept", "old", "gone"))}
NEW, ADDED = content(4 * MIB, seed=10), content(MIB, seed=11)
NASTY = "set/a b+c%20 ünï/..;x"


def test_a_prefix_is_followed_while_a_client_downloads(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    for name, body in BODIES.items():
        publisher.put(bucket, f"set/{name}", body)
    for key in ("set/", "set/kept.torrent", "elsewhere"):
        publisher.put(bucket, key, b"" if key.endswith("/") else b"not published")
    entry = {"bucket": bucket, "prefix": "set/", "metainfo": ["build"], "refresh": "1s"}
    daemon = seeder({"origin": origin(ceph), "objects": [entry]})
    daemon.start()

    def published() -> set[str]:
        rows = daemon.status()["torrents"]
        return {row["key"] for row in rows if row["state"] == "serving"}

    poll_until(
        lambda: published() == {f"set/{name}" for name in BODIES}, timeout=30, what="torrents"
    )
    files = {name: served_torrent(daemon, bucket, f"set/{name}") for name in BODIES}
    leecher = client(Libtorrent, download_rate=MIB)
    kept = tmp_path / "kept.torrent"
    kept.write_bytes(files["kept"])
    leecher.add(kept)
    poll_until(lambda: sum(leecher.status().pieces) > 0, timeout=30, what="first piece")

    publisher.put(bucket, "set/old", NEW)
    publisher.delete(bucket, "set/gone")
    publisher.put(bucket, NASTY, ADDED)
    wanted = {"set/kept", "set/old", NASTY}
    poll_until(lambda: published() == wanted, timeout=30, what="changed listing")
    poll_until(
        lambda: served_torrent(daemon, bucket, "set/old") != files["old"], timeout=30, what="new"
    )
    for name, reason in (("old", b"replaced"), ("gone", b"deleted")):
        info_hash = read_torrent(files[name]).info_hash
        assert reason in announce(daemon, info_hash)[b"failure reason"]
    assert daemon.get(f"/{bucket}/set/gone?torrent")[0] == 404
    added = read_torrent(served_torrent(daemon, bucket, NASTY))
    assert (added.name, added.size) == ("..;x", MIB)

    # Who downloads what stayed as it was notices nothing.
    assert digest(leecher.wait(timeout=30)) == digest(BODIES["kept"])
    assert served_torrent(daemon, bucket, "set/kept") == files["kept"]
    [prefix] = daemon.status()["prefixes"]
    assert (prefix["state"], prefix["objects"]) == ("followed", 3)

    # And S3 was asked once for each object, however often it was listed.
    asked = ceph.exchanges(bucket)
    heads = sorted(each.key for each in asked if each.method == "HEAD")
    assert heads == sorted(["set/gone", "set/gone", "set/kept", "set/old", "set/old", NASTY])
    listings = [parse_qs(each.query) for each in asked if "list-type" in each.query]
    assert len(listings) > 2
    assert ceph.body_bytes_sent(bucket, "set/kept") == 4 * MIB

    daemon.stop()
    before = len(asked)
    daemon.start()
    assert published() == wanted
    wait_for_state(daemon, bucket, NASTY)
    assert all("list-type" in each.query for each in ceph.exchanges(bucket)[before:])

"""A torrent that one node writes to Ceph is another's, without a byte of the object read."""

import shutil
from collections.abc import Callable

from tests.e2e.ceph import CephRGW
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.objects import MIB, content
from tests.support.processes import poll_until


def test_a_torrent_that_was_written_back_is_the_next_nodes(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: Callable[..., SeederDaemon]
) -> None:
    publisher.put(bucket, "set/a b+c", content(16 * MIB, seed=6))
    entry = {
        "bucket": bucket,
        "prefix": "set/",
        "metainfo": ["sidecar", "build"],
        "refresh": "1s",
        "write_sidecar": True,
    }
    first = seeder({"origin": origin(ceph), "objects": [entry]})
    first.start()
    poll_until(
        lambda: first.status()["sidecars"]["written"] == 1, timeout=30, what="written torrent"
    )
    made = wait_for_state(first, bucket, "set/a b+c")
    listings = first.status()["prefixes"][0]["listed_at"]
    poll_until(
        lambda: first.status()["prefixes"][0]["listed_at"] > listings, timeout=30, what="listing"
    )
    assert [each["key"] for each in first.status()["torrents"]] == ["set/a b+c"]
    sent = ceph.body_bytes_sent(bucket, "set/a b+c")
    second = seeder({"origin": origin(ceph), "objects": [entry]})
    second.start()
    poll_until(lambda: second.status()["torrents"], timeout=30, what="listing")
    taken = wait_for_state(second, bucket, "set/a b+c")
    assert (taken["info_hash"], taken["metainfo"]) == (made["info_hash"], "sidecar")
    poll_until(lambda: second.status()["sidecars"]["kept"] == 1, timeout=30, what="look at it")
    # Ten pieces are sampled, and no more.
    assert ceph.body_bytes_sent(bucket, "set/a b+c") - sent < 11 * MIB
    puts = [each for each in ceph.exchanges(bucket) if each.method == "PUT"]
    assert len([each for each in puts if each.key.endswith(".torrent")]) == 1
    # The second one isn't the writer, and leaves it as it is; the first knows it by its mark.
    first.kill()
    shutil.rmtree(first.directory / "state")
    first.add(tracker={"announce_url": "http://tracker.example.org/announce"})
    first.start()
    poll_until(lambda: first.status()["sidecars"]["written"] == 1, timeout=30, what="another URL")
    body = publisher.raw.get_object(Bucket=bucket, Key="set/a b+c.torrent")["Body"].read()
    assert b"http://tracker.example.org/announce" in body
    assert wait_for_state(first, bucket, "set/a b+c")["metainfo"] == "sidecar"

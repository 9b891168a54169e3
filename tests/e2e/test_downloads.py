"""Objects of every size and name, from two S3 servers, to real clients."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import Aria2, Leecher, Rtorrent, Transmission, wait_for_all
from tests.e2e.conftest import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.libtorrent_client import Libtorrent
from tests.e2e.network import Network
from tests.e2e.objects import KIB, MIB, content, digest
from tests.e2e.publishing import (
    origin, read_torrent, served_magnet, served_torrent, wait_for_state, announce)
from tests.e2e.s3 import Publisher


def test_x(ceph: CephRGW, publisher: Publisher, bucket: str, seeder: Callable[..., SeederDaemon], client: ClientFactory, tmp_path: Path):
    objs = {"empty": 0, "one byte": 1, "one piece": 64*KIB, "many": 3*MIB+5, "a b+c%d%20 ü 🙂": 100, "dir//file": 200, "a/../b": 300, "/lead": 77, "trail/": 10, "a/./c.": 20}
    for i, (k, n) in enumerate(objs.items()):
        try:
            publisher.put(bucket, k, content(n, seed=i))
        except Exception as e:
            print("PUT", k, e)
    print(publisher.raw.list_objects_v2(Bucket=bucket))
    d = seeder({"origin": origin(ceph), "objects": [{"bucket": bucket, "key": k} for k in objs]})
    d.start()
    for k in objs:
        try:
            print(wait_for_state(d, bucket, k, timeout=5))
            f = served_torrent(d, bucket, k)
            print(f, served_magnet(d, bucket, k))
            print(read_torrent(f), announce(d, read_torrent(f).info_hash))
        except Exception as e:
            print("ERR", repr(e))
    import json
    print(json.dumps(d.status(), indent=1))
    assert 0

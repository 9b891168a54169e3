"""An object rewritten in every way that leaves its bytes, on real S3 servers: its torrent stays."""

import secrets
from collections.abc import Callable
from functools import partial

import pytest

from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import announce, origin, wait_for_state
from tests.e2e.s3 import Publisher
from tests.e2e.server import Server
from tests.support.objects import MIB, content
from tests.support.processes import poll_until

KEY = "images/base.qcow2"
BODY = content(11 * MIB + 7)
LARGE, SMALL = {"memory": "64 MiB"}, {"memory": "2 MiB", "disk": "0 B"}


def ways(publisher: Publisher, bucket: str) -> dict[str, Callable[[], object]]:
    """Return what may be done to the object that leaves its bytes as they are."""
    copied = partial(
        publisher.raw.copy_object,
        Bucket=bucket,
        Key=KEY,
        CopySource={"Bucket": bucket, "Key": KEY},
        MetadataDirective="REPLACE",
    )
    upload = partial(publisher.put_multipart, bucket, KEY, BODY)
    return {
        "copied for SHA-1 checksums": partial(copied, ChecksumAlgorithm="SHA1"),
        "other metadata": partial(copied, Metadata={"owner": "images"}),
        "in parts": partial(upload, part_size=5 * MIB),
        "in other parts": partial(upload, part_size=6 * MIB),
        "parts with checksums": partial(upload, part_size=5 * MIB, ChecksumAlgorithm="SHA1"),
        "in one": partial(publisher.put, bucket, KEY, BODY),
        "another storage class": partial(copied, StorageClass="STANDARD_IA"),
    }


def is_in(daemon: SeederDaemon, bucket: str, state: str) -> bool:
    return bool(daemon.torrent_status(bucket, KEY)["version"] == state)


@pytest.mark.parametrize(
    ("versioned", "cache"), [(False, LARGE), (True, SMALL)], ids=["plain", "versioned"]
)
@pytest.mark.parametrize("kind", ["ceph", "localstack"])
def test_an_object_that_keeps_its_bytes_keeps_its_torrent(
    *,
    kind: str,
    versioned: bool,
    cache: dict[str, str],
    request: pytest.FixtureRequest,
    seeder: Callable[..., SeederDaemon],
) -> None:
    server: Server = request.getfixturevalue(kind)
    publisher, bucket = server.publisher(), f"rewritten-{secrets.token_hex(8)}"
    publisher.create_bucket(bucket, versioned=versioned)
    publisher.put(bucket, KEY, BODY)
    settings = {
        "origin": origin(server),
        "objects": [{"bucket": bucket, "key": KEY, "metainfo": ["build"], "refresh": "1s"}],
        "gateway": {"web_seed": True},
        "cache": cache,
        "peer": {"origin_copies_per_address": "unlimited", "copies_per_address": "unlimited"},
    }
    daemon = seeder(settings, environment=server.environment())
    with daemon:
        info_hash = wait_for_state(daemon, bucket, KEY)["info_hash"]
        tag = publisher.head(bucket, KEY)["ETag"]
        for way, rewrite in ways(publisher, bucket).items():
            if way == "another storage class" and kind == "ceph":
                continue  # it has but one
            rewrite()
            head = publisher.head(bucket, KEY)
            # A new version with the same ETag is no other state: reads go by the ETag.
            if head["ETag"] != tag:
                tag, state = head["ETag"], head["VersionId" if versioned else "ETag"]
                poll_until(partial(is_in, daemon, bucket, state), timeout=30, what=f"state: {way}")
            status = wait_for_state(daemon, bucket, KEY)
            assert status["info_hash"] == info_hash, way
            assert b"failure reason" not in announce(daemon, bytes.fromhex(info_hash))
            assert daemon.get(f"/{bucket}/{KEY}") == (200, BODY), way
        assert daemon.complaints() == []
    assert "not registered" not in daemon.log

"""Metainfo from S3's own checksums of the parts of an object: what is read for it, and what not."""

import secrets
from collections.abc import Callable
from pathlib import Path

from tests.e2e.ceph import LARGEST_WRITE, CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.localstack import LocalStack
from tests.e2e.publishing import origin, read_torrent, served_torrent, wait_for_state
from tests.e2e.s3 import MULTIPART_PART_SIZE, Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest, make_torrent, write_content

MakeDaemon = Callable[..., SeederDaemon]

BODY = content(12 * MULTIPART_PART_SIZE + 5)
SAMPLE = 9 * MULTIPART_PART_SIZE + 5
"""The first, the last and eight more parts."""


def line_of(daemon: SeederDaemon, *parts: str) -> str:
    """Return the only line of the daemon's log that holds every one of `parts`."""
    [line] = [line for line in daemon.log.splitlines() if all(part in line for part in parts)]
    return line


def test_parts_with_a_sha1_make_a_torrent_for_the_bytes_of_the_sample(
    localstack: LocalStack, seeder: MakeDaemon, client: ClientFactory, tmp_path: Path
) -> None:
    publisher = localstack.publisher()
    bucket = f"bucket-{secrets.token_hex(8)}"
    publisher.create_bucket(bucket)
    publisher.put_multipart(bucket, "even", BODY, ChecksumAlgorithm="SHA1")
    small = content(9 * MIB)
    publisher.put_multipart(bucket, "odd", small, part_size=5 * MIB, ChecksumAlgorithm="SHA1")
    publisher.put_multipart(bucket, "crc", small, ChecksumAlgorithm="CRC32")
    publisher.put(bucket, "whole", small, ChecksumAlgorithm="SHA1")
    keys = ("even", "odd", "crc", "whole")
    daemon = seeder(
        {"origin": origin(localstack), "objects": [{"bucket": bucket, "key": k} for k in keys]},
        environment=LocalStack.environment(),
    )
    daemon.start()
    status = {key: wait_for_state(daemon, bucket, key) for key in keys}

    made = make_torrent(BODY, name="even", piece_length=MULTIPART_PART_SIZE)
    file = served_torrent(daemon, bucket, "even")
    assert read_torrent(file).info == made.info
    assert line_of(daemon, f"{bucket}/even: serving", "metainfo from checksums")
    assert status["even"]["metainfo"] == "checksums"
    cost = status["even"]["origin_bytes_by_purpose"]
    assert SAMPLE < cost["metainfo"] < SAMPLE + 16_384
    assert (cost["hashing"], cost["pieces"]) == (0, 0)

    assert "5242880 bytes, a piece length is" in line_of(daemon, f"{bucket}/odd", "refused")
    assert line_of(daemon, f"{bucket}/crc: S3 keeps no SHA-1 of its parts")
    assert line_of(daemon, f"{bucket}/whole: its checksum is of all of it")
    for key in keys[1:]:
        assert line_of(daemon, f"{bucket}/{key}: serving", "metainfo from build")
        assert status[key]["origin_bytes_by_purpose"]["hashing"] == len(small)

    path = tmp_path / "even.torrent"
    path.write_bytes(file)
    assert digest(client(Libtorrent).download(path, timeout=60)) == digest(BODY)
    cost = daemon.torrent_status(bucket, "even")["origin_bytes_by_purpose"]
    assert cost["pieces"] == len(BODY) - SAMPLE


def test_a_server_that_answers_with_the_object_is_not_read_to_its_end(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon
) -> None:
    keys = ("first", "second")
    for key in keys:
        publisher.put_multipart(bucket, key, BODY, part_size=32 * MIB)
    sections = [{"bucket": bucket, "key": key, "metainfo": ["checksums", "build"]} for key in keys]
    daemon = seeder({"origin": origin(ceph), "objects": sections[:1]})
    daemon.start()
    wait_for_state(daemon, bucket, "first")
    daemon.configure({"origin": origin(ceph), "objects": sections})
    daemon.reload()
    for key in keys:
        status = wait_for_state(daemon, bucket, key)
        # The first one was asked about, and some of the object had come before we hung up.
        refused = status["origin_bytes_by_purpose"]["metainfo"]
        assert 0 <= refused <= (LARGEST_WRITE if key == "first" else 0)
        assert ceph.body_bytes_sent(bucket, key) == len(BODY)
        assert line_of(daemon, f"{bucket}/{key}: serving", "metainfo from build")
    assert line_of(daemon, "does not know GetObjectAttributes")
    # What RGW had written before we hung up is in the buffers of two sockets.
    [asked] = [each for each in ceph.exchanges(bucket) if each.query == "attributes"]
    assert asked.body_bytes < len(BODY) // 2
    assert "WARNING" not in daemon.log


def test_a_piece_of_the_largest_length_arrives(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    """1 TiB in at most 10,000 parts has parts of 128 MiB, and these are its pieces."""
    content_file = tmp_path / "content"
    write_content(content_file, 128 * MIB + 5)
    publisher.put(bucket, "object", content_file)
    section = {
        "bucket": bucket,
        "key": "object",
        "metainfo": ["build"],
        "piece_length": "128 MiB",
    }
    # Room for a piece and its successor's beginning, and no disk to fall back on.
    daemon = seeder(
        {
            "origin": origin(ceph),
            "objects": [section],
            "cache": {"memory": "160 MiB", "disk": "0 B"},
        }
    )
    daemon.start()
    assert wait_for_state(daemon, bucket, "object")["pieces"] == 2
    path = tmp_path / "object.torrent"
    path.write_bytes(served_torrent(daemon, bucket, "object"))
    assert digest(client(Libtorrent).download(path, timeout=60)) == digest(content_file)

"""Where an object's torrent comes from: S3 itself, a file beside it, or its own bytes."""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from bencode2 import bdecode, bencode

from tests.e2e.ceph import (
    OTHER_ACCESS_KEY,
    OTHER_SECRET_KEY,
    CephRGW,
)
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import announce, origin, read_torrent, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.e2e.swift import Swift
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, Torrent, content, digest, make_torrent
from tests.support.processes import missing_programs, poll_until

MakeDaemon = Callable[..., SeederDaemon]

PIECE = 64 * KIB
BODY = content(3 * MIB + 5)
BUILT = make_torrent(BODY, name="object", piece_length=PIECE)
"""What we make of BODY under the key `object`."""
NOBODY = "http://tracker.invalid/announce"


def serving(
    make: MakeDaemon, server: CephRGW | Swift, bucket: str, *keys: str, **further: object
) -> SeederDaemon:
    """Return a running daemon that serves these objects, each with `further` in its section."""
    objects = [{"bucket": bucket, "key": key, **further} for key in keys]
    daemon = make({"origin": origin(server), "objects": objects})
    daemon.start()
    for key in keys:
        wait_for_state(daemon, bucket, key)
    return daemon


def torrent_of(daemon: SeederDaemon, bucket: str, key: str) -> Torrent:
    return read_torrent(served_torrent(daemon, bucket, key))


def download(
    client: ClientFactory, daemon: SeederDaemon, bucket: str, key: str, directory: Path
) -> str:
    """Download an object by its torrent file and return the SHA-256 of what came."""
    file = directory / f"{secrets.token_hex(4)}.torrent"
    file.write_bytes(served_torrent(daemon, bucket, key))
    return digest(client(Libtorrent).download(file, timeout=30))


def lines_with(daemon: SeederDaemon, *parts: str) -> list[str]:
    """Return the lines of the daemon's log that hold every one of `parts`."""
    return [line for line in daemon.log.splitlines() if all(part in line for part in parts)]


# -- origin


def test_s3s_own_torrent_of_one_piece_is_taken_as_it_is(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    body = content(300 * KIB)
    publisher.put(bucket, "one piece", body)
    daemon = serving(seeder, ceph, bucket, "one piece")
    theirs: Any = bdecode(publisher.get_torrent(bucket, "one piece"))
    ours = torrent_of(daemon, bucket, "one piece")
    assert ours.info == bencode(theirs[b"info"])
    assert ours.trackers == (daemon.announce_url,)
    assert lines_with(daemon, f"{bucket}/one piece: serving", "metainfo from origin")
    assert ceph.body_bytes_sent(bucket, "one piece") == len(body)
    assert download(client, daemon, bucket, "one piece", tmp_path) == digest(body)
    # Checking the hash has warmed the cache.
    assert ceph.body_bytes_sent(bucket, "one piece") == len(body)


def test_s3s_lying_torrent_is_found_out_and_replaced(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    publisher.put(bucket, "object", BODY)
    daemon = serving(seeder, ceph, bucket, "object")
    refused = lines_with(daemon, f"{bucket}/object: metainfo from origin refused")
    assert [line.rpartition(": ")[2] for line in refused] == [
        "the hash of its piece 6 is not the object's"
    ]
    assert " WARNING " in refused[0]
    assert lines_with(daemon, f"{bucket}/object: serving", "metainfo from build")
    assert torrent_of(daemon, bucket, "object").info == BUILT.info
    assert download(client, daemon, bucket, "object", tmp_path) == digest(BODY)

    # What was learnt is kept: a restart asks for nothing but how the object stands.
    assert daemon.stop() == 0
    before = ceph.exchanges(bucket, method="GET")
    daemon.start()
    assert torrent_of(daemon, bucket, "object").info == BUILT.info
    assert download(client, daemon, bucket, "object", tmp_path) == digest(BODY)
    assert ceph.exchanges(bucket, method="GET") == before


def test_an_s3_without_torrents_is_asked_for_the_first_key_only(
    swift: Swift, seeder: MakeDaemon
) -> None:
    publisher = swift.publisher()
    bucket = f"bucket-{secrets.token_hex(8)}"
    publisher.create_bucket(bucket)
    keys = ["first", "second", "third"]
    for number, key in enumerate(keys):
        publisher.put(bucket, key, content(PIECE, seed=number))
    sections = [{"bucket": bucket, "key": key} for key in keys]
    settings = {"origin": origin(swift), "objects": sections[:1]}
    daemon = seeder(settings, environment=swift.environment())
    daemon.start()
    wait_for_state(daemon, bucket, "first")
    daemon.configure(settings | {"objects": sections})
    daemon.reload()
    asked = [
        wait_for_state(daemon, bucket, key)["origin_requests_by_purpose"]["metainfo"]
        for key in keys
    ]
    # HEAD, ?torrent, sidecar; then HEAD and sidecar.
    assert asked == [3, 2, 2]
    assert len(lines_with(daemon, "makes no torrent of it", "501")) == 1


# -- sidecar


def test_a_sidecar_is_taken_and_gets_our_tracker(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    sidecar = make_torrent(BODY, name="by hand.bin", piece_length=32 * KIB, trackers=[NOBODY])
    publisher.put(bucket, "object", BODY)
    publisher.put(bucket, "object.torrent", sidecar.file())
    daemon = serving(seeder, ceph, bucket, "object", metainfo=["sidecar", "build"])
    ours = torrent_of(daemon, bucket, "object")
    assert (ours.info, ours.trackers) == (sidecar.info, (daemon.announce_url,))
    # The first, the last and eight more pieces.
    assert ceph.body_bytes_sent(bucket, "object") == 9 * 32 * KIB + 5
    assert download(client, daemon, bucket, "object", tmp_path) == digest(BODY)
    assert ceph.body_bytes_sent(bucket, "object") == len(BODY)


WRONG = bytearray(BODY)
WRONG[-1] ^= 1
SIDECARS: Mapping[str, tuple[bytes, str]] = {
    "shorter": (
        make_torrent(BODY[:-1], name="object", piece_length=PIECE).file(),
        f"it says {len(BODY) - 1} bytes, the object has {len(BODY)}",
    ),
    "lying": (
        make_torrent(bytes(WRONG), name="object", piece_length=PIECE).file(),
        "the hash of its piece 48 is not the object's",
    ),
    "hostile": (
        make_torrent(BODY, name="../../etc/passwd", piece_length=PIECE).file(),
        "its file name is unsafe: '../../etc/passwd'",
    ),
    "garbled": (b"d4:infod6:lengthi1", "not a torrent file"),
    "foreign": (b"\x7fELF" + bytes(100), "not a torrent file"),
    "public": (
        make_torrent(BODY, name="object", piece_length=PIECE).file(),
        "it is not private, the configuration says private = true",
    ),
    "coarse": (
        make_torrent(BODY, name="object", piece_length=2 * PIECE).file(),
        f"its pieces are {2 * PIECE} bytes, the configuration says piece_length = {PIECE}",
    ),
}
"""Key of the object -> the bytes at KEY.torrent, and why they are refused."""


def test_a_sidecar_that_lies_is_refused_and_replaced(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon
) -> None:
    objects: list[dict[str, object]] = []
    for key, (sidecar, _) in SIDECARS.items():
        publisher.put(bucket, key, BODY)
        publisher.put(bucket, f"{key}.torrent", sidecar)
        objects.append({"bucket": bucket, "key": key, "metainfo": ["sidecar", "build"]})
        if key == "public":
            objects[-1]["private"] = True
        if key == "coarse":
            objects[-1]["piece_length"] = "64 KiB"
    daemon = seeder({"origin": origin(ceph), "objects": objects})
    daemon.start()
    for key, (_, reason) in SIDECARS.items():
        wait_for_state(daemon, bucket, key)
        refused = lines_with(daemon, f"{bucket}/{key}: metainfo from sidecar refused")
        assert len(refused) == 1
        assert reason in refused[0]
        if key != "public":
            honest = make_torrent(BODY, name=key, piece_length=PIECE)
            assert torrent_of(daemon, bucket, key).info == honest.info


def test_a_sidecar_that_lies_about_one_piece_is_found_out_when_that_is_asked_for(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    body = content(16 * MIB)
    forged = bytearray(body)
    forged[5 * MIB] ^= 1
    sidecar = make_torrent(bytes(forged), name="forged", piece_length=16 * KIB)
    publisher.put(bucket, "object", body)
    publisher.put(bucket, "object.torrent", sidecar.file())
    daemon = serving(seeder, ceph, bucket, "object", metainfo=["sidecar", "build"])
    # One time in 128 the sample has met the forged piece already; the rest is the same then.
    believed = tmp_path / "believed.torrent"
    believed.write_bytes(served_torrent(daemon, bucket, "object"))
    client(Libtorrent).add(believed)

    def replaced() -> bool:
        status = daemon.torrent_status(bucket, "object")
        return bool(status["state"] == "serving" and status["info_hash"] != sidecar.info_hash.hex())

    poll_until(replaced, timeout=30, what="torrent built instead")
    honest = make_torrent(body, name="object", piece_length=PIECE)
    assert torrent_of(daemon, bucket, "object").info == honest.info
    assert lines_with(daemon, f"{bucket}/object", "WARNING", "piece")
    if read_torrent(believed.read_bytes()).info == sidecar.info:
        reason = announce(daemon, sidecar.info_hash)[b"failure reason"]
        assert b"its metainfo was wrong" in reason
    assert download(client, daemon, bucket, "object", tmp_path) == digest(body)


# -- torrent_file and the wishes


def test_a_torrent_file_of_ones_own_is_taken(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    given = make_torrent(BODY, name="given.bin", piece_length=128 * KIB, trackers=[NOBODY])
    file = given.write(tmp_path / "given.torrent")
    publisher.put(bucket, "object", BODY)
    daemon = serving(seeder, ceph, bucket, "object", torrent_file=str(file))
    ours = torrent_of(daemon, bucket, "object")
    assert (ours.info, ours.trackers) == (given.info, (daemon.announce_url,))
    assert lines_with(daemon, f"{bucket}/object: serving", "metainfo from torrent_file")
    assert not ceph.exchanges(bucket, "object.torrent")
    assert download(client, daemon, bucket, "object", tmp_path) == digest(BODY)


def test_verify_all_reads_the_object_once_before_it_is_announced(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    forged = bytearray(BODY)
    forged[MIB] ^= 1
    for key, body in (("honest", BODY), ("forged", bytes(forged))):
        publisher.put(bucket, key, BODY)
        sidecar = make_torrent(body, name=key, piece_length=PIECE)
        publisher.put(bucket, f"{key}.torrent", sidecar.file())
    daemon = serving(
        seeder, ceph, bucket, "honest", "forged", metainfo=["sidecar", "build"], verify="all"
    )
    refused = lines_with(daemon, "metainfo from sidecar refused")
    assert len(refused) == 1
    assert f"{bucket}/forged: " in refused[0]
    assert "its hashes are not those of the object" in refused[0]
    for key in ("honest", "forged"):
        made = make_torrent(BODY, name=key, piece_length=PIECE)
        assert torrent_of(daemon, bucket, key).info == made.info
        assert download(client, daemon, bucket, key, tmp_path) == digest(BODY)
        assert ceph.body_bytes_sent(bucket, key) == len(BODY)


def test_private_and_piece_length_are_granted(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon, tmp_path: Path
) -> None:
    publisher.put(bucket, "object", BODY)
    daemon = serving(seeder, ceph, bucket, "object", private=True, piece_length="16 KiB")
    made = make_torrent(BODY, name="object", piece_length=16 * KIB, private=True)
    status = daemon.torrent_status(bucket, "object")
    assert (status["info_hash"], status["pieces"]) == (made.info_hash.hex(), 193)
    code, _ = daemon.get(f"/{bucket}/object?torrent")
    assert code == 403


# -- ways to the object


def test_an_anonymous_origin_serves_a_public_bucket(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    publisher.put(bucket, "object", BODY)
    publisher.allow_everybody(bucket, "s3:GetObject")
    objects = [{"bucket": bucket, "key": "object"}]
    daemon = seeder({"origin": origin(ceph, anonymous=True), "objects": objects}, environment={})
    daemon.start()
    wait_for_state(daemon, bucket, "object")
    assert download(client, daemon, bucket, "object", tmp_path) == digest(BODY)
    gets = ceph.exchanges(bucket, "object", method="GET")
    assert {get.user for get in gets} == {"anonymous"}


def test_a_requester_who_pays_and_a_bucket_owner_who_is_expected(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    for key in ("unpaid", "paid"):
        publisher.put(bucket, key, BODY)
    publisher.allow_everybody(bucket, "s3:GetObject")
    publisher.set_requester_pays(bucket)
    # RGW 16 pays no attention to the expected owner; that it is signed correctly shows here.
    paying = origin(ceph, request_payer=True, expected_bucket_owner="test")
    daemon = seeder(
        {
            "origin": origin(ceph),
            "origins": {"paying": paying},
            "objects": [
                {"bucket": bucket, "key": "unpaid"},
                {"bucket": bucket, "key": "paid", "origin": "paying"},
            ],
        },
        environment={
            "AWS_ACCESS_KEY_ID": OTHER_ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": OTHER_SECRET_KEY,
        },
    )
    daemon.start()
    refused = wait_for_state(daemon, bucket, "unpaid", "failed")
    assert "403" in refused["reason"]
    assert "set request_payer = true" in refused["reason"]
    wait_for_state(daemon, bucket, "paid")
    assert download(client, daemon, bucket, "paid", tmp_path) == digest(BODY)
    answered = [each for each in ceph.exchanges(bucket, "paid") if each.method in ("GET", "HEAD")]
    assert daemon.torrent_status(bucket, "paid")["requester_charged"] == len(answered)


def test_a_version_stays_published_whatever_comes_after_it(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    publisher.raw.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    publisher.put(bucket, "object", BODY)
    version = str(publisher.head(bucket, "object")["VersionId"])
    publisher.put(bucket, "object", content(MIB, seed=2))
    section = {"bucket": bucket, "key": "object", "version_id": version, "refresh": "1s"}
    daemon = seeder(
        {"origin": origin(ceph), "objects": [section], "cache": {"disk": "0 B", "memory": "0 B"}}
    )
    daemon.start()
    status = wait_for_state(daemon, bucket, "object")
    assert (status["version"], status["size"]) == (version, len(BODY))
    publisher.delete(bucket, "object")
    heads = len(ceph.exchanges(bucket, "object", method="HEAD"))
    poll_until(
        lambda: len(ceph.exchanges(bucket, "object", method="HEAD")) > heads + 1,
        timeout=60,
        what="refresh",
    )
    assert torrent_of(daemon, bucket, "object").info == BUILT.info
    assert download(client, daemon, bucket, "object", tmp_path) == digest(BODY)


def test_a_server_with_virtual_hosts_is_asked_by_them(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    namespace: Network,
    *,
    seeder: MakeDaemon,
    client: ClientFactory,
    tmp_path: Path,
) -> None:
    if missing := missing_programs("unshare", "mount"):
        pytest.skip(f"a hosts file of one's own needs {', '.join(missing)}")
    publisher.put(bucket, "object ü", BODY)
    # RGW's own name, and the bucket below it: no resolver knows them.
    hosts = tmp_path / "hosts"
    hosts.write_text(f"{ceph.address} s3.localhost {bucket}.s3.localhost\n")
    script = 'mount --bind "$0" /etc/hosts && exec "$@"'
    daemon = seeder(
        {
            "origin": {"endpoint": f"http://s3.localhost:{ceph.port}"},
            "objects": [{"bucket": bucket, "key": "object ü"}],
        },
        prefix=["unshare", "--mount", "sh", "-c", script, str(hosts)],
    )
    daemon.start()
    wait_for_state(daemon, bucket, "object ü")
    assert download(client, daemon, bucket, "object ü", tmp_path) == digest(BODY)
    # The bucket is in the Host header; RGW logs the path, which is the key alone.
    assert not ceph.exchanges(bucket, method="HEAD")
    assert [each.status for each in ceph.exchanges("object ü", method="HEAD")] == [200]

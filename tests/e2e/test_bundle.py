"""A prefix as one torrent: real clients make of it the tree of files that is in S3."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from bencode2 import bdecode, bencode

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import Aria2, ClientFactory, QBittorrent, Rtorrent, Transmission
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import (
    announce,
    origin,
    served_magnet,
    served_torrent,
    wait_for_state,
)
from tests.support.leecher import Leecher, wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content
from tests.support.processes import poll_until

PIECE = 64 * KIB
PREFIX = "data/2026/"
SIZES = {
    "a/deep/nest of/directories/one byte": 1,
    "a/whole pieces": 4 * PIECE,
    "a/a piece and a byte": PIECE + 1,
    # Two pads of one size, whose names must differ for rtorrent.
    "a/another piece and a byte": PIECE + 1,
    "empty": 0,
    "many pieces.bin": 3 * MIB + 5,
    "ünï/README": 100,
    "ünï/readme": 101,
    "zuletzt leer": 0,
}
FILES = {name: content(size, seed=size + len(name)) for name, size in SIZES.items()}


def files_below(directory: Path) -> dict[str, bytes]:
    """Return every file but the pads, which some clients keep as well."""
    found = {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }
    pads = {name: found.pop(name) for name in tuple(found) if name.startswith(".pad/")}
    assert not any(any(body) for body in pads.values())
    return found


def named_of(files: dict[str, bytes], found: dict[str, bytes]) -> dict[str, bytes]:
    """Return `files` with the name that the second of two alike got."""
    [clashed] = [name for name in found if name.startswith("ünï/readme-")]
    return {clashed if name == "ünï/readme" else name: body for name, body in files.items()}


def test_a_bundle_goes_to_real_clients_and_follows_its_objects(
    ceph: CephRGW,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    kinds: list[type[Leecher]],
    *,
    tmp_path: Path,
) -> None:
    publisher = ceph.publisher()
    for name, body in FILES.items():
        publisher.put(bucket, PREFIX + name, body)
    publisher.put(bucket, PREFIX + "a/", b"")
    publisher.put(bucket, "data/2025", b"not below it")
    section = {
        "bucket": bucket,
        "prefix": PREFIX,
        "bundle": True,
        "piece_length": "64 KiB",
        "refresh": "1s",
    }
    daemon = seeder({"origin": origin(ceph), "objects": [section]})
    daemon.start()
    first = wait_for_state(daemon, bucket, PREFIX)
    assert first["size"] == sum(SIZES.values())

    # -- every client gets the tree
    file = tmp_path / "first.torrent"
    file.write_bytes(served_torrent(daemon, bucket, PREFIX))
    leechers: list[Leecher] = []
    for kind in (Libtorrent, Transmission, Aria2, Rtorrent):
        if kind in kinds:
            leechers.append(client(kind))
            leechers[-1].add(file)
    leechers.append(client(Libtorrent))
    leechers[-1].add(served_magnet(daemon, bucket, PREFIX))
    for leecher, directory in zip(leechers, wait_for_all(leechers, timeout=90), strict=True):
        found = files_below(directory)
        if isinstance(leecher, Transmission):
            # 3.00 makes no file of nothing.
            found |= {name: b"" for name, body in FILES.items() if not body}
        assert directory.name == "2026"
        assert found == named_of(FILES, found), type(leecher).__name__
        leecher.close()

    def sent() -> dict[str, int]:
        return {name: ceph.body_bytes_sent(bucket, PREFIX + name) for name in SIZES}

    assert sent() == SIZES
    # Padding costs nothing, and isn't counted as delivered.
    told = daemon.torrent_status(bucket, PREFIX)
    assert sum(SIZES.values()) <= told["delivered_verified_bytes"]
    assert told["delivered_verified_bytes"] <= len(leechers) * sum(SIZES.values())

    # -- one object is replaced and one removed during a download
    late = client(Libtorrent, download_rate=MIB // 2)
    late.add(file)
    poll_until(lambda: sum(late.status().pieces) >= 4, timeout=30, what="first pieces")
    changed = content(2 * PIECE + 7, seed=99)
    publisher.put(bucket, PREFIX + "a/whole pieces", changed)
    publisher.delete(bucket, PREFIX + "empty")
    info_hash = bytes.fromhex(first["info_hash"])
    poll_until(
        lambda: b"changed" in announce(daemon, info_hash).get(b"failure reason", b""),
        timeout=60,
        what="end of the first torrent",
    )

    def is_followed() -> bool:
        now = daemon.torrent_status(bucket, PREFIX)
        expected = sum(SIZES.values()) - SIZES["a/whole pieces"] + len(changed)
        return bool(now["state"] == "serving" and now["size"] == expected)

    poll_until(is_followed, timeout=30, what="torrent of the objects as they are now")
    file = tmp_path / "second.torrent"
    file.write_bytes(served_torrent(daemon, bucket, PREFIX))
    again = files_below(client(Libtorrent).download(file, timeout=60))
    now = {name: body for name, body in FILES.items() if name != "empty"}
    assert again == named_of({**now, "a/whole pieces": changed}, again)
    # Only what has changed was read again.
    assert sent() == {**SIZES, "a/whole pieces": SIZES["a/whole pieces"] + len(changed)}


def http(daemon: SeederDaemon, path: str, *headers: str) -> tuple[int, bytes]:
    """Return status and body of a GET."""
    url = f"http://{daemon.address}:{daemon.tracker_port}{path}"
    named = dict(header.split(": ", 1) for header in headers)
    reply = httpx.get(url, headers=named, trust_env=False)
    return reply.status_code, reply.content


def test_clients_get_a_bundle_from_its_web_seed_alone(
    ceph: CephRGW,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    kinds: list[type[Leecher]],
    *,
    tmp_path: Path,
) -> None:
    publisher = ceph.publisher()
    # Its pad is one byte, behind which aria2 would wait for us to close the connection.
    files = {**FILES, "100% + #&=;~/a b": content(PIECE - 1, seed=3)}
    for name, body in files.items():
        publisher.put(bucket, PREFIX + name, body)
    section = {"bucket": bucket, "prefix": PREFIX, "bundle": True, "piece_length": "64 KiB"}
    daemon = seeder(
        {
            "origin": origin(ceph),
            "objects": [section],
            "gateway": {"web_seed": True},
            "peer": {"copies_per_address": "unlimited"},
        }
    )
    daemon.start()
    wait_for_state(daemon, bucket, PREFIX)
    outside: Any = bdecode(served_torrent(daemon, bucket, PREFIX))
    del outside[b"announce"]
    [named] = [url.decode() for url in outside[b"url-list"]]
    assert named.endswith(f"/{bucket}/{PREFIX}~files/")
    alone = tmp_path / "alone.torrent"
    alone.write_bytes(bencode(outside))

    # -- each file at its address, with ranges
    below = f"/{bucket}/{PREFIX}~files/2026"
    for name, body in files.items():
        if name != "ünï/readme":
            assert http(daemon, f"{below}/{quote(name)}") == (200, body), name
    many = files["many pieces.bin"]
    for first, last in ((0, 0), (PIECE - 1, PIECE), (5, 3 * MIB), (3 * MIB, 3 * MIB + 4)):
        told = http(daemon, f"{below}/many%20pieces.bin", f"Range: bytes={first}-{last}")
        assert told == (206, many[first : last + 1])
    assert http(daemon, f"{below}/a/one")[0] == 404
    assert http(daemon, f"{below}/a/%2E%2E/empty")[0] == 404
    assert http(daemon, f"{below}/")[0] == 404
    assert http(daemon, f"{below}/empty", "Range: bytes=0-0")[0] == 416
    pad = http(daemon, f"{below}/.pad/{PIECE - 1}")
    assert pad == (200, bytes(PIECE - 1))
    assert http(daemon, f"{below}/.pad/1") == (200, b"\0")

    # -- clients that know of nothing else
    leechers: list[Leecher] = []
    for kind in (Libtorrent, Transmission, Aria2, QBittorrent):
        if kind in kinds:
            leechers.append(client(kind))
            leechers[-1].add(alone)
    for leecher, directory in zip(leechers, wait_for_all(leechers, timeout=90), strict=True):
        found = files_below(directory)
        if isinstance(leecher, Transmission):
            found |= {name: b"" for name, body in files.items() if not body}
        assert found == named_of(files, found), type(leecher).__name__
        leecher.close()
    assert {name: ceph.body_bytes_sent(bucket, PREFIX + name) for name in files} == {
        name: len(body) for name, body in files.items()
    }

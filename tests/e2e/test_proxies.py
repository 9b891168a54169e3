"""nginx and Caddy before the daemon, as config/network.md has them, with TLS at the proxy."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bencode2 import bdecode, bencode

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.proxies import DOMAIN, Caddy, Nginx, Proxy
from tests.e2e.publishing import origin, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest

MakeDaemon = Callable[..., SeederDaemon]

KEY, ODD, SECRET = "images/base.qcow2", "a//b +%2F&c", "drafts/secret"
QUOTED = "a%2F%2Fb%20%2B%252F%26c"
BODY = content(3 * MIB + 5)
PAGE = b"<!doctype html><p>" + b"odd " * 1000
"""What Debian's nginx packs by itself."""
READER = ("READER", "the-secret-of-the-reader-which-is-long")
PROXY = "10.9.0.1"
"""The namespace's first address: who dials from none in particular dials from this one."""
CLIENTS = "10.9.0.11", "10.9.0.12"
"""Addresses of the namespace that the client factory hands out late."""


class Curl:
    """curl at one address, which finds the proxy under the names in the document."""

    def __init__(self, proxy: Proxy, address: str, names: tuple[str, ...]) -> None:
        self.address = address
        self._options: list[str | Path] = ["--interface", address, "--noproxy", "*"]
        self._options += ["--cacert", proxy.authority]
        for name in names:
            for port in (80, 443):
                self._options += ["--resolve", f"{name}:{port}:{proxy.address}"]

    def get(self, url: str, *options: str | Path) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers by lower-case name, and body."""
        command = ["curl", "-sS", "--path-as-is", "-i", *self._options, *options, url]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").splitlines()
        pairs = (line.partition(": ") for line in lines)
        return int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, body


@dataclass
class Gateway:
    """A daemon behind a proxy, and two clients of theirs."""

    daemon: SeederDaemon
    proxy: Proxy
    bucket: str

    def __post_init__(self) -> None:
        names = (DOMAIN, f"{self.bucket}.{DOMAIN}")
        self.one, self.other = (Curl(self.proxy, address, names) for address in CLIENTS)
        self.base = f"https://{DOMAIN}"
        self.url = f"{self.base}/{self.bucket}/{KEY}"


@pytest.fixture
def daemon(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    tmp_path: Path,
) -> SeederDaemon:
    for key, body in ((KEY, BODY), (SECRET, b"secret")):
        publisher.put(bucket, key, body)
    publisher.put(bucket, ODD, PAGE, ContentType="text/html")
    secret = tmp_path / "reader.secret"
    secret.write_text(READER[1])
    secret.chmod(0o600)
    read_key = {"access_key_id": READER[0], "secret_file": str(secret), "objects": [f"{bucket}/*"]}
    made = seeder(
        {
            "origin": origin(ceph),
            "objects": [
                {"bucket": bucket, "key": KEY},
                {"bucket": bucket, "key": ODD},
                {"bucket": bucket, "key": SECRET, "public": False},
            ],
            "tracker": {
                "announce_url": f"https://{DOMAIN}/announce",
                "trusted_proxies": [PROXY],
            },
            "gateway": {
                "web_seed": True,
                "listing": True,
                "domains": [DOMAIN],
                "keys": [read_key],
            },
            "peer": {"copies_per_address": "unlimited"},
        }
    )
    made.start()
    for key in (KEY, ODD, SECRET):
        wait_for_state(made, bucket, key)
    return made


@pytest.fixture(params=[Nginx, Caddy])
def gateway(
    request: pytest.FixtureRequest, daemon: SeederDaemon, bucket: str, tmp_path: Path
) -> Iterator[Gateway]:
    kind: type[Proxy] = request.param
    if reason := kind.why_missing():
        pytest.skip(reason)
    seeder = f"{daemon.address}:{daemon.tracker_port}"
    with kind(tmp_path / "proxy", daemon.address, seeder) as proxy:
        yield Gateway(daemon, proxy, bucket)
    assert "Traceback" not in daemon.log
    assert "trusted_proxies" not in daemon.log  # it would warn of what it doesn't know


@pytest.mark.usefixtures("namespace")
def test_all_of_the_gateway_is_to_be_had_through_the_documented_proxy(
    gateway: Gateway, client: ClientFactory, tmp_path: Path
) -> None:
    torrent = check_tracker(gateway)
    check_objects(gateway)
    check_signed(gateway)
    check_pages(gateway)
    if isinstance(gateway.proxy, Nginx):  # the other one sends who comes by plain HTTP to HTTPS
        torrent[b"announce"] = f"http://{gateway.proxy.address}/announce".encode()
        del torrent[b"url-list"]
        (tmp_path / "by.torrent").write_bytes(bencode(torrent))
        leecher = client(Libtorrent)
        leecher.add(tmp_path / "by.torrent")
        assert digest(leecher.wait(60)) == digest(BODY)
    else:
        plain = gateway.url.replace("https:", "http:")
        status, headers, _ = gateway.one.get(plain)
        assert (status, headers["location"]) == (308, gateway.url)


def check_tracker(gateway: Gateway) -> dict[bytes, Any]:
    """Clients are told each other's addresses, not the proxy's; return the torrent."""
    status, _, raw = gateway.one.get(f"{gateway.url}?torrent")
    assert status == 200
    torrent: dict[bytes, Any] = bdecode(raw)
    assert torrent[b"announce"] == f"{gateway.base}/announce".encode()
    assert gateway.url.encode() in torrent[b"url-list"]
    info_hash = gateway.daemon.torrent_status(gateway.bucket, KEY)["info_hash"]
    hash_text = "".join(f"%{byte:02x}" for byte in bytes.fromhex(info_hash))
    reply = b""
    for number, curl in enumerate((gateway.one, gateway.other)):
        status, _, reply = curl.get(
            f"{gateway.base}/announce?info_hash={hash_text}&peer_id=-XX0001-00000000000{number}"
            f"&port={4000 + number}&uploaded=0&downloaded=0&left=9&event=started&compact=0"
        )
        assert status == 200
    peers = {(peer[b"ip"].decode(), peer[b"port"]) for peer in bdecode(reply)[b"peers"]}
    assert peers == {(gateway.one.address, 4000), gateway.daemon.peer_address}
    return torrent


def check_objects(gateway: Gateway) -> None:
    """They come whole and in ranges, by path and by host, by odd keys, and packed by nobody."""
    one, url = gateway.one, gateway.url
    status, headers, body = one.get(url, "--compressed")
    assert (status, digest(body)) == (200, digest(BODY))
    assert "content-encoding" not in headers
    for each in (url, f"https://{gateway.bucket}.{DOMAIN}/{KEY}"):
        status, headers, body = one.get(each, "-r", "5-9", "--compressed")
        assert (status, body) == (206, BODY[5:10])
        assert headers["content-range"] == f"bytes 5-9/{len(BODY)}"
    status, _, _ = one.get(url, "-H", f"If-None-Match: {headers['etag']}")
    assert status == 304
    odd = f"{gateway.base}/{gateway.bucket}/{QUOTED}"
    status, headers, body = one.get(odd, "--compressed")
    assert (status, body) == (200, PAGE)
    assert "content-encoding" not in headers
    assert headers["accept-ranges"] == "bytes"
    assert one.get(f"{odd}?magnet")[2].startswith(b"magnet:?xt=urn:btih:")


def check_signed(gateway: Gateway) -> None:
    """What is signed for the proxy's name is signed rightly."""
    url = f"{gateway.base}/{gateway.bucket}/{SECRET}"
    assert gateway.one.get(url)[0] == 403
    client = Publisher(gateway.base, *READER).raw
    params = {"Bucket": gateway.bucket, "Key": SECRET}
    status, _, body = gateway.one.get(client.generate_presigned_url("get_object", Params=params))
    assert (status, body) == (200, b"secret")


def check_pages(gateway: Gateway) -> None:
    """The list is unpacked by who asks for it packed, and its links lead through the proxy."""
    status, headers, body = gateway.one.get(f"{gateway.base}/?q=base", "--compressed")
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert gateway.url.encode() in body

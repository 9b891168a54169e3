"""Real clients by HTTPS, with a certificate authority of the test that each is told to trust."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from bencode2 import bdecode, bencode

from tests.e2e.aws_cli import AwsCli, why_no_aws_cli
from tests.e2e.ceph import CephRGW
from tests.e2e.clients import KINDS, ClientFactory, Rtorrent
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, served_magnet, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.certificates import Authority
from tests.support.leecher import Leecher
from tests.support.objects import KIB, MIB, content, digest
from tests.support.ports import free_port
from tests.support.processes import missing_programs, poll_until, python_environment

KEY, SECRET = "object", "secret"
BODY = content(2 * MIB + 5)
READER = ("READER", "the-secret-of-the-reader-which-is-long")

pytestmark = pytest.mark.timeout(180)


class Site:
    """A daemon with TLS beside its plain port, and the authority that signed its certificate."""

    def __init__(self, daemon: SeederDaemon, bucket: str, directory: Path) -> None:
        self.daemon, self.bucket = daemon, bucket
        self.authority = Authority()
        self.ca_file = self.authority.write(directory / "ca.pem")
        self.files = self.authority.write_pair(directory, [daemon.address])
        self.port = free_port(daemon.address)

    @property
    def url(self) -> str:
        return f"https://{self.daemon.address}:{self.port}"

    def handshakes(self, result: str) -> int:
        count: int = self.daemon.status()["certificate"]["handshakes"][result]
        return count

    def uploaded(self) -> int:
        count: int = self.daemon.torrent_status(self.bucket, KEY)["uploaded_bytes"]
        return count


@pytest.fixture
def site(  # noqa: PLR0917  (fixtures)
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    publisher.put(bucket, KEY, BODY)
    publisher.put(bucket, SECRET, b"secret")
    secret = tmp_path / "reader.secret"
    secret.write_text(READER[1])
    secret.chmod(0o600)
    daemon = seeder({})
    site = Site(daemon, bucket, tmp_path)
    certificate, key = map(str, site.files)
    tls = {"tls_certificate": certificate, "tls_key": key}
    daemon.configure(
        {
            "origin": origin(ceph),
            "objects": [
                {"bucket": bucket, "key": KEY, "piece_length": f"{64 * KIB} B"},
                {"bucket": bucket, "key": SECRET, "public": False},
            ],
            "tracker": {**tls, "tls_listen": [f"{daemon.address}:{site.port}"]},
            "peer": {"super_seeding": "off", "copies_per_address": "unlimited"},
            "gateway": {
                "web_seed": True,
                "keys": [
                    {
                        "access_key_id": READER[0],
                        "secret_file": str(secret),
                        "objects": [f"{bucket}/*"],
                    }
                ],
            },
        }
    )
    daemon.start()
    for name in (KEY, SECRET):
        wait_for_state(daemon, bucket, name)
    # OpenSSL, curl and Node.js have a variable each; other clients have an option.
    for variable in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(variable, str(site.ca_file))
    monkeypatch.setenv("TR_CURL_SSL_VERIFY", "1")
    return site


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_client_announces_by_https_and_takes_the_web_seed(
    kind: type[Leecher], *, site: Site, client: ClientFactory, tmp_path: Path
) -> None:
    torrent = bdecode(served_torrent(site.daemon, site.bucket, KEY))
    assert torrent[b"announce"] == f"{site.url}/announce".encode()
    seeds = torrent.pop(b"url-list")
    assert seeds == [f"{site.url}/{site.bucket}/{KEY}".encode()]
    file = tmp_path / "announced.torrent"
    file.write_bytes(bencode(torrent))
    assert digest(client(kind).download(file, timeout=150)) == digest(BODY)
    assert site.handshakes("done") > 0
    if kind is not Rtorrent:  # it knows no web seeds
        before = site.uploaded()
        del torrent[b"announce"]
        torrent.pop(b"announce-list", None)
        file.write_bytes(bencode(torrent | {b"url-list": seeds}))
        assert digest(client(kind).download(file, timeout=150)) == digest(BODY)
        # What is sent over TLS is counted as it is without.
        poll_until(lambda: site.uploaded() >= before + len(BODY), timeout=20, what="figure")
    assert site.handshakes("failed") == site.handshakes("distrusted") == 0


def test_clients_of_s3_sign_and_read_by_https(site: Site, tmp_path: Path) -> None:
    link = served_magnet(site.daemon, site.bucket, KEY)
    assert "tr=https%3A" in link
    assert "ws=https%3A" in link
    assert "http%3A" not in link
    signed = Publisher(site.url, *READER).raw
    assert signed.get_object(Bucket=site.bucket, Key=SECRET)["Body"].read() == b"secret"
    url = signed.generate_presigned_url(
        "get_object", Params={"Bucket": site.bucket, "Key": SECRET}, ExpiresIn=600
    )
    assert url.startswith(f"{site.url}/{site.bucket}/{SECRET}?")
    curl = ("curl", "-sS", "--cacert", site.ca_file)
    assert ask(*curl, url) == b"secret"
    assert digest(ask(*curl, f"{site.url}/{site.bucket}/{KEY}")) == digest(BODY)
    plain = f"http://{site.daemon.address}:{site.daemon.tracker_port}/"
    assert httpx.get(plain, trust_env=False).status_code == 200
    if why_no_aws_cli() is None:
        aws = AwsCli(site.url, tmp_path)
        trust = {"AWS_CA_BUNDLE": str(site.ca_file)}
        place = f"s3://{site.bucket}/{SECRET}"
        copied = aws.s3("cp", place, "copy", keys=READER, environment=trust)
        assert copied.code == 0, copied.errors
        assert (tmp_path / "copy").read_bytes() == b"secret"
    if not missing_programs("rclone"):
        ask(
            *("rclone", "--ca-cert", site.ca_file, "--config", tmp_path / "none"),
            *("--s3-provider", "Other", "--s3-endpoint", site.url, "--s3-region", "us-east-1"),
            *("--s3-access-key-id", READER[0], "--s3-secret-access-key", READER[1]),
            *("copyto", f":s3:{site.bucket}/{KEY}", tmp_path / "by-rclone"),
            # It takes AWS's variable for its own, and then refuses both.
            env=python_environment(HOME=str(tmp_path)),
        )
        assert digest(tmp_path / "by-rclone") == digest(BODY)


def ask(*words: str | Path, env: Mapping[str, str] | None = None) -> bytes:
    done = subprocess.run(words, env=env, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout

"""GetObjectTorrent by those who call it: boto3 and the AWS CLI, unmodified."""

import http.client
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.e2e.aws_cli import AwsCli, why_no_aws_cli
from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory, QBittorrent
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, read_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, content, digest

MakeDaemon = Callable[..., SeederDaemon]

BODY = content(300 * KIB)
PUBLIC, SECRET = "data/a b+é.bin", "drafts/secret"
READER = ("READER", "the secret of the reader, which is long".replace(" ", "-"))
DOMAIN = "torrents.example.org"
OWNER = "111122223333"


@pytest.fixture
def gateway(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon, tmp_path: Path
) -> SeederDaemon:
    """A daemon with a public object and one that only READER may read."""
    for key in (PUBLIC, SECRET):
        publisher.put(bucket, key, BODY + key.encode())
    secret = tmp_path / "reader.secret"
    secret.write_text(READER[1])
    secret.chmod(0o600)
    objects: list[dict[str, object]] = [
        {"bucket": bucket, "key": PUBLIC},
        {"bucket": bucket, "key": SECRET, "public": False},
    ]
    read_key = {
        "access_key_id": READER[0],
        "secret_file": str(secret),
        "objects": [f"{bucket}/drafts/*"],
    }
    daemon = seeder(
        {
            "origin": origin(ceph, request_payer=True, expected_bucket_owner=OWNER),
            "objects": objects,
            "gateway": {"domains": [DOMAIN], "listing": True, "keys": [read_key]},
        }
    )
    daemon.start()
    for name in (PUBLIC, SECRET):
        wait_for_state(daemon, bucket, name)
    return daemon


def url_of(daemon: SeederDaemon) -> str:
    return f"http://{daemon.address}:{daemon.tracker_port}"


def s3_client(daemon: SeederDaemon, keys: tuple[str, str] | None, style: str) -> Any:
    """Return boto3's client for the gateway.

    Names below DOMAIN lead to the daemon as by DNS: it is its own proxy, which is asked for whole
    URLs, with the same Host header.
    """
    virtual = style == "virtual"
    access_key, secret_key = keys or (None, None)
    addressing: Any = {"addressing_style": style}
    return boto3.session.Session().client(
        "s3",
        region_name="us-east-1",
        endpoint_url=f"http://{DOMAIN}" if virtual else url_of(daemon),
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            signature_version=None if keys else UNSIGNED,
            s3=addressing,
            proxies={"http": url_of(daemon)} if virtual else None,
            retries={"total_max_attempts": 1},
        ),
    )


def refusal(call: Callable[[], object]) -> tuple[int, str]:
    """Return the status and the code that a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call()
    answer: Any = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def served(daemon: SeederDaemon, bucket: str, key: str) -> bytes:
    code, body = daemon.get(f"/{bucket}/{quote(key)}?torrent")
    assert code == 200
    return body


def test_qbittorrent_downloads_what_the_feed_has(
    gateway: SeederDaemon, client: ClientFactory, tmp_path: Path
) -> None:
    follower = client(QBittorrent)
    follower.follow(f"{url_of(gateway)}/?format=rss")
    (tmp_path / "expected").write_bytes(BODY + PUBLIC.encode())
    assert digest(follower.wait(timeout=60)) == digest(tmp_path / "expected")


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_boto3_gets_torrents_signed_and_anonymous(
    gateway: SeederDaemon, bucket: str, style: str, client: ClientFactory, *, tmp_path: Path
) -> None:
    anonymous = s3_client(gateway, None, style)
    reader = s3_client(gateway, READER, style)
    terms = {"RequestPayer": "requester", "ExpectedBucketOwner": OWNER}
    answer = reader.get_object_torrent(Bucket=bucket, Key=SECRET, **terms)
    assert answer["RequestCharged"] == "requester"
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-type"] == "application/x-bittorrent"
    assert headers["content-disposition"] == "attachment; filename=secret.torrent"
    assert headers["x-amz-request-id"] == answer["ResponseMetadata"]["RequestId"]
    torrent = answer["Body"].read()
    assert read_torrent(torrent).size == len(BODY + SECRET.encode())
    for one in (anonymous, reader):
        public = one.get_object_torrent(Bucket=bucket, Key=PUBLIC)
        assert "RequestCharged" not in public
        assert public["Body"].read() == served(gateway, bucket, PUBLIC)
    get = anonymous.get_object_torrent
    assert refusal(partial(get, Bucket=bucket, Key=SECRET)) == (403, "AccessDenied")
    assert refusal(partial(get, Bucket=bucket, Key="x")) == (404, "NoSuchKey")
    assert refusal(partial(get, Bucket="none", Key="x")) == (404, "NoSuchBucket")
    owner = {"ExpectedBucketOwner": "999999999999"}
    assert refusal(partial(get, Bucket=bucket, Key=PUBLIC, **owner)) == (403, "AccessDenied")
    wrong = s3_client(gateway, (READER[0], "another"), style)
    unknown = s3_client(gateway, ("STRANGER", READER[1]), style)
    for one, code in ((wrong, "SignatureDoesNotMatch"), (unknown, "InvalidAccessKeyId")):
        get = one.get_object_torrent
        assert refusal(partial(get, Bucket=bucket, Key=SECRET)) == (403, code)
    if style == "path":
        file = tmp_path / "secret.torrent"
        file.write_bytes(torrent)
        downloaded = digest(client(Libtorrent).download(file, timeout=30))
        (tmp_path / "expected").write_bytes(BODY + SECRET.encode())
        assert downloaded == digest(tmp_path / "expected")


def test_the_aws_cli_gets_torrents_signed_and_anonymous(
    gateway: SeederDaemon, bucket: str, tmp_path: Path
) -> None:
    if reason := why_no_aws_cli():
        pytest.skip(reason)
    # The CLI chooses virtual hosts for what is no address, and dials the proxy for it.
    proxy = {"http_proxy": url_of(gateway)}
    path = AwsCli(url_of(gateway), tmp_path)
    virtual = AwsCli(f"http://{DOMAIN}", tmp_path)
    command = ("get-object-torrent", "--bucket", bucket, "--key")
    out = tmp_path / "out.torrent"
    for cli, environment in ((path, {}), (virtual, proxy)):
        done = cli.s3api(*command, PUBLIC, str(out), keys=None, environment=environment)
        assert (done.code, done.errors) == (0, "")
        assert out.read_bytes() == served(gateway, bucket, PUBLIC)
        words = (*command, SECRET, "--request-payer", "requester", str(out))
        done = cli.s3api(*words, keys=READER, environment=environment)
        assert (done.code, done.errors) == (0, "")
        assert json.loads(done.output) == {"RequestCharged": "requester"}
        assert read_torrent(out.read_bytes()).name == "secret"
    denied = path.s3api(*command, SECRET, str(out), keys=None)
    assert denied.code != 0
    assert "AccessDenied" in denied.errors


def test_presigned_urls_magnets_and_lists_are_answered(gateway: SeederDaemon, bucket: str) -> None:
    reader = s3_client(gateway, READER, "path")
    version_4 = boto3.session.Session().client(
        "s3",
        region_name="us-east-1",
        endpoint_url=url_of(gateway),
        aws_access_key_id=READER[0],
        aws_secret_access_key=READER[1],
        config=Config(signature_version="s3v4"),
    )
    arguments = {"Bucket": bucket, "Key": SECRET}
    url = version_4.generate_presigned_url("get_object_torrent", arguments, ExpiresIn=60)
    target = url.removeprefix(url_of(gateway))
    code, torrent = gateway.get(target)
    assert code == 200
    assert torrent == reader.get_object_torrent(**arguments)["Body"].read()
    code, answer = gateway.get(target.replace("Expires=60", "Expires=61"))
    assert (code, ElementTree.fromstring(answer).findtext("Code")) == (403, "SignatureDoesNotMatch")
    connection = http.client.HTTPConnection(gateway.address, gateway.tracker_port, timeout=30)
    connection.request("GET", f"/{quote(SECRET)}?magnet", headers={"Host": f"{bucket}.{DOMAIN}"})
    assert connection.getresponse().status == 403
    connection.close()
    code, magnet = gateway.get(f"/{bucket}/{quote(PUBLIC)}?magnet")
    assert code == 200
    code, body = gateway.get("/?format=json")
    assert code == 200
    [listed] = json.loads(body)["torrents"]
    assert (listed["key"], listed["magnet"]) == (PUBLIC, magnet.decode().strip())
    assert listed["torrent"] == f"{url_of(gateway)}/{bucket}/{quote(PUBLIC)}?torrent"
    code, body = gateway.get("/?format=rss")
    enclosure = ElementTree.fromstring(body).find("channel/item/enclosure")
    assert enclosure is not None
    assert enclosure.get("url") == listed["torrent"]

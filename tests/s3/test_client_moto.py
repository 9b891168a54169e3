"""The client against moto: an S3 server that somebody else wrote."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from botocore.session import Session

from seeder.errors import ObjectChanged, ObjectMissing, OriginFault
from seeder.s3.client import S3Origin
from seeder.torrent.objects import ObjectRef
from seeder.units import ByteRange
from tests.s3.samples import NASTY
from tests.s3.support import CountingMeter, MakeOrigin
from tests.support.moto import moto_server

BODY = bytes(range(256)) * 400


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The URL of a running server."""
    with moto_server() as url:
        yield url


@pytest.fixture(scope="module")
def client(moto: str) -> Iterator[Any]:
    """botocore's client, with a bucket called quotes."""
    made: Any = Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=moto,
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secrettest",
    )
    made.create_bucket(Bucket="quotes")
    yield made
    made.close()


@pytest.fixture
async def origin(make_origin: MakeOrigin, moto: str) -> S3Origin:
    return await make_origin(endpoint=moto)


def ref(key: str, version: str | None = None, bucket: str = "quotes") -> ObjectRef:
    return ObjectRef("default", bucket, key, version)


@pytest.mark.parametrize("key", [key for key in NASTY if "\x00" not in key and key != ".."])
async def test_objects_are_found_and_read_under_any_key(
    client: Any, origin: S3Origin, meter: CountingMeter, key: str
) -> None:
    client.put_object(Bucket="quotes", Key=key, Body=BODY)
    pinned = await origin.head(ref(key), meter)
    assert pinned.size == len(BODY)
    wanted = ByteRange(777, 5000)
    assert await origin.read_range(pinned, wanted, meter, "hashing") == BODY[777:5777]
    assert await origin.read_small(ref(key), len(BODY), meter) == BODY
    assert meter.requests == {"metainfo": 2, "hashing": 1}
    assert meter.received == {"metainfo": len(BODY), "hashing": 5000}


async def test_an_object_that_was_overwritten_has_changed(
    client: Any, origin: S3Origin, meter: CountingMeter
) -> None:
    client.put_object(Bucket="quotes", Key="Nelson", Body=BODY)
    pinned = await origin.head(ref("Nelson"), meter)
    client.put_object(Bucket="quotes", Key="Nelson", Body=BODY[::-1])
    with pytest.raises(ObjectChanged, match="quotes/Nelson"):
        await origin.read_range(pinned, ByteRange(0, 10), meter, "pieces")


async def test_a_version_is_read_behind_a_newer_one(
    client: Any, origin: S3Origin, meter: CountingMeter
) -> None:
    client.create_bucket(Bucket="versions")
    client.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    old = client.put_object(Bucket="versions", Key="k", Body=b"old")["VersionId"]
    new = client.put_object(Bucket="versions", Key="k", Body=b"newer")["VersionId"]
    latest = await origin.head(ref("k", bucket="versions"), meter)
    assert (latest.size, latest.version_id) == (5, new)
    pinned = await origin.head(ref("k", old, "versions"), meter)
    assert (pinned.size, pinned.version_id) == (3, old)
    assert await origin.read_range(pinned, ByteRange(0, 3), meter, "pieces") == b"old"


@pytest.mark.parametrize(
    ("bucket", "words"), [("quotes", "no such key"), ("nowhere", "no such bucket")]
)
async def test_a_missing_bucket_is_told_from_a_missing_key(
    client: Any, origin: S3Origin, meter: CountingMeter, bucket: str, words: str
) -> None:
    with pytest.raises(ObjectMissing, match=words):
        await origin.head(ref("missing", bucket=bucket), meter)


async def test_motos_torrent_is_the_object_and_is_refused_early(
    client: Any, origin: S3Origin, meter: CountingMeter
) -> None:
    client.put_object(Bucket="quotes", Key="big", Body=b"x" * 9_000_000)
    pinned = await origin.head(ref("big"), meter)
    with pytest.raises(OriginFault, match="the object itself"):
        await origin.get_torrent(pinned, meter)
    assert meter.received["metainfo"] < 1_000_000


async def test_an_empty_object_has_a_size_of_zero(
    client: Any, origin: S3Origin, meter: CountingMeter
) -> None:
    client.put_object(Bucket="quotes", Key="empty", Body=b"")
    assert (await origin.head(ref("empty"), meter)).size == 0
    assert await origin.read_small(ref("empty"), 10, meter) == b""


async def test_a_listing_has_every_key_that_head_finds(
    client: Any, origin: S3Origin, meter: CountingMeter
) -> None:
    keys = {f"list/{key}" for key in NASTY if "\x00" not in key and key != ".."}
    for key in keys:
        client.put_object(Bucket="quotes", Key=key, Body=key.encode())
    page = await origin.list_page(ref("list/"), None, meter)
    found = dict(page.objects)
    assert found.keys() == keys
    for key, listed in found.items():
        pinned = await origin.head(ref(key), meter)
        assert (listed.etag, listed.size) == (pinned.etag, pinned.size)


async def test_the_sha_256_that_s3_keeps_of_a_whole_object_is_told(
    client: Any, origin: S3Origin, meter: CountingMeter
) -> None:
    client.put_object(Bucket="quotes", Key="kept", Body=BODY, ChecksumAlgorithm="SHA256")
    client.put_object(Bucket="quotes", Key="other", Body=BODY, ChecksumAlgorithm="CRC32")
    kept, other = [await origin.head(ref(key), meter) for key in ("kept", "other")]
    assert kept.description is not None
    assert kept.description.sha256 == sha256(BODY).hexdigest()
    assert other.description is not None
    assert other.description.sha256 is None

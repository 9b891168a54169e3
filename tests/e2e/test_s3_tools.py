"""Tools that read from S3, unmodified, read from the gateway: what is public, and nothing else."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.e2e.aws_cli import AwsCli, why_no_aws_cli
from tests.e2e.ceph import CephRGW
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, wait_for_state
from tests.e2e.s3 import Publisher
from tests.e2e.tables import run_there, why_no_tables
from tests.support.objects import KIB, MIB, content, digest
from tests.support.processes import missing_programs, python_environment

MakeDaemon = Callable[..., SeederDaemon]

KEYS = {
    "data/a b+é.bin": content(300 * KIB),
    "data/large.bin": content(20 * MIB + 5),
    "data/deep/er.bin": b"deeper",
    "table.csv": b"name,said\nNelson,kiss me\nGrace,no\n",
}
PACK = "pack/"
PACKED = {
    "pack/a b+é.bin": content(100 * KIB),
    "pack/deep/er.bin": b"deeper",
    "pack/empty": b"",
    "pack/twice.csv": b"name,said\nNelson,kiss me\n",
}
"""Published as a bundle, and the last one alone as well."""
SECRET = "drafts/secret"
READER = ("READER", "the-secret-of-the-reader-which-is-long")
UNKNOWN = ("NOBODY", "a-secret-of-nobody-that-we-know-of")
FORGED = (READER[0], "not-the-secret-of-the-reader-but-long")
DOMAIN, OTHER_DOMAIN = "t.example.org", "u.example.org"
"""The one that the gateway knows as its own, and another name for it."""
TOLD = {"ContentType": "text/csv", "CacheControl": "max-age=60"}


@pytest.fixture
def gateway(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon, tmp_path: Path
) -> SeederDaemon:
    """A daemon with public objects, a public bundle, and an object that only READER may read."""
    for key, body in (KEYS | PACKED).items():
        publisher.put(bucket, key, body, **(TOLD if key == "table.csv" else {}))
    publisher.put(bucket, SECRET, b"secret")
    if why_no_tables() is None:
        run_there(PARQUET, str(tmp_path / "table.parquet"))
        publisher.put(bucket, "table.parquet", (tmp_path / "table.parquet").read_bytes())
    secret = tmp_path / "reader.secret"
    secret.write_text(READER[1])
    secret.chmod(0o600)
    read_key = {"access_key_id": READER[0], "secret_file": str(secret), "objects": [f"{bucket}/*"]}
    names = [*KEYS, "pack/twice.csv", *(["table.parquet"] if why_no_tables() is None else [])]
    objects: list[dict[str, object]] = [{"bucket": bucket, "key": name} for name in names]
    objects.append({"bucket": bucket, "key": SECRET, "public": False})
    objects.append({"bucket": bucket, "prefix": PACK, "bundle": True})
    daemon = seeder(
        {
            "origin": origin(ceph),
            "objects": objects,
            "gateway": {
                "web_seed": True,
                "listing": True,
                "keys": [read_key],
                "domains": [DOMAIN],
            },
            "peer": {"copies_per_address": "unlimited"},
        }
    )
    daemon.start()
    for name in (*names, SECRET, PACK):
        wait_for_state(daemon, bucket, name)
    return daemon


def url_of(daemon: SeederDaemon) -> str:
    return f"http://{daemon.address}:{daemon.tracker_port}"


def client_of(daemon: SeederDaemon, keys: tuple[str, str] | None) -> Any:
    return Publisher(url_of(daemon), *(keys or (None, None))).raw


def test_the_aws_cli_lists_and_copies(gateway: SeederDaemon, bucket: str, tmp_path: Path) -> None:
    if reason := why_no_aws_cli():
        pytest.skip(reason)
    aws = AwsCli(url_of(gateway), tmp_path)
    assert bucket in aws.s3("ls", keys=None).output
    listed = aws.s3("ls", f"s3://{bucket}", "--recursive", keys=None)
    assert [line.split(None, 3)[3] for line in listed.output.splitlines()] == sorted(
        [*KEYS, *PACKED, *(["table.parquet"] if why_no_tables() is None else [])]
    )
    assert " 1970-" not in aws.s3("ls", keys=None).output + listed.output
    assert "PRE deep/" in aws.s3("ls", f"s3://{bucket}/data/", keys=None).output
    assert SECRET in aws.s3("ls", f"s3://{bucket}", "--recursive", keys=READER).output
    for keys in (None, READER):
        copied = aws.s3("cp", f"s3://{bucket}/data", "copy", "--recursive", keys=keys)
        assert copied.code == 0, copied.errors
        for key, body in KEYS.items():
            if key.startswith("data/"):
                assert digest(tmp_path / "copy" / key.removeprefix("data/")) == digest(body)
    synced = aws.s3("sync", f"s3://{bucket}/{PACK}", "pack", keys=None)
    assert synced.code == 0, synced.errors
    for key, body in PACKED.items():
        assert (tmp_path / key).read_bytes() == body
    # All has the size and the date that it has here.
    assert aws.s3("sync", f"s3://{bucket}/{PACK}", "pack", keys=None).output == ""
    assert "(403)" in aws.s3("cp", f"s3://{bucket}/{SECRET}", "-", keys=None).errors
    for keys, code in ((UNKNOWN, "InvalidAccessKeyId"), (FORGED, "SignatureDoesNotMatch")):
        assert code in aws.s3("ls", f"s3://{bucket}", keys=keys).errors
    table = f"s3://{bucket}/table.csv"
    for words in (
        ("cp", __file__, f"s3://{bucket}/mine"),
        ("rm", table),
        ("mv", table, table + "2"),
    ):
        refusal = aws.s3(*words, keys=READER)
        assert refusal.code == 1
        assert "MethodNotAllowed" in refusal.errors
        assert "This gateway only reads" in refusal.errors


NOT_ALLOWED = "MethodNotAllowed"
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("put_object", {"Key": "k", "Body": b"x"}, NOT_ALLOWED),
    ("delete_object", {"Key": "table.csv"}, NOT_ALLOWED),
    ("create_bucket", {"Bucket": "other"}, NOT_ALLOWED),
    ("create_multipart_upload", {"Key": "k"}, NOT_ALLOWED),
    ("get_bucket_acl", {}, "NotImplemented"),
    ("list_object_versions", {}, "NotImplemented"),
    ("upload_part", {"Key": "k", "UploadId": "u", "PartNumber": 1, "Body": b"x"}, NOT_ALLOWED),
    ("delete_objects", {"Delete": {"Objects": [{"Key": "table.csv"}]}}, NOT_ALLOWED),
    ("copy_object", {"Key": "k", "CopySource": "b/k"}, NOT_ALLOWED),
    ("put_bucket_acl", {"ACL": "private"}, NOT_ALLOWED),
    ("put_object_tagging", {"Key": "table.csv", "Tagging": {"TagSet": []}}, NOT_ALLOWED),
    ("list_objects_v2", {"Bucket": "other"}, "NoSuchBucket"),
    ("get_object", {"Key": "none"}, "NoSuchKey"),
    ("get_object", {"Key": "table.csv", "Range": "bytes=99-"}, "InvalidRange"),
]


def test_calls_are_answered_page_by_page_or_refused_with_s3s_codes(
    gateway: SeederDaemon, bucket: str, publisher: Publisher
) -> None:
    head = {"Bucket": bucket, "Key": "table.csv"}
    true = publisher.raw.head_object(**head)
    for keys in (None, READER):
        client = client_of(gateway, keys)
        assert client.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert client.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
        told = client.head_object(**head)
        for name in ("ContentType", "ETag", "LastModified", "ContentLength"):
            assert told[name] == true[name], name
        assert refused(client.get_object, **head, IfModifiedSince=true["LastModified"]) == "304"
        for name, arguments, code in REFUSED:
            assert refused(getattr(client, name), **{"Bucket": bucket, **arguments}) == code
        for name in ("list_objects", "list_objects_v2"):
            paging = {"PageSize": 1}
            pages = list(
                client.get_paginator(name).paginate(
                    Bucket=bucket, Delimiter="/", PaginationConfig=paging
                )
            )
            found = [each["Key"] for page in pages for each in page.get("Contents", ())]
            below = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", ())]
            assert found[0] == "table.csv"
            hidden = [] if keys is None else ["drafts/"]
            assert below == ["data/", *hidden, "pack/"]
        for key, body in PACKED.items():
            there = {"Bucket": bucket, "Key": key}
            true_one, told = publisher.raw.head_object(**there), client.head_object(**there)
            for name in ("ETag", "LastModified", "ContentLength"):
                assert told[name] == true_one[name], name
            if body:
                part = client.get_object(**there, Range="bytes=1-3", IfMatch=told["ETag"])
                assert part["Body"].read() == body[1:4]


def test_every_way_to_sign_reads_and_none_writes(gateway: SeederDaemon, bucket: str) -> None:
    key = {"Bucket": bucket, "Key": SECRET}
    for options in (
        {"s3": {"payload_signing_enabled": True}},
        {"s3": {"payload_signing_enabled": False}},
        {"request_checksum_calculation": "when_required"},
        {"request_checksum_calculation": "when_supported"},  # a trailer behind signed chunks
    ):
        client = boto3.client(
            "s3",
            endpoint_url=url_of(gateway),
            region_name="eu-central-1",
            aws_access_key_id=READER[0],
            aws_secret_access_key=READER[1],
            config=Config(signature_version="s3v4", retries={"max_attempts": 1}, **options),
        )
        assert client.get_object(**key)["Body"].read() == b"secret"
        assert refused(client.put_object, **key, Body=b"x" * 100) == NOT_ALLOWED
        presigned = client.generate_presigned_url("get_object", Params=key)
        assert httpx.get(presigned).content == b"secret"
        assert httpx.head(presigned).status_code == 403  # it is signed for GET
        assert httpx.get(presigned.replace(bucket, "other")).status_code == 403
        upload = client.generate_presigned_url("put_object", Params=key)
        assert httpx.put(upload, content=b"x").status_code == 405
        form = client.generate_presigned_post(bucket, "k")
        assert httpx.post(form["url"], data=form["fields"]).status_code == 405


def test_tools_may_name_the_bucket_by_the_host(
    gateway: SeederDaemon, bucket: str, tmp_path: Path
) -> None:
    """The names are looked up nowhere: the gateway is the tools' proxy, too."""
    if reason := why_no_aws_cli():
        pytest.skip(reason)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\ns3 =\n  addressing_style = virtual\n")
    through = {"HTTP_PROXY": url_of(gateway), "http_proxy": url_of(gateway)}
    aws = AwsCli(f"http://{DOMAIN}", tmp_path)
    for keys in (None, READER):
        listed = aws.s3("ls", f"s3://{bucket}/data/", keys=keys, environment=through)
        assert "large.bin" in listed.output, listed.errors
        source = f"s3://{bucket}/data"
        copied = aws.s3("cp", source, "copy", "--recursive", keys=keys, environment=through)
        assert copied.code == 0, copied.errors
        assert digest(tmp_path / "copy" / "large.bin") == digest(KEYS["data/large.bin"])
    assert bucket in aws.s3("ls", keys=None, environment=through).output
    other = AwsCli(f"http://{OTHER_DOMAIN}", tmp_path)
    for words in (
        ("ls", f"s3://{bucket}"),
        ("sync", "--delete", f"s3://{bucket}/data", "copy"),
    ):
        refusal = other.s3(*words, keys=None, environment=through)
        assert refusal.code != 0
        assert "domains of [gateway]" in refusal.errors
    assert (tmp_path / "copy" / "large.bin").exists()
    if missing := missing_programs("rclone"):
        pytest.skip(f"{', '.join(missing)} not installed")
    rclone = subprocess.run(
        [
            *("rclone", "--config", tmp_path / "none", "--s3-provider", "Other"),
            *("--s3-endpoint", f"http://{DOMAIN}", "--s3-force-path-style=false"),
            *("lsf", f":s3:{bucket}/data"),
        ],
        env=python_environment(HOME=str(tmp_path), **through),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "large.bin" in rclone.stdout, rclone.stderr


def test_an_object_is_one_part_and_its_version_is_null(gateway: SeederDaemon, bucket: str) -> None:
    there = {"Bucket": bucket, "Key": "data/large.bin"}
    body = KEYS["data/large.bin"]
    for keys in (None, READER):
        client = client_of(gateway, keys)
        part = client.get_object(**there, PartNumber=1, VersionId="null")
        assert part["ContentRange"] == f"bytes 0-{len(body) - 1}/{len(body)}"
        assert part["Body"].read() == body
        assert client.head_object(**there, PartNumber=1)["ContentLength"] == len(body)
        assert refused(client.get_object, **there, PartNumber=2) == "InvalidPartNumber"
        assert refused(client.get_object, **there, VersionId="other") == "NoSuchVersion"


def refused(call: Callable[..., object], **arguments: object) -> str:
    """Return the code that a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_rclone_lists_and_copies(gateway: SeederDaemon, bucket: str, tmp_path: Path) -> None:
    if missing := missing_programs("rclone"):
        pytest.skip(f"{', '.join(missing)} not installed")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                "rclone",
                "--config",
                tmp_path / "none",
                "--s3-provider",
                "Other",
                "--s3-endpoint",
                url_of(gateway),
                *words,
            ],
            env=python_environment(HOME=str(tmp_path)),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def rclone(*words: str) -> str:
        done = run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # It signs nothing, and sends none of Amazon's headers.
    assert rclone("lsf", ":s3:") == f"{bucket}/\n"
    once = ("--retries", "1", "--low-level-retries", "1")
    assert "This gateway only reads" in run("copyto", __file__, f":s3:{bucket}/mine", *once).stderr

    assert sorted(rclone("lsf", "-R", "--files-only", f":s3:{bucket}/data").splitlines()) == sorted(
        key.removeprefix("data/") for key in KEYS if key.startswith("data/")
    )
    rclone("copy", f":s3:{bucket}/data", str(tmp_path / "copy"))
    for key, body in KEYS.items():
        if key.startswith("data/"):
            assert digest(tmp_path / "copy" / key.removeprefix("data/")) == digest(body)
    rclone("sync", f":s3:{bucket}/{PACK}", str(tmp_path / "pack"))
    for key, body in PACKED.items():
        assert (tmp_path / key).read_bytes() == body
    rclone("check", f":s3:{bucket}/{PACK}", str(tmp_path / "pack"))
    # Size and checksum of each are the source's.
    rclone("check", f":s3:{bucket}/data", str(tmp_path / "copy"))


PARQUET = """
import sys, pyarrow, pyarrow.parquet
table = pyarrow.table({"name": ["Nelson", "Grace"], "age": [47, 85]})
pyarrow.parquet.write_table(table, sys.argv[1])
print("null")
"""
PANDAS = """
import json, sys, pandas, s3fs
url, bucket = sys.argv[1:]
options = {"anon": True, "client_kwargs": {"endpoint_url": url}}
found = s3fs.S3FileSystem(**options).find(bucket)
csv = pandas.read_csv(f"s3://{bucket}/table.csv", storage_options=options)
parquet = pandas.read_parquet(f"s3://{bucket}/table.parquet", storage_options=options)
packed = pandas.read_csv(f"s3://{bucket}/pack/twice.csv", storage_options=options)
print(json.dumps([found, [*csv["said"], *packed["said"]], int(parquet["age"].sum())]))
"""
PYARROW = """
import json, sys, pyarrow.fs, pyarrow.parquet
url, bucket = sys.argv[1:]
s3 = pyarrow.fs.S3FileSystem(
    anonymous=True, endpoint_override=url.removeprefix("http://"), scheme="http"
)
found = s3.get_file_info(pyarrow.fs.FileSelector(bucket, recursive=True))
files = [each.path for each in found if each.is_file]
table = pyarrow.parquet.read_table(f"{bucket}/table.parquet", filesystem=s3)
print(json.dumps([files, sum(table["age"].to_pylist())]))
"""


def test_pandas_and_pyarrow_read_tables(gateway: SeederDaemon, bucket: str) -> None:
    if reason := why_no_tables():
        pytest.skip(reason)
    names = sorted(f"{bucket}/{key}" for key in (*KEYS, *PACKED, "table.parquet"))
    found, said, ages = run_there(PANDAS, url_of(gateway), bucket)
    assert (sorted(found), said, ages) == (names, ["kiss me", "no", "kiss me"], 132)
    files, ages = run_there(PYARROW, url_of(gateway), bucket)
    assert (sorted(files), ages) == (names, 132)
    assert "Traceback" not in gateway.log

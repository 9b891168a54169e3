"""A publisher's S3 client for tests: botocore with the calls that scenarios need, typed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

MULTIPART_PART_SIZE = 8 * 2**20  # what the AWS CLI uses


class Publisher:
    """One user of one S3 server; `raw` is the botocore client for everything rarer.

    Errors are botocore's ClientError. Connections open in the network of the calling thread.
    """

    def __init__(self, endpoint: str, access_key: str | None, secret_key: str | None) -> None:
        session = botocore.session.Session()
        config = Config(
            signature_version="s3v4" if access_key else UNSIGNED,
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={},
        )
        self.raw: Any = session.create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=config,
        )

    def create_bucket(self, bucket: str, *, versioned: bool = False) -> None:
        """Make a bucket, with versions if asked."""
        self.raw.create_bucket(Bucket=bucket)
        if versioned:
            self.raw.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
            )

    def put(self, bucket: str, key: str, body: bytes | Path, **arguments: str) -> str:
        """Upload in one request and return the ETag with its quotes."""
        if isinstance(body, bytes):
            answer = self.raw.put_object(Bucket=bucket, Key=key, Body=body, **arguments)
        else:
            with body.open("rb") as file:
                answer = self.raw.put_object(Bucket=bucket, Key=key, Body=file, **arguments)
        return str(answer["ETag"])

    def put_multipart(
        self,
        bucket: str,
        key: str,
        body: bytes | Path,
        *,
        part_size: int = MULTIPART_PART_SIZE,
        **arguments: str,
    ) -> str:
        """Upload in parts of `part_size` bytes and return the ETag with its quotes."""
        content = body if isinstance(body, bytes) else body.read_bytes()
        where = {"Bucket": bucket, "Key": key}
        upload = self.raw.create_multipart_upload(**where, **arguments)["UploadId"]
        parts = []
        for number, start in enumerate(range(0, len(content), part_size), start=1):
            part = self.raw.upload_part(
                **where,
                UploadId=upload,
                PartNumber=number,
                Body=content[start : start + part_size],
                **arguments,
            )
            checksums = {name: part[name] for name in part if name.startswith("Checksum")}
            parts.append({"PartNumber": number, "ETag": part["ETag"], **checksums})
        self.raw.complete_multipart_upload(
            **where, UploadId=upload, MultipartUpload={"Parts": parts}
        )
        # RGW 16 answers the completion with an empty ETag.
        return str(self.head(bucket, key)["ETag"])

    def copy_in_place(self, bucket: str, key: str, *, size: int, part_size: int) -> None:
        """Copy an object onto itself in parts, which gives it an ETag of parts."""
        where = {"Bucket": bucket, "Key": key}
        upload = self.raw.create_multipart_upload(**where)["UploadId"]
        parts = []
        for number, start in enumerate(range(0, size, part_size), start=1):
            part = self.raw.upload_part_copy(
                **where,
                UploadId=upload,
                PartNumber=number,
                CopySource=where,
                CopySourceRange=f"bytes={start}-{min(start + part_size, size) - 1}",
            )
            parts.append({"PartNumber": number, "ETag": part["CopyPartResult"]["ETag"]})
        self.raw.complete_multipart_upload(
            **where, UploadId=upload, MultipartUpload={"Parts": parts}
        )

    def head(self, bucket: str, key: str, **arguments: str) -> Mapping[str, Any]:
        """Return botocore's answer to HEAD."""
        answer: Mapping[str, Any] = self.raw.head_object(Bucket=bucket, Key=key, **arguments)
        return answer

    def get(self, bucket: str, key: str, **arguments: str) -> bytes:
        """Return the object's body, or a range of it (`Range="bytes=0-9"`)."""
        answer = self.raw.get_object(Bucket=bucket, Key=key, **arguments)
        return bytes(answer["Body"].read())

    def get_torrent(self, bucket: str, key: str) -> bytes:
        """Return the body of GET ?torrent, whatever it is."""
        return bytes(self.raw.get_object_torrent(Bucket=bucket, Key=key)["Body"].read())

    def delete(self, bucket: str, key: str, **arguments: str) -> None:
        """Delete an object, or one version of it (`VersionId=`)."""
        self.raw.delete_object(Bucket=bucket, Key=key, **arguments)

    def set_policy(self, bucket: str, policy: Mapping[str, Any]) -> None:
        """Set the bucket's policy document."""
        self.raw.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def allow_everybody(self, bucket: str, *actions: str) -> None:
        """Let anonymous and other users do `actions` ("s3:GetObject") on the bucket's objects."""
        statement = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": list(actions),
            "Resource": f"arn:aws:s3:::{bucket}/*",
        }
        self.set_policy(bucket, {"Version": "2012-10-17", "Statement": [statement]})

    def set_requester_pays(self, bucket: str) -> None:
        """Let whoever downloads pay: requests without x-amz-request-payer get a 403."""
        self.raw.put_bucket_request_payment(
            Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"}
        )


def error_code(error: ClientError) -> str:
    """Return S3's code of an error ("NoSuchKey"), or the HTTP status where it has none."""
    return str(error.response["Error"]["Code"])

"""What S3 servers tell of an object, as each of them writes it."""

import json
from typing import Any

S3_EVENT: dict[str, Any] = {
    "Records": [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-12-01T18:00:00.000Z",
            "eventName": "ObjectCreated:CompleteMultipartUpload",
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": {"name": "quotes", "arn": "arn:aws:s3:::quotes"},
                "object": {
                    "key": "a+b%2Bc/%C3%BC.bin",
                    "size": 1024,
                    "eTag": "d41d8",
                    "versionId": "v1",
                    "sequencer": "0055AED6DCD90281E5",
                },
            },
        }
    ]
}
"""As S3 documents it."""
EVENT_BRIDGE: dict[str, Any] = {
    "version": "0",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "time": "2026-12-01T18:00:00Z",
    "detail": {
        "version": "0",
        "bucket": {"name": "quotes"},
        "object": {"key": "a b+c", "size": 1024, "etag": "d41d8", "version-id": "v1"},
        "reason": "PutObject",
    },
}
MINIO_EVENT: dict[str, Any] = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "quotes/a b+c",
    "Records": [
        {
            "eventSource": "minio:s3",
            "eventTime": "2026-12-01T18:00:00.000Z",
            "eventName": "s3:ObjectCreated:Put",
            "s3": {
                "bucket": {"name": "quotes"},
                "object": {"key": "a+b%2Bc", "size": 1024, "eTag": "d41d8"},
            },
        }
    ],
}
CEPH_EVENT: dict[str, Any] = {
    "Records": [
        {
            "eventSource": "ceph:s3",
            "eventTime": "2026-12-01T18:00:00.000000Z",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": "quotes", "id": "x"},
                "object": {"key": "a b+c%20", "size": 1024, "eTag": "d41d8", "versionId": ""},
            },
        }
    ]
}
SEAWEED_EVENT: dict[str, Any] = {
    "key": "/buckets/quotes/dir/a b+c",
    "event_type": "create",
    "message": {"new_entry": {"name": "a b+c"}},
}


def sns(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message in SNS's envelope."""
    return {
        "Type": "Notification",
        "TopicArn": "arn:aws:sns:us-east-1:111122223333:uploads",
        "Message": json.dumps(message),
    }

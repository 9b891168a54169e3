"""What is told of objects, by whoever knows a token or writes to a queue."""

import json

from seeder.s3.notifications import MOST_RECORDS, parse_notification
from tests.fuzz.inputs import target
from tests.s3.event_samples import (
    CEPH_EVENT,
    EVENT_BRIDGE,
    MINIO_EVENT,
    S3_EVENT,
    SEAWEED_EVENT,
    sns,
)


@target(
    *(
        json.dumps(each).encode()
        for each in (
            S3_EVENT,
            CEPH_EVENT,
            MINIO_EVENT,
            SEAWEED_EVENT,
            EVENT_BRIDGE,
            sns(S3_EVENT),
            sns(EVENT_BRIDGE),
            [EVENT_BRIDGE, {"eventSource": "aws:sqs", "body": json.dumps(S3_EVENT)}],
            {"Records": [{"Sns": sns(S3_EVENT)}]},
            {"Service": "Amazon S3", "Event": "s3:TestEvent"},
        )
    ),
    json.dumps({"Records": [1, *S3_EVENT["Records"]]}).encode(),
    b"[" * 1000,
    b'{"Records": [{"s3": {"bucket": {"name": "\\ud800"}, "object": {"key": "%ff"}}}]}',
)
def notification(data: bytes) -> None:
    """A message is news of objects that have names, or nothing but a ValueError without them."""
    try:
        found = parse_notification(data)
    except ValueError as error:
        assert len(str(error)) < 100
        assert str(error).isprintable()
        return
    assert len(found.news) + len(found.unread) <= MOST_RECORDS + 1
    assert len(found.reason) < 100
    for news in found.news:
        assert 0 < len(news.bucket) <= 255
        assert 0 < len(news.key.encode()) <= 1024
        for text in (news.bucket, news.version_id, news.etag):
            assert text is None or text.encode()
        assert news.size is None or news.size >= 0

"""What S3 tells of its own accord: event notifications, from a queue or to a webhook.

S3's own form (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html),
which MinIO, Ceph RGW and Garage's relatives send, too; the same in the envelopes of SNS, or as
Lambda gets it; events of EventBridge; and SeaweedFS's own form. They are hints: nothing of them is
believed but that it is worth asking how an object stands.

No I/O.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import unquote_plus

from seeder.units import KIB, LARGEST_SIZE, MIB

LARGEST_MESSAGE = MIB
"""Bytes: SQS's own limit."""
MOST_RECORDS = 1000
"""Of one message; S3 sends one, others a few."""
_TOO_MANY = f"it has more than {MOST_RECORDS} records"
_MOST_ENVELOPES = 4
"""Around each other: EventBridge's in one of SNS, in one of SQS."""
_LONGEST_KEY = KIB
"""Bytes; S3's own limit."""
_LONGEST_BUCKET = 255
_LONGEST_TEXT = 4 * KIB
"""Characters: a key with each of its bytes written as %XX takes three quarters of it."""
_WHOLE = frozenset({"Sns", "body", "TopicArn", "detail-type"})
"""What a record has that is an envelope, or an event of its own."""
_SEAWEED_ROOT = "/buckets/"


@dataclass(frozen=True, slots=True)
class News:
    """Something has happened to an object, or so they say."""

    bucket: str
    key: str
    removed: bool = False
    """Whether it is gone."""
    version_id: str | None = None
    etag: str | None = None
    """Without quotes; None where it isn't told."""
    size: int | None = None
    at: float | None = None
    """When that was (Unix s)."""


@dataclass(frozen=True, slots=True)
class EventMessage:
    """What a message tells of objects, and which of its records can't be read."""

    news: tuple[News, ...] = ()
    records: int = 0
    unread: tuple[int, ...] = ()
    """Their numbers, from 1."""
    reason: str = ""
    """Why the first of them can't be read; it shows nothing of the message."""
    rest: str = ""
    """They alone, as JSON."""


def parse_notification(body: bytes | str) -> EventMessage:
    """Return what a message tells; nothing of S3's test events.

    ValueError if it is something else, or none of its records can be read. The text of the error
    shows nothing of the message.
    """
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    return _told(_records(_read(raw), _MOST_ENVELOPES), raw)


def _read(raw: bytes) -> Mapping[str, Any]:
    if len(raw) > LARGEST_MESSAGE:
        raise ValueError("it is longer than any message")
    if not raw.strip():
        return {}
    try:
        message = json.loads(raw)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:  # of UTF-8, JSON, or a number with thousands of digits
        raise ValueError("it is no JSON") from None
    if isinstance(message, list) and message:
        return {"Records": message}  # as EventBridge's pipes pass events on
    if not isinstance(message, dict):
        raise ValueError("it is no JSON object")
    return message


def _told(records: Iterable[tuple[object, Callable[[], News | None]]], raw: bytes) -> EventMessage:
    news: list[News] = []
    unread: dict[int, object] = {}
    reason, count = "", 0
    for count, (record, read) in enumerate(records, 1):
        if count > MOST_RECORDS + 1:  # within each other; a file that was moved is two
            raise ValueError(_TOO_MANY)
        try:
            found = read()
        except ValueError as error:
            unread[count] = record
            reason = reason or str(error)
        else:
            news += [] if found is None else [found]
    if unread and not news:
        raise ValueError(reason)
    rest = ""
    if unread:
        try:
            rest = json.dumps({"Records": list(unread.values())})
        except RecursionError:  # deeper for who writes than for who reads
            rest = raw.decode("utf-8", "replace")
    return EventMessage(tuple(news), count, tuple(unread), reason, rest)


def _records(
    message: Mapping[str, Any], envelopes: int
) -> Iterator[tuple[object, Callable[[], News | None]]]:
    """Yield the records, each with what reads it: ValueError if that one alone is wrong.

    There may be one `envelopes` less around what is in one.
    """
    if not envelopes:
        raise ValueError("there are too many envelopes around it")
    records = message.get("Records")
    if (inner := _inside(message)) is not None:
        yield from _records(_read(inner), envelopes - 1)
    elif isinstance(records, list):
        if len(records) > MOST_RECORDS:
            raise ValueError(_TOO_MANY)
        for record in records:
            yield from _of_record(record, envelopes)
    elif "detail-type" in message:
        yield message, partial(_from_event_bridge, message)
    elif "event_type" in message and "key" in message:
        for read in _from_seaweed(message):
            yield message, read
    elif message and message.get("Event") != "s3:TestEvent":
        raise ValueError("it is no notification of S3, SNS, EventBridge or SeaweedFS")


def _of_record(
    record: object, envelopes: int
) -> Iterator[tuple[object, Callable[[], News | None]]]:
    """Yield a record of S3, or what is in one that is an envelope or an event of its own."""
    if not isinstance(record, dict) or "s3" in record or _WHOLE.isdisjoint(record):
        yield record, partial(_from_record, record)
        return
    try:
        found = [*_records(record, envelopes - 1)]
    except ValueError as error:
        yield record, partial(_refuse, str(error))
    else:
        yield from found


def _refuse(why: str) -> News | None:
    raise ValueError(why)


def _inside(message: Mapping[str, Any]) -> bytes | None:
    """Return what is in an envelope of SNS, or in one of SNS or SQS as Lambda gets it."""
    lambdas = message.get("Sns")
    told: Mapping[str, Any] = lambdas if isinstance(lambdas, dict) else message
    inner = told.get("Message")
    if "TopicArn" in told and isinstance(inner, str):
        if told.get("Type") == "SubscriptionConfirmation":
            raise ValueError("SNS asks for a confirmation: open the SubscribeURL in it")
    elif message.get("eventSource") == "aws:sqs":
        inner = message.get("body")
    else:
        return None
    if not isinstance(inner, str):
        raise ValueError("a part of it is missing")
    return inner.encode("utf-8", "surrogatepass")


def _from_record(told_of: object) -> News:
    record = _table(told_of)
    s3 = _table(record.get("s3"))
    told, name = _table(s3.get("object")), _text(record.get("eventName")) or ""
    key = _text(told.get("key"))
    if key is not None and record.get("eventSource") != "ceph:s3":
        # Ceph writes it as it is; all others as in a form, where a plus is a space.
        key = unquote_plus(key, errors="surrogateescape")
    return _checked(
        _table(s3.get("bucket")).get("name"),
        key,
        removed=name.removeprefix("s3:").startswith(("ObjectRemoved", "LifecycleExpiration")),
        told=told,
        etag=told.get("eTag"),
        version=told.get("versionId"),
        at=record.get("eventTime"),
    )


def _from_event_bridge(message: Mapping[str, Any]) -> News | None:
    """Return what an event of EventBridge tells; its keys are as they are."""
    kind = _text(message.get("detail-type")) or ""
    if message.get("source") != "aws.s3" or not kind.startswith("Object "):
        if message.get("source") == "aws.s3":
            return None  # of a bucket, or a test
        raise ValueError("it is an event of another service than S3")
    detail = _table(message.get("detail"))
    told = _table(detail.get("object"))
    return _checked(
        _table(detail.get("bucket")).get("name"),
        told.get("key"),
        removed=kind == "Object Deleted",
        told=told,
        etag=told.get("etag"),
        version=told.get("version-id"),
        at=message.get("time"),
    )


def _from_seaweed(message: Mapping[str, Any]) -> Iterator[Callable[[], News]]:
    """Yield the readers of what the filer tells of its file /buckets/BUCKET/KEY, which may move."""
    detail = message.get("message")
    told = detail if isinstance(detail, dict) else {}
    path, kind = _text(message.get("key")) or "", message.get("event_type")
    moved_to = _text(told.get("new_parent_path"))
    entry = told.get("new_entry") or told.get("old_entry")
    entry = entry if isinstance(entry, dict) else {}
    if entry.get("is_directory") is True:
        return
    name = _text(entry.get("name"))
    paths = [(path, kind in ("delete", "rename"))]
    if moved_to and name and kind == "rename":
        paths.append((f"{moved_to.rstrip('/')}/{name}", False))
    for each, removed in paths:
        bucket, slash, key = each.removeprefix(_SEAWEED_ROOT).partition("/")
        if each.startswith(_SEAWEED_ROOT) and slash:
            yield partial(
                _checked, bucket, key, removed=removed, told={}, etag=None, version=None, at=None
            )


def _checked(
    bucket: object,
    key: object,
    *,
    removed: bool,
    told: Mapping[str, Any],
    etag: object,
    version: object,
    at: object,
) -> News:
    """Return the news, without what isn't as it should be; ValueError if that is the name."""
    if not isinstance(bucket, str) or not 0 < len(bucket) <= _LONGEST_BUCKET:
        raise ValueError("it names no bucket")
    if not isinstance(key, str) or not key:
        raise ValueError("it names no key")
    if not _is_text(bucket) or not _is_text(key):
        raise ValueError("its name isn't UTF-8")
    if len(key.encode()) > _LONGEST_KEY:
        raise ValueError("its key is longer than any")
    size = told.get("size")
    is_size = type(size) is int and 0 <= size <= LARGEST_SIZE
    return News(
        bucket,
        key,
        removed,
        _text(version) or None,
        (_text(etag) or "").strip('"') or None,
        size if is_size else None,
        _moment(at),
    )


def _table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a part of it is missing")
    return value


def _text(value: object) -> str | None:
    fits = isinstance(value, str) and len(value) <= _LONGEST_TEXT and _is_text(value)
    return str(value) if fits else None


def _is_text(value: str) -> bool:
    """Tell whether it can be written in UTF-8: JSON can name halves of characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _moment(value: object) -> float | None:
    """Return an ISO 8601 time in Unix seconds; None of anything else."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None

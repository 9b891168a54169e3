"""What S3 servers tell of their own accord, in all their forms."""

import json

import pytest

from seeder.s3.notifications import LARGEST_MESSAGE, MOST_RECORDS, News, parse_notification
from tests.s3.event_samples import (
    CEPH_EVENT,
    EVENT_BRIDGE,
    MINIO_EVENT,
    S3_EVENT,
    SEAWEED_EVENT,
    sns,
)

AT = 1796148000.0
"""2026-12-01T18:00:00Z."""


def news_of(body: str) -> tuple[News, ...]:
    """Return what a message tells, which can be read in all its parts."""
    found = parse_notification(body)
    assert (found.unread, found.reason, found.rest) == ((), "", "")
    return found.news


def test_s3s_own_form_is_read_with_its_encoded_key() -> None:
    assert news_of(json.dumps(S3_EVENT)) == (
        News("quotes", "a b+c/ü.bin", False, "v1", "d41d8", 1024, AT),
    )


def test_the_same_is_read_in_envelopes() -> None:
    expected = news_of(json.dumps(S3_EVENT))
    assert news_of(json.dumps(sns(S3_EVENT))) == expected
    bridge = news_of(json.dumps(EVENT_BRIDGE))
    assert news_of(json.dumps(sns(EVENT_BRIDGE))) == bridge
    assert bridge == (News("quotes", "a b+c", False, "v1", "d41d8", 1024, AT),)


def test_events_are_read_that_others_passed_on_in_envelopes_of_their_own() -> None:
    expected = news_of(json.dumps(S3_EVENT))
    bridge = news_of(json.dumps(EVENT_BRIDGE))
    assert news_of(json.dumps([EVENT_BRIDGE, EVENT_BRIDGE])) == bridge * 2
    of_sns = {"EventSource": "aws:sns", "Sns": sns(S3_EVENT)}
    of_sqs = {"eventSource": "aws:sqs", "body": json.dumps(sns(EVENT_BRIDGE))}
    assert news_of(json.dumps({"Records": [of_sns, of_sqs]})) == expected + bridge


def test_what_is_in_an_envelope_and_wrong_takes_no_other_with_it() -> None:
    wrong = {"eventSource": "aws:sqs", "body": "nonsense"}
    bare = {"eventSource": "aws:sqs"}
    found = parse_notification(json.dumps([wrong, EVENT_BRIDGE, bare, {}]))
    assert found.news == news_of(json.dumps(EVENT_BRIDGE))
    assert (found.unread, found.reason) == ((1, 3, 4), "it is no JSON")
    assert json.loads(found.rest) == {"Records": [wrong, bare, {}]}


def test_a_subscription_that_waits_for_somebody_is_told_as_one() -> None:
    asked = sns({"not": "asked for"}) | {"Type": "SubscriptionConfirmation"}
    with pytest.raises(ValueError, match="open the SubscribeURL in it"):
        parse_notification(json.dumps(asked))


def test_minio_ceph_and_seaweedfs_are_read() -> None:
    assert news_of(json.dumps(MINIO_EVENT)) == (
        News("quotes", "a b+c", False, None, "d41d8", 1024, AT),
    )
    # Ceph writes keys as they are.
    assert news_of(json.dumps(CEPH_EVENT)) == (
        News("quotes", "a b+c%20", False, None, "d41d8", 1024, AT),
    )
    assert news_of(json.dumps(SEAWEED_EVENT)) == (News("quotes", "dir/a b+c"),)


def test_a_file_that_was_moved_in_seaweedfs_is_gone_there_and_new_here() -> None:
    moved = SEAWEED_EVENT | {
        "event_type": "rename",
        "message": {"new_parent_path": "/buckets/quotes/new", "new_entry": {"name": "d"}},
    }
    assert news_of(json.dumps(moved)) == (
        News("quotes", "dir/a b+c", True),
        News("quotes", "new/d"),
    )


def test_directories_and_other_files_of_seaweedfs_are_no_news() -> None:
    directory = SEAWEED_EVENT | {"message": {"new_entry": {"name": "d", "is_directory": True}}}
    assert news_of(json.dumps(directory)) == ()
    assert news_of(json.dumps(SEAWEED_EVENT | {"key": "/etc/iam.json"})) == ()


@pytest.mark.parametrize("name", ["ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated"])
def test_what_was_removed_is_told_so(name: str) -> None:
    [record] = S3_EVENT["Records"]
    [news] = news_of(json.dumps({"Records": [record | {"eventName": name}]}))
    assert news.removed
    [news] = news_of(json.dumps(EVENT_BRIDGE | {"detail-type": "Object Deleted"}))
    assert news.removed


def test_messages_that_tell_nothing_are_no_mistake() -> None:
    test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "quotes"}
    for quiet in (json.dumps(test_event), "{}", "", '{"Records": []}'):
        assert news_of(quiet) == ()


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "nonsense",
        b"\xff",
        "[" * 100_000,
        '{"a": ' + "1" * 5000 + "}",
        '{"what": "is this"}',
        '{"Records": [1]}',
        '{"Records": [{"s3": {"bucket": {"name": "b"}, "object": {}}}]}',
        '{"Records": [{"s3": {"bucket": {"name": ""}, "object": {"key": "k"}}}]}',
        '{"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "%FF"}}}]}',
        '{"Records": [{"s3": {"bucket": {"name": "\\ud800"}, "object": {"key": "k"}}}]}',
        '{"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "' + "k" * 1025 + '"}}}]}',
        json.dumps({"Records": S3_EVENT["Records"] * (MOST_RECORDS + 1)}),
        json.dumps(EVENT_BRIDGE | {"source": "aws.ec2"}),
        json.dumps(sns(sns(sns(sns(S3_EVENT))))),
        json.dumps([{"Sns": sns({"Records": S3_EVENT["Records"] * 500})}] * 3),
        json.dumps([{"eventSource": "aws:sqs", "body": 7}]),
        " " * (LARGEST_MESSAGE + 1),
    ],
)
def test_anything_else_is_a_value_error_in_a_few_words(body: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"^[^{}\[\]]{5,80}$"):
        parse_notification(body)


def test_what_is_odd_beside_the_name_is_left_out() -> None:
    odd = {"key": "k", "size": -1, "eTag": ["x"], "versionId": 7}
    record = {"eventTime": "yesterday", "s3": {"bucket": {"name": "b"}, "object": odd}}
    assert news_of(json.dumps({"Records": [record]})) == (News("b", "k"),)


def test_a_record_that_cannot_be_read_takes_no_other_with_it() -> None:
    [good] = S3_EVENT["Records"]
    nameless = {"s3": {"bucket": {"name": "b"}, "object": {}}}
    found = parse_notification(json.dumps(sns({"Records": [good, nameless, good, 7]})))
    assert found.news == 2 * news_of(json.dumps(S3_EVENT))
    assert (found.records, found.unread, found.reason) == (4, (2, 4), "it names no key")
    assert json.loads(found.rest) == {"Records": [nameless, 7]}


def test_one_name_of_a_moved_file_that_is_wrong_takes_the_other_not_with_it() -> None:
    moved = SEAWEED_EVENT | {
        "event_type": "rename",
        "message": {"new_parent_path": "/buckets/quotes/" + "n" * 1025, "new_entry": {"name": "d"}},
    }
    found = parse_notification(json.dumps(moved))
    assert found.news == (News("quotes", "dir/a b+c", True),)
    assert (found.records, found.unread) == (2, (2,))
    assert json.loads(found.rest) == {"Records": [moved]}

"""What the head of an answer tells of an object, and the check of a range's."""

from base64 import b64encode

import pytest

from seeder.errors import ObjectChanged, OriginError, OriginFault
from seeder.s3.heads import check_range, content_length, describe
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.units import ByteRange

PINNED = PinnedObject(ObjectRef("default", "quotes", "Nelson"), '"tag"', 1000)
WANTED = ByteRange(100, 50)


def good_headers(**changes: str | None) -> dict[str, str]:
    headers: dict[str, str | None] = {
        "etag": '"tag"',
        "content-range": "bytes 100-149/1000",
        "content-length": "50",
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in headers.items() if value is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"etag": None},
        {"etag": 'W/"tag"'},
        {"etag": "tag"},
        {"content_length": None},
        {"content_length": "10"},
        {"content_range": "bytes 100-149/*"},
    ],
)
def test_the_range_that_was_asked_for_passes(changes: dict[str, str | None]) -> None:
    check_range(206, good_headers(**changes), PINNED, WANTED)


@pytest.mark.parametrize(
    ("status", "changes", "error"),
    [
        (206, {"etag": '"other"'}, ObjectChanged),
        (200, {"etag": '"other"'}, ObjectChanged),
        (206, {"content_range": "bytes 100-149/900", "etag": None}, ObjectChanged),
        (206, {"content_range": "bytes 100-149/900"}, OriginFault),
        (206, {"content_range": None}, OriginFault),
        (206, {"content_range": "bytes 0-49/1000"}, OriginFault),
        (206, {"content_range": "bytes 100-148/1000"}, OriginFault),
        (206, {"content_range": "bytes 100-150/1000"}, OriginFault),
        (206, {"content_range": "items 100-149/1000"}, OriginFault),
        (206, {"content_range": "bytes 100-149/1000\n"}, OriginFault),
        (206, {"content_length": "51"}, OriginFault),
        (200, {"content_range": None, "content_length": "1000"}, OriginFault),
        (204, {}, OriginFault),
    ],
)
def test_any_other_range_does_not_pass(
    status: int, changes: dict[str, str | None], error: type[OriginError]
) -> None:
    with pytest.raises(error) as caught:
        check_range(status, good_headers(**changes), PINNED, WANTED)
    assert type(caught.value) is error


def test_a_200_is_as_good_for_the_whole_object_only() -> None:
    whole = ByteRange(0, 1000)
    check_range(200, {"content-length": "1000"}, PINNED, whole)
    for length in ("999", "1001", ""):
        with pytest.raises(OriginFault):
            check_range(200, {"content-length": length}, PINNED, whole)
    with pytest.raises(OriginFault):
        check_range(200, {"content-length": "1000"}, PINNED, ByteRange(0, 999))


@pytest.mark.parametrize("length", ["40", "60"])
def test_a_body_that_is_packed_on_the_way_is_said_to_be(length: str) -> None:
    with pytest.raises(OriginFault, match="maybe it packs or unpacks"):
        check_range(
            206, good_headers(content_length=length, content_encoding="gzip"), PINNED, WANTED
        )


def test_a_200_with_anything_else_is_not_taken_for_the_object() -> None:
    headers = {"content-length": "266", "content-type": "application/xml"}
    with pytest.raises(OriginFault, match="200 with 266 bytes of application/xml, and the object"):
        check_range(200, headers, PINNED, WANTED)


@pytest.mark.parametrize("text", ["", "-1", "1e3", "٣", "9" * 20, "1, 1"])
def test_a_content_length_that_is_no_number_counts_as_missing(text: str) -> None:
    assert content_length({"content-length": text}) is None


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"content-encoding": "gzip"}),
        (200, {"x-goog-stored-content-encoding": "gzip"}),
        (206, {"content-encoding": "gzip", "content-range": "bytes 0-3/99", "etag": '"e"'}),
    ],
)
def test_a_server_that_unpacks_objects_is_named_as_the_likely_cause(
    status: int, headers: dict[str, str]
) -> None:
    pinned = PinnedObject(ObjectRef("default", "bucket", "key"), '"e"', 10)
    with pytest.raises(OriginFault, match=r"packs or unpacks .*\(Content-Encoding gzip\)"):
        check_range(status, headers, pinned, ByteRange(0, 4))
    headers = {name: value for name, value in headers.items() if "encoding" not in name}
    with pytest.raises(OriginFault) as plain:
        check_range(status, headers, pinned, ByteRange(0, 4))
    assert "unpacks" not in str(plain.value)


WHOLE = b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-amz-checksum-sha256": WHOLE}, bytes(range(32)).hex()),
        (
            {"x-amz-checksum-sha256": WHOLE, "x-amz-checksum-type": "FULL_OBJECT"},
            bytes(range(32)).hex(),
        ),
        # The hash of the hashes of parts, as most servers write it and as some do.
        ({"x-amz-checksum-sha256": f"{WHOLE}-3"}, None),
        ({"x-amz-checksum-sha256": WHOLE, "x-amz-checksum-type": "COMPOSITE"}, None),
        ({"x-amz-checksum-sha256": b64encode(bytes(20)).decode()}, None),
        ({"x-amz-checksum-sha256": bytes(range(32)).hex()}, None),
        ({"x-amz-checksum-sha256": "\xe9"}, None),
    ],
)
def test_the_sha_256_is_that_of_a_whole_object_or_none(
    headers: dict[str, str], expected: str | None
) -> None:
    assert describe(headers).sha256 == expected

"""Parts as S3 tells them: what is read of the documents and of the heads."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.s3.attributes import Attributes, Part, parse_attributes, part_of_head

DIGEST = hashlib.sha1(b"part").digest()
BASE64 = base64.b64encode(DIGEST).decode()


def document(inside: str, root: str = "GetObjectAttributesResponse") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}'
        f' xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inside}</{root}>'
    ).encode()


def test_a_page_of_parts_is_read() -> None:
    page = document(
        "<ETag>abc-3</ETag>"
        f"<Checksum><ChecksumSHA1>{BASE64}</ChecksumSHA1><ChecksumType>COMPOSITE</ChecksumType>"
        "</Checksum><ObjectParts><PartsCount>3</PartsCount><IsTruncated>true</IsTruncated>"
        "<MaxParts>2</MaxParts><PartNumberMarker>0</PartNumberMarker>"
        "<NextPartNumberMarker>2</NextPartNumberMarker>"
        f"<Part><Size>8</Size><PartNumber>1</PartNumber><ChecksumSHA1>{BASE64}</ChecksumSHA1></Part>"
        "<Part>\n <PartNumber>2</PartNumber>\n <Size>8</Size>"
        "<ChecksumCRC32>x</ChecksumCRC32></Part></ObjectParts><ObjectSize>20</ObjectSize>"
    )
    assert parse_attributes(page) == Attributes(
        etag="abc-3",
        size=20,
        sha1=None,
        count=3,
        parts=(Part(1, 8, DIGEST), Part(2, 8, None)),
        next_marker=2,
    )


def test_an_object_in_one_go_has_a_checksum_of_its_own() -> None:
    whole = f"<ChecksumSHA1>{BASE64}</ChecksumSHA1>"
    typed = f"{whole}<ChecksumType>FULL_OBJECT</ChecksumType>"
    for checksum in (whole, typed):
        page = parse_attributes(document(f"<ETag>abc</ETag><Checksum>{checksum}</Checksum>"))
        assert page is not None
        assert (page.sha1, page.count, page.parts, page.next_marker) == (DIGEST, None, (), None)


def test_a_checksum_of_checksums_is_not_that_of_the_object() -> None:
    """S3 told no type before 2025; an object of parts has none of its own in SHA-1."""
    checksum = f"<Checksum><ChecksumSHA1>{BASE64}</ChecksumSHA1></Checksum>"
    parts = "<ObjectParts><PartsCount>2</PartsCount></ObjectParts>"
    page = parse_attributes(document(checksum + parts))
    assert page is not None
    assert (page.sha1, page.count) == (None, 2)


@pytest.mark.parametrize(
    "checksum",
    [
        f"{BASE64}-3",
        BASE64[:-4],
        "not base64!",
        "",
        base64.b64encode(hashlib.sha256(b"part").digest()).decode(),
    ],
)
def test_what_is_no_sha1_of_a_part_is_none(checksum: str) -> None:
    inside = f"<ObjectParts><Part><ChecksumSHA1>{checksum}</ChecksumSHA1></Part></ObjectParts>"
    page = parse_attributes(document(inside))
    assert page is not None
    assert [part.sha1 for part in page.parts] == [None]


BOMB = (
    '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<GetObjectAttributesResponse><ETag>&b;</ETag></GetObjectAttributesResponse>"
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<",
        b"<html>",
        b"<svg></svg>",
        document("", root="Error"),
        document("<ETag>abc</ETag>")[:-1],
        BOMB.encode(),
        f'<?xml version="1.0" encoding="UTF-16"?>{BOMB}'.encode("utf-16"),
        f'<?xml version="1.0" encoding="klingon"?>{BOMB}'.encode(),
        document("<a>" * 20 + "</a>" * 20),
        document(f"<ETag>{'x' * 10_000}</ETag>"),
    ],
    ids=str,
)
def test_what_is_no_such_document_is_none(body: bytes) -> None:
    assert parse_attributes(body) is None


@given(st.binary(max_size=300), st.booleans())
def test_garbage_is_none_or_attributes(garbage: bytes, inside: bool) -> None:
    body = document("<ObjectParts><Part>%</Part></ObjectParts>").replace(b"%", garbage)
    found = parse_attributes(body if inside else garbage)
    assert found is None or isinstance(found, Attributes)


def test_a_head_tells_one_part() -> None:
    headers = {"content-length": "8", "x-amz-checksum-sha1": BASE64, "x-amz-mp-parts-count": "3"}
    assert part_of_head(headers, 2) == (Part(2, 8, DIGEST), 3)
    assert part_of_head({"content-length": "8"}, 1) == (Part(1, 8, None), 1)

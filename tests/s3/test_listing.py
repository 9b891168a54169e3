"""Listings: what a page says, what is no page, and asking for them one after the other."""

from contextlib import suppress
from urllib.parse import parse_qsl, quote, quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.errors import AccessDenied, ObjectMissing, OriginFault
from seeder.s3.client import S3Origin
from seeder.s3.listing import Listed, Page, parse_page, publishable
from seeder.torrent.objects import ObjectRef
from tests.s3.fault_server import FaultServer, answer
from tests.s3.objects_server import ObjectsServer
from tests.s3.samples import NASTY
from tests.s3.support import CountingMeter, MakeOrigin

NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def page_of(*entries: str, told: str = "", namespace: str = NAMESPACE) -> bytes:
    contents = "".join(f"<Contents>{entry}</Contents>" for entry in entries)
    return f"<ListBucketResult{namespace}>{told}{contents}</ListBucketResult>".encode()


def entry(key: str, etag: str = "&quot;e&quot;", size: str = "5") -> str:
    return f"<Key>{key}</Key><ETag>{etag}</ETag><Size>{size}</Size>"


def prefix(name: str = "", bucket: str = "bucket") -> ObjectRef:
    return ObjectRef("default", bucket, name)


@pytest.mark.parametrize("namespace", [NAMESPACE, "", ' xmlns="urn:another"'])
def test_a_page_tells_key_etag_and_size(namespace: str) -> None:
    owner = "<Owner><ID>x</ID><Key>not this one</Key></Owner>"
    data = page_of(entry("a/b") + owner, entry("c", size="0"), namespace=namespace)
    assert parse_page(data) == Page((("a/b", Listed('"e"', 5)), ("c", Listed('"e"', 0))), None)


def test_a_page_may_have_any_number_of_blanks() -> None:
    blanks = "\n" + " " * 100_000
    assert len(parse_page(page_of(blanks + entry("k") + blanks, told=blanks)).objects) == 1


def test_what_is_below_a_delimiter_is_no_object() -> None:
    told = "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes><Prefix>x</Prefix>"
    assert parse_page(page_of(told=told)).objects == ()


def test_an_etag_without_its_quotes_gets_them() -> None:
    [(_, listed)] = parse_page(page_of(entry("k", etag="e"))).objects
    assert listed.etag == '"e"'


@pytest.mark.parametrize("space", ["+", "%20"])
def test_keys_are_decoded_only_where_the_server_says_that_it_encoded_them(space: str) -> None:
    told = "<EncodingType>url</EncodingType>"
    [(key, _)] = parse_page(page_of(entry(f"a{space}b%2Bc"), told=told)).objects
    assert key == "a b+c"
    [(key, _)] = parse_page(page_of(entry("a+b%20"))).objects
    assert key == "a+b%20"


@given(st.lists(KEYS, max_size=5))
def test_every_key_comes_back_as_it_was(keys: list[str]) -> None:
    for encode in (quote, quote_plus):
        entries = (entry(escape(encode(key))) for key in keys)
        page = parse_page(page_of(*entries, told="<EncodingType>url</EncodingType>"))
        assert [key for key, _ in page.objects] == keys


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "can't be read"),
        (b"<html><body>hello</body></html>", "it is a html"),
        (page_of(entry("k"))[:-5], "can't be read"),
        (b"<!DOCTYPE x>" + page_of(entry("k")), "a document type"),
        (b'<!DOCTYPE x [<!ENTITY y "z">]>' + page_of(entry("&y;")), "a document type"),
        (b'<?xml version="1.0" encoding="klingon"?>' + page_of(entry("k")), "unknown encoding"),
        (page_of(entry("k" + "<a>" * 9 + "</a>" * 9)), "too deep"),
        (page_of(entry("k" * 70_000)), "too long"),
        (page_of(entry("k", etag="")), "without key, ETag or size"),
        (page_of(entry("k", size="-1")), "without key, ETag or size"),
        (page_of(entry("")), "without key, ETag or size"),
        (page_of(told="<IsTruncated>true</IsTruncated>"), "no continuation token"),
    ],
)
def test_what_is_no_listing_is_refused_in_a_line(body: bytes, problem: str) -> None:
    with pytest.raises(OriginFault, match=problem):
        parse_page(body)


@given(st.binary(max_size=60), st.integers(0, 200))
def test_garbage_raises_nothing_else(garbage: bytes, at: int) -> None:
    whole = page_of(entry("k"))
    for data in (garbage, whole[:at] + garbage + whole[at:]):
        with suppress(OriginFault):
            parse_page(data)


def test_markers_and_the_sidecars_of_objects_are_not_published() -> None:
    some, none = Listed('"e"', 5), Listed('"e"', 0)
    first = [("a.torrent", some), ("d/", none), ("d/x", none), ("e/", some), ("f", some)]
    seen: set[str] = set()
    assert list(publishable(first, seen)) == ["a.torrent", "d/x", "e/", "f"]
    # The object may be the last of the page before.
    assert list(publishable([("f.torrent", some), ("g", some)], seen)) == ["g"]


async def test_pages_follow_each_other(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    names = [f"d/{name} {number}" for number, name in enumerate(NASTY) if "\x00" not in name]
    server = ObjectsServer(dict.fromkeys([*names, "other"], b"x"), page=3)
    faults.default = server.serve
    found: dict[str, Listed] = {}
    token: str | None = None
    while True:
        page = await origin.list_page(prefix("d/"), token, meter)
        found.update(page.objects)
        token = page.next_token
        if token is None:
            break
    assert found == {name: Listed(server.etag(b"x"), 1) for name in names}
    assert meter.requests["metainfo"] == -(-len(names) // 3)
    assert meter.received["metainfo"] > 0
    asked = dict(parse_qsl(faults.seen[1].query))
    assert asked == {
        "list-type": "2",
        "encoding-type": "url",
        "max-keys": "1000",
        "prefix": "d/",
        "continuation-token": "3",
    }
    assert faults.seen[0].path == "/bucket/"
    assert faults.seen[0].access_key == "AKIATEST"


async def test_a_listing_that_gives_the_same_page_again_is_a_fault(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    told = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    faults.script(*[answer(200, page_of(entry("k"), told=told))] * 2)
    await origin.list_page(prefix(), None, meter)
    with pytest.raises(OriginFault, match="never ends"):
        await origin.list_page(prefix(), "t", meter)


async def test_a_listing_that_is_refused_names_the_permission(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.default = answer(403, b"<Error><Code>AccessDenied</Code></Error>")
    with pytest.raises(AccessDenied, match=r"^bucket/d/: .*allow s3:ListBucket on the bucket"):
        await (await make_origin()).list_page(prefix("d/"), None, meter)
    with pytest.raises(AccessDenied, match="not public"):
        await (await make_origin(anonymous=True)).list_page(prefix(), None, meter)
    faults.default = answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
    with pytest.raises(ObjectMissing, match="no such bucket"):
        await (await make_origin()).list_page(prefix(), None, meter)


@pytest.mark.parametrize("body", [b"object itself", b"x" * (8 * 1024 * 1024 + 1)])
async def test_what_comes_instead_of_a_listing_names_the_prefix(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, body: bytes
) -> None:
    faults.default = answer(200, body)
    with pytest.raises(OriginFault, match=r"^bucket/d/: "):
        await origin.list_page(prefix("d/"), None, meter)

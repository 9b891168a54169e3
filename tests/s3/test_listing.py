"""Listings: what a page says, what is no page, and asking for them one after the other."""

import itertools
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from urllib.parse import parse_qsl, quote, quote_plus
from xml.sax.saxutils import escape

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from seeder.errors import AccessDenied, ObjectMissing, OriginFault
from seeder.s3 import listing
from seeder.s3.client import S3Origin
from seeder.s3.listing import (
    MOST_EMPTY_PAGES,
    MOST_SMALL_PAGES,
    Listed,
    Page,
    Walk,
    parse_page,
    publishable,
    suspicion,
)
from seeder.torrent.objects import ObjectRef
from tests.s3.fault_server import FaultServer, Seen, answer
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
        (page_of(entry("k") + "<a/>" * 200_000), "too many elements"),
        (page_of(entry("k") + f"<{'a' * 200}/>"), "too long a name"),
        (page_of("<a " + " ".join(f"a{n}=''" for n in range(200_001)) + "/>"), "too many attr"),
        (page_of(told="<IsTruncated>true</IsTruncated>"), "no continuation token"),
    ],
)
def test_what_is_no_listing_is_refused_in_a_line(body: bytes, problem: str) -> None:
    with pytest.raises(OriginFault, match=problem):
        parse_page(body)


@pytest.mark.parametrize(
    ("bad", "key", "problem"),
    [
        (entry("k", etag=""), "k", "its ETag is missing"),
        (entry("k", etag="&quot;&quot;"), "k", 'its ETag is ""'),
        (entry("k", etag="&#233;"), "k", "its ETag is \xe9"),
        ("<Key>k</Key><Size>5</Size>", "k", "its ETag is missing"),
        ("<Key>k</Key><ETag>e</ETag>", "k", "its Size is missing"),
        (entry("k", size="-1"), "k", "its Size is -1"),
        (entry("k", size=str(2**63)), "k", f"its Size is {2**63}"),
        (entry("k", size="9" * 5000), "k", f"its Size is {'9' * 200}..."),
        (entry("k/", etag=""), "k/", "its ETag is missing"),
        (entry(""), "", "it has no key"),
        ("<ETag>e</ETag>", "", "it has no key"),
    ],
)
def test_an_entry_is_judged_by_itself(bad: str, key: str, problem: str) -> None:
    page = parse_page(page_of(entry("a"), bad, entry("z")))
    assert [key for key, _ in page.objects] == ["a", "z"]
    assert page.unclear == ((key, problem),)


@pytest.mark.parametrize(
    ("told", "modified"),
    [
        ("1994-11-06T08:49:37.000Z", 784111777),
        (" 1994-11-06T08:49:37Z ", 784111777),
        ("1994-11-06T08:49:37.123456789Z", 784111777),
        ("1994-13-06T08:49:37Z", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_a_listing_tells_when_an_object_changed(told: str, modified: int | None) -> None:
    entries = entry("a") + f"<LastModified>{told}</LastModified>"
    [(_, listed)] = parse_page(page_of(entries)).objects
    assert listed.modified == modified


@pytest.mark.parametrize("told", ["", "<LastModified>yesterday</LastModified>", "<Owner/>"])
def test_what_nobody_needs_may_be_anything(told: str) -> None:
    assert len(parse_page(page_of(entry("a") + told)).objects) == 1


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "<Size>0</Size>",
        "<ETag/>",
        "<ETag/><Size>0</Size>",
        "<ETag>\x7f</ETag><Size>0</Size>",
        "<ETag>\u00e9</ETag>",
    ],
)
def test_a_marker_of_a_directory_needs_nothing(rest: str) -> None:
    page = parse_page(page_of(f"<Key>d/</Key>{rest}"))
    assert page.unclear == ()
    assert [(listed.etag, listed.size) for _, listed in page.objects] == [('""', 0)]
    assert publishable(page.objects, set()) == {}


@pytest.mark.parametrize(
    ("told", "token"),
    [
        ("<Marker/>", "b c"),
        ("<Marker/><NextMarker>b+c</NextMarker>", "b c"),
        ("<NextMarker>b%20bb</NextMarker>", "b bb"),
    ],
)
def test_a_server_that_knows_only_v1_is_asked_on_by_markers(told: str, token: str) -> None:
    told = f"<IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>{told}"
    page = parse_page(page_of(entry("a"), entry("b+c"), told=told))
    assert (page.next_token, page.by_marker) == (token, True)


def test_a_page_with_a_token_goes_on_where_it_does_not_say_whether_it_is_the_last() -> None:
    told = "<NextContinuationToken>t</NextContinuationToken>"
    assert parse_page(page_of(entry("a"), told=told)).next_token == "t"
    told += "<IsTruncated>false</IsTruncated>"
    assert parse_page(page_of(entry("a"), told=told)).next_token is None


@pytest.mark.parametrize("only", ["KeyCount", "ContinuationToken", "StartAfter"])
def test_v2_without_a_token_is_not_taken_for_v1(only: str) -> None:
    told = f"<IsTruncated>true</IsTruncated><{only}>2</{only}>"
    with pytest.raises(OriginFault, match="no continuation token"):
        parse_page(page_of(entry("a"), told=told))


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("a%20b", r"maybe this server encodes keys twice \(a b is meant\)"),
        ("a b", r"doesn't encode keys although it says so \(a\+b is meant\)"),
        ("a\ufffd", "not in UTF-8"),
        ("a", "it was deleted since"),
    ],
)
def test_of_a_key_that_is_listed_and_not_there_the_likely_cause_is_told(
    key: str, said: str
) -> None:
    assert re.search(said, suspicion(key))


@pytest.mark.parametrize("namespace", ["", "s3:"])
def test_the_name_of_a_namespace_is_not_put_before_each_element(namespace: str) -> None:
    """Expat would: 20,000 elements below a name of 200,000 characters took seconds."""
    attribute = f" xmlns{namespace and ':s3'}='{'u' * 200_000}'"
    body = f"<{namespace}Contents>{entry('k')}</{namespace}Contents>{'<a/>' * 100_000}"
    whole = f"<{namespace}ListBucketResult{attribute}>{body}</{namespace}ListBucketResult>"
    began = time.process_time()
    assert [key for key, _ in parse_page(whole.encode()).objects] == ["k"]
    assert time.process_time() - began < 5  # 12 s and more, else


@given(st.binary(max_size=60), st.integers(0, 200))
def test_garbage_raises_nothing_else(garbage: bytes, at: int) -> None:
    whole = page_of(entry("k"))
    for data in (garbage, whole[:at] + garbage + whole[at:]):
        with suppress(OriginFault):
            parse_page(data)


def test_markers_and_the_sidecars_of_objects_are_not_published() -> None:
    some, none = Listed('"e"', 5), Listed('"e"', 0)
    first = [("a.torrent", some), ("d/", none), ("d/x", none), ("e/", some), ("f", some)]
    walk = Walk("", 0)
    walk.take(Page(tuple(first), "2"))
    assert list(publishable(first, walk.seen)) == ["a.torrent", "d/x", "e/", "f"]
    # The object may be the last of the page before.
    second = (("f.torrent", some), ("g", some))
    walk.take(Page(second, None))
    assert list(publishable(second, walk.seen)) == ["g"]


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


def keys(*names: str) -> tuple[tuple[str, Listed], ...]:
    return tuple((name, Listed('"e"', 1)) for name in names)


def pages_until_refused(pages: Iterable[Page], prefix: str = "") -> tuple[int, str]:
    """Return how many pages a walk takes, and why it takes no more."""
    walk = Walk(prefix, 0)
    for taken, page in enumerate(pages):
        try:
            walk.take(page)
        except OriginFault as error:
            return taken, str(error)
    raise AssertionError("it takes all of them")


def numbered(size: int) -> Iterator[Page]:
    """Yield pages of so many new keys each, without end."""
    for number in itertools.count():
        yield Page(keys(*(f"{number}/{at}" for at in range(size))), f"after {number}")


@pytest.mark.parametrize(
    ("pages", "most", "problem"),
    [
        pytest.param(itertools.repeat(Page(keys("k"), "t")), 1, "never ends", id="A A"),
        pytest.param(
            itertools.cycle([Page(keys("k"), "A"), Page(keys("l"), "B")]), 2, "never ends", id="A B"
        ),
        pytest.param(
            (Page(keys("k"), str(number)) for number in itertools.count()),
            1 + MOST_EMPTY_PAGES,
            "bring no new key",
            id="the same keys under new tokens",
        ),
        pytest.param(
            (Page((), str(number)) for number in itertools.count()),
            MOST_EMPTY_PAGES,
            "bring no new key",
            id="empty pages",
        ),
        pytest.param(numbered(1), MOST_SMALL_PAGES, "too many requests", id="a key a page"),
        pytest.param(numbered(9), MOST_SMALL_PAGES, "too many requests", id="small pages"),
        pytest.param(numbered(1000), 10, "more than 10000 keys", id="no end of keys"),
    ],
)
def test_a_listing_that_does_not_come_on_is_left(
    monkeypatch: pytest.MonkeyPatch, pages: Iterable[Page], most: int, problem: str
) -> None:
    monkeypatch.setattr(listing, "MOST_KEYS", 10_000)
    taken, reason = pages_until_refused(pages)
    assert taken <= most
    assert problem in reason


def test_a_listing_of_other_keys_than_were_asked_for_is_refused() -> None:
    [page] = [Page(keys("d/x", "e/secret"), None)]
    assert pages_until_refused([page], "d/") == (
        0,
        "its listing has e/secret, which isn't below it: this server ignores the prefix",
    )


def test_pages_may_be_empty_or_small_and_in_any_order() -> None:
    walk = Walk("d/", 0)
    for number in range(MOST_EMPTY_PAGES):
        walk.take(Page((), f"empty {number}"))
    for number in reversed(range(500)):
        walk.take(Page(keys(f"d/{number}"), f"small {number}"))
    walk.take(Page(keys("d/0"), None))
    assert len(walk.seen) == 500


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


async def test_an_error_in_place_of_a_listing_is_told_with_its_code(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.default = answer(200, b"<Error><Code>InternalError</Code><Message>no</Message></Error>")
    with pytest.raises(OriginFault, match="S3 answers 200 InternalError: no, as if"):
        await origin.list_page(prefix("d/"), None, meter)


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "InvalidArgument")])
async def test_a_server_that_refuses_v2_is_asked_for_v1_and_then_only_for_that(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, status: int, code: str
) -> None:
    refused = answer(status, f"<Error><Code>{code}</Code></Error>".encode())
    listed = answer(200, page_of(entry("k")))

    async def serve(seen: Seen, stream: trio.abc.Stream) -> None:
        await (refused if "list-type" in seen.query else listed)(seen, stream)

    faults.default = serve
    for _ in range(2):
        assert len((await origin.list_page(prefix(), None, meter)).objects) == 1
    assert ["list-type" in seen.query for seen in faults.seen] == [True, False, False]
    # If it takes neither, the first answer is the reason.
    faults.default = refused
    with pytest.raises(OriginFault, match=code):
        await origin.list_page(prefix(bucket="other"), None, meter)

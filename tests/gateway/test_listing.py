"""Listings as S3 makes them, against a plain model of what they are."""

from collections.abc import Callable, Sequence
from functools import partial
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.gateway.listing import (
    MOST_KEYS,
    MOST_LOOKED_AT,
    ListedObject,
    ListPage,
    ListQuery,
    extend_page,
    list_page,
    read_query,
)
from seeder.gateway.s3errors import S3Error
from seeder.torrent.catalog import Catalog
from seeder.torrent.names import KeyOrder
from seeder.torrent.objects import ObjectRef, PinnedObject
from tests.gateway.support import publish

NAMES = st.text("ab/+ é\ud7ff\ue000\U0001f600\U0010ffff\r\x01", min_size=1, max_size=6)


def shown(key: str) -> ListedObject:
    return ListedObject(PinnedObject(ObjectRef("default", "bucket", key), 'W/"e"', 5), 784111777)


def find_keys(
    query: ListQuery, *keys: Sequence[str], shown: Callable[[str], ListedObject | None] = shown
) -> ListPage:
    page = ListPage()
    while not page.whole:
        extend_page(page, query, partial(KeyOrder[str], keys), shown)
    return page


def texts(body: bytes, path: str) -> list[str | None]:
    space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    steps = "/".join(space + step for step in path.split("/"))
    return [found.text for found in ElementTree.fromstring(body).findall(steps)]


@given(
    st.tuples(st.sets(NAMES, max_size=12), st.sets(NAMES, max_size=4)),
    st.text("ab/", max_size=3),
    st.sampled_from(["", "/", "a", "//", "\ud7ff", "\U0010ffff"]),
    st.integers(1, 5),
    st.sampled_from([1, 2]),
)
def test_pages_together_are_what_is_to_be_listed(
    names: tuple[set[str], set[str]], prefix: str, delimiter: str, most: int, version: int
) -> None:
    keys, hidden = names
    expected: list[str] = []
    for key in sorted((key for key in keys - hidden if key.startswith(prefix)), key=str.encode):
        head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        name = prefix + head + cut if cut else key
        if name not in expected:
            expected.append(name)
    # As of a bucket with bundles: no key is in one sequence alone.
    order = sorted(keys, key=str.encode)
    orders = [order[::2], order, order[1:3], []]
    found: list[str] = []
    query = ListQuery(version, prefix, delimiter, most=most, encoded=True)
    for _ in range(30):
        page = find_keys(query, *orders, shown=lambda key: None if key in hidden else shown(key))
        names_on_it = sorted(page.keys + page.prefixes, key=str.encode)
        assert len(names_on_it) <= most
        found += names_on_it
        body = list_page("bucket", query, page)
        assert texts(body, "Name") == ["bucket"]
        assert texts(body, "IsTruncated") == ["false" if page.last is None else "true"]
        if page.last is None:
            break
        if version == 2:
            [token] = texts(body, "NextContinuationToken")
            assert token is not None
            again = read_query([(b"list-type", b"2"), (b"continuation-token", token.encode())])
        else:
            again = read_query([(b"marker", page.last.encode())])
        query = ListQuery(version, prefix, delimiter, again.after, most, encoded=True)
    assert found == expected


@pytest.mark.parametrize(
    "query",
    [
        {"max-keys": "-1"},
        {"max-keys": "many"},
        {"max-keys": "1" * 5000},
        {"list-type": "3"},
        {"encoding-type": "base64"},
        {"list-type": "2", "continuation-token": "?"},
        {"list-type": "2", "continuation-token": "/w=="},
        {"list-type": "2", "continuation-token": "\u00e9"},
    ],
)
def test_what_makes_no_sense_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(S3Error) as caught:
        read_query([(name.encode(), value.encode()) for name, value in query.items()])
    assert caught.value.code == "InvalidArgument"


def test_a_page_tells_of_an_object_what_tools_need() -> None:
    query = read_query([(b"list-type", b"2"), (b"prefix", b"a&b"), (b"start-after", b"a")])
    page = find_keys(query, ["a&b <c>"])
    body = list_page("bucket", query, page)
    assert texts(body, "Contents/Key") == ["a&b <c>"]
    assert texts(body, "Contents/LastModified") == ["1994-11-06T08:49:37.000Z"]
    assert texts(body, "Contents/ETag") == ['"e"']
    assert texts(body, "Contents/Size") == ["5"]
    assert texts(body, "StartAfter") == ["a"]
    assert texts(body, "KeyCount") == ["1"]
    assert texts(body, "MaxKeys") == ["1000"]


def test_a_page_is_bounded_whatever_is_asked_and_whoever_asks() -> None:
    keys = [f"{number:06}" for number in range(3 * MOST_LOOKED_AT)]
    page = find_keys(read_query([(b"max-keys", b"9999999")]), keys)
    assert len(page.keys) == MOST_KEYS
    looked: list[str] = []

    def note(key: str) -> None:
        looked.append(key)

    assert not find_keys(ListQuery(2), keys, shown=note).keys
    assert len(looked) == MOST_LOOKED_AT
    assert find_keys(ListQuery(2, most=0), keys).last is None


def test_the_order_of_a_bucket_is_kept_as_objects_come_and_go() -> None:
    catalog = Catalog()

    def keys() -> list[str]:
        order = catalog.keys_of("bucket")
        found: list[str] = []
        while order.key is not None:
            found.append(order.key)
            order.step()
        return found

    for key in ("b", "d", "a"):
        publish(catalog, key)
    assert keys() == ["a", "b", "d"]
    publish(catalog, "c")
    publish(catalog, "c", origin="payer")
    assert keys() == ["a", "b", "c", "d"]
    catalog.remove(ObjectRef("payer", "bucket", "c"))
    catalog.remove(ObjectRef("default", "bucket", "a"))
    assert keys() == ["b", "c", "d"]
    for key in ("b", "c", "d"):
        catalog.remove(ObjectRef("default", "bucket", key))
    assert keys() == catalog.buckets == []
    publish(catalog, "z")
    assert keys() == ["z"]

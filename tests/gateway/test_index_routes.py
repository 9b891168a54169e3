"""The index at /: which form a client gets, and that each is what its readers take."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.gateway.index_pages import page_target
from seeder.gateway.index_routes import MOST_ENTRIES, IndexRoutes
from seeder.http.messages import Request, Response, split_target
from tests.gateway.support import ENTRY, OnePage, page_of

TORRENT = "{http://xmlns.ezrss.it/0.1/}"


def ask(
    index: OnePage, target: str, *headers: tuple[str, str], bucket: str | None = None
) -> Response:
    path, query = split_target(target.encode())
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    address = ("192.0.2.1", 1)
    request = Request(b"GET", path, query, raw, address, address)
    return IndexRoutes(index).answer(request, bucket)


def body_of(response: Response) -> bytes:
    assert response.status == 200
    assert isinstance(response.body, bytes)
    return response.body


class Links(HTMLParser):
    """The links and the texts of a page; every element is closed as it was opened."""

    VOID = ("meta", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self._open.append(tag)
        assert tag != "script"
        for name, value in attrs:
            assert not name.startswith("on")
            if tag == "a" and name == "href":
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("target", "accept", "kind"),
    [
        ("/", None, b"text/html"),
        ("/", "*/*", b"text/html"),
        ("/", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", b"text/html"),
        ("/", "application/json", b"application/json"),
        ("/", "text/html;q=0.1, application/json", b"application/json"),
        ("/", "application/rss+xml", b"application/rss+xml"),
        ("/", "application/rss+xml, application/xml;q=0.8, */*;q=0.1", b"application/rss+xml"),
        ("/", "text/xml", b"application/rss+xml"),
        ("/", "application/json;q=nonsense", b"text/html"),
        ("/", "application/json;q=0", b"text/html"),
        ("/?format=json", "text/html", b"application/json"),
        ("/?format=rss", None, b"application/rss+xml"),
        ("/?format=html", "application/json", b"text/html"),
    ],
)
def test_the_query_chooses_the_form_or_else_the_accept_header(
    target: str, accept: str | None, kind: bytes
) -> None:
    response = ask(OnePage(page_of(ENTRY)), target, *([("Accept", accept)] if accept else []))
    assert body_of(response)
    assert dict(response.headers)[b"Content-Type"].partition(b";")[0] == kind
    assert dict(response.headers)[b"Vary"] == b"Accept"


def test_an_unknown_form_is_refused() -> None:
    assert ask(OnePage(page_of()), "/?format=atom").status == 400


@pytest.mark.parametrize("target", ["/", "/?format=json", "/?format=rss"])
def test_who_has_the_list_is_not_sent_it_again(target: str) -> None:
    index = OnePage(page_of(ENTRY))
    etag = dict(ask(index, target).headers)[b"ETag"].decode()
    assert ask(index, target, ("If-None-Match", etag)).status == 304
    other = OnePage(page_of(replace(ENTRY, size=1)))
    assert ask(other, target, ("If-None-Match", etag)).status == 200


def test_the_page_and_the_bucket_come_from_the_request() -> None:
    index = OnePage(page_of())
    ask(index, page_target("quotes/a&b c", "json").removeprefix("."), bucket="quotes")
    ask(index, "/?format=rss", bucket="quotes")
    ask(index, "/")
    count = MOST_ENTRIES
    assert index.asked == [("quotes", "quotes/a&b c", count), ("quotes", count), (None, "", count)]


def test_json_says_all_of_it_and_where_it_goes_on() -> None:
    index = OnePage(page_of(ENTRY, after="quotes/Nelson & co"))
    document = json.loads(body_of(ask(index, "/?format=json")))
    assert document["torrents"] == [
        {
            "bucket": "quotes",
            "key": "Nelson",
            "size": 3 * 2**30,
            "info_hash": "68" * 20,
            "torrent": ENTRY.torrent_url,
            "magnet": ENTRY.magnet,
            "download": None,
            "published": None,
        }
    ]
    assert document["total"] == 1
    query = parse_qs(urlsplit(document["next"]).query)
    assert query == {"format": ["json"], "after": ["quotes/Nelson & co"]}
    assert json.loads(body_of(ask(OnePage(page_of()), "/?format=json")))["next"] is None


def test_a_feed_has_an_enclosure_for_each_torrent() -> None:
    feed = ElementTree.fromstring(body_of(ask(OnePage(page_of(ENTRY)), "/?format=rss")))
    assert feed.tag == "rss"
    assert feed.get("version") == "2.0"
    assert feed.findtext("channel/link") == "https://t.example.org/"
    [item] = feed.findall("channel/item")
    assert item.findtext("title") == "quotes/Nelson"
    enclosure = item.find("enclosure")
    assert enclosure is not None
    assert enclosure.attrib == {
        "url": ENTRY.torrent_url,
        "length": "0",
        "type": "application/x-bittorrent",
    }
    assert item.findtext("guid") == f"urn:btih:{ENTRY.info_hash}"
    assert item.findtext(f"{TORRENT}infoHash") == ENTRY.info_hash
    assert item.findtext(f"{TORRENT}contentLength") == str(ENTRY.size)
    assert item.findtext(f"{TORRENT}magnetURI") == ENTRY.magnet


def test_a_page_links_to_torrents_and_to_its_neighbours() -> None:
    index = OnePage(page_of(ENTRY, previous="", after="quotes/Nelson"))
    page = Links(body_of(ask(index, "/")).decode())
    neighbours = ["./", "./?after=quotes/Nelson"]
    forms = ["./?format=rss", "./?format=json"]
    assert page.links == [ENTRY.torrent_url, ENTRY.magnet, *neighbours, *forms]
    assert "3.00 GiB" in page.text
    alone = Links(body_of(ask(OnePage(page_of(ENTRY)), "/")).decode())
    assert alone.links == [ENTRY.torrent_url, ENTRY.magnet, *forms]
    assert "no public torrents" in Links(body_of(ask(OnePage(page_of()), "/")).decode()).text


def test_where_the_object_is_to_be_had_each_form_links_to_it() -> None:
    url = "https://t.example.org/quotes/Nelson"
    index = OnePage(page_of(replace(ENTRY, download_url=url)))
    page = Links(body_of(ask(index, "/")).decode())
    assert page.links[:3] == [ENTRY.torrent_url, ENTRY.magnet, url]
    assert json.loads(body_of(ask(index, "/?format=json")))["torrents"][0]["download"] == url
    feed = ElementTree.fromstring(body_of(ask(index, "/?format=rss")))
    assert feed.findtext("channel/item/link") == url
    enclosure = feed.find("channel/item/enclosure")
    assert enclosure is not None
    assert enclosure.get("url") == ENTRY.torrent_url
    plain = ElementTree.fromstring(body_of(ask(OnePage(page_of(ENTRY)), "/?format=rss")))
    assert plain.findtext("channel/item/link") == ENTRY.torrent_url


def test_json_and_feed_say_when_a_torrent_was_published() -> None:
    index = OnePage(page_of(replace(ENTRY, published=1_000_000_000)))
    feed = ElementTree.fromstring(body_of(ask(index, "/?format=rss")))
    assert feed.findtext("channel/item/pubDate") == "Sun, 09 Sep 2001 01:46:40 GMT"
    document = json.loads(body_of(ask(index, "/?format=json")))
    assert document["torrents"][0]["published"] == 1_000_000_000
    plain = ElementTree.fromstring(body_of(ask(OnePage(page_of(ENTRY)), "/?format=rss")))
    assert plain.find("channel/item/pubDate") is None


def test_a_page_may_load_nothing_and_run_nothing() -> None:
    response = ask(OnePage(page_of(ENTRY)), "/")
    policy = dict(response.headers)[b"Content-Security-Policy"].decode()
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert b"src=" not in body_of(response)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_name_becomes_markup(key: str, bucket: str) -> None:
    key, bucket = (text.encode("utf-8", "replace").decode() for text in (key, bucket))
    hostile = replace(ENTRY, key=f"{key}</h1><script>&\"'", bucket=bucket)
    index = OnePage(page_of(hostile, after=hostile.name))
    page = Links(body_of(ask(index, "/", bucket=f"<script>{bucket}")).decode())
    assert "</h1><script>&\"'" in page.text
    feed = ElementTree.fromstring(body_of(ask(index, "/?format=rss", bucket=bucket)))
    assert (feed.findtext("channel/item/title") or "").endswith("</h1><script>&\"'")
    document = json.loads(body_of(ask(index, "/?format=json")))
    assert document["torrents"][0]["key"] == hostile.key
    after = parse_qs(urlsplit(document["next"]).query, keep_blank_values=True)["after"]
    assert after == [hostile.name]

"""The index at /: which form a client gets, and that each is what its readers take."""

import gzip
import json
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from seeder.gateway.index import IndexQuery
from seeder.gateway.index_pages import page_target
from seeder.gateway.index_routes import ROWS, IndexRoutes
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
    return trio.run(IndexRoutes(index).answer, request, bucket)


def body_of(response: Response) -> bytes:
    assert response.status == 200
    assert isinstance(response.body, bytes)
    packed = dict(response.headers).get(b"Content-Encoding") == b"gzip"
    return gzip.decompress(response.body) if packed else response.body


class Links(HTMLParser):
    """The links and the texts of a page; every element is closed as it was opened."""

    VOID = ("meta", "link", "img", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inputs: dict[str, str] = {}
        self.scripts = 0
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self._open.append(tag)
        self.scripts += tag == "script"
        said = dict(attrs)
        if tag == "input":
            self.inputs[said["name"] or ""] = said["value"] or ""
        for name, value in attrs:
            assert not name.startswith("on")
            assert name != "src" or (value or "").startswith("data:image/svg+xml,")
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
    assert dict(response.headers)[b"Vary"] == b"Accept, Accept-Encoding"


def test_an_unknown_form_is_refused() -> None:
    assert ask(OnePage(page_of()), "/?format=atom").status == 400


@pytest.mark.parametrize("target", ["/", "/?format=json", "/?format=rss"])
def test_who_has_the_list_is_not_sent_it_again(target: str) -> None:
    index = OnePage(page_of(ENTRY))
    etag = dict(ask(index, target).headers)[b"ETag"].decode()
    assert ask(index, target, ("If-None-Match", etag)).status == 304
    other = OnePage(page_of(replace(ENTRY, size=1)))
    assert ask(other, target, ("If-None-Match", etag)).status == 200


def test_what_is_asked_for_comes_from_the_request() -> None:
    index = OnePage(page_of())
    wanted = IndexQuery("quotes", "a&b c+d", "size", "quotes/a&b c", 100)
    ask(index, page_target(wanted, wanted.after, form="json").removeprefix("."), bucket="quotes")
    ask(index, "/?format=rss&q=Nelson&order=size&after=x", bucket="quotes")
    ask(index, "/?q=as+a+form%2Bsends+it")
    assert index.asked == [
        wanted,
        IndexQuery("quotes", "Nelson", "newest"),
        IndexQuery(search="as a form+sends it", count=ROWS),
    ]
    assert ask(index, "/?order=oldest").status == 400
    long = ask(OnePage(page_of()), f"/?q={'%ff' * 3000}")
    assert len(body_of(long)) < 20_000


def test_a_search_is_kept_on_all_ways_from_its_page() -> None:
    index = OnePage(page_of(ENTRY, previous="", after="5/quotes/Nelson"))
    page = Links(body_of(ask(index, "/?q=nel%22+%3Cb&order=size")).decode())
    assert page.inputs == {"q": 'nel" <b', "order": "size"}
    ways = [link for link in page.links if link.startswith("./")]
    queries = [parse_qs(urlsplit(way).query) for way in ways]
    assert all(query["q"] == ['nel" <b'] for query in queries)
    assert [query.get("order") for query in queries] == [
        *(None, ["newest"], ["size"]),  # the orders to choose from
        *(["size"], ["size"]),  # the pages before and after
        *(None, ["size"]),  # the feed has the newest, JSON this order
    ]
    assert queries[4]["after"] == ["5/quotes/Nelson"]
    nothing = Links(body_of(ask(OnePage(page_of()), "/?q=x")).decode())
    assert "Nothing here is called that" in nothing.text


def test_the_page_is_packed_for_who_unpacks_it() -> None:
    index = OnePage(page_of(*[ENTRY] * ROWS))
    plain, packed = ask(index, "/"), ask(index, "/", ("Accept-Encoding", "br, gzip"))
    assert body_of(packed) == body_of(plain)
    assert isinstance(packed.body, bytes)
    assert len(packed.body) < 8_000
    assert dict(packed.headers)[b"ETag"] != dict(plain.headers)[b"ETag"]
    etag = dict(packed.headers)[b"ETag"].decode()
    again = ask(index, "/", ("Accept-Encoding", "gzip"), ("If-None-Match", etag))
    assert again.status == 304
    assert b"Content-Encoding" not in dict(ask(index, "/", ("Accept-Encoding", "gzip;q=0")).headers)


def test_json_says_all_of_it_and_where_it_goes_on() -> None:
    index = OnePage(page_of(ENTRY, after="quotes/Nelson & co"))
    document = json.loads(body_of(ask(index, "/?format=json")))
    assert document["torrents"] == [
        {
            "bucket": "quotes",
            "key": "Nelson",
            "size": 3 * 2**30,
            "info_hash": "68" * 20,
            "info_hash_v2": None,
            "sha256": None,
            "sha256_from": None,
            "torrent": ENTRY.torrent_url,
            "magnet": ENTRY.magnet,
            "download": None,
            "published": None,
            "seeds": 1,
            "downloading": 0,
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


ORDERS = ["./", "./?order=newest", "./?order=size"]
FORMS = ["./?format=rss", "./?format=json"]


def test_a_page_links_to_torrents_and_to_its_neighbours() -> None:
    index = OnePage(page_of(ENTRY, previous="", after="quotes/Nelson"))
    page = Links(body_of(ask(index, "/")).decode())
    neighbours = ["./", "./?after=quotes/Nelson"]
    assert page.links == [*ORDERS, ENTRY.torrent_url, ENTRY.magnet, *neighbours, *FORMS]
    assert "3.00 GiB" in page.text
    alone = Links(body_of(ask(OnePage(page_of(ENTRY)), "/")).decode())
    assert alone.links == [*ORDERS, ENTRY.torrent_url, ENTRY.magnet, *FORMS]
    assert "no public torrents" in Links(body_of(ask(OnePage(page_of()), "/")).decode()).text


def test_a_page_says_what_is_known_of_a_torrent() -> None:
    entry = replace(
        ENTRY,
        published=1_000_000_000,
        seeds=1234,
        leechers=7,
        info_hash_v2="12" * 32,
        sha256="34" * 32,
        sha256_from="publisher",
    )
    body = body_of(ask(OnePage(page_of(entry)), "/")).decode()
    page = Links(body)
    for text in ("2001-09-09", "1,234", "12" * 32, "34" * 32, "SHA-256, publisher's"):
        assert text in page.text
    assert '<time datetime="2001-09-09T01:46:40Z">' in body
    page = Links(body_of(ask(OnePage(page_of(ENTRY)), "/")).decode())
    assert ENTRY.info_hash in page.text
    assert "SHA-256" not in page.text


def test_where_the_object_is_to_be_had_each_form_links_to_it() -> None:
    url = "https://t.example.org/quotes/Nelson"
    index = OnePage(page_of(replace(ENTRY, download_url=url)))
    page = Links(body_of(ask(index, "/")).decode())
    assert page.links[3:6] == [url, ENTRY.torrent_url, ENTRY.magnet]
    assert json.loads(body_of(ask(index, "/?format=json")))["torrents"][0]["download"] == url
    feed = ElementTree.fromstring(body_of(ask(index, "/?format=rss")))
    assert feed.findtext("channel/item/link") == url
    enclosure = feed.find("channel/item/enclosure")
    assert enclosure is not None
    assert enclosure.get("url") == ENTRY.torrent_url
    plain = ElementTree.fromstring(body_of(ask(OnePage(page_of(ENTRY)), "/?format=rss")))
    assert plain.findtext("channel/item/link") == ENTRY.torrent_url


def test_a_feed_has_an_info_hash_once() -> None:
    other, same = replace(ENTRY, key="Ada", info_hash="69" * 20), replace(ENTRY, key="Grace")
    page = page_of(ENTRY, other, same)
    feed = ElementTree.fromstring(body_of(ask(OnePage(page), "/?format=rss")))
    # Where the newer of the two stands.
    titles = [item.findtext("title") for item in feed.iter("item")]
    assert titles == ["quotes/Nelson", "quotes/Ada"]


def test_json_and_feed_say_when_a_torrent_was_published() -> None:
    index = OnePage(page_of(replace(ENTRY, published=1_000_000_000)))
    feed = ElementTree.fromstring(body_of(ask(index, "/?format=rss")))
    assert feed.findtext("channel/item/pubDate") == "Sun, 09 Sep 2001 01:46:40 GMT"
    document = json.loads(body_of(ask(index, "/?format=json")))
    assert document["torrents"][0]["published"] == 1_000_000_000
    plain = ElementTree.fromstring(body_of(ask(OnePage(page_of(ENTRY)), "/?format=rss")))
    assert plain.find("channel/item/pubDate") is None


def test_a_page_may_run_its_own_script_and_ask_for_other_pages_and_nothing_else() -> None:
    response = ask(OnePage(page_of(ENTRY)), "/")
    policy = dict(response.headers)[b"Content-Security-Policy"].decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    script = body_of(response).partition(b'<script type="module">')[2].partition(b"</script>")[0]
    digest = b64encode(sha256(script).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "style-src": rules["style-src"],
        "script-src": f"'sha256-{digest}'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    assert rules["style-src"].startswith("'sha256-")


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_name_becomes_markup(key: str, bucket: str) -> None:
    key, bucket = (text.encode("utf-8", "replace").decode() for text in (key, bucket))
    hostile = replace(ENTRY, key=f"{key}</h1><script>&\"'", bucket=bucket)
    index = OnePage(page_of(hostile, after=hostile.name))
    page = Links(body_of(ask(index, "/", bucket=f"<script>{bucket}")).decode())
    assert page.scripts == 1
    assert "</h1><script>&\"'" in page.text
    feed = ElementTree.fromstring(body_of(ask(index, "/?format=rss", bucket=bucket)))
    assert (feed.findtext("channel/item/title") or "").endswith("</h1><script>&\"'")
    document = json.loads(body_of(ask(index, "/?format=json")))
    assert document["torrents"][0]["key"] == hostile.key
    after = parse_qs(urlsplit(document["next"]).query, keep_blank_values=True)["after"]
    assert after == [hostile.name]

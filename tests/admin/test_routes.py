import json
import re
from collections.abc import Awaitable
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import pytest
import trio

from seeder.admin.cockpit import Cockpit
from seeder.admin.documents import ledger_document
from seeder.admin.overview import Overview, Status
from seeder.admin.peers import PeerRates
from seeder.admin.routes import MOST_STREAMS, AdminRoutes
from seeder.admin.stream import EventStream
from seeder.admin.view import View
from seeder.config.objects import ObjectSettings
from seeder.events.webhooks import Webhooks
from seeder.http.messages import Request, Response
from seeder.http.parts import BodyParts
from seeder.ledger.budget import Budget, Spent
from seeder.ledger.counters import AccountKey, Counters, Ledger
from seeder.ledger.database import LedgerStatistics
from seeder.ledger.history import History
from seeder.ledger.limits import Limit, Period, Resource
from seeder.ledger.report import Document, Report
from seeder.ledger.savings import Prices
from seeder.publish.prefix import Prefix
from tests.admin.support import parts_of

STATIC = {path.name: path for path in (files("seeder.admin") / "static").iterdir()}
OURS = {name for name in STATIC if "uplot" not in name}
"""What is in static/ and isn't another project's."""
PAGES = [
    b"/",
    *(f"/{name}".encode() for name in sorted(STATIC) if name.endswith((".js", ".css"))),
    b"/icon.svg",
]
ROUTES = [
    *PAGES,
    b"/status.json",
    b"/history.json",
    b"/metrics",
    b"/events",
    b"/healthz",
    b"/readyz",
]


class Daemon(Overview):
    """An overview of one torrent, ready or not, without the parts of a node."""

    def __init__(self) -> None:
        self.unready = None
        self.cluster = None
        self.ledger = Ledger()
        self.prices = Prices(0.09, 0.0004)
        self.history = History(Path("/nonexistent/ledger.sqlite"), self.ledger)
        self.ledger.account(AccountKey("default", "quotes", "Nelson", "v")).uploaded(5)

    def _reported(self) -> Report:
        prices, limit = Prices(0.09, 0.0004), Limit(Resource.ORIGIN_BYTES, Period.DAY, 5)
        budget = Budget([limit], prices, totals=Counters(), spent=Spent(), now=0)
        return Report.of(self.ledger, prices, at=0, budget=budget.left())

    async def status(self, limit: int | None) -> Status:
        prefix = Prefix(ObjectSettings(bucket="quotes", prefix="a/"))
        document = self._reported().document()
        torrents = document["torrents"]
        assert isinstance(torrents, list)
        shown = {"torrents": [], "torrents_in_all": len(torrents)}
        ledger = ledger_document(LedgerStatistics(1, 0, None, flushed_at=1.7e9))
        return Status(
            {**document, **shown, "prefixes": [prefix.document()], "ledger": ledger},
            [json.dumps(torrents[:limit])[1:-1].encode()],
        )

    async def metrics(self) -> bytes:
        return b"".join(await parts_of(self.ledger))


class Page(Cockpit):
    """The cockpit of such a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.overview = daemon

    def rates(self) -> PeerRates:
        return PeerRates(hub=None)  # type: ignore[arg-type]

    async def document(self, view: View, rates: PeerRates) -> Document:
        return {"searched": view.search, "rates": id(rates)}


def ask(
    path: bytes,
    *,
    method: bytes = b"GET",
    host: bytes | None = b"localhost",
    daemon: Daemon | None = None,
) -> Response:
    named = [(b"host", host)] if host is not None else []
    request = Request(
        method=method,
        path=path.partition(b"?")[0],
        query=path.partition(b"?")[2],
        headers=[*named, (b"origin", b"http://elsewhere.example")],
        peer=("127.0.0.1", 1),
        local=("127.0.0.1", 9180),
    )
    answer = routes_of(daemon or Daemon())(request)
    return answer if isinstance(answer, Response) else trio.run(wait_for, answer)


def routes_of(daemon: Daemon) -> AdminRoutes:
    return AdminRoutes(Page(daemon), Webhooks({}, {}), ["status.example.org"])


async def wait_for(answer: Awaitable[Response]) -> Response:
    return await answer


def header(response: Response, name: bytes) -> bytes | None:
    values = [value for given, value in response.headers if given.lower() == name]
    assert len(values) <= 1
    return values[0] if values else None


def text(response: Response) -> str:
    if isinstance(response.body, BodyParts):
        taken = b""
        while parts := trio.run(response.body.offer):
            taken += b"".join(parts)
            response.body.took(sum(map(len, parts)))
        assert response.content_length == len(taken)
        return taken.decode()
    assert isinstance(response.body, bytes)
    return response.body.decode()


def test_the_status_is_the_report() -> None:
    response = ask(b"/status.json?t=1")
    document = json.loads(text(response))
    assert response.status == 200
    assert header(response, b"content-type") == b"application/json"
    assert document["totals"]["uploaded_bytes"] == 5
    assert [torrent["key"] for torrent in document["torrents"]] == ["Nelson"]


def test_as_many_torrents_are_shown_as_are_asked_for() -> None:
    daemon = Daemon()
    for number in range(600):
        daemon.ledger.account(AccountKey("default", "quotes", f"[{number}], {{}}", "v"))
    for query, count in (
        (b"", 601),
        (b"?limit=7", 7),
        (b"?limit=x", 601),
        (b"?t=1&limit=300", 300),
    ):
        document = json.loads(text(ask(b"/status.json" + query, daemon=daemon)))
        assert len(document["torrents"]) == count
        assert document["torrents_in_all"] == 601
        assert document["totals"]["uploaded_bytes"] == 5


def test_the_metrics_are_prometheus_text() -> None:
    response = ask(b"/metrics")
    content_type = header(response, b"content-type")
    assert response.status == 200
    assert content_type is not None
    assert content_type.startswith(b"text/plain; version=")
    assert 'seeder_uploaded_bytes_total{bucket="quotes",key="Nelson"} 5\n' in text(response)


def test_alive_is_not_the_same_as_ready() -> None:
    daemon = Daemon()
    daemon.unready = "the catalog is not loaded"
    assert ask(b"/healthz", daemon=daemon).status == 200
    response = ask(b"/readyz", daemon=daemon)
    assert (response.status, text(response)) == (503, "not ready: the catalog is not loaded\n")
    daemon.unready = None
    response = ask(b"/readyz", daemon=daemon)
    assert (response.status, text(response)) == (200, "ready\n")


@pytest.mark.parametrize(
    "path", [b"", b"//", b"/index.html", b"/status", b"/../status.py", b"/%2e"]
)
def test_other_paths_are_not_found(path: bytes) -> None:
    assert ask(path).status == 404


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"OPTIONS"])
def test_who_looks_at_a_webhook_is_told_what_it_is(method: bytes) -> None:
    response = ask(b"/events/minio", method=method)
    assert (response.status, header(response, b"allow")) == (405, b"POST")
    assert response.body == b"S3 servers POST here\n"


@pytest.mark.parametrize("path", [*ROUTES, b"/elsewhere"])
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"get"])
def test_nothing_can_be_changed(path: bytes, method: bytes) -> None:
    response = ask(path, method=method)
    assert response.status == 405
    assert header(response, b"allow") == b"GET, HEAD"


@pytest.mark.parametrize("path", ROUTES)
def test_head_is_answered_like_get(path: bytes) -> None:
    get, head = ask(path), ask(path, method=b"HEAD")
    assert (head.status, head.headers) == (get.status, get.headers)


@pytest.mark.parametrize("path", [*ROUTES, b"/elsewhere"])
def test_no_answer_is_stored_guessed_at_or_readable_from_other_sites(path: bytes) -> None:
    response = ask(path)
    assert header(response, b"cache-control") == b"no-store"
    assert header(response, b"x-content-type-options") == b"nosniff"
    assert header(response, b"cross-origin-resource-policy") == b"same-origin"
    assert not [name for name, _ in response.headers if name.lower().startswith(b"access-control")]
    policy = header(response, b"content-security-policy")
    assert policy is not None
    assert b"default-src 'none'" in policy
    assert b"frame-ancestors 'none'" in policy
    assert b"unsafe" not in policy
    assert b"http:" not in policy


@pytest.mark.parametrize("path", [*ROUTES, b"/elsewhere"])
def test_a_name_that_may_be_another_sites_is_refused(path: bytes) -> None:
    response = ask(path, host=b"rebound.example:9180")
    assert response.status == 421
    assert "[admin]" in text(response)
    assert "rebound" not in text(response)
    for known in (b"Status.Example.org:9180", b"10.0.0.7:9180", None):
        assert ask(path, host=known).status == ask(path).status


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_page_keeps_to_its_own_policy(name: str) -> None:
    page = STATIC[name].read_text()
    # Nothing inline, nothing from elsewhere, and no way for a key's name to become markup.
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=\"", page)
    assert not re.search(r"https?://(?!www\.w3\.org/)|@import|url\(", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", page)


def test_the_page_names_only_files_that_are_served() -> None:
    names = set(re.findall(r'(?:href|src)="([^"#]+)"', text(ask(b"/"))))
    for script in (name for name in OURS if name.endswith(".js")):
        names |= set(re.findall(r'from "\./([^"]+)"', STATIC[script].read_text()))
    for name in names:
        assert ask(b"/" + name.encode()).status == 200, name
    unused = {name for name in STATIC if name.endswith((".js", ".css"))} - names
    assert unused == set()


def test_every_static_file_is_served_or_a_licence() -> None:
    served = {path.decode()[1:] for path in PAGES} | {"index.html"}
    assert STATIC.keys() - served == {"uplot-LICENSE"}


def test_uplot_is_as_it_was_released() -> None:
    found = {
        name: sha256(STATIC[name].read_bytes()).hexdigest()[:16] for name in STATIC.keys() - OURS
    }
    assert (
        STATIC["uplot.js"]
        .read_text()
        .startswith("/*! https://github.com/leeoniya/uPlot (v1.6.32) */")
    )
    assert found == {
        "uplot.js": "19c8d4c6ad88929a",
        "uplot.css": "df630c6a8d6f8eea",
        "uplot-LICENSE": "8f989229699b4fe2",
    }


def test_the_scripts_find_only_what_the_page_has() -> None:
    page = text(ask(b"/"))
    script = "".join(STATIC[name].read_text() for name in OURS if name.endswith(".js"))
    figures = re.findall(r'put\("([\w-]+)"', script) + [
        f"part-{name}" for name in ("s3", "cache", "between")
    ]
    assert set(figures) == set(re.findall(r'data-figure="([\w-]+)"', page))
    named = re.findall(r'(?:find|setButton)\("#([\w-]+)', script)
    assert named
    for name in named:
        assert f'id="{name}"' in page


# -- the stream of events


def test_a_stream_of_events_is_opened_for_a_view() -> None:
    response = ask(b"/events?search=Abc")
    assert response.status == 200
    assert header(response, b"content-type") == b"text/event-stream"
    assert header(response, b"content-encoding") is None
    assert response.content_length is None
    assert isinstance(response.body, EventStream)
    [data] = trio.run(response.body.offer)
    assert bytes(data).startswith(b'data: {"whole":{"searched":"abc"')


def test_there_are_only_so_many_streams_at_a_time() -> None:
    routes = routes_of(Daemon())
    request = Request(b"GET", b"/events", b"", [], ("127.0.0.1", 1), ("127.0.0.1", 9180))
    opened = [routes(request) for _ in range(MOST_STREAMS)]
    for refused in (routes(request), routes(request)):
        assert isinstance(refused, Response)
        assert refused.status == 503
    [first, *_] = opened
    assert isinstance(first, Response)
    assert isinstance(first.body, EventStream)
    for _ in range(2):
        first.body.close()
    again = routes(request)
    assert isinstance(again, Response)
    assert again.status == 200

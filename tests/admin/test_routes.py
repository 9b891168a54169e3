import json
import re
from collections.abc import Awaitable
from importlib.resources import files

import pytest
import trio

from seeder.admin.overview import Overview, ledger_document
from seeder.admin.routes import AdminRoutes
from seeder.config.sections import ObjectSettings
from seeder.http.messages import Request, Response
from seeder.ledger.budget import Budget, Limit, Period, Resource, Spent
from seeder.ledger.counters import AccountKey, Counters, Ledger
from seeder.ledger.database import LedgerStatistics
from seeder.ledger.metrics import Metrics
from seeder.ledger.report import Report
from seeder.ledger.savings import Prices
from seeder.publish.prefixes import Prefix

PAGES = [b"/", b"/status.css", b"/status.js", b"/icon.svg"]
ROUTES = [*PAGES, b"/status.json", b"/metrics", b"/healthz", b"/readyz"]


class Daemon(Overview):
    """An overview of one torrent, ready or not, without the parts of a node."""

    def __init__(self) -> None:
        self.unready = None
        self.ledger = Ledger()
        self.ledger.account(AccountKey("default", "quotes", "Nelson", "v")).uploaded(5)

    def _report(self) -> Report:
        prices, limit = Prices(0.09, 0.0004), Limit(Resource.ORIGIN_BYTES, Period.DAY, 5)
        budget = Budget([limit], prices, totals=Counters(), spent=Spent(), now=0)
        return Report.of(self.ledger, prices, at=0, budget=budget.left())

    async def status(self, limit: int | None) -> dict[str, object]:
        prefix = Prefix(ObjectSettings(bucket="quotes", prefix="a/"))
        document = self._report().document()
        torrents = document["torrents"]
        assert isinstance(torrents, list)
        shown = {"torrents": torrents[:limit], "torrents_in_all": len(torrents)}
        ledger = ledger_document(LedgerStatistics(1, 0, None, flushed_at=1.7e9))
        return {**document, **shown, "prefixes": [prefix.document()], "ledger": ledger}

    async def metrics(self) -> bytes:
        return b"".join(Metrics(version="1.2.3").parts(self._report()))


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
    answer = AdminRoutes(daemon or Daemon(), ["status.example.org"])(request)
    return answer if isinstance(answer, Response) else trio.run(wait_for, answer)


async def wait_for(answer: Awaitable[Response]) -> Response:
    return await answer


def header(response: Response, name: bytes) -> bytes | None:
    values = [value for given, value in response.headers if given.lower() == name]
    assert len(values) <= 1
    return values[0] if values else None


def text(response: Response) -> str:
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


@pytest.mark.parametrize("path", PAGES)
def test_the_page_keeps_to_its_own_policy(path: bytes) -> None:
    response = ask(path)
    page = text(response)
    assert response.status == 200
    # Nothing inline, nothing from elsewhere, and no way for a key's name to become markup.
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    assert not re.search(r"https?://(?!www\.w3\.org/)|@import|url\(", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", page)


def test_the_page_names_only_files_that_are_served() -> None:
    names = re.findall(r'(?:href|src)="([^"]+)"', text(ask(b"/")))
    assert {"status.css", "status.js", "icon.svg", "status.json", "metrics"} == set(names)
    for name in names:
        assert ask(b"/" + name.encode()).status == 200


def test_every_static_file_is_served() -> None:
    static = {path.name for path in (files("seeder.admin") / "static").iterdir()}
    assert len(static | {"icon.svg"}) == len(PAGES)


def test_the_script_reads_only_what_the_report_has() -> None:
    script = text(ask(b"/status.js"))
    document = json.loads(text(ask(b"/status.json")))
    read = set(re.findall(r"\btotals\.(\w+)", script)) | set(re.findall(r'"(\w+_bytes)"', script))
    assert read
    assert read <= document["totals"].keys()
    read = set(re.findall(r"\btorrent\.(\w+)", script))
    assert read
    assert read <= document["torrents"][0].keys()
    read = set(re.findall(r"\blimit\.(\w+)", script))
    assert read
    assert read <= document["budget"][0].keys()
    read = set(re.findall(r"\bprefix\.(\w+)", script))
    assert read
    assert read <= document["prefixes"][0].keys()
    read = set(re.findall(r"\bledger\.(\w+)", script))
    assert read
    assert read <= document["ledger"].keys()


def test_the_script_fills_only_what_the_page_has() -> None:
    page, script = text(ask(b"/")), text(ask(b"/status.js"))
    assert set(re.findall(r'put\("(\w+)"', script)) == set(re.findall(r'data-total="(\w+)"', page))
    for name in re.findall(r'find\("#(\w+)"\)', script):
        assert f'id="{name}"' in page

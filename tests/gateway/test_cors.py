"""What pages of other sites may read: what is public, without credentials."""

import time
from pathlib import Path

import pytest

from seeder.gateway.access import ReadKey
from tests.gateway.seeding import PATH, seeding
from tests.gateway.signing import KEY_ID, SECRET, signed
from tests.gateway.support import Public, header

ALLOW = b"Access-Control-Allow-Origin"


def signed_target(target: str) -> str:
    presigned = signed(f"http://tracker.test{target}", expires=60, now=time.time())
    return f"{presigned.path.decode()}?{presigned.query.decode()}"


KEYS = [ReadKey(KEY_ID, SECRET, ("b/*",))]
PAGE = ("Origin", "https://page.example.org")
ASKS = ("Access-Control-Request-Method", "GET")


@pytest.mark.parametrize("path", ["/b/k", "/b/k?torrent", "/b/k?magnet", "/b", "/", "/b/private"])
def test_a_page_may_ask_with_any_headers_but_credentials(path: str) -> None:
    wanted = "Range, X-Amz-Date, Authorization, Cookie, If-None-Match, <script>"
    response = Public().get(
        path, PAGE, ASKS, ("Access-Control-Request-Headers", wanted), method="OPTIONS"
    )
    assert (response.status, response.body) == (200, b"")
    assert dict(response.headers) == {
        ALLOW: b"*",
        b"Access-Control-Allow-Methods": b"GET, HEAD",
        b"Access-Control-Allow-Headers": b"range, x-amz-date, if-none-match",
        b"Access-Control-Max-Age": b"7200",
    }


@pytest.mark.parametrize("headers", [[], [PAGE], [ASKS]])
def test_options_that_is_no_preflight_is_no_method_of_ours(headers: list[tuple[str, str]]) -> None:
    assert Public().get("/b/k?torrent", *headers, method="OPTIONS").status == 405


@pytest.mark.parametrize("path", ["/announce", "/announce/KEY", "/scrape"])
def test_the_trackers_pages_are_for_no_page(path: str) -> None:
    for method in ("OPTIONS", "GET"):
        response = Public().get(path, PAGE, ASKS, method=method)
        assert header(response, ALLOW) is None


def test_torrents_links_and_refusals_of_public_objects_are_for_pages() -> None:
    public = Public()
    for target in ("/b/k?torrent", "/b/k?magnet", "/b/missing?torrent", "/b/soon?torrent"):
        assert header(public.get(target, PAGE), ALLOW) == b"*"
    assert header(public.get("/b/private?torrent", PAGE), ALLOW) is None


@pytest.mark.parametrize("public", [True, False])
async def test_only_what_is_public_can_be_read_by_a_page(tmp_path: Path, public: bool) -> None:
    """Also of what a page has signed URLs of: it could pass on what its visitor alone may read."""
    async with seeding(tmp_path, (b"DATA" * 100, 16384), public=public, keys=KEYS) as seed:
        targets = [PATH, f"{PATH}?torrent", f"{PATH}?magnet"]
        if not public:
            targets = [signed_target(target) for target in targets]
        for target in targets:
            for headers in ([], ["Range: bytes=0-1"], ["Range: bytes=9999-"], ['If-Match: "x"']):
                reply = await seed.ask(target, "Origin: https://page.example.org", *headers)
                assert reply.status != 403
                assert (ALLOW.lower() in reply.headers) == public
                assert b"access-control-allow-credentials" not in reply.headers
        plain = await seed.ask("/?format=json", "Origin: null")
        assert plain.headers[ALLOW.lower()] == b"*"


async def test_what_is_listed_for_a_key_is_for_no_page(tmp_path: Path) -> None:
    async with seeding(tmp_path, (b"DATA" * 100, 16384), keys=KEYS) as seed:
        listing = "/b?list-type=2"
        for target, for_pages in ((listing, True), (signed_target(listing), False)):
            reply = await seed.ask(target, "Origin: https://page.example.org")
            assert reply.body.count(b"<Key>") == 1
            assert (ALLOW.lower() in reply.headers) == for_pages

"""Pages of another site in a real browser: they read what is public, and WebTorrent downloads.

In a browser WebTorrent can't dial peers, so all that it gets is from the web seed.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients.chromium import Chromium, why_no_chromium
from tests.e2e.clients.webtorrent import BROWSER_MODULE, WebTorrent
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.objects import MIB, content

MakeDaemon = Callable[..., SeederDaemon]

KEY, SECRET = "data/a b.bin", "drafts/secret"
BODY = content(3 * MIB + 5)

READS = """
async function attempt(what) { try { return await what() } catch (error) { return `${error}` } }
async function hexOf(bytes) {
  // crypto.subtle is only for pages that came over TLS, or from this machine.
  const digest = await crypto.subtle.digest("SHA-256", bytes)
  return [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, "0")).join("")
}
const found = {}
const part = await fetch(URL_OF, {headers: {Range: "bytes=5-9", "X-Needs-Preflight": "1"}})
found.part = [part.status, await hexOf(await part.arrayBuffer())]
found.headers = ["Content-Range", "ETag", "Content-Length", "Accept-Ranges", "Last-Modified"]
  .filter(name => !part.headers.get(name))
const again = await fetch(URL_OF, {headers: {"If-None-Match": part.headers.get("ETag")},
  cache: "no-store"})
found.again = again.status
found.magnet = (await (await fetch(URL_OF + "?magnet")).text()).slice(0, 20)
found.list = (await (await fetch(BASE + "/?format=json")).json()).torrents.length
found.outside = (await fetch(URL_OF, {headers: {Range: "bytes=99999999-"}})).status
found.signing = await attempt(async () =>
  (await fetch(URL_OF, {headers: {Authorization: "AWS4-HMAC-SHA256 x"}})).status)
found.cookies = await attempt(async () => (await fetch(URL_OF, {credentials: "include"})).status)
found.secret = await attempt(async () => (await fetch(SECRET_URL)).status)
found.admin = await attempt(async () => (await fetch(ADMIN_URL)).status)
await fetch("/result", {method: "POST", body: JSON.stringify(found)})
"""
DOWNLOADS = """
import WebTorrent from "/webtorrent.js"
const file = new Uint8Array(await (await fetch(URL_OF + "?torrent")).arrayBuffer())
const torrent = new WebTorrent({dht: false, lsd: false}).add(file, {announce: []})
torrent.on("error", error => report({error: `${error}`}))
async function report(found) {
  await fetch("/result", {method: "POST", body: JSON.stringify(found)})
}
torrent.on("done", async () => {
  const bytes = await (await torrent.files[0].blob()).arrayBuffer()
  const digest = await crypto.subtle.digest("SHA-256", bytes)
  const hex = [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, "0")).join("")
  await report({hex})
})
"""


class Site:
    """Another site on this machine, with one page that tells what it found."""

    def __init__(self, script: str, names: dict[str, str]) -> None:
        constants = "".join(f"const {name} = {json.dumps(text)}\n" for name, text in names.items())
        page = f"<!doctype html><script type=module>\n{script}\n</script>"
        page = page.replace(
            "<script type=module>", f"<script>{constants}</script>" + ("<script type=module>")
        )
        files = {"/": ("text/html", page.encode())}
        if BROWSER_MODULE.exists():
            files["/webtorrent.js"] = ("text/javascript", BROWSER_MODULE.read_bytes())
        self.found: list[Any] = []
        found = self.found

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, body = files.get(self.path, ("text/plain", b""))
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()
                found.append(json.loads(body))

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    thread = Thread(target=site.server.serve_forever)
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        thread.join()
        site.server.server_close()


def test_pages_of_another_site_read_what_is_public_and_webtorrent_downloads(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon, tmp_path: Path
) -> None:
    if reason := why_no_chromium():
        pytest.skip(reason)
    publisher.put(bucket, KEY, BODY)
    publisher.put(bucket, SECRET, b"secret")
    daemon = seeder(
        {
            "origin": origin(ceph),
            "objects": [
                {"bucket": bucket, "key": KEY, "piece_length": "64 KiB"},
                {"bucket": bucket, "key": SECRET, "public": False},
            ],
            "gateway": {"web_seed": True, "listing": True},
            "peer": {"copies_per_address": "unlimited"},
        }
    )
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    wait_for_state(daemon, bucket, SECRET)
    base = f"http://{daemon.address}:{daemon.tracker_port}"
    names = {
        "BASE": base,
        "URL_OF": f"{base}/{bucket}/data/a%20b.bin",
        "SECRET_URL": f"{base}/{bucket}/{SECRET}",
        "ADMIN_URL": f"http://{daemon.address}:{daemon.admin_port}/status.json",
    }

    def result_of(script: str, name: str) -> Any:
        with (
            serving(Site(script, names)) as site,
            Chromium(tmp_path / name, site.url) as browser,
        ):
            browser.wait_until(lambda: bool(site.found), timeout=60, what="the page's result")
        return site.found[0]

    found = result_of(READS, "reads")
    failed = "TypeError: Failed to fetch"
    assert found == {
        "part": [206, sha256(BODY[5:10]).hexdigest()],
        "headers": [],
        "again": 304,
        "magnet": "magnet:?xt=urn:btih:",
        "list": 1,
        "outside": 416,
        "signing": failed,
        "cookies": failed,
        "secret": failed,
        "admin": failed,
    }
    if reason := WebTorrent.why_missing():
        pytest.skip(reason)
    assert result_of(DOWNLOADS, "downloads") == {"hex": sha256(BODY).hexdigest()}
    assert daemon.status()["peers"]["accepted"] == 0
    assert ceph.body_bytes_sent(bucket, KEY) == len(BODY)
    assert "Traceback" not in daemon.log

"""Pages of another site in a real browser: they read what is public, and WebTorrent downloads.

In a browser WebTorrent can't dial peers, so all that it gets is from the web seed.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
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


FILMS = """
// Some frames of a canvas make a video.
const canvas = document.createElement("canvas")
canvas.width = 64
canvas.height = 48
const pen = canvas.getContext("2d")
let frames = 0
const drawing = setInterval(() => { pen.fillRect(frames++ % 64, 0, 4, 48) }, 20)
const recorder = new MediaRecorder(canvas.captureStream(25), {mimeType: "video/webm"})
recorder.ondataavailable = async ({data}) => {
  clearInterval(drawing)
  const picture = await new Promise(found => canvas.toBlob(found, "image/png"))
  const texts = [data, picture].map(async each =>
    btoa(String.fromCharCode(...new Uint8Array(await each.arrayBuffer()))))
  await fetch("/result", {method: "POST", body: JSON.stringify(await Promise.all(texts))})
}
recorder.start()
setTimeout(() => recorder.stop(), 500)
"""
ISOLATED = """
function shown(element, event, url) {
  return new Promise(done => {
    element.addEventListener(event, () => done(element.videoWidth || element.naturalWidth))
    element.addEventListener("error", () => done("refused"))
    element.src = url
  })
}
function film(url) {
  const video = document.createElement("video")
  video.muted = true
  video.preload = "auto"
  return shown(video, "loadeddata", url)
}
const found = {isolated: crossOriginIsolated}
found.image = await shown(new Image(), "load", IMAGE_URL)
found.video = await film(VIDEO_URL)
found.fonts = []
for (const url of FONT_URL ? [FONT_URL] : [])
  found.fonts.push((await new FontFace("ours", `url(${url})`).load()).status)
found.secret = await shown(new Image(), "load", SECRET_URL)
found.admin = await shown(new Image(), "load", ADMIN_ICON)

await navigator.serviceWorker.register("/worker.js")
await navigator.serviceWorker.ready
if (!navigator.serviceWorker.controller)
  await new Promise(done => navigator.serviceWorker.addEventListener("controllerchange", done))
const part = await fetch("/through-the-worker?bytes=5-9")
found.worker_range = [part.status, part.headers.get("Content-Range"),
  [...new Uint8Array(await part.arrayBuffer())]]
found.worker_image = await shown(new Image(), "load", IMAGE_URL + "?again")
found.worker_video = await film(VIDEO_URL + "?again")
const whole = await (await fetch(VIDEO_URL, {cache: "no-store"})).arrayBuffer()
found.worker_whole = whole.byteLength
const seen = await (await fetch("/seen-by-the-worker")).json()
found.seen = seen.filter(url => url.endsWith("?again")).length >= 2
await fetch("/result", {method: "POST", body: JSON.stringify(found)})
"""
WORKER = """
const seen = []
addEventListener("install", () => skipWaiting())
addEventListener("activate", event => event.waitUntil(clients.claim()))
addEventListener("fetch", event => {
  const url = new URL(event.request.url)
  seen.push(event.request.url)
  if (url.pathname === "/through-the-worker") {
    const headers = {Range: `bytes=${url.searchParams.get("bytes")}`}
    event.respondWith(fetch(URL_OF, {headers}))
  } else if (url.pathname === "/seen-by-the-worker") {
    event.respondWith(new Response(JSON.stringify(seen)))
  } else {
    event.respondWith(fetch(event.request))
  }
})
"""
ISOLATION = {
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Site:
    """Another site on this machine, with one page that tells what it found.

    All that it sends has `headers`; `worker` is the script of its service worker.
    """

    def __init__(
        self,
        script: str,
        names: dict[str, str],
        *,
        headers: Mapping[str, str] = {},
        worker: str = "",
    ) -> None:
        constants = "".join(f"const {name} = {json.dumps(text)}\n" for name, text in names.items())
        page = f"<!doctype html><script type=module>\n{script}\n</script>"
        page = page.replace(
            "<script type=module>", f"<script>{constants}</script>" + ("<script type=module>")
        )
        files = {"/": ("text/html", page.encode())}
        files["/worker.js"] = ("text/javascript", f"{constants}{worker}".encode())
        if BROWSER_MODULE.exists():
            files["/webtorrent.js"] = ("text/javascript", BROWSER_MODULE.read_bytes())
        self.found: list[Any] = []
        found = self.found

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, body = files.get(self.path, ("text/plain", b""))
                self.send_response(200 if body else 404)
                for name, value in {**headers, "Content-Type": kind}.items():
                    self.send_header(name, value)
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


FONTS = Path("/usr/share/fonts")


def test_isolated_pages_show_images_videos_and_fonts_and_service_workers_fetch_ranges(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon, tmp_path: Path
) -> None:
    if reason := why_no_chromium():
        pytest.skip(reason)
    with serving(Site(FILMS, {})) as site, Chromium(tmp_path / "films", site.url) as browser:
        browser.wait_until(lambda: bool(site.found), timeout=60, what="a video")
    video, image = map(b64decode, site.found[0])
    publisher.put(bucket, KEY, BODY)
    publisher.put(bucket, SECRET, image, ContentType="image/png")
    publisher.put(bucket, "image.png", image, ContentType="image/png")
    publisher.put(bucket, "video.webm", video, ContentType="video/webm")
    keys = [KEY, "image.png", "video.webm"]
    fonts = sorted(FONTS.rglob("*.ttf"), key=lambda file: file.stat().st_size)[:1]
    if fonts:
        publisher.put(bucket, "font.ttf", fonts[0])
        keys.append("font.ttf")
    daemon = seeder(
        {
            "origin": origin(ceph),
            "objects": [
                *({"bucket": bucket, "key": key} for key in keys),
                {"bucket": bucket, "key": SECRET, "public": False},
            ],
            "gateway": {"web_seed": True},
            "peer": {"copies_per_address": "unlimited"},
        }
    )
    daemon.start()
    for key in (*keys, SECRET):
        wait_for_state(daemon, bucket, key)
    base = f"http://{daemon.address}:{daemon.tracker_port}/{bucket}"
    names = {
        "URL_OF": f"{base}/data/a%20b.bin",
        "IMAGE_URL": f"{base}/image.png",
        "VIDEO_URL": f"{base}/video.webm",
        "FONT_URL": f"{base}/font.ttf" if fonts else "",
        "SECRET_URL": f"{base}/{SECRET}",
        "ADMIN_ICON": f"http://{daemon.address}:{daemon.admin_port}/icon.svg",
    }
    site = Site(ISOLATED, names, headers=ISOLATION, worker=WORKER)
    with serving(site), Chromium(tmp_path / "isolated", site.url) as browser:
        browser.wait_until(lambda: bool(site.found), timeout=60, what="the page's result")
    assert site.found[0] == {
        "isolated": True,
        "image": 64,
        "video": 64,
        "fonts": ["loaded"] * len(fonts),
        "secret": "refused",
        "admin": "refused",
        "worker_range": [206, f"bytes 5-9/{len(BODY)}", list(BODY[5:10])],
        "worker_image": 64,
        "worker_video": 64,
        "worker_whole": len(video),
        "seen": True,
    }
    assert "Traceback" not in daemon.log

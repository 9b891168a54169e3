"""The status page in a real browser, with real clients behind its figures."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.clients.webdriver import Browser, why_no_axe, why_no_webdriver
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content

pytestmark = pytest.mark.skipif(why_no_webdriver() is not None, reason=str(why_no_webdriver()))

MakeDaemon = Callable[..., SeederDaemon]

KEY, MISSING = "images/base.qcow2", "images/none.qcow2"
BODY = content(24 * MIB)
MANY = 120


@pytest.fixture
def daemon(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon
) -> Iterator[SeederDaemon]:
    publisher.put(bucket, KEY, BODY)
    for number in range(MANY):
        publisher.put(bucket, f"many/{number:03}.bin", b"%03d" % number)
    made = seeder(
        {
            "origin": origin(ceph),
            "objects": [
                {"bucket": bucket, "key": KEY, "metainfo": ["build"]},
                {"bucket": bucket, "key": MISSING, "metainfo": ["build"]},
                {"bucket": bucket, "prefix": "many/", "metainfo": ["build"]},
            ],
            "peer": {"upload_rate": "4 MiB/s"},
            "savings": {"price_per_gb": 90, "currency": "EUR"},
            "tracker": {"udp_listen": ["127.0.0.1:0"]},
        }
    )
    with made:
        wait_for_state(made, bucket, KEY)
        wait_for_state(made, bucket, MISSING, "failed")
        wait_for_state(made, bucket, f"many/{MANY - 1:03}.bin")
        yield made


@pytest.fixture
def browser(daemon: SeederDaemon, tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path, f"http://{daemon.address}:{daemon.admin_port}/") as opened:
        opened.wait_for(lambda: opened.text("#link") == "live", "live page")
        yield opened
        assert opened.complaints() == []


def figures(browser: Browser) -> dict[str, str]:
    return dict(
        browser.run(
            "return [...document.querySelectorAll('[data-figure]')]"
            ".map(each => [each.dataset.figure, each.innerText])"
        )
    )


def row(browser: Browser, key: str) -> dict[str, str]:
    """Return what the row of an object says, by column."""
    found: dict[str, str] = browser.run(
        "const row = [...document.querySelectorAll('#objects tr.object')]"
        ".find(each => each.innerText.includes(arguments[0]));"
        "const pairs = [...row.cells].map(each => [each.dataset.name, each.innerText]);"
        "return Object.fromEntries(pairs)",
        key,
    )
    return found


PLOTS = ("traffic", "s3", "found")


def words(browser: Browser, selector: str) -> str:
    """Return what is said of a plot to those who don't see it."""
    said = "const found = document.querySelector(arguments[0]); return found && found.ariaLabel"
    return str(browser.run(said, f"{selector} .plot"))


def drawn(browser: Browser, selector: str, color: str) -> bool:
    """Tell whether a plot has a line or an area's edge in one of the page's colors."""
    script = """
        const canvas = document.querySelector(`${arguments[0]} canvas`);
        if (!canvas) return false;
        const style = getComputedStyle(document.documentElement).getPropertyValue(arguments[1]);
        const [red, green, blue] = [1, 3, 5].map(at => parseInt(style.slice(at, at + 2), 16));
        const {width, height} = canvas;
        const copy = new OffscreenCanvas(width, height)
          .getContext('2d', {willReadFrequently: true});
        copy.drawImage(canvas, 0, 0);
        const {data} = copy.getImageData(0, 0, width, height);
        for (let at = 0; at < data.length; at += 4) {
          if (data[at + 3] > 200 && Math.abs(data[at] - red) + Math.abs(data[at + 1] - green)
              + Math.abs(data[at + 2] - blue) < 12) return true;
        }
        return false"""
    return bool(browser.run(script, selector, color))


def choose(browser: Browser, span: str) -> None:
    """Look at another span of time, and wait until the page does."""
    title = {"hour": "hour", "day": "day", "month": "30 days", "all": "all"}[span]
    browser.click(f"#span input[value={span}] + span")
    browser.wait_for(lambda: title in browser.text("#saved-title"), f"figures of {title}")


def human(browser: Browser, count: int) -> str:
    """Return a size as the page writes it."""
    script = "return import('./format.js').then(format => format.human(arguments[0]))"
    return str(browser.run(script.replace("arguments[0]", str(count))))


def test_its_figures_are_those_of_the_status_and_move_with_a_download(
    daemon: SeederDaemon, browser: Browser, bucket: str, client: ClientFactory, tmp_path: Path
) -> None:
    browser.wait_for(lambda: drawn(browser, "#traffic", "--s3"), "plot of what S3 sent")
    assert not drawn(browser, "#traffic", "--cache")
    # Nothing has been delivered yet, and nobody is told of a loss.
    assert browser.text("#saved-title") == "Earned back in the last day"
    assert figures(browser)["saved"] == "0.0 of 1 copy"
    assert "24.0 MiB, worth 2.11 EUR" in figures(browser)["saved-more"]
    assert "tracker by UDP at\n127.0.0.1:" in browser.text("#self")
    assert browser.shifts() < 0.01
    browser.run(
        "location.hash = 'opened=' + encodeURIComponent(JSON.stringify(arguments[0]))",
        ["default", bucket, KEY, None],
    )
    torrent = tmp_path / "base.torrent"
    torrent.write_bytes(served_torrent(daemon, bucket, KEY))
    leecher = client(Libtorrent)
    leecher.add(torrent)
    browser.wait_for(lambda: browser.all("#peers tbody tr"), "peer on the page")
    [peer] = browser.texts("#peers tbody tr")
    assert leecher.address in peer
    assert "libtorrent" in peer
    assert f"{bucket}/{KEY}" in peer
    browser.wait_for(lambda: "/s" in row(browser, KEY)["Rate"], "rate of the object")
    browser.wait_for(lambda: browser.run("return document.title").startswith("↑ "), "rate in title")
    leecher.wait(90)

    def settled() -> bool:
        status = daemon.torrent_status(bucket, KEY)
        shown, size = row(browser, KEY), partial(human, browser)
        return (
            status["uploaded_bytes"] >= len(BODY)
            and shown["Size"] == size(len(BODY))
            and shown["From S3"] == size(status["origin_bytes"])
            and shown["Uploaded"] == size(status["uploaded_bytes"])
            and shown["Saved"] == size(status["saved_verified_bytes"])
        )

    browser.wait_for(settled, "the figures of the status")
    totals = daemon.status()["totals"]
    saved, from_s3 = totals["saved_verified_bytes"], totals["origin_bytes"]
    # A block that was sent twice makes a saving of what S3 has sent beside the object.
    earned = "1.0 of 1 copy" if saved < 0 else "EUR"
    from_s3 = min(from_s3, totals["delivered_verified_bytes"])
    for span in ("month", "all", "hour", "day"):
        choose(browser, span)
        assert ("span=" in browser.run("return location.hash")) == (span != "day")
        shown = figures(browser)
        assert shown["copies"] == f"{totals['s3_copies']:.2f} times"
        assert earned in shown["saved"]
        assert shown["part-s3"].startswith(human(browser, from_s3))
        for selector in ("#traffic", ".detail figure:has(.plot)"):
            browser.wait_for(partial(drawn, browser, selector, "--cache"), "uploads in the plot")
            assert "to peers at most 0 B/s" not in words(browser, selector)
    assert "in memory at least" in words(browser, "#found")
    assert "first byte at most" in words(browser, "#s3")
    browser.click("#traffic summary")
    to_peers = "#traffic td[data-name='to peers']"
    browser.wait_for(lambda: {*browser.texts(to_peers)} - {"0 B/s", "–"}, "uploads in the table")


def test_objects_are_searched_filtered_paged_and_opened(
    daemon: SeederDaemon, browser: Browser, bucket: str
) -> None:
    def keys() -> list[str]:
        return [text.removeprefix(f"{bucket}/") for text in browser.texts("#objects .name")]

    assert keys()[0] == MISSING
    assert "404" in row(browser, MISSING)["Object"]
    assert browser.texts("#notices li") == ["1 object failed\nShow"]
    browser.click("#notices button")
    browser.wait_for(lambda: keys() == [MISSING], "the failed object alone")
    # Why it failed stands below its name, which isn't said again.
    assert browser.text("#objects .reason").startswith("S3 answers 404")
    browser.click("#states button")  # all
    browser.run("document.querySelector('#order').value = 'name'")
    browser.run("document.querySelector('#order').dispatchEvent(new Event('change'))")
    names = sorted([KEY, MISSING, *(f"many/{number:03}.bin" for number in range(MANY))])
    browser.wait_for(lambda: keys() == names[:50], "first page by name")
    browser.click("#next")
    browser.wait_for(lambda: keys() == names[50:100], "second page")
    browser.click("#next")
    browser.wait_for(lambda: keys() == names[100:], "last page")
    assert browser.text("#place") == f"101 to {len(names)} of {len(names)}"
    search = browser.all("#search")[0]
    search.send_keys("MANY/07")
    browser.wait_for(lambda: len(keys()) == 10, "found objects")
    search.clear()
    search.send_keys("base")
    browser.wait_for(lambda: keys() == [KEY], "found object")
    browser.click("#objects .name")
    info_hash = daemon.torrent_status(bucket, KEY)["info_hash"]
    browser.wait_for(lambda: info_hash in browser.text("#objects tbody"), "open row")
    links = browser.run(
        "return Object.fromEntries([...document.querySelectorAll('.links li')]"
        ".map(each => [each.children[0].innerText, each.children[1].textContent]))"
    )
    assert links["info hash"] == info_hash
    assert links["magnet"].startswith(f"magnet:?xt=urn:btih:{info_hash}")
    path = urlsplit(links["torrent"])
    assert f"{path.path}?{path.query}" == f"/{bucket}/{KEY}?torrent"
    # What is looked at outlives a reload.
    browser.run("location.reload()")
    browser.wait_for(lambda: browser.texts(".links li"), "the same row, still open")
    assert keys() == [KEY]


def test_it_comes_back_after_a_restart_and_says_meanwhile_that_it_is_stale(
    daemon: SeederDaemon, browser: Browser
) -> None:
    daemon.stop()
    browser.wait_for(lambda: "no answer" in browser.text("#link"), "word of the loss")
    assert browser.run("return document.querySelector('main').classList.contains('stale')")
    # As if it had stopped two days ago.
    ledger = daemon.directory / "state" / "ledger.sqlite"
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        for table in ("minutes", "hours", "days"):
            for name in (table, f"node_{table}"):
                connection.execute(f"UPDATE {name} SET at = at - 2 * 86400")
    daemon.start()
    browser.wait_for(lambda: browser.text("#link") == "live", "live page")
    browser.wait_for(lambda: figures(browser)["copies"] == "0.00 times", "a day without reads")
    choose(browser, "month")
    assert browser.text("#saved-title") == "Earned back in the last 30 days"
    assert figures(browser)["copies"] == "1.00 times"
    gap = re.compile("not running 4[67] h")
    browser.wait_for(lambda: gap.search(words(browser, "#traffic")), "gap of two days")
    assert drawn(browser, "#traffic", "--gap")
    lost = [line for line in browser.complaints() if "ERR_" not in line]
    assert lost == []


@pytest.mark.skipif(why_no_axe() is not None, reason=str(why_no_axe()))
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it_and_it_asks_nobody_else(
    daemon: SeederDaemon, browser: Browser, scheme: str
) -> None:
    browser.prefer(scheme)
    browser.click("#objects .name")
    browser.wait_for(lambda: browser.texts(".links li"), "open row")
    for name in PLOTS:
        browser.wait_for(partial(browser.all, f"#{name} canvas"), "plots")
        browser.click(f"#{name} summary")
    for width in (1280, 390):
        browser.resize(width, 844)
        assert browser.violations() == []
        assert browser.run("return document.documentElement.scrollWidth") <= width
    hosts = {urlsplit(url).netloc for url in browser.asked() if url.startswith("http")}
    assert hosts == {f"{daemon.address}:{daemon.admin_port}"}

"""The list of public torrents in a real browser: with its script, without, on desk and phone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients.webdriver import Browser, why_no_axe, why_no_webdriver
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.objects import content, digest

pytestmark = pytest.mark.skipif(why_no_webdriver() is not None, reason=str(why_no_webdriver()))

MakeDaemon = Callable[..., SeederDaemon]

KEY, SECRET = "data/Wetter & Klima <b>.csv", "secret.bin"
BODY = content(300_000)
MANY = 60
HOLD_KLIMA = """
  const ask = window.fetch
  window.held = []
  window.fetch = async (url, ...rest) => {
    const answer = await ask(url, ...rest)
    const text = await answer.text()
    if (url.endsWith("q=klima")) await new Promise(done => held.push(done))
    return {ok: answer.ok, text: async () => text}
  }"""


@pytest.fixture
def page(ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon) -> str:
    """Return where the list of 61 objects is."""
    told = {"sha256": digest(BODY)}
    publisher.raw.put_object(Bucket=bucket, Key=KEY, Body=BODY, Metadata=told)
    publisher.put(bucket, SECRET, BODY)
    for number in range(MANY):
        publisher.put(bucket, f"many/{number:03}.bin", b"%03d" % number)
    daemon = seeder(
        {
            "origin": origin(ceph),
            "objects": [
                {"bucket": bucket, "key": KEY},
                {"bucket": bucket, "key": SECRET, "public": False},
                {"bucket": bucket, "prefix": "many/", "metainfo": ["build"]},
            ],
            "gateway": {"web_seed": True, "listing": True},
        }
    )
    daemon.start()
    for key in (KEY, SECRET, f"many/{MANY - 1:03}.bin"):
        wait_for_state(daemon, bucket, key)
    return f"http://{daemon.address}:{daemon.tracker_port}/"


@pytest.fixture
def browser(page: str, tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path, page) as opened:
        yield opened
        assert opened.complaints() == []
        assert {urlsplit(url).netloc for url in opened.asked() if url.startswith("http")} <= {
            urlsplit(page).netloc
        }


def keys(browser: Browser) -> list[str]:
    return browser.texts("tbody bdi:first-child:not(.away *)")


def links(browser: Browser) -> dict[str, str]:
    """Return the links of the first row, by the word that is seen of them."""
    found: dict[str, str] = browser.run(
        "return Object.fromEntries([...document.querySelectorAll('tbody tr:first-child .get a')]"
        ".map(each => [each.firstChild.textContent.trim(), each.href]))"
    )
    return found


def test_it_is_searched_as_one_types_opened_copied_and_downloaded(browser: Browser) -> None:
    names = sorted([KEY, *(f"many/{number:03}.bin" for number in range(MANY))])
    assert keys(browser) == names[:50]
    browser.run(
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '/', bubbles: true}))"
    )
    assert browser.run("return document.activeElement.id") == "search"
    [search] = browser.all("#search")
    search.send_keys("many/05")
    browser.wait_for(lambda: keys(browser) == names[51:61], "what is found")
    assert browser.text(".tools p") == "10 found"
    search.clear()
    search.send_keys("klima wetter")
    # Where typing is slow, what half of it finds is shown before.
    whole = "return location.search.includes('q=klima+wetter')"
    browser.wait_for(lambda: browser.run(whole), "what all words find")
    assert keys(browser) == [KEY]
    browser.click("summary")
    hashes = dict(zip(browser.texts("dt"), browser.texts("code"), strict=True))
    assert hashes["SHA-256, publisher's"] == digest(BODY)
    assert len(hashes["Info hash"]) == 40
    browser.run(
        "window.said = []; const button = document.querySelector('dd button');"
        "new MutationObserver(() => said.push(button.innerText)).observe(button, {childList: true})"
    )
    browser.click("dd button")
    browser.wait_for(lambda: "Copied" in browser.run("return said"), "word of the copy")
    assert browser.pasted() == browser.text("dd code")
    found = links(browser)
    assert hashes["Info hash"] in found["Magnet"]
    assert digest(httpx.get(found["Download"]).content) == digest(BODY)
    assert httpx.get(found["Torrent"]).headers["Content-Type"] == "application/x-bittorrent"
    browser.run("location.reload()")
    browser.wait_for(lambda: keys(browser) == [KEY], "the same after a reload")
    [search] = browser.all("#search")
    search.send_keys(" nothing")
    browser.wait_for(lambda: browser.all(".nothing a"), "word that nothing is found")
    browser.click(".nothing a")
    browser.wait_for(lambda: keys(browser) == names[:50], "all of them")
    assert browser.text(".tools p") == f"1 to 50 of {MANY + 1} torrents"
    check_late_answer(browser, names[51:61])


def check_late_answer(browser: Browser, found: list[str]) -> None:
    """What was asked first and is answered last doesn't show instead of what was asked then."""
    browser.run(HOLD_KLIMA)
    [search] = browser.all("#search")
    search.send_keys("klima")
    browser.wait_for(lambda: browser.run("return held.length"), "the first answer, held")
    search.clear()
    search.send_keys("many/05")
    browser.wait_for(lambda: keys(browser) == found, "the second answer")
    browser.run("held.forEach(each => each()); return new Promise(done => setTimeout(done))")
    assert keys(browser) == found


def test_without_scripts_it_is_searched_sorted_and_paged(browser: Browser, page: str) -> None:
    names = sorted([KEY, *(f"many/{number:03}.bin" for number in range(MANY))])
    browser.allow_scripts(allowed=False)
    browser.open(page)
    assert browser.all("dd button") == []
    browser.click(".steps a[rel=next]")
    browser.wait_for(lambda: keys(browser) == names[50:], "the second page")
    browser.click(".steps a[rel=prev]")
    browser.wait_for(lambda: keys(browser) == names[:50], "the first page")
    browser.click(".tools a[href*=size]")
    browser.wait_for(lambda: keys(browser)[0] == KEY, "the largest")
    browser.all("#search")[0].send_keys("many/00")
    browser.click("form button")
    browser.wait_for(lambda: keys(browser) == names[1:11], "what is found")
    assert browser.text(".tools a[aria-current]") == "Largest"
    browser.allow_scripts(allowed=True)


@pytest.mark.skipif(why_no_axe() is not None, reason=str(why_no_axe()))
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(browser: Browser, page: str, scheme: str) -> None:
    browser.prefer(scheme)
    for query in ("", "?q=wetter", "?q=nowhere"):
        browser.open(page + query)
        for details in browser.all("details")[:1]:
            browser.run("arguments[0].open = true", details)
        for width in (1280, 390):
            browser.resize(width, 844)
            assert browser.violations() == []
            assert browser.run("return document.documentElement.scrollWidth") <= width

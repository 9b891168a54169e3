"""Chromium, driven: a person's hands and eyes on a page."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.e2e.clients.chromium import OPTIONS, PROGRAM
from tests.support.closing import Closing
from tests.support.processes import missing_programs, poll_until

DRIVER = "chromedriver"
AXE = Path(__file__).parents[3] / ".webtorrent" / "node_modules" / "axe-core" / "axe.min.js"
"""axe, as its package ships it for pages."""
PATIENCE = 60.0
"""Seconds that a page has for anything."""

T = TypeVar("T")


def why_no_webdriver() -> str | None:
    """Return why Chromium can't be driven here; None where it can."""
    missing = missing_programs(PROGRAM, DRIVER)
    return f"{' and '.join(missing)} not installed" if missing else None


def why_no_axe() -> str | None:
    """Return why it can't be said here what is wrong with a page; None where it can."""
    return None if AXE.is_file() else "axe is not installed: tests/run.py does it where npm is"


class Browser(Closing):
    """One browser with one page; `close` ends both."""

    def __init__(self, directory: Path, url: str, *, width: int = 1280, height: int = 1000) -> None:
        options = ChromeOptions()
        for option in (*OPTIONS, f"--user-data-dir={directory / 'profile'}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        options.binary_location = shutil.which(PROGRAM) or PROGRAM
        service = ChromeService(
            shutil.which(DRIVER), log_output=str(directory / "chromedriver.log")
        )
        self._driver: Any = Chrome(options, service)
        self.resize(width, height)
        self._driver.get(url)

    def close(self) -> None:
        self._driver.quit()

    def resize(self, width: int, height: int) -> None:
        """Give the page a size in its own pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, scheme: str) -> None:
        """Have pages drawn as `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def open(self, url: str) -> None:
        """Go to another page."""
        self._driver.get(url)

    def allow_scripts(self, *, allowed: bool) -> None:
        """Have pages run their scripts or not, from the next one on; `run` works all the same."""
        self._driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not allowed})

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page and return what it returns."""
        return self._driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[WebElement]:
        found: list[WebElement] = self._driver.find_elements(By.CSS_SELECTOR, selector)
        return found

    def texts(self, selector: str) -> list[str]:
        """Return what the elements of a selector say."""
        texts: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map(each => each.innerText)",
            selector,
        )
        return texts

    def text(self, selector: str) -> str:
        """Return what the first element of a selector says."""
        return self.texts(selector)[0]

    def click(self, selector: str) -> None:
        self.all(selector)[0].click()

    def pasted(self) -> str:
        """Return what one who pastes gets."""
        self.run("document.body.append(document.createElement('textarea'))")
        [field] = self.all("body > textarea")
        field.send_keys(Keys.CONTROL, "v")
        text = self.run("arguments[0].remove(); return arguments[0].value", field)
        return str(text)

    def wait_for(self, look: Callable[[], T], what: str) -> T:
        """Return what `look` returns once that is true; HarnessError when it takes too long."""
        found: list[T] = []

        def done() -> bool:
            found[:] = [look()]
            return bool(found[0])

        poll_until(done, timeout=PATIENCE, what=what)
        return found[0]

    def photograph(self, picture: Path) -> None:
        """Write a picture of what can be seen of the page, as PNG."""
        self._driver.save_screenshot(str(picture))

    def complaints(self) -> list[str]:
        """Return what the console has said of the page since the last call."""
        said = [entry["message"] for entry in self._driver.get_log("browser")]
        # The browser's own first page isn't ours.
        return [message for message in said if not message.startswith("chrome:")]

    def violations(self) -> list[str]:
        """Return what axe finds wrong with the page, unless `why_no_axe`."""
        self._driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text()})
        script = (
            "const done = arguments[0]; axe.run(document).then(done, e => done({error: `${e}`}))"
        )
        found = self._driver.execute_async_script(script)
        assert "error" not in found, found["error"]
        return [
            f"{each['id']}: {each['help']}: {[node['html'] for node in each['nodes']]}"
            for each in found["violations"]
        ]

    def shifts(self) -> float:
        """Return by how much the page's layout has moved by itself (web.dev/cls); 0: not at all."""
        script = (
            "const done = arguments[0]; new PerformanceObserver((list) =>"
            " done(list.getEntries().reduce((sum, entry) => sum + entry.value, 0)))"
            ".observe({type: 'layout-shift', buffered: true}); setTimeout(() => done(0), 500)"
        )
        return float(self._driver.execute_async_script(script))

    def asked(self) -> list[str]:
        """Return the URLs that the page asked for since the last call."""
        messages = (entry["message"] for entry in self._driver.get_log("performance"))
        return [url for message in messages if (url := _requested(message)) is not None]


def _requested(message: str) -> str | None:
    told = json.loads(message)["message"]
    if told["method"] != "Network.requestWillBeSent":
        return None
    url: str = told["params"]["request"]["url"]
    return url

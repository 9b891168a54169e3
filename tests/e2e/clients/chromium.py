"""Chromium, headless: its downloader, as when a person clicks on a link, and pages in it."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.support.closing import Closing
from tests.support.processes import Child, missing_programs

PROGRAM = "chromium"
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-breakpad",
    "--no-first-run",
    "--no-proxy-server",
)


def why_no_chromium() -> str | None:
    """Return why Chromium can't be run here; None where it can."""
    return f"{PROGRAM} is not installed" if missing_programs(PROGRAM) else None


class Chromium(Closing):
    """One browser with one page or download, in a directory of its own."""

    def __init__(self, directory: Path, url: str) -> None:
        profile = directory / "profile"
        self._downloads = directory / "downloads"
        self._downloads.mkdir(parents=True)
        (profile / "Default").mkdir(parents=True)
        chosen = {"default_directory": str(self._downloads), "prompt_for_download": False}
        unsure = {"enabled": False}  # else it asks elsewhere whether the file is dangerous
        preferences = {"download": chosen, "safebrowsing": unsure}
        (profile / "Default" / "Preferences").write_text(json.dumps(preferences))
        self._child = Child(
            [PROGRAM, *OPTIONS, f"--user-data-dir={profile}", url],
            log=directory / "chromium.log",
        )

    def wait_until(self, done: Callable[[], bool], *, timeout: float, what: str) -> None:
        """Wait until `done`; HarnessError when that takes too long, or the browser ends."""
        self._child.wait_until(done, timeout=timeout, what=what)

    def wait(self, timeout: float) -> Path:
        """Wait until the download is complete and return the file; HarnessError otherwise."""
        self._child.wait_until(lambda: bool(self._finished()), timeout=timeout, what="a download")
        [file] = self._finished()
        return file

    def _finished(self) -> list[Path]:
        # Under way, a download has a hidden name first, then one of its own beside an empty file.
        paths = list(self._downloads.iterdir())
        if any(path.name.startswith(".") or path.suffix == ".crdownload" for path in paths):
            return []
        return [path for path in paths if path.stat().st_size]

    def close(self) -> None:
        self._child.kill()

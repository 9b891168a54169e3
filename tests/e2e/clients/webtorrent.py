"""WebTorrent under Node.js as a client; tests/run.py installs it with npm."""

import json
from pathlib import Path
from typing import ClassVar

from tests.support.leecher import Encryption, Leecher
from tests.support.processes import Child

_HERE = Path(__file__).parent
_PROGRAM = _HERE / "npm" / "leecher.mjs"
_INSTALLED = _HERE.parents[2] / ".webtorrent" / "node_modules" / "webtorrent"
BROWSER_MODULE = _INSTALLED / "dist" / "webtorrent.min.js"
"""WebTorrent for pages, as its package ships it."""


class WebTorrent(Leecher):
    """One run of WebTorrent a download, over TCP; it goes on seeding until closed."""

    program = "node"
    _ENCRYPTION: ClassVar[dict[Encryption, int]] = {"plain": 0, "any": 1, "rc4": 2}

    @classmethod
    def why_missing(cls) -> str | None:
        if not _INSTALLED.is_dir():
            return "WebTorrent is not installed: tests/run.py does it where node and npm are"
        return super().why_missing()

    def __init__(self, address: str, directory: Path, *, encryption: Encryption = "any") -> None:
        super().__init__(address, directory, encryption=encryption)
        self._child: Child | None = None

    def add(self, source: Path | str) -> None:
        order = {
            "module": str(_INSTALLED / "index.js"),
            "address": self.address,
            "port": self.port,
            "secure": self._ENCRYPTION[self.encryption],
            "source": str(source),
            "downloads": str(self.downloads),
            "mark": str(self._mark),
        }
        self._child = Child(
            [self.program, _PROGRAM, json.dumps(order)], log=self.directory / "webtorrent.log"
        )

    def wait(self, timeout: float) -> Path:
        assert self._child is not None
        self._child.wait_until(self._mark.exists, timeout=timeout, what="end of the download")
        return self.downloaded_file()

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()

    @property
    def _mark(self) -> Path:
        return self.directory / "finished"

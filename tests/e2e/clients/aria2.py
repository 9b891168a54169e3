"""aria2 as a client."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.support.leecher import Encryption, Leecher
from tests.support.processes import Child


class Aria2(Leecher):
    """aria2c, one run a download; it ends when the download is complete."""

    program = "aria2c"
    _ENCRYPTION: ClassVar[dict[Encryption, Sequence[str]]] = {
        "any": (),
        "rc4": ("--bt-force-encryption=true",),
    }

    def __init__(self, address: str, directory: Path, *, encryption: Encryption = "any") -> None:
        if encryption not in self._ENCRYPTION:
            raise ValueError("aria2 can't be told to refuse encryption")
        super().__init__(address, directory, encryption=encryption)
        self._child: Child | None = None

    def add(self, source: Path | str) -> None:
        options = {
            "dir": self.downloads,
            "listen-port": self.port,
            # aria2 asks UDP trackers over the socket of its DHT; without a node to enter by, that
            # does nothing else.
            "enable-dht": "true",
            "dht-file-path": self.directory / "dht.dat",
            "dht-listen-port": self.port,
            "bt-enable-lpd": "false",
            "enable-peer-exchange": "false",
            "seed-time": 0,
            "file-allocation": "none",
            "summary-interval": 0,
            "enable-color": "false",
        }
        if ":" not in self.address:
            # It takes no address of IPv6 there.
            options["interface"] = self.address
        if trusted := os.environ.get("SSL_CERT_FILE"):
            options["ca-certificate"] = trusted
        words = [self.program, "--no-conf", *self._ENCRYPTION[self.encryption]]
        words += [f"--{name}={value}" for name, value in options.items()]
        self._child = Child([*words, source], log=self.directory / "aria2.log")

    def wait(self, timeout: float) -> Path:
        assert self._child is not None
        if self._child.wait(timeout) != 0:
            raise self._child.failure("failed")
        return self.downloaded_file()

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()

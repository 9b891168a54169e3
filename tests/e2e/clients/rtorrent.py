"""rTorrent as a client, and the commands that make it run without a terminal."""

import os
from pathlib import Path
from typing import ClassVar

from tests.support.leecher import Encryption, Leecher
from tests.support.processes import Child


class Rtorrent(Leecher):
    """rtorrent without a terminal, one run a download; it goes on seeding until closed.

    It takes no torrent without a tracker, and speaks no fast extension, so it needs a bitfield.
    One download in forty stands still after two blocks until rtorrent's own tick, 30 or 60 s
    later: give it 90 s.
    """

    program = "rtorrent"
    _ENCRYPTION: ClassVar[dict[Encryption, str]] = {
        "plain": "none",
        "any": "allow_incoming,try_outgoing,enable_retry",
        "rc4": "require,require_RC4",
    }

    def __init__(self, address: str, directory: Path, *, encryption: Encryption = "any") -> None:
        super().__init__(address, directory, encryption=encryption)
        self._child: Child | None = None
        (directory / "session").mkdir()

    def add(self, source: Path | str) -> None:
        commands = self.directory / "rtorrent.rc"
        commands.write_text(
            rtorrent_commands(
                self.address,
                self.port,
                session=self.directory / "session",
                downloads=self.downloads,
                encryption=self._ENCRYPTION[self.encryption],
            )
            + f'method.set_key = event.download.finished, mark, "execute2 = touch, {self._mark}"\n'
            + f'load.start = "{source}"\n'
        )
        self._child = Child(
            [self.program, "-n", "-o", f"import={commands}"], log=self.directory / "rtorrent.log"
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


def rtorrent_commands(
    address: str, port: int, *, session: Path, downloads: Path, encryption: str
) -> str:
    """Return the commands with which rtorrent listens on one port and nothing else."""
    commands = {
        "system.daemon.set": "true",
        "network.port_range.set": f"{port}-{port}",
        "network.port_random.set": "no",
        "dht.mode.set": "disable",
        "protocol.pex.set": "no",
        "protocol.encryption.set": encryption,
        "session.path.set": str(session),
        "directory.default.set": str(downloads),
        "pieces.hash.on_completion.set": "no",
    }
    if ":" not in address:
        # It takes no address of IPv6 there.
        commands["network.bind_address.set"] = address
    if trusted := os.environ.get("SSL_CERT_FILE"):
        commands["network.http.cacert.set"] = trusted
    return "".join(f"{name} = {value}\n" for name, value in commands.items())

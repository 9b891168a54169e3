"""Downloads with real BitTorrent clients, each with an address and a directory of its own.

libtorrent has a module of its own, `libtorrent_client`; the others are programs:

    client             start of a download   encryption
    Transmission 3.00  10 to 15 s            preferred, tolerated or required; never plain only
    aria2 1.36         at once               dials encrypted, a second later plain
    rtorrent 0.9.8     at once               none, or RC4 required
"""

import abc
import base64
import contextlib
import http.client
import json
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal

from tests.e2e.network import free_port
from tests.e2e.processes import POLL_SECONDS, Child, HarnessError

Encryption = Literal["plain", "any", "rc4"]
"""Refuses encryption; takes what the other side wants; refuses everything but RC4."""

_OWN_FILES = (".aria2", ".meta", ".torrent")  # what aria2 and rtorrent put beside a download


class Leecher(abc.ABC):
    """One client that downloads one torrent, by file or by magnet link.

    Make it in the main thread; `wait` may run in another one of the same network.
    """

    def __init__(self, address: str, directory: Path, *, encryption: Encryption = "any") -> None:
        self.address = address
        self.directory = directory
        self.downloads = directory / "downloads"
        self.encryption = encryption
        self.downloads.mkdir(parents=True)
        self.port = free_port(address)

    @abc.abstractmethod
    def add(self, source: Path | str) -> None:
        """Begin the download of a torrent file or a magnet link."""

    @abc.abstractmethod
    def wait(self, timeout: float) -> Path:
        """Wait until the download is complete and return the file; HarnessError otherwise."""

    @abc.abstractmethod
    def close(self) -> None:
        """End the client. Again is harmless."""

    def download(self, source: Path | str, *, timeout: float) -> Path:
        """Download a torrent file or a magnet link within `timeout` seconds."""
        self.add(source)
        return self.wait(timeout)

    def downloaded_file(self) -> Path:
        """Return the only file that is there; its name may be unknown with a magnet link."""
        files = [
            path
            for path in self.downloads.rglob("*")
            if path.is_file() and path.suffix not in _OWN_FILES
        ]
        if len(files) != 1:
            raise HarnessError(f"{type(self).__name__} has {[path.name for path in files]}")
        return files[0]

    def __enter__(self) -> "Leecher":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Transmission(Leecher):
    """transmission-daemon, ordered about by RPC. It never dials addresses of 127.0.0.0/8."""

    program = "transmission-daemon"
    _ENCRYPTION: ClassVar[dict[Encryption, int]] = {"any": 1, "rc4": 2}

    def __init__(self, address: str, directory: Path, *, encryption: Encryption = "any") -> None:
        if encryption not in self._ENCRYPTION:
            raise ValueError("Transmission can't be told to refuse encryption")
        super().__init__(address, directory, encryption=encryption)
        self._rpc_port = free_port(address)
        self._session = ""
        (directory / "settings.json").write_text(json.dumps(self._settings()))
        self._child = Child(
            [self.program, "-f", "-g", directory], log=directory / "transmission.log"
        )
        self._child.wait_until(self._listens, timeout=20, what="RPC of transmission-daemon")

    def add(self, source: Path | str) -> None:
        where = (
            {"filename": source}
            if isinstance(source, str)
            else {"metainfo": base64.b64encode(source.read_bytes()).decode()}
        )
        self.call("torrent-add", **where)

    def wait(self, timeout: float) -> Path:
        self._child.wait_until(self._is_complete, timeout=timeout, what=f"end: {self.state()}")
        return self.downloaded_file()

    def close(self) -> None:
        self._child.kill()

    def state(self) -> dict[str, Any]:
        """Return what Transmission says about its torrent; empty before it has one."""
        fields = ["name", "status", "leftUntilDone", "percentDone", "metadataPercentComplete"]
        fields += ["errorString", "peersConnected", "downloadedEver", "corruptEver"]
        torrents = self.call("torrent-get", fields=fields)["torrents"]
        return dict(torrents[0]) if torrents else {}

    def call(self, method: str, **arguments: object) -> dict[str, Any]:
        """Call Transmission's RPC and return the answer's arguments."""
        body = json.dumps({"method": method, "arguments": arguments})
        for _ in range(2):
            connection = http.client.HTTPConnection(self.address, self._rpc_port, timeout=10)
            with contextlib.closing(connection):
                headers = {"X-Transmission-Session-Id": self._session}
                connection.request("POST", "/transmission/rpc", body, headers)
                response = connection.getresponse()
                answer = response.read()
            if response.status == 200:
                break
            # 409 carries the session id that the next try needs.
            self._session = response.getheader("X-Transmission-Session-Id", "")
        document = json.loads(answer)
        if document["result"] != "success":
            raise HarnessError(f"transmission-daemon: {method}: {document['result']}")
        return dict(document["arguments"])

    def _is_complete(self) -> bool:
        state = self.state()
        if state and state["errorString"]:
            raise HarnessError(f"transmission-daemon: {state['errorString']}")
        has_metadata = bool(state) and state["metadataPercentComplete"] == 1
        return has_metadata and state["leftUntilDone"] == 0

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.call("session-get"))
        return False

    def _settings(self) -> dict[str, object]:
        return {
            "bind-address-ipv4": self.address,
            "peer-port": self.port,
            "rpc-bind-address": self.address,
            "rpc-port": self._rpc_port,
            "rpc-whitelist-enabled": False,
            "rpc-host-whitelist-enabled": False,
            "download-dir": str(self.downloads),
            "encryption": self._ENCRYPTION[self.encryption],
            "dht-enabled": False,
            "lpd-enabled": False,
            "pex-enabled": False,
            "utp-enabled": False,
            "port-forwarding-enabled": False,
        }


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
            "interface": self.address,
            "listen-port": self.port,
            "enable-dht": "false",
            "bt-enable-lpd": "false",
            "enable-peer-exchange": "false",
            "seed-time": 0,
            "file-allocation": "none",
            "summary-interval": 0,
            "enable-color": "false",
        }
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
        "network.bind_address.set": address,
        "network.port_range.set": f"{port}-{port}",
        "network.port_random.set": "no",
        "dht.mode.set": "disable",
        "protocol.pex.set": "no",
        "protocol.encryption.set": encryption,
        "session.path.set": str(session),
        "directory.default.set": str(downloads),
        "pieces.hash.on_completion.set": "no",
    }
    return "".join(f"{name} = {value}\n" for name, value in commands.items())


def wait_for_all(leechers: Sequence[Leecher], *, timeout: float) -> list[Path]:
    """Wait for downloads that run side by side; `timeout` is for all of them together."""
    deadline = time.monotonic() + timeout
    return [leecher.wait(max(deadline - time.monotonic(), POLL_SECONDS)) for leecher in leechers]

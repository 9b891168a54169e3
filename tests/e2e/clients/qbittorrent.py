"""qBittorrent without its window as a client."""

import contextlib
import http.client
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

from tests.support.leecher import Encryption, Leecher
from tests.support.ports import free_port
from tests.support.processes import Child, HarnessError


class QBittorrent(Leecher):
    """qbittorrent-nox with a profile of its own, ordered about by its web API."""

    program = "qbittorrent-nox"
    _ENCRYPTION: ClassVar[dict[Encryption, int]] = {"any": 0, "rc4": 1, "plain": 2}

    def __init__(self, address: str, directory: Path, *, encryption: Encryption = "any") -> None:
        super().__init__(address, directory, encryption=encryption)
        self._web_port = free_port(address)
        profile = directory / "profile"
        settings = profile / "qBittorrent" / "config" / "qBittorrent.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text(_ini(self._settings()))
        self._child = Child(
            [self.program, f"--profile={profile}"], log=directory / "qbittorrent.log"
        )
        self._child.wait_until(self._listens, timeout=20, what="web API of qbittorrent-nox")

    def add(self, source: Path | str) -> None:
        if isinstance(source, str):
            answer = self._order("torrents/add", urls=source)
        else:
            boundary = secrets.token_hex(16)
            kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
            answer = self._call("POST", "torrents/add", _form(source, boundary), kind)
        if answer != b"Ok.":
            raise HarnessError(f"qbittorrent-nox did not take {source}: {answer!r}")

    def follow(self, feed: str) -> None:
        """Download every torrent that an RSS feed has, from now on."""
        rule = {"enabled": True, "mustContain": "", "affectedFeeds": [feed]}
        wanted = {"rss_processing_enabled": True, "rss_auto_downloading_enabled": True}
        self._order("app/setPreferences", json=json.dumps(wanted))
        self._order("rss/setRule", ruleName="all", ruleDef=json.dumps(rule))
        self._order("rss/addFeed", url=feed, path="")

    def wait(self, timeout: float) -> Path:
        try:
            self._child.wait_until(self._is_complete, timeout=timeout, what="end of the download")
        except HarnessError as error:
            raise HarnessError(f"{error}{self.state()}") from None
        return self.downloaded_file()

    def close(self) -> None:
        self._child.kill()

    def state(self) -> dict[str, Any]:
        """Return what qBittorrent says about its torrent; empty before it has one."""
        torrents = json.loads(self._call("GET", "torrents/info"))
        return dict(torrents[0]) if torrents else {}

    def _is_complete(self) -> bool:
        state = self.state()
        if state and state["state"] in ("error", "missingFiles"):
            raise HarnessError(f"qbittorrent-nox: {state}")
        # Before a magnet link's metadata is there, nothing is left, but of a size of nothing.
        return bool(state) and state["size"] > 0 and state["amount_left"] == 0

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self._call("GET", "app/version"))
        return False

    def _order(self, name: str, **fields: str) -> bytes:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._call("POST", name, urlencode(fields).encode(), kind)

    def _call(
        self, method: str, name: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> bytes:
        connection = http.client.HTTPConnection(self.address, self._web_port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, f"/api/v2/{name}", body, dict(headers or {}))
            response = connection.getresponse()
            answer = response.read()
        if response.status != 200:
            raise HarnessError(f"qbittorrent-nox: {name}: {response.status} {answer!r}")
        return answer

    def _settings(self) -> dict[str, dict[str, object]]:
        return {
            "LegalNotice": {"Accepted": "true"},
            "BitTorrent": {
                "Session\\InterfaceAddress": self.address,
                "Session\\Port": self.port,
                "Session\\DefaultSavePath": self.downloads,
                "Session\\Encryption": self._ENCRYPTION[self.encryption],
                # It dials uTP first, and a seeder that speaks TCP only would wait seconds for it.
                "Session\\BTProtocol": "TCP",
                "Session\\DHTEnabled": "false",
                "Session\\LSDEnabled": "false",
                "Session\\PeXEnabled": "false",
                "Session\\MultiConnectionsPerIp": "true",
                # It would take no tracker on a loopback address.
                "Session\\SSRFMitigation": "false",
            },
            "Network": {"PortForwardingEnabled": "false"},
            "Preferences": {
                "Connection\\ResolvePeerCountries": "false",
                "WebUI\\Address": self.address,
                "WebUI\\Port": self._web_port,
                "WebUI\\UseUPnP": "false",
                "WebUI\\HostHeaderValidation": "false",
                "WebUI\\CSRFProtection": "false",
                "WebUI\\AuthSubnetWhitelistEnabled": "true",
                "WebUI\\AuthSubnetWhitelist": "0.0.0.0/0, ::/0",
            },
        }


def _ini(sections: Mapping[str, Mapping[str, object]]) -> str:
    lines: list[str] = []
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key}={value}" for key, value in section.items())]
    return "\n".join(lines) + "\n"


def _form(torrent_file: Path, boundary: str) -> bytes:
    """Return the body of a form whose only field is a torrent file."""
    head = 'Content-Disposition: form-data; name="torrents"; filename="it.torrent"\r\n'
    head += "Content-Type: application/x-bittorrent\r\n\r\n"
    opening, end = f"--{boundary}\r\n{head}".encode(), f"\r\n--{boundary}--\r\n".encode()
    return opening + torrent_file.read_bytes() + end

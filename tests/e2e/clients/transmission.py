"""Transmission's daemon as a client."""

import base64
import contextlib
import http.client
import json
from pathlib import Path
from typing import Any, ClassVar

from tests.support.leecher import Encryption, Leecher
from tests.support.ports import free_port
from tests.support.processes import Child, HarnessError


class Transmission(Leecher):
    """transmission-daemon, ordered about by RPC. It never dials addresses of 127.0.0.0/8."""

    program = "transmission-daemon"
    dials_loopback = False
    _ENCRYPTION: ClassVar[dict[Encryption, int]] = {"any": 1, "rc4": 2}

    def __init__(self, address: str, directory: Path, *, encryption: Encryption = "any") -> None:
        if encryption not in self._ENCRYPTION:
            raise ValueError("Transmission can't be told to refuse encryption")
        super().__init__(address, directory, encryption=encryption)
        # Its RPC is IPv4's.
        self._rpc_address = "127.0.0.1" if ":" in address else address
        self._rpc_port = free_port(self._rpc_address)
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
            connection = http.client.HTTPConnection(self._rpc_address, self._rpc_port, timeout=10)
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
            f"bind-address-ipv{6 if ':' in self.address else 4}": self.address,
            "peer-port": self.port,
            "rpc-bind-address": self._rpc_address,
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

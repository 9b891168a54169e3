"""Ceph RGW, a real S3 server, from nothing in a second: one monitor, one OSD in memory, one RGW.

Everything lies in one temporary directory and runs in the foreground as children of the test
process. What RGW sent is read from its own access log, so the project's counts can be held
against the server's.
"""

import contextlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from tests.e2e.s3 import Publisher
from tests.e2e.server import Server
from tests.support.ports import free_port
from tests.support.processes import Child, HarnessError, missing_programs, poll_until, run

ACCESS_KEY, SECRET_KEY = "AKIATEST", "secrettest"
OTHER_ACCESS_KEY, OTHER_SECRET_KEY = "AKIAOTHER", "secretother"
GIB = 2**30
LARGEST_WRITE = 4 * 2**20
"""Bytes that RGW hands to the kernel at a time. On their way to a client that hangs up without
reading, so many may be counted as sent: the socket's buffers hold no second write."""

_PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin", "setpriv")
_START_ATTEMPTS = 5
# The second is what the monitor answers, rarely, in its first moments as a leader.
_PASSING = re.compile("in use|problem getting command descriptions")
_OSD_ATTEMPTS = 20
_BEGUN = re.compile(rb" starting new request req=(0x[0-9a-f]+) ")
_ANSWERED = re.compile(
    rb" beast: (?P<request>0x[0-9a-f]+): (?P<peer>\S+) - (?P<user>\S+) \[[^]]*\] "
    rb'"(?P<method>\S+) (?P<target>\S+) HTTP/[\d.]+" (?P<status>\d+) (?P<bytes>\d+) '
    rb'(?:"[^"]*"|-) (?:"[^"]*"|-) (?P<range>.*) latency='
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that RGW answered, from its access log; path-style targets only."""

    method: str
    bucket: str
    key: str
    query: str
    status: int
    body_bytes: int
    """Body bytes sent for a GET (received for a PUT). RGW adds up whole writes of up to
    LARGEST_WRITE, so the write during which a client hangs up is not counted."""
    range: str | None
    user: str


class CephRGW(Server):
    """A running RGW at `endpoint`, with the users of ACCESS_KEY and OTHER_ACCESS_KEY.

    `settings` are further lines for RGW's section of ceph.conf; `preload` is a shared library for
    RGW alone (LD_PRELOAD). The server answers on `address` in the network of the calling thread.
    """

    access_key, secret_key = ACCESS_KEY, SECRET_KEY

    def __init__(
        self,
        address: str = "127.0.0.1",
        *,
        capacity: int = 4 * GIB,
        settings: Mapping[str, str] | None = None,
        preload: Path | None = None,
    ) -> None:
        super().__init__(address)
        self._capacity = capacity
        self._settings = dict(settings or {})
        self._preload = preload
        self._log_offset = 0
        self._answered: list[Exchange] = []
        self._open_requests: set[bytes] = set()

    @classmethod
    def why_missing(cls) -> str | None:
        missing = missing_programs(*_PROGRAMS)
        return f"Ceph needs {', '.join(missing)} (radosgw ceph-mon ceph-osd)" if missing else None

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everything, again if a port was taken meanwhile or the monitor wasn't ready."""
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                super().start()
                return
            except HarnessError as error:
                if attempt == _START_ATTEMPTS or not _PASSING.search(str(error)):
                    raise

    @property
    def pids(self) -> list[int]:
        """The pids of the monitor, the OSD and RGW, in that order."""
        return [child.pid for child in self._children]

    def _start_programs(self) -> None:
        for name in ("mon", "osd", "rgw", "log"):
            (self._directory / name).mkdir()
        monitor_port = free_port(self.address)
        self._log_offset = 0
        self._answered.clear()
        self._open_requests.clear()
        fsid = str(uuid.uuid4())
        self._conf.write_text(self._configuration(fsid, monitor_port))
        self._start_monitor(fsid, f"[v1:{self.address}:{monitor_port}]")
        self._start_osd(str(uuid.uuid4()))
        self._add_user("test", ACCESS_KEY, SECRET_KEY)
        gateway = self._start_gateway()
        self._add_user("other", OTHER_ACCESS_KEY, OTHER_SECRET_KEY)
        gateway.wait_until(self._answers, timeout=20, what="answer from RGW")

    def _start_monitor(self, fsid: str, address: str) -> None:
        monmap = self._directory / "monmap"
        run(["monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monmap])
        run(["ceph-mon", "-c", self._conf, "--mkfs", "-i", "a", "--monmap", monmap])
        monitor = self._spawn("mon", ["ceph-mon", "-c", self._conf, "-f", "-i", "a"])
        monitor.wait_until(
            lambda: self._logged("mon.a", b"mon.a is new leader"), timeout=20, what="monitor"
        )

    def _start_osd(self, osd_uuid: str) -> None:
        # A monitor that has just been elected may refuse commands for a moment (EPERM).
        poll_until(lambda: self._registers_osd(osd_uuid), timeout=30, what="number for the OSD")
        command = ["ceph-osd", "-c", str(self._conf), "-i", "0"]
        run([*command, "--mkfs", "--osd-uuid", osd_uuid])
        for attempt in range(1, _OSD_ATTEMPTS + 1):
            osd = self._spawn("osd", [*command, "-f"])
            try:
                osd.wait_until(
                    lambda: self._logged("osd.0", b"state: booting -> active"),
                    timeout=20,
                    what="OSD that is up",
                )
                return
            except HarnessError:
                # Without authentication an OSD can outrun its own fetch of the monitor map, and
                # ends, with "wrong fsid" or without a word.
                if osd.running or attempt == _OSD_ATTEMPTS:
                    raise
                self._children.remove(osd)

    def _registers_osd(self, osd_uuid: str) -> bool:
        words = ["ceph", "-c", str(self._conf), "--connect-timeout", "10", "osd", "new", osd_uuid]
        with contextlib.suppress(HarnessError):
            return run(words).strip() == "0"
        return False

    def _logged(self, name: str, text: bytes) -> bool:
        log = self._directory / f"log/{name}.log"
        return log.exists() and text in log.read_bytes()

    def _start_gateway(self) -> Child:
        words = ["radosgw", "-c", str(self._conf), "-f", "-n", "client.rgw"]
        if self._preload is not None:
            words = ["env", f"LD_PRELOAD={self._preload}", *words]
        return self._spawn("rgw", words)

    def _add_user(self, name: str, access_key: str, secret_key: str) -> None:
        words = ["radosgw-admin", "-c", str(self._conf), "-n", "client.rgw", "user", "create"]
        words += [f"--uid={name}", f"--display-name={name}"]
        run([*words, f"--access-key={access_key}", f"--secret-key={secret_key}"])

    def _answers(self) -> bool:
        return self._get("/") == 200

    # -- configuration --------------------------------------------------------------------------

    @property
    def _conf(self) -> Path:
        return self._directory / "ceph.conf"

    def _configuration(self, fsid: str, monitor_port: int) -> str:
        sections = {
            "global": {
                "fsid": fsid,
                "mon host": f"[v1:{self.address}:{monitor_port}]",
                "public addr": self.address,
                "cluster addr": self.address,
                "ms bind msgr2": "false",
                "ms bind retry delay": "0",
                "auth supported": "none",
                "auth cluster required": "none",
                "auth service required": "none",
                "auth client required": "none",
                "run dir": str(self._directory),
                # Paths of UNIX sockets are short, temporary directories are not always.
                "admin socket": "",
                "log file": f"{self._directory}/log/$name.log",
                "osd pool default size": "1",
                "osd pool default min size": "1",
                "osd pool default pg num": "1",
                "osd pool default pg autoscale mode": "off",
                "osd crush chooseleaf type": "0",
                "mon allow pool size one": "true",
                "mon max pg per osd": "10000",
                "mon data avail warn": "1",
                "mon data avail crit": "1",
            },
            "mon": {
                "mon data": str(self._directory / "mon"),
                "paxos propose interval": "0.02",
                "paxos min wait": "0.01",
            },
            "osd": {
                "osd data": str(self._directory / "osd"),
                "osd objectstore": "memstore",
                "memstore device bytes": str(self._capacity),
                "osd class load list": "*",
                "osd class default list": "*",
            },
            "client.rgw": self._gateway_configuration() | self._settings,
        }
        return "".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())
            for name, lines in sections.items()
        )

    def _gateway_configuration(self) -> dict[str, str]:
        return {
            "rgw data": str(self._directory / "rgw"),
            # Nagle's algorithm costs a small GET some 40 ms.
            "rgw frontends": f"beast endpoint={self.address}:{self.port} tcp_nodelay=1",
            "rgw dns name": "s3.localhost",
            "rgw torrent flag": "true",
            "rgw thread pool size": "64",
            "rgw crypt require ssl": "false",
            "debug rgw": "1/1",
            # One shard of everything: each costs a RADOS object at the start.
            "rgw rados pool pg num min": "1",
            "rgw override bucket index max shards": "1",
            "rgw dynamic resharding": "false",
            "rgw usage max shards": "1",
            "rgw data log num shards": "1",
            "rgw md log max shards": "1",
            "rgw lc max objs": "1",
            # What is deleted leaves the memory soon.
            "rgw gc max objs": "4",
            "rgw gc obj min wait": "30",
            "rgw gc processor period": "30",
        }

    # -- objects --------------------------------------------------------------------------------

    def publisher(
        self, access_key: str | None = ACCESS_KEY, secret_key: str | None = SECRET_KEY
    ) -> Publisher:
        """Return an S3 client for one of the users; access key None is anonymous."""
        return Publisher(self.endpoint, access_key, secret_key)

    # -- what RGW sent --------------------------------------------------------------------------

    def exchanges(
        self, bucket: str | None = None, key: str | None = None, *, method: str | None = None
    ) -> list[Exchange]:
        """Return what RGW answered so far, in the order of its log.

        Waits until every request that reached RGW before this call is answered and logged.
        """
        self._settle()
        return [
            exchange
            for exchange in self._answered
            if (bucket is None or exchange.bucket == bucket)
            and (key is None or exchange.key == key)
            and (method is None or exchange.method == method)
        ]

    def body_bytes_sent(self, bucket: str, key: str) -> int:
        """Return the bytes of the object that RGW sent in answer to GETs (200 and 206)."""
        return sum(
            exchange.body_bytes
            for exchange in self.exchanges(bucket, key, method="GET")
            if exchange.status in {200, 206} and exchange.query == ""
        )

    def _settle(self) -> None:
        # The log is one queue: behind the line of our own request lie the beginnings of all
        # requests that came before it.
        marker = f"settle-{uuid.uuid4().hex}"
        self._get(f"/?{marker}")

        def settled() -> bool:
            self._read_log()
            return marker in (exchange.query for exchange in self._answered[-200:])

        poll_until(settled, timeout=10, what="line in RGW's log")
        poll_until(self._nothing_open, timeout=60, what="end of RGW's requests")
        self._answered = [e for e in self._answered if not e.query.startswith("settle-")]

    def _nothing_open(self) -> bool:
        self._read_log()
        return not self._open_requests

    def _read_log(self) -> None:
        with (self._directory / "log/client.rgw.log").open("rb") as log:
            log.seek(self._log_offset)
            lines = log.read().splitlines(keepends=True)
        for line in lines:
            if not line.endswith(b"\n"):
                break
            self._log_offset += len(line)
            if begun := _BEGUN.search(line):
                self._open_requests.add(begun[1])
            elif answered := _ANSWERED.search(line):
                self._open_requests.discard(answered["request"])
                self._answered.append(_exchange(answered))


def _exchange(line: re.Match[bytes]) -> Exchange:
    path, _, query = line["target"].decode("latin-1").partition("?")
    bucket, _, key = path.removeprefix("/").partition("/")
    asked = line["range"].decode("latin-1").strip('"')
    return Exchange(
        method=line["method"].decode("latin-1"),
        bucket=unquote(bucket),
        key=unquote(key),
        query=query,
        status=int(line["status"]),
        body_bytes=int(line["bytes"]),
        range=None if asked == "-" else asked,
        user=line["user"].decode("latin-1"),
    )

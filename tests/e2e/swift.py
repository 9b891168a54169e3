"""OpenStack Swift with its S3 API: an S3 server whose `?torrent` is 501 Not Implemented.

Swift needs versions of its own of many packages, so it lives in a virtual environment of its own:

    python3.11 -m venv .venv-swift
    .venv-swift/bin/pip install "swift==2.38.3" "eventlet==0.41.3" "setuptools<81"
"""

import contextlib
import ctypes.util
import http.client
import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.s3 import Publisher
from tests.support.ports import free_port
from tests.support.processes import Child, missing_programs, run

ACCESS_KEY, SECRET_KEY = "test:tester", "testing"
ENVIRONMENT = Path(__file__).resolve().parents[2] / ".venv-swift"

_BACKENDS = ("account", "container", "object")
_RINGS = """
import sys
from swift.common.ring import RingBuilder
address, directory, *ports = sys.argv[1:]
for name, port in zip(("account", "container", "object"), ports, strict=True):
    builder = RingBuilder(1, 1, 1)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "ip": address, "port": int(port),
                     "device": "disk", "weight": 1})
    builder.rebalance()
    builder.get_ring().save(f"{directory}/{name}.ring.gz")
"""
_FILTERS: dict[str, dict[str, str]] = {
    "healthcheck": {},
    "gatekeeper": {},
    "listing_formats": {},
    "s3api": {"location": "us-east-1", "auth_pipeline_check": "false", "s3_acl": "false"},
    "tempauth": {"user_test_tester": f"{SECRET_KEY} .admin"},
    "copy": {},
    "bulk": {},
    "slo": {},
    "versioned_writes": {"allow_object_versioning": "true"},
    "symlink": {},
}


def why_no_swift() -> str | None:
    """Return the reason why Swift can't be started here, or None if it can."""
    if not (ENVIRONMENT / "bin/swift-proxy-server").exists():
        return "Swift needs its virtual environment .venv-swift, see tests/e2e/swift.py"
    if ctypes.util.find_library("erasurecode") is None:
        return "Swift needs liberasurecode1"
    if missing := missing_programs("setpriv"):
        return f"Swift needs {missing[0]} (util-linux)"
    with tempfile.NamedTemporaryFile() as probe:
        try:
            os.setxattr(probe.name, "user.seeder", b"1")
        except OSError as error:
            return f"Swift needs extended attributes in {tempfile.gettempdir()}: {error.strerror}"
    return None


class Swift:
    """A running Swift: proxy, account, container and object server; S3 at `endpoint`."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        self.port = 0
        self._directory = Path()
        self._children: list[Child] = []

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"

    def publisher(self) -> Publisher:
        """Return an S3 client for the only user."""
        return Publisher(self.endpoint, ACCESS_KEY, SECRET_KEY)

    def start(self) -> None:
        """Start the four servers and wait until S3 answers."""
        self._directory = Path(tempfile.mkdtemp(prefix="swift-"))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """SIGKILL the servers and drop the data."""
        for child in reversed(self._children):
            child.kill()
        self._children.clear()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start(self) -> None:
        (self._directory / "devices/disk").mkdir(parents=True)
        ports = {name: free_port(self.address) for name in (*_BACKENDS, "proxy")}
        self.port = ports["proxy"]
        _write(self._directory / "swift.conf", {"swift-hash": {"swift_hash_path_suffix": "test"}})
        for name in _BACKENDS:
            app = f"{name}-server"
            sections = {
                "pipeline:main": {"pipeline": app},
                f"app:{app}": {"use": f"egg:swift#{name}"},
            }
            self._spawn(name, ports[name], sections)
        where = [str(ports[name]) for name in _BACKENDS]
        run([ENVIRONMENT / "bin/python", "-c", _RINGS, self.address, self._directory, *where])
        self._spawn("proxy", self.port, _proxy_sections())
        for child, name in zip(self._children, ports, strict=True):
            child.wait_until(
                lambda port=ports[name]: _accepts(self.address, port),  # type: ignore[misc]
                timeout=30,
                what=f"{name} server",
            )
        self._children[-1].wait_until(self._healthy, timeout=10, what="health of the proxy")

    def _spawn(self, name: str, port: int, sections: Mapping[str, Mapping[str, str]]) -> None:
        conf = self._directory / f"{name}.conf"
        default = {
            "bind_ip": self.address,
            "bind_port": str(port),
            "workers": "0",
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "swift_dir": str(self._directory),
            "devices": str(self._directory / "devices"),
            "mount_check": "false",
            "log_level": "ERROR",
        }
        _write(conf, {"DEFAULT": default} | dict(sections))
        # Not through the scripts: their first line holds the path that the environment had.
        program = f"import sys; from swift.{'obj' if name == 'object' else name}.server import main"
        argv = [str(ENVIRONMENT / "bin/python"), "-c", f"{program}; sys.exit(main())", str(conf)]
        self._children.append(Child(argv, log=self._directory / f"{name}.out"))

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection(self.address, self.port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", "/healthcheck")
            return connection.getresponse().status == 200


def _proxy_sections() -> dict[str, dict[str, str]]:
    filters = {
        f"filter:{name}": {"use": f"egg:swift#{name}"} | lines for name, lines in _FILTERS.items()
    }
    return {
        "pipeline:main": {"pipeline": " ".join([*_FILTERS, "proxy-server"])},
        "app:proxy-server": {"use": "egg:swift#proxy", "account_autocreate": "true"},
    } | filters


def _write(path: Path, sections: Mapping[str, Mapping[str, str]]) -> None:
    path.write_text(
        "".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())
            for name, lines in sections.items()
        )
    )


def _accepts(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True

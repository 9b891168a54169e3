"""OpenStack Swift with its S3 API: an S3 server whose `?torrent` is 501 Not Implemented.

Swift needs versions of its own of many packages, so it lives in a virtual environment of its own,
.venv-swift, which tests/run.py makes.
"""

import ctypes.util
import os
import pwd
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.server import Server
from tests.support.ports import free_port
from tests.support.processes import missing_programs, run

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


class Swift(Server):
    """A running Swift: proxy, account, container and object server; S3 at `endpoint`."""

    access_key, secret_key = ACCESS_KEY, SECRET_KEY

    @classmethod
    def why_missing(cls) -> str | None:
        if not (ENVIRONMENT / "bin/swift-proxy-server").exists():
            return "Swift needs .venv-swift, which tests/run.py makes"
        if ctypes.util.find_library("erasurecode") is None:
            return "Swift needs liberasurecode1"
        if missing := missing_programs("setpriv"):
            return f"Swift needs {missing[0]} (util-linux)"
        with tempfile.NamedTemporaryFile() as probe:
            try:
                os.setxattr(probe.name, "user.seeder", b"1")
            except OSError as error:
                return (
                    f"Swift needs extended attributes in {tempfile.gettempdir()}: {error.strerror}"
                )
        return None

    def _start_programs(self) -> None:
        (self._directory / "devices/disk").mkdir(parents=True)
        ports = {name: free_port(self.address) for name in _BACKENDS} | {"proxy": self.port}
        _write(self._directory / "swift.conf", {"swift-hash": {"swift_hash_path_suffix": "test"}})
        for name in _BACKENDS:
            app = f"{name}-server"
            sections = {
                "pipeline:main": {"pipeline": app},
                f"app:{app}": {"use": f"egg:swift#{name}"},
            }
            self._spawn_server(name, ports[name], sections)
        where = [str(ports[name]) for name in _BACKENDS]
        run([ENVIRONMENT / "bin/python", "-c", _RINGS, self.address, self._directory, *where])
        self._spawn_server("proxy", self.port, _proxy_sections())
        for child, name in zip(self._children, ports, strict=True):
            child.wait_until(
                lambda port=ports[name]: _accepts(self.address, port),  # type: ignore[misc]
                timeout=30,
                what=f"{name} server",
            )
        self._children[-1].wait_until(self._healthy, timeout=10, what="health of the proxy")

    def _spawn_server(
        self, name: str, port: int, sections: Mapping[str, Mapping[str, str]]
    ) -> None:
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
        self._spawn(name, argv)

    def _healthy(self) -> bool:
        return self._get("/healthcheck") == 200


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

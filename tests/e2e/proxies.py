"""Reverse proxies before the daemon, configured as config/network.md says.

Each takes its configuration from there and changes addresses and certificates only, so that a test
of a proxy is a test of the document.
"""

import os
import re
import socket
import ssl
from abc import abstractmethod
from pathlib import Path

from tests.house import ROOT
from tests.support.closing import Closing
from tests.support.processes import Child, clean_environment, missing_programs, run

DOMAIN = "torrents.example.org"
"""The name in the document."""
DOCUMENT = ROOT / "config" / "network.md"
_SEEDER = "127.0.0.1:6969"
"""Where the document's proxies find the seeder."""


class Proxy(Closing):
    """A proxy on ports 80 and 443 of a namespace, before a seeder at an address and port."""

    program: str

    def __init__(self, directory: Path, address: str, seeder: str) -> None:
        self.directory = directory
        self.address = address
        directory.mkdir()
        self._child = self._start(seeder)
        self._child.wait_until(self._answers, timeout=30, what="the proxy's ports")

    @classmethod
    def why_missing(cls) -> str | None:
        """Return why it can't be run here; None where it can."""
        missing = missing_programs(cls.program, "curl", "openssl")
        return f"{', '.join(missing)} not installed" if missing else None

    @property
    @abstractmethod
    def authority(self) -> Path:
        """The certificate of who signed its own."""

    @abstractmethod
    def _start(self, seeder: str) -> Child: ...

    def _answers(self) -> bool:
        """Tell whether it listens, and has certificates: Caddy makes them when it listens."""
        try:
            socket.create_connection((self.address, 80), timeout=5).close()
            context = ssl.create_default_context(cafile=self.authority)
            for name in (DOMAIN, f"bucket.{DOMAIN}"):
                with socket.create_connection((self.address, 443), timeout=5) as sock:
                    context.wrap_socket(sock, server_hostname=name).close()
        except OSError:
            return False
        return True

    @property
    def log(self) -> str:
        return self._child.output()

    def close(self) -> None:
        self._child.close()


class Nginx(Proxy):
    program = "nginx"

    @property
    def authority(self) -> Path:
        return self.directory / "authority.pem"

    def _start(self, seeder: str) -> Child:
        key = self._make_certificate()
        site = _block(r"```nginx\n(.*?)```").replace(_SEEDER, seeder)
        site = site.replace("/etc/ssl/torrents.pem", str(self.directory / "site.pem"))
        site = site.replace("/etc/ssl/torrents.key", str(key))
        paths = "".join(
            f"{kind}_temp_path {self.directory / kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # As Debian's nginx.conf, which packs what is worth it.
        text = (
            f"daemon off;\nmaster_process off;\npid {self.directory / 'pid'};\n"
            f"events {{}}\nhttp {{\n{paths}gzip on;\naccess_log off;\n{site}}}\n"
        )
        (self.directory / "nginx.conf").write_text(text)
        return Child(
            ["nginx", "-e", "stderr", "-p", self.directory, "-c", self.directory / "nginx.conf"],
            log=self.directory / "log",
        )

    def _make_certificate(self) -> Path:
        """Make an authority and a certificate for the site; return the latter's key."""
        here, names = self.directory, f"subjectAltName=DNS:{DOMAIN},DNS:*.{DOMAIN}"
        new: list[str | Path] = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ]
        new += ["-nodes", "-days", "2"]
        authority = [*new, "-subj", "/CN=Authority", "-keyout", here / "authority.key"]
        run([*authority, "-out", self.authority])
        site = [*new, "-subj", f"/CN={DOMAIN}", "-addext", names, "-keyout", here / "site.key"]
        site += ["-CA", self.authority, "-CAkey", here / "authority.key"]
        run([*site, "-addext", "basicConstraints=critical,CA:FALSE", "-out", here / "site.pem"])
        return here / "site.key"


class Caddy(Proxy):
    program = "caddy"

    @property
    def authority(self) -> Path:
        return self.directory / "caddy" / "pki" / "authorities" / "local" / "root.crt"

    def _start(self, seeder: str) -> Child:
        site = _block(r"\*\*Caddy\*\*.*?```\n(.*?)```").replace(_SEEDER, seeder)
        # Nobody on the Internet can certify these names here: Caddy does it itself.
        options = "{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n}\n"
        site = site.replace(f"{DOMAIN} {{", f"{DOMAIN}, *.{DOMAIN} {{")
        (self.directory / "Caddyfile").write_text(options + site)
        # It needs a home, and keeps its authority there.
        environment = {"HOME": str(self.directory), "XDG_DATA_HOME": str(self.directory)}
        return Child(
            ["caddy", "run", "--adapter", "caddyfile", "--config", self.directory / "Caddyfile"],
            log=self.directory / "log",
            env={**clean_environment(), "PATH": os.environ["PATH"], **environment},
        )


def _block(pattern: str) -> str:
    """Return what stands in a block of the document."""
    found = re.search(pattern, DOCUMENT.read_text(), re.DOTALL)
    assert found is not None, f"{DOCUMENT} has no such block"
    return found[1]

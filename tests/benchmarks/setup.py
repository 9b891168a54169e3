"""What benchmarks share: the machine, options, a printed table, an origin and its certificate."""

import contextlib
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rich import box
from rich.console import Console
from rich.table import Table

from tests.support.ports import free_port
from tests.support.processes import Child, python_environment

ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Setup:
    """The object as a file, how often and by how many connections it is read, and a directory."""

    content: Path
    size: int
    rounds: int
    connections: int
    directory: Path


@contextlib.contextmanager
def http_origin(
    directory: Path,
    log: Path,
    *,
    tls: Path | None = None,
    delays: Mapping[str, float] | None = None,
    rate: float | None = None,
) -> Iterator[str]:
    """Serve the files of a directory and give the endpoint; see tests.benchmarks.http_origin."""
    port = free_port(ADDRESS)
    argv = [sys.executable, "-m", "tests.benchmarks.http_origin", f"{ADDRESS}:{port}"]
    argv += [str(directory)]
    argv += [] if tls is None else ["--tls", str(tls)]
    argv += [] if rate is None else ["--rate", str(rate)]
    for name, seconds in (delays or {}).items():
        argv += ["--delay", name, str(seconds)]
    with Child(argv, log=log, env=python_environment()) as child:
        child.wait_until(lambda: "listening" in child.output(), timeout=30, what="the origin")
        yield f"http{'' if tls is None else 's'}://{ADDRESS}:{port}"


def write_certificate(path: Path) -> Path:
    """Write a self-signed certificate of 127.0.0.1, with its key, to one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ADDRESS)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(ADDRESS))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table under a title; all columns but the first are figures."""
    table = Table(box=box.MARKDOWN)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    print(f"\n{title}")
    Console(width=max(140, Console().width), highlight=False).print(table)


def machine() -> str:
    """Describe what the figures were taken on: processor, cores, kernel, Python, date."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    processor = found[1] if found else platform.machine()
    today = datetime.now(UTC).date()
    cores = len(os.sched_getaffinity(0))
    python = platform.python_version()
    return f"{processor}, {cores} cores, Linux {platform.release()}, Python {python}, {today}"


def numbers(text: str) -> list[int]:
    """Return the numbers of an option such as "1,8,50"."""
    return [int(word) for word in text.split(",")]

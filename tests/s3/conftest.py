"""The server that misbehaves on demand, over TLS."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.s3.fault_server import FaultServer


def _make_certificate(path: Path, address: str, first: int, last: int) -> Path:
    """Write a self-signed certificate of an address, and its key, that is good between two days.

    They are counted from today.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "s3.example.org")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(address))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + timedelta(days=first))
        .not_valid_after(now + timedelta(days=last))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1, with its key, in one file."""
    return _make_certificate(tmp_path_factory.mktemp("tls") / "both.pem", "127.0.0.1", -1, 1)


UNFIT = {
    "expired": ("127.0.0.1", -9, -1),
    "not yet valid": ("127.0.0.1", 1, 9),
    "mismatch": ("127.0.0.2", -1, 1),
}


@pytest.fixture(params=UNFIT)
def unfit_certificate(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """What is wrong with a certificate, and one of which that is true."""
    return request.param, _make_certificate(tmp_path / "both.pem", *UNFIT[request.param])


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
async def secure(nursery: trio.Nursery, certificate: Path) -> FaultServer:
    """Run an S3 server for which the test writes the answers, over TLS."""
    server = FaultServer()
    await nursery.start(server.run, _context(certificate))
    return server


@pytest.fixture
async def unfit(nursery: trio.Nursery, unfit_certificate: tuple[str, Path]) -> FaultServer:
    """Run the same with a certificate that doesn't fit."""
    server = FaultServer()
    await nursery.start(server.run, _context(unfit_certificate[1]))
    return server


@pytest.fixture(params=["tcp", "tls"])
async def either(
    request: pytest.FixtureRequest, nursery: trio.Nursery, certificate: Path
) -> FaultServer:
    """Run such a server over TCP, then over TLS."""
    server = FaultServer()
    await nursery.start(server.run, _context(certificate) if request.param == "tls" else None)
    return server

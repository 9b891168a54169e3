"""A certificate authority of the tests, and the certificates that it issues."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)
_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def write_key(path: Path, key: Key, *, password: str | None = None, mode: int = 0o600) -> Path:
    encryption: KeySerializationEncryption = NoEncryption()
    if password is not None:
        encryption = BestAvailableEncryption(password.encode())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    path.chmod(mode)
    return path


class Authority:
    """A root, or what another one signed as an intermediate."""

    def __init__(self, name: str = "Test Root", parent: "Authority | None" = None) -> None:
        self.name = name
        self.key = new_key()
        signer = parent or self
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder(
                name_of(signer.name),
                name_of(name),
                self.key.public_key(),
                x509.random_serial_number(),
            )
            .not_valid_before(now - 9 * DAY)
            .not_valid_after(now + 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
            # RFC 5280, 4.2.1: Python 3.13 doesn't trust an authority without them.
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), False
            )
            .add_extension(_SIGNS, critical=True)
            .sign(signer.key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def write(self, path: Path) -> Path:
        """Write the certificate that clients have to trust."""
        path.write_bytes(self.pem)
        return path

    def issue(
        self,
        names: Sequence[str],
        key: Key,
        *,
        days: tuple[float, float] = (-1, 89),
        self_signed: bool = False,
        issuer_at: str | None = None,
        usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.SERVER_AUTH,
    ) -> bytes:
        """Return a certificate in PEM; `days` are its begin and end, from now on."""
        now = datetime.now(UTC)
        own = name_of(names[0] if names else "nobody")
        builder = (
            x509.CertificateBuilder(
                own if self_signed else name_of(self.name),
                own,
                key.public_key(),
                x509.random_serial_number(),
            )
            .not_valid_before(now + days[0] * DAY)
            .not_valid_after(now + days[1] * DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
            )
        )
        if names:
            general = [_general_name(name) for name in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if issuer_at is not None:
            place = x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(issuer_at)
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([place]), False)
        signed = builder.sign(key if self_signed else self.key, hashes.SHA256())
        return signed.public_bytes(Encoding.PEM)

    def write_pair(
        self, directory: Path, names: Sequence[str], *, days: tuple[float, float] = (-1, 89)
    ) -> tuple[Path, Path]:
        """Write a certificate and its key into a directory; return their paths."""
        key = new_key()
        certificate = directory / "fullchain.pem"
        certificate.write_bytes(self.issue(names, key, days=days))
        return certificate, write_key(directory / "privkey.pem", key)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)

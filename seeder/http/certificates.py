"""A server's certificate and its key: read, checked, and made into what TLS connections need.

What is checked is what is used: OpenSSL gets the bytes that were looked at, not the files again.
"""

import os
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from seeder.errors import Unavailable
from seeder.files import read_named

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

PROTOCOLS = ["http/1.1"]
"""What we speak inside of TLS (ALPN, RFC 7301)."""
TICKETS = 1
"""Sent to a client for its next connection, which then needs no signature (RFC 8446, 4.6.1)."""
SOON_SECONDS = 21 * 86400.0
"""Before its end a certificate is called due, or when the last fifth of its time has begun: what
renews certificates does so in their last third."""
_SOON_SHARE = 0.2
_LARGEST = 1024 * 1024
"""Bytes of a file that are read."""


class PemFile(NamedTuple):
    """A file in PEM (RFC 7468), and the setting that names it."""

    setting: str
    path: Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that is in force, ready to be used; times are Unix seconds."""

    context: ssl.SSLContext
    names: tuple[str, ...]
    """The domain names and IP addresses that it is for, as they stand in it."""
    begins: float
    ends: float
    remarks: tuple[str, ...]
    """What clients may mind, a line each without the setting's name."""

    @property
    def due(self) -> float:
        """When it should have been renewed."""
        return self.ends - min(SOON_SECONDS, _SOON_SHARE * (self.ends - self.begins))


def read_certificate(certificate: PemFile, key: PemFile, now: float) -> Certificate:
    """Return a certificate chain, its own key first checked against it; Unavailable.

    `now` is in Unix seconds. The certificate's file has the server's own one first, then those
    that lead to a root; both may be in one file.
    """
    try:
        return _checked(certificate, key, now)
    except Unavailable:
        raise
    except Exception as error:
        # `cryptography` reads names, dates and the public key only when they are asked for, and
        # what it raises then is of many kinds; OpenSSL reads from a descriptor, which may lack.
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        why = f"{certificate.path} can't be used: {reason}"
        raise Unavailable([f"{certificate.setting}: {why}"]) from error


def _checked(certificate: PemFile, key: PemFile, now: float) -> Certificate:
    problems: list[str] = []
    chain: Sequence[x509.Certificate] = ()
    private: PrivateKeyTypes | None = None
    try:
        chain = _chain(read_named(certificate.path, _LARGEST), certificate.path)
    except ValueError as error:
        problems.append(f"{certificate.setting}: {error}")
    try:
        private = _key(read_named(key.path, _LARGEST, secret=True), key.path)
    except ValueError as error:
        problems.append(f"{key.setting}: {error}")
    if chain:
        problems += (f"{certificate.setting}: {why}" for why in _wrong(chain, certificate, now))
    if chain and private is not None:
        problems += (f"{key.setting}: {why}" for why in _unfit(chain, private, certificate, key))
    if problems or private is None:
        raise Unavailable(problems)
    try:
        context = _context(chain, private)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise Unavailable(
            [f"{certificate.setting}: {certificate.path}: OpenSSL refuses it: {reason}"]
        ) from error
    own = chain[0]
    return Certificate(
        context,
        _names(own),
        own.not_valid_before_utc.timestamp(),
        own.not_valid_after_utc.timestamp(),
        tuple(_remarks(chain)),
    )


def read_names(path: Path) -> tuple[str, ...]:
    """Return the names of the certificate in a file, none if it can't be read."""
    try:
        return _names(_chain(read_named(path, _LARGEST), path)[0])
    except ValueError:
        return ()


def covers(names: Sequence[str], host: str) -> bool:
    """Tell whether a certificate for `names` is for a host, a domain name or an IP address.

    The `*` of a wildcard stands for one label, the first (RFC 9525, 6.3).
    """
    host = host.rstrip(".").lower()
    _, dot, parent = host.partition(".")
    wanted = {host, f"*.{parent}"} if dot else {host}
    return any(name.lower() in wanted for name in names)


def _chain(data: bytes, path: Path) -> Sequence[x509.Certificate]:
    """Return the certificates in a file, at least one; ValueError."""
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise ValueError(f"{path} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise ValueError(f"{path} holds a certificate that can't be read") from None


def _key(data: bytes, path: Path) -> PrivateKeyTypes:
    """Return the private key in a file; ValueError."""
    if b"PRIVATE KEY-----" not in data:
        raise ValueError(f"{path} holds no private key in PEM (-----BEGIN PRIVATE KEY-----)")
    try:
        return load_pem_private_key(data, None)
    except TypeError:
        raise ValueError(
            f"the key in {path} is encrypted, and nobody is there to type its password; write one"
            f" without: openssl pkey -in {path} -out KEY"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{path} holds a private key that can't be read") from None


def _wrong(chain: Sequence[x509.Certificate], file: PemFile, now: float) -> Iterator[str]:
    """Yield what makes a chain of no use at all."""
    own, when = chain[0], datetime.fromtimestamp(now, UTC)
    if own.not_valid_after_utc < when:
        yield f"{file.path} expired on {_day(own.not_valid_after_utc)}; renew it"
    elif own.not_valid_before_utc > when:
        begins = _day(own.not_valid_before_utc)
        yield f"{file.path} is not valid before {begins}; is this machine's clock right?"
    if len(chain) == 1 and _has_authority(own):
        yield (
            f"{file.path} lacks the certificate of its issuer, {_common_name(own.issuer)}, without"
            " which most clients don't trust it; name the file with the whole chain (often"
            " fullchain.pem), or append it"
        )


def _unfit(
    chain: Sequence[x509.Certificate], key: PrivateKeyTypes, file: PemFile, key_file: PemFile
) -> Iterator[str]:
    """Yield why a key isn't that of a chain's first certificate, if it isn't."""
    public = _public_bytes(key.public_key())
    places = [at for at, each in enumerate(chain) if _public_bytes(each.public_key()) == public]
    if not places:
        yield f"{key_file.path} is not the key of the certificate in {file.path}"
    elif places[0]:
        yield (
            f"{key_file.path} is the key of certificate {places[0] + 1} in {file.path}; the"
            " server's own one has to come first"
        )


def _remarks(chain: Sequence[x509.Certificate]) -> Iterator[str]:
    own = chain[0]
    issuer = _common_name(own.issuer)
    if own.issuer == own.subject:
        yield "is signed by itself: clients don't trust it unless each is told to"
    elif len(chain) == 1:
        yield (
            f"holds one certificate alone: clients trust it only if they know its issuer, {issuer},"
            " itself; otherwise append the certificates that lead to one they know"
        )
    for number, (each, following) in enumerate(pairwise(chain), 1):
        if each.issuer != following.subject:
            yield (
                f"certificate {number + 1} in it isn't the issuer of certificate {number}: some"
                " clients refuse a chain out of order"
            )
            break
    if not _names(own):
        yield "names no domain and no address (subjectAltName): clients refuse it for any host"
    usage = _extension(own, x509.ExtendedKeyUsage)
    if usage is not None and not (
        {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage)
    ):
        yield "is not for servers (extended key usage): clients refuse it"


def _context(chain: Sequence[x509.Certificate], key: PrivateKeyTypes) -> ssl.SSLContext:
    """Return what a server's connections are made with; ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client that renegotiates has us sign as often as it likes on one connection.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(PROTOCOLS)
    context.num_tickets = TICKETS
    pem = b"".join(each.public_bytes(Encoding.PEM) for each in chain)
    pem += key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with open(descriptor, "wb") as memory:
        memory.write(pem)
        memory.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    names = _extension(certificate, x509.SubjectAlternativeName)
    if names is None:
        return ()
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def _has_authority(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate says where its issuer's is to be had: so that isn't a root."""
    access = _extension(certificate, x509.AuthorityInformationAccess)
    wanted = AuthorityInformationAccessOID.CA_ISSUERS
    return access is not None and any(each.access_method == wanted for each in access)


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(found[0].value) if found else name.rfc4514_string()
    return "".join(each if each.isprintable() else "?" for each in text)[:100]


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")

"""Certificates and keys as operators have them: each mistake is a line that says what to do."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID

from seeder.errors import ConfigError
from seeder.http.certificates import (
    SOON_SECONDS,
    Certificate,
    PemFile,
    covers,
    read_certificate,
    read_names,
)
from tests.support.certificates import Authority, Key, new_key, write_key

HOST = "tracker.example.org"


class Files:
    """A good pair in two files, until a test spoils it."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority()
        self.key: Key = new_key()
        self.certificate = directory / "cert.pem"
        self.key_file = directory / "key.pem"
        self.issue()
        write_key(self.key_file, self.key)

    def issue(self, names: tuple[str, ...] = (HOST,), **options: object) -> None:
        pem = self.authority.issue(names, self.key, **options)  # type: ignore[arg-type]
        self.certificate.write_bytes(pem)

    def read(self) -> Certificate:
        return read_certificate(
            PemFile("tls_certificate", self.certificate),
            PemFile("tls_key", self.key_file),
            time.time(),
        )

    def problems(self) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.read()
        for problem in caught.value.problems:
            assert "\n" not in problem
            assert "PRIVATE" not in problem.partition("(")[0]
        return list(caught.value.problems)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def negotiate(context: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Return the client's side of a whole handshake in memory."""
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(ours, theirs, server_side=True)
    asker = client.wrap_bio(theirs, ours, server_hostname=name)
    for _ in range(4):
        for side in (asker, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return asker


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem.decode())


def test_a_good_pair_is_taken_and_clients_accept_it(files: Files) -> None:
    files.issue((HOST, "*.example.net", "192.0.2.7"), days=(-1, 89))
    found = files.read()
    assert found.names == (HOST, "*.example.net", "192.0.2.7")
    assert found.ends == pytest.approx(time.time() + 89 * 86400, abs=60)
    assert found.due == pytest.approx(found.ends - 0.2 * 90 * 86400, abs=60)
    client = trusting(files.authority)
    client.set_alpn_protocols(["h2", "http/1.1"])
    asker = negotiate(found.context, client, HOST)
    assert asker.selected_alpn_protocol() == "http/1.1"
    assert asker.version() == "TLSv1.3"


def test_one_file_may_hold_certificate_and_key(files: Files) -> None:
    both = files.certificate.read_bytes() + files.key_file.read_bytes()
    files.key_file.write_bytes(both)
    files.certificate = files.key_file
    assert files.read().names == (HOST,)


def test_what_was_checked_is_used_though_the_files_change_meanwhile(files: Files) -> None:
    found = files.read()
    files.certificate.unlink()
    negotiate(found.context, trusting(files.authority), HOST)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_of_tls_are_not_spoken(files: Files, version: ssl.TLSVersion) -> None:
    client = trusting(files.authority)
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        client.minimum_version = version
    with pytest.warns(DeprecationWarning, match="deprecated"):
        client.maximum_version = version
    with pytest.raises(ssl.SSLError):
        negotiate(files.read().context, client, HOST)


def test_a_client_of_tls_1_2_is_served_and_cannot_renegotiate(files: Files) -> None:
    client = trusting(files.authority)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    context = files.read().context
    assert negotiate(context, client, HOST).version() == "TLSv1.2"
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_a_chain_is_sent_whole(files: Files) -> None:
    inner = Authority("Test Intermediate", files.authority)
    pem = inner.issue((HOST,), files.key, issuer_at="http://ca.example/inner.der")
    files.certificate.write_bytes(pem + inner.pem)
    found = files.read()
    assert found.remarks == ()
    negotiate(found.context, trusting(files.authority), HOST)


def spoil_expired(files: Files) -> None:
    files.issue(days=(-90, -1))


def spoil_not_yet(files: Files) -> None:
    files.issue(days=(2, 90))


def spoil_key(files: Files) -> None:
    write_key(files.key_file, new_key())


def spoil_encrypted(files: Files) -> None:
    write_key(files.key_file, files.key, password="secret")


def spoil_mode(files: Files) -> None:
    files.key_file.chmod(0o644)


def spoil_missing_key(files: Files) -> None:
    files.key_file.unlink()


def spoil_missing_certificate(files: Files) -> None:
    files.certificate.unlink()


def spoil_swapped(files: Files) -> None:
    files.certificate, files.key_file = files.key_file, files.certificate
    files.key_file.chmod(0o600)


def spoil_der(files: Files) -> None:
    certificate = load_pem_x509_certificate(files.certificate.read_bytes())
    files.certificate.write_bytes(certificate.public_bytes(Encoding.DER))


def spoil_cut(files: Files) -> None:
    files.certificate.write_bytes(files.certificate.read_bytes()[:-200])


def spoil_cut_key(files: Files) -> None:
    text = files.key_file.read_bytes()
    files.key_file.write_bytes(text[:60] + text[100:])


def spoil_directory(files: Files) -> None:
    files.certificate.unlink()
    files.certificate.mkdir()


def spoil_pipe(files: Files) -> None:
    files.key_file.unlink()
    os.mkfifo(files.key_file)


def spoil_empty(files: Files) -> None:
    files.certificate.write_bytes(b"")


def spoil_chain(files: Files) -> None:
    files.issue(issuer_at="http://ca.example/inner.der")


def spoil_order(files: Files) -> None:
    files.certificate.write_bytes(files.authority.pem + files.certificate.read_bytes())


def spoil_weak(files: Files) -> None:
    files.key = rsa.generate_private_key(65537, 1024)
    files.issue()
    write_key(files.key_file, files.key)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_expired, "tls_certificate: {cert} expired on "),
        (spoil_not_yet, "tls_certificate: {cert} is not valid before "),
        (spoil_key, "tls_key: {key} is not the key of the certificate in {cert}"),
        (spoil_encrypted, "tls_key: the key in {key} is encrypted"),
        (spoil_mode, "tls_key: others can read or change {key}; chmod 600 {key}"),
        (spoil_missing_key, "tls_key: {key} can't be read: No such file or directory"),
        (spoil_missing_certificate, "tls_certificate: {cert} can't be read: No such file"),
        (spoil_der, "tls_certificate: {cert} holds no certificate in PEM"),
        (spoil_cut, "tls_certificate: {cert} holds a certificate that can't be read"),
        (spoil_cut_key, "tls_key: {key} holds a private key that can't be read"),
        (spoil_directory, "tls_certificate: {cert} can't be read: Is a directory"),
        (spoil_pipe, "tls_key: {key} is no file"),
        (spoil_empty, "tls_certificate: {cert} holds no certificate in PEM"),
        (spoil_chain, "tls_certificate: {cert} lacks the certificate of its issuer, Test Root"),
        (spoil_order, "tls_key: {key} is the key of certificate 2 in {cert}"),
        (spoil_weak, "tls_certificate: {cert}: OpenSSL refuses it: ee key too small"),
    ],
)
def test_each_mistake_is_one_line(files: Files, spoil: Callable[[Files], None], said: str) -> None:
    spoil(files)
    [problem] = files.problems()
    assert problem.startswith(said.format(cert=files.certificate, key=files.key_file))


def test_certificate_and_key_the_wrong_way_round_are_two_lines(files: Files) -> None:
    spoil_swapped(files)
    first, second = files.problems()
    assert first.startswith(f"tls_certificate: {files.certificate} holds no certificate")
    assert second.startswith(f"tls_key: {files.key_file} holds no private key")


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o644, 0o666])
def test_a_key_that_others_can_read_or_change_is_refused(files: Files, mode: int) -> None:
    files.key_file.chmod(mode)
    assert "chmod 600" in files.problems()[0]


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o440])
def test_a_group_may_read_the_key(files: Files, mode: int) -> None:
    files.key_file.chmod(mode)
    files.read()


def test_what_clients_mind_is_remarked(files: Files) -> None:
    assert "holds one certificate alone" in files.read().remarks[0]
    files.issue((HOST,), self_signed=True)
    assert "signed by itself" in files.read().remarks[0]
    inner = Authority("Test Intermediate", files.authority)
    pem = inner.issue((HOST,), files.key)
    files.certificate.write_bytes(pem + files.authority.pem + inner.pem)
    assert "certificate 2 in it isn't the issuer of certificate 1" in files.read().remarks[0]
    files.certificate.write_bytes(inner.issue((), files.key) + inner.pem)
    assert "names no domain" in files.read().remarks[0]
    client = inner.issue((HOST,), files.key, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    files.certificate.write_bytes(client + inner.pem)
    assert "not for servers" in files.read().remarks[0]


def test_a_long_certificate_is_due_three_weeks_before_its_end(files: Files) -> None:
    files.issue(days=(-1, 364))
    found = files.read()
    assert found.due == found.ends - SOON_SECONDS


def test_a_name_covers_its_hosts() -> None:
    names = ("tracker.example.org", "*.Example.net", "192.0.2.7", "2001:db8::1")
    for host in ("Tracker.example.org", "a.example.net", "192.0.2.7", "2001:db8::1"):
        assert covers(names, host)
    for host in ("example.net", "a.b.example.net", "192.0.2.8", "org", "x.tracker.example.org"):
        assert not covers(names, host)


def test_names_alone_are_read_without_the_key(files: Files) -> None:
    assert read_names(files.certificate) == (HOST,)
    assert read_names(files.key_file) == ()
    assert read_names(Path("/nowhere")) == ()


def test_a_ticket_saves_the_second_signature(files: Files) -> None:
    """TLS 1.3's tickets come after the handshake: with real sockets, as with real clients."""
    context, client = files.read().context, trusting(files.authority)
    session = None
    for again in (False, True):
        left, right = socket.socketpair()

        def answer(side: socket.socket = left) -> None:
            with context.wrap_socket(side, server_side=True) as stream:
                stream.sendall(b"x")

        server = threading.Thread(target=answer)
        server.start()
        with client.wrap_socket(right, server_hostname=HOST, session=session) as stream:
            assert stream.recv(1) == b"x"
            assert stream.session_reused is again
            session = stream.session
        server.join()

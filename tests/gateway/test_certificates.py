"""A certificate that is renewed in whatever order: a pair is in force until another one stands."""

import errno
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from seeder.config.public import TrackerSettings
from seeder.gateway import certificates
from seeder.gateway.certificates import LiveCertificate
from tests.support.certificates import Authority, new_key, write_key

HOST = "tracker.example.org"
UNKNOWN_KEY = bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0209")
"""The name of the kind of a key, as certificates have it, and one that nobody knows."""


class Site:
    """A pair of files behind a symbolic link, and the certificate that is made of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority()
        self.key = new_key()
        self.made = 0
        self.link = directory / "live"
        self.switch(self.make())
        settings = TrackerSettings(
            tls_certificate=self.link / "fullchain.pem", tls_key=self.link / "privkey.pem"
        )
        self.live = LiveCertificate(settings)

    @property
    def certificate_file(self) -> Path:
        return self.link / "fullchain.pem"

    @property
    def key_file(self) -> Path:
        return self.link / "privkey.pem"

    def make(self) -> Path:
        """Write another pair into a directory of its own."""
        self.made += 1
        directory = self.directory / f"pair-{self.made}"
        directory.mkdir()
        self.authority.write_pair(directory, [HOST])
        return directory

    def switch(self, directory: Path) -> None:
        """Have the link lead to another pair, at once for both files."""
        new = self.directory / "new"
        new.symlink_to(directory)
        new.replace(self.link)

    def issue(self, **more: object) -> bytes:
        """Return a new certificate for `key`."""
        return self.authority.issue([HOST], self.key, **more)  # type: ignore[arg-type]

    def works(self) -> None:
        """Check that a client gets through with the pair that is in force."""
        ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = self.live.current.context.wrap_bio(ours, theirs, server_side=True)
        trust = ssl.create_default_context(cadata=self.authority.pem.decode())
        client = trust.wrap_bio(theirs, ours, server_hostname=HOST)
        for _ in range(3):
            for end in (client, server):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        assert client.version() is not None


Step = Callable[[Site], None]


def write_certificate(site: Site) -> None:
    site.certificate_file.write_bytes(site.issue())


def write_its_key(site: Site) -> None:
    write_key(site.key_file, site.key)


def empty_certificate(site: Site) -> None:
    site.certificate_file.write_bytes(b"")


def empty_key(site: Site) -> None:
    site.key_file.write_bytes(b"")


def half_certificate(site: Site) -> None:
    site.certificate_file.write_bytes(site.issue()[:300])


def remove_key(site: Site) -> None:
    site.key_file.unlink()


def remove_link(site: Site) -> None:
    site.link.unlink()


def switch_pair(site: Site) -> None:
    site.switch(site.make())


def switch_to_expired(site: Site) -> None:
    directory = site.make()
    site.authority.write_pair(directory, [HOST], days=(-9, -1))
    site.switch(directory)


def chain_out_of_order(site: Site) -> None:
    site.certificate_file.write_bytes(site.authority.pem + site.issue())


def unknown_kind_of_key(site: Site) -> None:
    der = load_pem_x509_certificate(site.issue()).public_bytes(Encoding.DER)
    odd = ssl.DER_cert_to_PEM_cert(der.replace(*UNKNOWN_KEY))
    site.certificate_file.write_text(odd)


def show_key_to_others(site: Site) -> None:
    """Write a new pair with a key that anybody may read."""
    directory = site.make()
    (directory / "privkey.pem").chmod(0o644)
    site.switch(directory)


def hide_key(site: Site) -> None:
    site.key_file.chmod(0o600)


def rewrite_with_the_same_stamp(site: Site) -> None:
    """Write other bytes in place, as long as before, and set the time back."""
    status = site.key_file.stat()
    site.key_file.write_bytes(b"x" * status.st_size)
    os.utime(site.key_file, ns=(status.st_atime_ns, status.st_mtime_ns))


ORDERS: dict[str, list[Step]] = {
    "certificate, then key": [write_certificate, write_its_key],
    "key, then certificate": [write_its_key, write_certificate],
    "certificate empty for a moment": [empty_certificate, write_certificate, write_its_key],
    "key empty for a moment": [empty_key, write_its_key, write_certificate],
    "half a certificate": [half_certificate, write_its_key, write_certificate],
    "key removed first": [remove_key, write_certificate, write_its_key],
    "both removed": [remove_link, switch_pair],
    "expired": [switch_to_expired, switch_pair],
    "chain out of order": [write_its_key, chain_out_of_order, write_certificate],
    "a key that nobody knows": [write_its_key, unknown_kind_of_key, write_certificate],
    "key readable by others": [show_key_to_others, hide_key],
    "same size and time": [rewrite_with_the_same_stamp, write_its_key, write_certificate],
    "several mistakes": [
        empty_key, remove_link, switch_to_expired, unknown_kind_of_key, switch_pair,
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "LOOK_EVERY", 0.01)


@asynccontextmanager
async def watched(directory: Path) -> AsyncIterator[Site]:
    site = Site(directory)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site.live.run)
        yield site
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.005)


@pytest.mark.parametrize("order", sorted(ORDERS))
async def test_the_former_pair_is_in_force_until_another_one_stands(
    tmp_path: Path, order: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(tmp_path) as site:
        before = site.live.current
        *halfway, last = ORDERS[order]
        for step in halfway:
            seen = site.live._seen
            step(site)
            await until(lambda: site.live._seen != seen and site.live.fault is not None)  # noqa: B023
            assert site.live.current is before
            site.works()
            assert site.live.fault is not None
            assert "\n" not in site.live.fault
        last(site)
        await until(lambda: site.live.fault is None)
        assert site.live.current is not before
        site.works()
        lines = [line for line in caplog.messages if "stays as it is" in line]
        assert 1 <= len(lines) <= len(halfway)
        assert len(set(lines)) == len(lines)
        # No check is lost: what comes next is taken up, too.
        now = site.live.current
        switch_pair(site)
        await until(lambda: site.live.current is not now)
        site.works()


async def test_a_look_that_fails_by_a_fault_of_ours_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("seeder.net.guards.PAUSE", 0.01)
    async with watched(tmp_path) as site:
        before = site.live.current
        with monkeypatch.context() as bug:
            bug.delattr(certificates, "_stamp")
            await until(lambda: caplog.text.count("internal error") > 1)
        switch_pair(site)
        await until(lambda: site.live.current is not before)
        site.works()


async def test_a_pair_that_is_not_valid_yet_is_in_force_when_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(certificates, "AGAIN_AFTER", 0.02)
    async with watched(tmp_path) as site:
        before = site.live.current
        directory = site.make()
        site.authority.write_pair(directory, [HOST], days=(0.5, 89))
        site.switch(directory)
        await until(lambda: site.live.fault is not None)
        await trio.sleep(0.1)  # it isn't told again while it is tried again
        assert site.live.current is before
        assert len([line for line in caplog.messages if "is not valid before" in line]) == 1
        tomorrow = time.time() + 86_400
        monkeypatch.setattr(time, "time", lambda: tomorrow)
        await until(lambda: site.live.current is not before)
        assert site.live.fault is None


async def test_a_pair_that_could_not_be_read_for_want_of_descriptors_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(certificates, "AGAIN_AFTER", 0.02)
    async with watched(tmp_path) as site:
        before = site.live.current
        with monkeypatch.context() as short:
            short.setattr(os, "memfd_create", full)
            switch_pair(site)
            await until(lambda: site.live.fault is not None)
        assert site.live.current is before
        await until(lambda: site.live.fault is None)
        assert site.live.current is not before

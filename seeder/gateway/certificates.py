"""The certificate of the public listeners: where it is, and taken up anew whenever it changes."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import trio

from seeder.config.public import TrackerSettings
from seeder.config.secrets import CREDENTIALS, secret_path
from seeder.config.sections import Config
from seeder.errors import Unavailable
from seeder.http.certificates import Certificate, PemFile, covers, read_certificate, read_names
from seeder.http.tls import HandshakeResult
from seeder.net.guards import Lapses

_LOG = logging.getLogger(__name__)

LOOK_EVERY = 2.0
"""Seconds between two looks at the files; a change is taken up once two looks saw the same."""
AGAIN_AFTER = 60.0
"""Seconds after which a pair that couldn't be used is read again though nothing about its files has
changed: it may begin to be valid only now, or there was no descriptor left for reading it."""
REMIND_EVERY = 86400.0
"""Seconds between two log lines about a certificate that ends soon."""
_CERTIFICATE, _KEY = "tracker.tls_certificate", "tracker.tls_key"

_Stamp: TypeAlias = tuple[int, ...] | None


def certificate_files(
    settings: TrackerSettings, environment: Mapping[str, str] = os.environ
) -> tuple[PemFile, PemFile]:
    """Return the files of the certificate and of its key; Unavailable for credentials."""
    problems: list[str] = []
    files: list[PemFile] = []
    for setting, path, name in (
        (_CERTIFICATE, settings.tls_certificate, settings.tls_certificate_credential),
        (_KEY, settings.tls_key, settings.tls_key_credential),
    ):
        try:
            files.append(PemFile(setting, secret_path(path, name or "", environment)))
        except ValueError as error:
            problems.append(f"{setting}_credential: {error}")
    if problems:
        raise Unavailable(problems)
    return files[0], files[1]


def read_tls(settings: TrackerSettings, environment: Mapping[str, str] = os.environ) -> Certificate:
    """Return the certificate that the settings name; Unavailable."""
    return read_certificate(*certificate_files(settings, environment), time.time())


def certificate_names(
    settings: TrackerSettings, environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Return the names that the certificate is for, none if there is none that can be read."""
    if not settings.tls:
        return ()
    path, name = settings.tls_certificate, settings.tls_certificate_credential
    try:
        return read_names(secret_path(path, name or "", environment))
    except ValueError:
        return ()


def is_out_of_reach(settings: TrackerSettings, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether only a service of systemd can read the pair, and we are none."""
    named = settings.tls_certificate_credential or settings.tls_key_credential
    return named is not None and not environment.get(CREDENTIALS)


def doubts(config: Config, certificate: Certificate, announce: str) -> Iterator[str]:
    """Yield what clients may mind about a certificate, a line each."""
    for remark in certificate.remarks:
        yield f"{_CERTIFICATE}: {remark}"
    if config.tracker.trusted_proxies:
        return  # then clients may see the certificate of a proxy
    urls = {"tracker.announce_url": announce, "gateway.url": config.gateway.url or announce}
    told = set()
    for setting, url in urls.items():
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "https" and host not in told and not covers(certificate.names, host):
            told.add(host)
            names = ", ".join(certificate.names[:5]) or "nothing"
            yield f"{setting}: the certificate is for {names}, not for {host}: clients refuse it"


class LiveCertificate:
    """The certificate in force; a pair that can't be used changes nothing.

    `changed` is called when there is another one.
    """

    def __init__(self, settings: TrackerSettings, environment: Mapping[str, str] = os.environ):
        """Read it; Unavailable."""
        self._environment = environment
        self._files = certificate_files(settings, environment)
        self._seen = self._stamps()
        self.current = read_certificate(*self._files, time.time())
        self.changed: Callable[[], None] = lambda: None
        self.fault: str | None = None
        """Why the files as they are now aren't in force; None if they are."""
        self.handshakes: Counter[HandshakeResult] = Counter()
        self._remind_at = 0.0
        self._again_at = inf

    async def take_up(self, settings: TrackerSettings) -> str | None:
        """Read the files that the settings name; return why they can't be used, None if they can.

        That is logged, too.
        """
        try:
            files = certificate_files(settings, self._environment)
        except Unavailable as error:
            self._again_at = inf  # the files of before aren't those that are wanted
            return self._refuse(error)
        return await self._read(files)

    async def _read(self, files: tuple[PemFile, PemFile]) -> str | None:
        self._files = files
        self._seen = await trio.to_thread.run_sync(self._stamps, abandon_on_cancel=True)
        try:
            found = await trio.to_thread.run_sync(
                read_certificate, *files, time.time(), abandon_on_cancel=True
            )
        except Unavailable as error:
            self._again_at = trio.current_time() + AGAIN_AFTER
            return self._refuse(error)
        self.fault, self._again_at = None, inf
        before, self.current = self.current, found
        if (before.ends, before.names) != (found.ends, found.names):
            _LOG.info("%s: another one is in force, until %s", _CERTIFICATE, _day(found.ends))
            self._remind_at = 0.0
        self.changed()
        return None

    def _refuse(self, error: Unavailable) -> str:
        before, self.fault = self.fault, "; ".join(error.problems)
        if self.fault != before:
            _LOG.error("the certificate stays as it is, until %s: %s", self.ends, self.fault)
        return self.fault

    @property
    def ends(self) -> str:
        """The day and time when it expires."""
        return _day(self.current.ends)

    def concern(self, now: float) -> str | None:
        """Return what has to be done about it, if anything (`now` in Unix seconds)."""
        if self.fault is not None:
            return f"the certificate stays as it is, until {self.ends}: {self.fault}"
        return _due(self.current) if now >= self.current.due else None

    async def run(self) -> None:
        """Take up what changes in the files, and log when it ends soon, until cancelled."""
        before, lapses = self._seen, Lapses(_LOG, _CERTIFICATE)
        while True:
            async with lapses.spared():
                self._remind(time.time())
                await trio.sleep(LOOK_EVERY)
                now = await trio.to_thread.run_sync(self._stamps, abandon_on_cancel=True)
                # Two files don't change at a time: what is halfway would be told of as a mistake.
                changed, before = now == before and now != self._seen, now
                if changed or trio.current_time() >= self._again_at:
                    await self._read(self._files)

    def _remind(self, now: float) -> None:
        if now >= max(self.current.due, self._remind_at):
            self._remind_at = now + REMIND_EVERY
            level = logging.ERROR if now >= self.current.ends else logging.WARNING
            _LOG.log(level, "%s", _due(self.current))

    def _stamps(self) -> tuple[_Stamp, _Stamp]:
        certificate, key = self._files
        return _stamp(certificate.path), _stamp(key.path)


def is_due(certificate: Certificate, now: float) -> Iterator[str]:
    """Yield that a certificate has to be renewed, if it has (`now` in Unix seconds)."""
    if now >= certificate.due:
        yield _due(certificate)


def _due(certificate: Certificate) -> str:
    return f"{_CERTIFICATE}: ends on {_day(certificate.ends)}; renew it, then clients go on"


def _stamp(path: Path) -> _Stamp:
    """Return what changes with a file, None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    # A change of the mode alone counts, too: a key that others may read is refused.
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")

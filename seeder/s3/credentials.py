"""The credentials of one origin: botocore's whole chain, asked and refreshed in a thread.

Every provider of the chain may block: the environment and files for a moment; IMDS, STS and
credential_process for seconds. So a background task asks them once a minute, when botocore renews
what expires within the next quarter of an hour, and requests take the credentials that are there.
botocore reads a file once; we read it again each minute, for keys are changed there without a word.
"""

import logging
from collections.abc import Callable
from math import inf
from typing import Protocol

import trio
from botocore.credentials import ReadOnlyCredentials
from botocore.session import Session

from seeder.errors import OriginUnreachable, SignerRefused
from seeder.s3.answers import printable
from seeder.s3.signing import Credentials

_LOG = logging.getLogger(__name__)

REFRESH_INTERVAL = 60.0
RENEWAL_PAUSE = 10.0
"""Seconds in which the chain isn't asked again, however many requests are refused."""
_FILES = frozenset({"shared-credentials-file", "config-file"})
"""botocore's names of the sources that are files."""
LOAD_TIMEOUT = 60.0
"""Seconds after which a provider that hangs counts as failed."""


class CredentialSource(Protocol):
    """What botocore's chain found: keys, or an object that fetches new ones in time."""

    def get_frozen_credentials(self) -> ReadOnlyCredentials: ...


FindCredentials = Callable[[], CredentialSource | None]


def chain(profile: str | None, region: str) -> CredentialSource | None:
    """Ask botocore's chain; None if nothing is configured. It blocks, and may raise anything."""
    session = Session(profile=profile)
    if session.get_config_variable("region") is None:
        session.set_config_variable("region", region)  # STS wants one
    return session.get_credentials()


class CredentialStore:
    """Holds the current credentials; when `find` is None, requests are anonymous."""

    def __init__(self, origin: str, find: FindCredentials | None) -> None:
        self._origin = origin
        self._find = find
        self._source: CredentialSource | None = None
        self._current: Credentials | None = None
        self._problem = ""
        self._started = self._stopped = False
        self._tried = trio.Event()
        self._renewed_at = -inf
        """When S3 had refused the credentials and the chain was asked (trio's clock)."""
        self._lock = trio.Lock()

    @property
    def anonymous(self) -> bool:
        return self._find is None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Load the credentials and keep them fresh until cancelled; it has started at once."""
        self._started = True
        task_status.started()
        try:
            while self._find is not None:
                async with self._lock:
                    await self._load(self._find)
                await trio.sleep(REFRESH_INTERVAL)
            await trio.sleep_forever()
        finally:
            self._stopped = True

    async def get(self) -> Credentials | None:
        """Return the current credentials, None for anonymous; waits for the first load.

        SignerRefused, with where to put credentials, when there are none. OriginUnreachable once
        run() has ended.
        """
        if not self._started:
            raise RuntimeError("start the origin's run() first")
        if self._stopped:
            raise OriginUnreachable(f"origin {self._origin} is stopped")
        if self._find is None:
            return None
        await self._tried.wait()
        if self._current is None:
            raise SignerRefused(self._problem)
        return self._current

    async def renew(self, used: Credentials | None) -> bool:
        """Ask the whole chain again, because S3 refuses the credentials `used`.

        Returns whether there are others now.
        """
        if self._find is None:
            return False
        async with self._lock:
            now = trio.current_time()
            if self._current == used and now - self._renewed_at >= RENEWAL_PAUSE:
                self._renewed_at = now
                self._source = None
                await self._load(self._find)
            return self._current != used

    async def _load(self, find: FindCredentials) -> None:
        try:
            with trio.fail_after(LOAD_TIMEOUT):
                found = await trio.to_thread.run_sync(self._ask, find, abandon_on_cancel=True)
        except trio.TooSlowError:
            self._failed(f"no answer within {LOAD_TIMEOUT:.0f} s from the credential provider")
        except Exception as error:  # providers raise anything, from ClientError to ValueError
            self._failed(printable(f"{type(error).__name__}: {error}"))
        else:
            if found is None:
                self._failed(
                    "no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
                    " a profile, or anonymous = true"
                )
            else:
                self._current, self._problem = found, ""
        self._tried.set()

    def _ask(self, find: FindCredentials) -> Credentials | None:
        """Return the chain's credentials, refreshed if need be; runs in a thread."""
        source = self._source
        if source is None or getattr(source, "method", None) in _FILES:
            source = find()
        if source is None:
            return None
        frozen = source.get_frozen_credentials()
        self._source = source
        if not frozen.access_key or not frozen.secret_key:
            return None
        for value in (frozen.access_key, frozen.token or ""):
            if not (value.isascii() and value.isprintable()):
                raise ValueError("the access key or the token has a character that can't be sent")
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    def _failed(self, problem: str) -> None:
        problem = f"origin {self._origin}: {problem}"
        if self._current is not None:
            _LOG.warning("%s; the old credentials stay in use", problem)
        # When there are none at all, every call that needs some raises this.
        self._problem = problem

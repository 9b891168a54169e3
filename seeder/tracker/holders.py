"""Whose passkeys are good: signed by us, not over, and not revoked. No I/O."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum
from ipaddress import ip_address

from seeder.errors import AnnounceError
from seeder.torrent.info import InfoHash
from seeder.tracker.members import HolderCounter
from seeder.tracker.passkeys import Passkey, PasskeySigner

_LOG = logging.getLogger(__name__)

QUIET = 60.0
"""Seconds until the log tells of refused keys again."""
_MINUTES = "60"
"""When to ask again with a key that is over: a clock of ours may have been wrong."""


class Refused(Enum):
    """Why somebody is kept out of a private swarm; the values are those of the metrics."""

    MISSING = "missing"
    WRONG = "wrong"
    EXPIRED = "expired"
    REVOKED = "revoked"


_TEXTS = {
    Refused.EXPIRED: ("your passkey has expired: get the torrent anew", _MINUTES),
    Refused.REVOKED: ("your passkey was revoked", "never"),
}
"""Only for who had a good key: strangers are told what they are told of any unknown torrent."""


class Holders:
    """Judges passkeys; `clock` is Unix time (s).

    `signer` is None as long as there is no secret, so that no key was ever made. While `closed`
    is set, it isn't known which keys were revoked, and none is good.
    """

    def __init__(self, clock: Callable[[], float], counter: HolderCounter | None = None) -> None:
        self.counter = counter
        """Hears what holders claim."""
        self.signer: PasskeySigner | None = None
        self.closed = False
        self.refusals: Counter[Refused] = Counter()
        """Of announces, scrapes, and requests for a signed path."""
        self._clock = clock
        self._revoked: Mapping[str, int] = {}
        self._told_at: float | None = None
        self._untold = 0

    @property
    def revoked(self) -> Mapping[str, int]:
        """The last second (Unix) in which those keys of a holder were issued that are revoked."""
        return self._revoked

    def revoke(self, revoked: Mapping[str, int]) -> None:
        """Have these keys revoked, and no others."""
        self._revoked = revoked

    def judge(self, key: bytes, info_hash: InfoHash) -> Passkey | Refused:
        """Return what a key for a torrent says, or why it is good for nothing."""
        if not key:
            return Refused.MISSING
        passkey = self.signer.read(key, info_hash) if self.signer is not None else None
        if passkey is None or self.closed:
            return Refused.WRONG
        if self._is_revoked(passkey):
            return Refused.REVOKED
        return passkey if self._clock() < passkey.expires else Refused.EXPIRED

    def is_good(self, passkey: Passkey) -> bool:
        """Tell whether a key that was good still is."""
        return not (self.closed or self._is_revoked(passkey)) and self._clock() < passkey.expires

    def _is_revoked(self, passkey: Passkey) -> bool:
        until = self._revoked.get(passkey.holder)
        return until is not None and passkey.issued <= until

    def refuse(
        self, why: Refused, otherwise: AnnounceError, source: bytes, now: float
    ) -> AnnounceError:
        """Count a refusal, and return what its client is told: `otherwise`, if it is a stranger.

        `source` is its packed address, `now` in seconds.
        """
        self.note(why, source, now)
        if why not in _TEXTS:
            return otherwise
        reason, retry_in = _TEXTS[why]
        return AnnounceError(reason, retry_in=retry_in)

    def note(self, why: Refused, source: bytes, now: float) -> None:
        """Count a refusal; the log tells of them once a minute at most."""
        self.refusals[why] += 1
        self._untold += 1
        if self._told_at is None or now - self._told_at >= QUIET:
            _LOG.info(
                "private torrents: %d refused without a good passkey, the last of them %s (%s)",
                self._untold,
                ip_address(source),
                why.value,
            )
            self._told_at, self._untold = now, 0

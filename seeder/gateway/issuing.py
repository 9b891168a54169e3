"""Passkeys for those who ask for a private torrent with an access key of their own."""

from collections.abc import Callable

import trio

from seeder.errors import SeederError
from seeder.gateway.s3errors import S3Error
from seeder.torrent.info import InfoHash
from seeder.tracker.holders import Holders
from seeder.tracker.passkeys import PasskeySigner
from seeder.tracker.register import Made, Register
from seeder.units import HOUR


class Issuer:
    """Makes keys that are good for `valid` seconds; `clock` is Unix time (s).

    `signer` returns what signs them, made if need be; it blocks (SeederError).
    """

    def __init__(
        self,
        holders: Holders,
        signer: Callable[[], PasskeySigner],
        valid: float,
        clock: Callable[[], float],
    ) -> None:
        self.register = Register()
        """As it was when last read, with the keys that were made here since."""
        self.news: list[Made] = []
        """Those that are to be written."""
        self.holders = holders
        self._signer = signer
        self._valid = valid
        self._clock = clock

    def is_welcome(self, holder: str) -> bool:
        """Tell whether a holder may have keys and private objects: it wasn't revoked for good."""
        return not (self.holders.closed or self.register.is_shut_out(holder))

    async def key(self, holder: str, name: str, info_hash: InfoHash) -> str:
        """Return a key for a holder and the torrent of an object (BUCKET/KEY); S3Error.

        It is the same for an hour, so that one who asks again gets the same torrent.
        """
        if not self.is_welcome(holder):
            raise S3Error("AccessDenied", "The passkeys of your access key were revoked.")
        if self.holders.signer is None:
            try:
                self.holders.signer = await trio.to_thread.run_sync(self._signer)
            except SeederError as error:
                why = "No passkey can be made at present; please try again."
                raise S3Error("ServiceUnavailable", why) from error
        begin = self._clock() // HOUR * HOUR
        passkey = self.register.issue(holder, name, begin, self._valid, by_operator=False)
        self.news.append(Made(holder, name, passkey.issued, passkey.expires))
        return self.holders.signer.sign(passkey, info_hash)

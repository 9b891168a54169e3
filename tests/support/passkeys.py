"""Passkeys for tests: a secret, a clock that stands still, and who makes and judges keys."""

from dataclasses import dataclass, field

from seeder.gateway.issuing import Issuer
from seeder.torrent.info import InfoHash
from seeder.tracker.holders import Holders
from seeder.tracker.members import HolderCounter
from seeder.tracker.passkeys import Passkey, PasskeySigner

NOON = 1_800_000_000
"""Unix seconds."""
SECRET = b"a secret of the tests"
DAY = 86_400


@dataclass
class Keys:
    """Makes keys at a time that the test sets, and has them judged."""

    counter: HolderCounter | None = None
    now: float = NOON
    holders: Holders = field(init=False)

    def __post_init__(self) -> None:
        self.holders = Holders(lambda: self.now, self.counter)
        self.holders.signer = PasskeySigner(SECRET)

    def make(
        self, holder: str, info_hash: InfoHash, *, issued: int = NOON, days: float = 1
    ) -> bytes:
        """Return a key as it stands in a path."""
        passkey = Passkey(holder, issued, int(issued + days * DAY))
        return PasskeySigner(SECRET).sign(passkey, info_hash).encode()

    def issuer(self) -> Issuer:
        """Return what makes keys for those who sign, good for a day."""
        return Issuer(self.holders, lambda: PasskeySigner(SECRET), DAY, lambda: self.now)

"""What one node tells the others of a peer. No I/O."""

from typing import NamedTuple

from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest
from seeder.tracker.passkeys import Passkey


class SharedPeer(NamedTuple):
    """What one node tells the others of a peer."""

    info_hash: InfoHash
    endpoint: bytes
    peer_id: bytes
    key: bytes
    seen: float
    """When it was heard of last (s, by the clock of the swarms)."""
    downloaded: int
    event: AnnounceEvent
    complete: bool
    wants_nothing: bool
    counted: bool
    """Whether its completion was counted, somewhere."""
    passkey: Passkey | None = None
    """What let it into a private swarm."""
    uploaded: int = 0
    """Of a member of one, the highest that it announced, in bytes."""
    is_stray: bool = False
    """Of a peer that went: whether it was unknown where it said so."""

    @property
    def gone(self) -> bool:
        return self.event is AnnounceEvent.STOPPED

    @property
    def whose(self) -> bytes:
        """Of whom it tells: whoever is at the endpoint, but a stray by its peer id alone."""
        return self.endpoint + self.peer_id if self.is_stray else self.endpoint

    def request(self) -> AnnounceRequest:
        """Return it as the announce that it comes from."""
        return AnnounceRequest(
            self.info_hash,
            self.peer_id,
            int.from_bytes(self.endpoint[-2:], "big"),
            self.downloaded,
            0 if self.complete else None,
            self.event,
            self.uploaded,
            key=self.key,
        )

"""What the upload limits let one guest have: its chain of rates, and its place in line.

The limits change while guests are here, and an address may be slowed down; the guest gets another
chain then. It asks the chain itself, once a batch.
"""

from seeder.upload.rates import Chain
from seeder.upload.uploads import InLine, Uploads


class Allotment:
    """One guest's, from `begin` to `leave`. `network` is its address as its networks name it.

    With `shared`, all of an address that are shared have one peer's rate together.
    """

    __slots__ = ("_guest", "_info_hash", "_network", "_shared", "_uploads", "chain", "is_slow")

    def __init__(
        self, uploads: Uploads, guest: InLine, network: bytes, *, shared: bool = False
    ) -> None:
        self.chain: Chain | None = None
        """Where bytes are granted and given back; None where nothing is limited."""
        self.is_slow = False
        """Whether it shares the small rate that is left for its address."""
        self._uploads = uploads
        self._guest = guest
        self._network = network
        self._shared = shared
        self._info_hash: bytes | None = None

    def begin(self, info_hash: bytes | None, now: float) -> None:
        """Keep to the limits from now on; `info_hash` is None for what belongs to no torrent."""
        self._info_hash = info_hash
        self.renew(now)

    def renew(self, now: float) -> None:
        """Keep to the present limits; if it was in line, the caller wakes the guest."""
        self.leave()
        self.chain = self._uploads.rates.chain(
            self._info_hash,
            now,
            slow=self._network if self.is_slow else None,
            sharing=self._network if self._shared else None,
        )

    def slow_down(self, now: float, *, slow: bool) -> None:
        """Change whether it shares a small rate with the others of its address."""
        self.is_slow = slow
        self.renew(now)

    def wait_in_line(self, most: int, now: float) -> None:
        """Have the guest's `resume` called when its chain allows up to `most` bytes again."""
        assert self.chain is not None
        self._uploads.wait_in_line(self._guest, self.chain, most, now)

    def leave(self) -> None:
        """Give up the place in line, if it has one."""
        if self.chain is not None:
            self._uploads.rates.waiting.discard(self.chain)

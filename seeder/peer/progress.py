"""What one peer has and gets: booked as delivered, and told to thrift and to super-seeding."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import filterfalse

from seeder.ledger.delivery import Delivery
from seeder.ledger.groups import GroupCounts
from seeder.torrent.layout import bitfield_indices
from seeder.torrent.torrent import Torrent
from seeder.upload.plans import Viewer
from seeder.upload.thrift import Availability, Thrift
from seeder.upload.uploads import UploadAccount, Uploads

MOST_DOUBTED = 32
"""Pieces sent last of which a peer that leaves has to have said that it has them, or they are
looked at again: a client that finds one wrong leaves soon after it."""


class PeerProgress:
    """One peer's pieces of one torrent, from its handshake to its end."""

    __slots__ = (
        "_account",
        "_counts",
        "_delivery",
        "_doubt",
        "_doubted",
        "_gained",
        "_group",
        "_household",
        "_last_sent",
        "_overlap",
        "_sent",
        "_spreads",
        "_super_seeds",
        "_torrent",
        "_viewer",
        "_viewing",
        "delivered",
        "thrift",
        "uploaded",
    )

    def __init__(
        self,
        torrent: Torrent,
        viewer: Viewer,
        uploads: Uploads,
        *,
        availability: Availability[Viewer] | None,
        group: bytes,
        now: float,
        counts: GroupCounts | None = None,
        sent: Callable[[int], None] | None = None,
    ) -> None:
        """`group` is the network that counts as one client: an address, or an IPv6 /64.

        `counts` is where what it gets is counted by its group of addresses. `sent` hears how many
        bytes a peer of a private torrent was sent.
        """
        self._sent = sent
        self.uploaded = 0
        """Bytes of pieces that we sent it."""
        self.delivered = 0
        """Bytes that it gained, from us and, as far as that is believed, from others."""
        self.thrift = Thrift(availability, viewer, now) if availability is not None else None
        """What makes the peer wait for other peers; None unless we are thrifty."""
        self._torrent = torrent
        self._viewer = viewer
        self._account = account = uploads.account(torrent)
        self._counts = counts
        self._super_seeds = uploads.super_seeds
        self._viewing = False
        self._gained = 0
        """Bytes that it gained, if all that it says is true."""
        self._delivery = Delivery(torrent.layout, torrent.data_size if torrent.padded else None)
        self._overlap = uploads.overlap
        self._group = group
        self._overlap.join(torrent.info_hash, group, torrent.layout, self._delivery)
        self._doubt = partial(uploads.doubt, torrent)
        """Hears of pieces that the peer takes for wrong, as it seems: in the task that sends."""
        self._doubted: set[int] = set()
        """Pieces that it asked for again of late."""
        self._last_sent: list[int] = []
        """Pieces that the peer was sent whole."""
        self._spreads = uploads.spreads
        self._household = self._spreads.join(
            torrent.info_hash, torrent.layout.piece_count, group, account, now
        )

    def rebook(self, account: UploadAccount) -> None:
        """Book what comes on another account: the object has another ETag and the same bytes."""
        self._account = account
        self._spreads.rebook(self._torrent.info_hash, account)

    @property
    def complete(self) -> bool:
        """Whether the peer says that it has every piece, and there are any."""
        return self._delivery.complete and self._torrent.layout.piece_count > 0

    @property
    def share(self) -> float:
        """The share of the pieces that the peer says it has, 0 to 1."""
        count = self._torrent.layout.piece_count
        return (count - self._delivery.missing) / count if count else 1.0

    def counts(self, edges: Sequence[int]) -> list[int]:
        """Return how many pieces the peer says that it has between one of `edges` and the next."""
        return self._delivery.counts(edges)

    @property
    def needs(self) -> int:
        """Bytes that the peer lacks, at most: by what it says, and by what we sent it."""
        layout = self._torrent.layout
        most = min(layout.size, self._delivery.missing * layout.piece_length)
        return max(0, min(most, layout.size - self.uploaded))

    def lacking(self) -> Iterator[int]:
        """Return the pieces that the peer hasn't said that it has."""
        return filterfalse(self._delivery.has, range(self._torrent.layout.piece_count))

    def view(self, now: float) -> None:
        """Have the peer shown pieces a few at a time (super-seeding)."""
        self._viewing = True
        self._super_seeds.join(self._torrent, self._viewer, now)

    def arrived_with(self, pieces: bytes | bool, now: float) -> None:
        """Take in what the peer had when it came: a bitfield, all (True) or nothing (False)."""
        delivery, thrift = self._delivery, self.thrift
        if thrift is not None:
            thrift.lost(delivery.announced())
        delivery.arrived_with(pieces)
        # What others gained who can have had it of this peer.
        self._account.delivered_verified(self._household.brought(pieces, delivery))
        if thrift is not None:
            thrift.gained(delivery.announced())
        self._tell(pieces, now)

    def grown_to(self, pieces: bytes | bool, now: float) -> None:
        """Take in a bitfield that came later: what is new in it was gained."""
        self._grow(bitfield_indices(pieces, self._torrent.layout.piece_count))
        delivery = self._delivery
        whole, others = delivery.grown_to(pieces)
        self._gained += delivery.total(whole)
        self._credit(self._household.gained_all(whole, delivery))
        for index, claim in others.items():
            self._believe(index, claim)
        self._tell(pieces, now)

    def gained(self, index: int, now: float) -> None:
        """Take in a HAVE."""
        self._grow((index,))
        self._believe(index, self._delivery.have(index))
        if self._viewing:
            self._super_seeds.gained(self._torrent, self._viewer, index, now)

    def sent(self, index: int, payload: int, now: float) -> Sequence[int]:
        """Book `payload` bytes of piece `index` that the socket took; return what to show next."""
        self.uploaded += payload
        self._account.uploaded(payload)
        if self._counts is not None:
            self._counts.sent(payload)
        if self._sent is not None:
            self._sent(payload)
        delivery = self._delivery
        count = delivery.sent(index, payload)
        self._gained += count
        self._credit(count)
        if count and delivery.is_paid(index):
            self._household.sent(index, delivery.size(index))
            self._last_sent.append(index)
            del self._last_sent[:-MOST_DOUBTED]
            if self._viewing:
                return self._super_seeds.sent(self._torrent, self._viewer, index, now)
        return ()

    def asked_for(self, indices: Iterable[int]) -> None:
        """Take note of requests, before they are answered, for pieces that it had none for."""
        for index in indices:
            # A few at a time, a piece comes here several times while it is sent once more.
            if index not in self._doubted and self._lacks(index):
                if len(self._doubted) >= MOST_DOUBTED:
                    self._doubted.clear()
                self._doubted.add(index)
                self._doubt(index, wanted=True)

    def _lacks(self, index: int) -> bool:
        """Tell whether the peer was sent a piece whole and doesn't say that it has it."""
        return self._delivery.is_paid(index) and not self._delivery.has(index)

    def sent_besides(self, count: int) -> None:
        """Book `count` bytes that the socket took and that were no payload."""
        self._account.protocol(count)

    def weigh(self, now: float) -> None:
        """See whether others feed the peer; called about once a second."""
        if self.thrift is not None:
            self.thrift.weigh(self.uploaded, self._gained, now)

    def leave(self, now: float) -> None:
        """Forget the peer; super-seeding may show its pieces to others."""
        self._overlap.leave(self._torrent.info_hash, self._group, self._delivery)
        # Some clients ban whoever sent a wrong piece, and ask for nothing more.
        for index in filter(self._lacks, self._last_sent):
            self._doubt(index, wanted=False)
        self._household.sent_in_part(self._delivery.parts)
        self._spreads.leave(self._torrent.info_hash, self._household, now)
        if self._viewing:
            self._viewing = False
            self._super_seeds.leave(self._torrent, self._viewer, now)
        if self.thrift is not None:
            self.thrift.leave(self._delivery.announced())

    def _believe(self, index: int, claim: int) -> None:
        """Credit what is believed of a peer's word that it has a piece."""
        self._gained += claim
        self._credit(self._household.gained(index, claim, self._delivery.size(index)))

    def _credit(self, count: int) -> None:
        if count:
            self.delivered += count
            self._account.delivered_verified(count)
            if self._counts is not None:
                self._counts.delivered(count)

    def _grow(self, pieces: Iterable[int]) -> None:
        """Tell thrift which of these pieces are new; call this before the delivery knows them."""
        if self.thrift is not None:
            self.thrift.gained(filterfalse(self._delivery.has, pieces))

    def _tell(self, pieces: bytes | bool, now: float) -> None:
        if self._viewing:
            self._super_seeds.arrived_with(self._torrent, self._viewer, pieces, now)

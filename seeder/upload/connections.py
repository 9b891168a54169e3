"""How many peers and downloads there are, and who makes room for one more.

When every place is taken, a newcomer gets in all the same, unless his network has as much as any:
the least useful guest at one address of the largest share is ended for him (`Shares.rivals`). Where
a newcomer needs places of several kinds, nobody is ended unless he gets them all.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple, TypeAlias

from seeder.config.public import PeerSettings
from seeder.net.addresses import Networks, network_text
from seeder.net.notices import Notices
from seeder.net.shares import Shares
from seeder.upload.slots import Guest

MOST_LOOKED_AT = 20
"""Guests of an address that are asked whether they want something, before the log tells of it."""
_LOG = logging.getLogger(__name__)

_Taken: TypeAlias = Sequence[Shares[Guest]]


class _Scarce(NamedTuple):
    """Places of one kind, and why a newcomer is refused who gets none."""

    reason: str
    most: int
    taken: _Taken
    key: str = ""
    """The key in [peer] that says how many there are, if one does."""


class _Places:
    """The places that the guests of one kind have: in all, and by torrent (info hash)."""

    def __init__(self) -> None:
        self.all = _shares()
        self._of: dict[bytes, Shares[Guest]] = {}
        self._torrents: dict[Guest, bytes | None] = {}

    def __contains__(self, guest: Guest) -> bool:
        return guest in self._torrents

    def of(self, info_hash: bytes) -> Shares[Guest]:
        """Return the guests that are counted for a torrent."""
        return self._of.get(info_hash) or _shares()

    def add(self, guest: Guest) -> None:
        self._torrents[guest] = None
        self.all.add(guest)

    def name(self, guest: Guest, info_hash: bytes) -> None:
        """Count a guest that was added for its torrent, too."""
        self._torrents[guest] = info_hash
        if info_hash not in self._of:
            self._of[info_hash] = _shares()
        self._of[info_hash].add(guest)

    @property
    def most_of_torrent(self) -> int:
        """How many the torrent has that has most."""
        return max(map(len, self._of.values()), default=0)

    def remove(self, guest: Guest) -> None:
        """Count a guest no more; no error if it isn't counted."""
        if guest not in self:
            return
        self.all.remove(guest)
        info_hash = self._torrents.pop(guest)
        if info_hash is not None:
            self._of[info_hash].remove(guest)
            if not self._of[info_hash]:
                del self._of[info_hash]


class Connections:
    """The places of peers and downloads: in all, by address, and by torrent.

    In all and by torrent, a peer finds none when peers alone have taken every place, a download
    already when peers and downloads together have. An address has one count of both. `clock` gives
    seconds; `held_back` tells whether a guest has waited for others at its address, at such a time.
    """

    def __init__(
        self,
        limits: PeerSettings,
        clock: Callable[[], float],
        *,
        held_back: Callable[[Guest, float], bool],
    ) -> None:
        self.limits = limits
        self._clock = clock
        self._held_back = held_back
        self._peers = _Places()
        self._downloads = _Places()
        self._crowded = Notices()
        self._full = Notices()

    @property
    def peers(self) -> int:
        """How many peers have a place."""
        return len(self._peers.all)

    @property
    def most_of_torrent(self) -> int:
        """How many peers the torrent has that has most."""
        return self._peers.most_of_torrent

    def admit_peer(self, networks: Networks) -> str | None:
        """Make sure of a place for one more peer's connection, or return why there is none."""
        return self._admit(networks, _in_all(self.limits, [self._peers.all]))

    def add_peer(self, peer: Guest) -> None:
        """Count a peer that was admitted."""
        self._peers.add(peer)

    def name_peer(self, peer: Guest, info_hash: bytes) -> str | None:
        """Count a peer for its torrent, or return why the torrent has no place for it.

        A peer that was ended to make room has no place any more.
        """
        if peer not in self._peers:
            return "made-room"
        scarce = _of_torrent(self.limits, [self._peers.of(info_hash)])
        refused = self._make_room(peer.networks, [], scarce)
        if refused is None:
            self._peers.name(peer, info_hash)
        return refused

    def peers_at(self, networks: Networks, info_hash: bytes) -> int:
        """Return how many peers of an address are counted for a torrent."""
        return len(self._peers.of(info_hash).at(networks))

    def admit_download(self, networks: Networks, info_hash: bytes, most: int) -> str | None:
        """Make sure of a place for one more download, of `most`, or return why there is none."""
        peers, downloads, limits = self._peers, self._downloads, self.limits
        of_torrent = [downloads.of(info_hash), peers.of(info_hash)]
        return self._admit(
            networks,
            _Scarce("too-many-connections", most, [downloads.all]),
            _of_torrent(limits, of_torrent),
            _in_all(limits, [downloads.all, peers.all]),
        )

    def add_download(self, download: Guest, info_hash: bytes) -> None:
        """Count a download that was admitted."""
        self._downloads.add(download)
        self._downloads.name(download, info_hash)

    def remove(self, guest: Guest) -> None:
        """Count a peer or a download no more; no error if it was ended to make room."""
        self._peers.remove(guest)
        self._downloads.remove(guest)

    def is_full_at(self, networks: Networks) -> bool:
        """Tell whether an address has as many peers and downloads as it may, and none to spare."""
        return self._has_all(networks) and self._spare(networks, self._clock()) is None

    def _has_all(self, networks: Networks) -> bool:
        """Tell whether an address has as many peers and downloads as it may."""
        taken = len(self._peers.all.at(networks)) + len(self._downloads.all.at(networks))
        return taken >= self.limits.connections_per_address

    def _at(self, networks: Networks) -> Iterator[Guest]:
        return chain(self._peers.all.at(networks), self._downloads.all.at(networks))

    def _spare(self, networks: Networks, now: float) -> Guest | None:
        """Return one who has only waited for others of its address."""
        return next((guest for guest in self._at(networks) if self._held_back(guest, now)), None)

    def _admit(self, networks: Networks, *scarce: _Scarce) -> str | None:
        """Make sure of a place at an address and of others, or return why there is none."""
        if not self._has_all(networks):
            return self._make_room(networks, [], *scarce)
        now = self._clock()
        self._tell_crowded(networks, now)
        spare = self._spare(networks, now)
        if spare is None:
            return "too-many-from-address"
        return self._make_room(networks, [spare], *scarce)

    def _tell_crowded(self, networks: Networks, now: float) -> None:
        """Say now and then that an address has as many connections as it may."""
        # Where nobody wants anything, more places would be of no use.
        looked_at = islice(self._at(networks), MOST_LOOKED_AT)
        wanted = sum(guest.interested for guest in looked_at) > 1
        if wanted and self._crowded.is_due(networks[0], now):
            _LOG.warning(
                "more than peer.connections_per_address = %d connections come from %s, and the"
                " others wait or are refused; if many people share that address, set it to twice"
                ' their number: see "Many people behind one address" in the documentation',
                self.limits.connections_per_address,
                network_text(networks[0]),
            )

    def _make_room(self, newcomer: Networks, ended: list[Guest], *scarce: _Scarce) -> str | None:
        """End guests where places are scarce; if not enough of them can be, return why.

        Those are ended, too, that `ended` names.
        """
        now = self._clock()
        for each in scarce:
            freed = sum(
                guest in shares.at(guest.networks) for guest in ended for shares in each.taken
            )
            if sum(map(len, each.taken)) - freed < each.most:
                continue
            self._tell_full(each, now)
            rival = _least_useful(newcomer, each.taken, now)
            if rival is None:
                return each.reason
            ended.append(rival)
        for guest in ended:
            # At once, since it is here for some moments more.
            self.remove(guest)
            guest.end("made-room")
        return None

    def _tell_full(self, scarce: _Scarce, now: float) -> None:
        """Say now and then that all places are taken, if a setting gives more."""
        if not scarce.key or not self._full.is_due(scarce.key, now):
            return
        _LOG.warning(
            "all %d places of peer.%s are taken: a newcomer gets in only where another network has"
            " more of them; raise it if memory, open files and upload_rate are enough for more",
            scarce.most,
            scarce.key,
        )


def _in_all(limits: PeerSettings, taken: _Taken) -> _Scarce:
    return _Scarce("too-many-connections", limits.connections, taken, "connections")


def _of_torrent(limits: PeerSettings, taken: _Taken) -> _Scarce:
    most = limits.connections_per_torrent
    return _Scarce("too-many-for-torrent", most, taken, "connections_per_torrent")


def _least_useful(newcomer: Networks, taken: _Taken, now: float) -> Guest | None:
    """Return whom to end for a newcomer, None if nobody has a larger share."""
    largest = max(taken, key=lambda shares: shares.largest)
    rivals = largest.rivals(newcomer)
    return min(rivals, key=lambda guest: guest.worth(now), default=None)


def _shares() -> Shares[Guest]:
    return Shares(lambda guest: guest.networks)

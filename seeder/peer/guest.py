"""The peer at the other end: who it is, what it has and gets of its torrent, what it is refused.

To the uploads it is a guest, to super-seeding a viewer. Its session has the connection.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import trio

from seeder.net.addresses import Networks, SocketAddress, compact_endpoint
from seeder.net.sockets import packed_address
from seeder.peer.connection import PeerConnection
from seeder.peer.log import SessionLog
from seeder.peer.pex import Roster, RosterEntry
from seeder.peer.progress import PeerProgress
from seeder.peer.protocol import Phase
from seeder.peer.refusals import Refusals
from seeder.peer.standing import PeerStanding
from seeder.torrent.info import Info
from seeder.torrent.torrent import Torrent
from seeder.tracker.members import SwarmMember
from seeder.upload.allotment import Allotment
from seeder.upload.plans import Viewer
from seeder.upload.thrift import Availability
from seeder.upload.uploads import Uploads


class PeerGuest:
    """One peer, from accept to close. `end` and `resume` are its session's."""

    __slots__ = (
        "_roster_entry",
        "_uploads",
        "address",
        "allotment",
        "client",
        "end",
        "info",
        "log",
        "member",
        "networks",
        "opened_at",
        "packed_address",
        "peer_id",
        "progress",
        "refusals",
        "resume",
        "torrent",
        "wire",
    )

    def __init__(
        self,
        address: SocketAddress,
        networks: Networks,
        wire: PeerConnection,
        uploads: Uploads,
        log: SessionLog,
        *,
        end: Callable[[str], None],
        resume: Callable[[], None],
        now: float,
    ) -> None:
        self.address = address
        self.packed_address = packed_address(address[0])
        self.networks = networks
        self.peer_id = b""
        self.client = ""
        """As it calls itself."""
        self.opened_at = now
        self.torrent: Torrent | None = None
        self.info: Info | None = None
        """The torrent's, held so that it stays at hand."""
        self.member: SwarmMember | None = None
        """Of a private swarm: which one it is."""
        self.progress: PeerProgress | None = None
        """What it has and gets of the torrent."""
        self.allotment = Allotment(uploads, self, networks[0])
        self.refusals = Refusals(wire, resume)
        self.end = end
        """Closes the connection, for a reason."""
        self.resume = resume
        """Sends what can be sent now.

        For speed a plain call, in whichever task finds that something can be: the timer of the
        upload limits, the choker's tick, a look-up of hashes, another session that shows a piece.
        """
        self.wire = wire
        self.log = log
        self._uploads = uploads
        self._roster_entry: RosterEntry | None = None

    @property
    def is_stranger(self) -> bool:
        """Whether its peer id has yet to come."""
        return self.wire.phase in (Phase.HANDSHAKE, Phase.PEER_ID)

    # -- at its torrent

    def arrive(
        self,
        torrent: Torrent,
        roster: Roster,
        availability: Availability[Viewer] | None,
        now: float,
    ) -> PeerProgress:
        """Take note of the torrent that it has named; the uploads have it as a guest now."""
        uploads = self._uploads
        self.torrent = torrent
        self.info = torrent.info
        self._roster_entry = RosterEntry(roster, self, self.packed_address)
        self.progress = PeerProgress(
            torrent,
            self,
            uploads,
            availability=availability,
            group=self.networks[0],
            counts=uploads.group_at(self.packed_address),
            now=now,
            sent=self._count_for_holder if torrent.private else None,
        )
        uploads.join(self)
        self.allotment.begin(torrent.info_hash, now)
        return self.progress

    def belong_to(self, member: SwarmMember | None) -> None:
        """Take note of whose connection it is, of those who are in its private swarm."""
        self.member = member

    def _count_for_holder(self, payload: int) -> None:
        if self.member is not None:
            self._uploads.sent_to(self.member.passkey.holder, payload)

    def takes_connections_at(self, port: int) -> None:
        """Let others hear of it: it says that it listens on a port."""
        if self._roster_entry is not None:
            endpoint = compact_endpoint(self.packed_address, port)
            self._roster_entry.takes_connections_at(endpoint)

    def hear_of_others(self, now: float) -> None:
        """Send it what is due of the torrent's peers (BEP 11), once it has said who it is."""
        if self._roster_entry is not None and self.peer_id:
            self.wire.send_pex(partial(self._roster_entry.message, now, random.random))

    def rebook(self) -> None:
        """Book what is sent from now on where the torrent's traffic is booked now."""
        if self.progress is not None and self.torrent is not None:
            self.progress.rebook(self._uploads.account(self.torrent))

    def leave(self, now: float) -> None:
        """Forget the peer."""
        self.allotment.leave()
        if self._roster_entry is not None:
            self._roster_entry.leave()
        try:
            if self.progress is not None:
                self.progress.leave(now)
        finally:
            self._uploads.leave(self, now)

    def standing(self, *, encrypted: bool) -> PeerStanding | None:
        """Return how the peer stands; None until it has named a torrent."""
        progress, torrent = self.progress, self.torrent
        if progress is None or torrent is None:
            return None
        return PeerStanding(
            self.address,
            self.client,
            torrent,
            progress.share,
            progress.uploaded,
            encrypted=encrypted,
            choked=self.wire.choking,
            interested=self.interested,
            opened_at=self.opened_at,
            identity=id(self),
            holder=None if self.member is None else self.member.passkey.holder,
        )

    # -- what the uploads know of it

    @property
    def uploaded(self) -> int:
        """Bytes of pieces that we sent it."""
        return 0 if self.progress is None else self.progress.uploaded

    @property
    def needs(self) -> int:
        """Bytes that it lacks, at most."""
        return 0 if self.progress is None else self.progress.needs

    @property
    def interested(self) -> bool:
        """Whether it wants something from us."""
        return self.wire.interested or bool(self.wire.wanted)

    def worth(self, now: float) -> tuple[int, float]:
        """Return what it is worth: less if it didn't say who it is, or wants nothing.

        Else it is worth the bytes a second that it has taken.
        """
        age = now - self.opened_at
        if self.is_stranger or self.log.reason is not None:
            return 0, -age
        if not self.interested:
            return 1, -age
        return 2, self.uploaded / (age + 1.0)

    @contextmanager
    def _at_its_expense(self) -> Iterator[None]:
        """Let what goes wrong in the block end this connection: the task is another's."""
        try:
            yield
        except Exception as error:
            self.log.fail(error)
            self.end("internal-error")

    def serve(self) -> None:
        """Let it request."""
        with self._at_its_expense():
            self.refusals.serve(trio.current_time())

    def hold(self) -> None:
        """Let it request nothing until `serve`."""
        with self._at_its_expense():
            self.refusals.hold()

    def slow_down(self, *, slow: bool) -> None:
        """Change whether it shares the small rate that is left for its address."""
        with self._at_its_expense():
            self.allotment.slow_down(trio.current_time(), slow=slow)
            self.resume()

    def take_limits(self, now: float) -> None:
        """Keep to the present upload limits; one that was in line is woken by the caller."""
        with self._at_its_expense():
            self.allotment.renew(now)

    def lose(self, index: int, now: float) -> None:
        """Take a piece back that can't be had for a while (BEP 54)."""
        with self._at_its_expense():
            self.refusals.lose(index, now)

    def regain(self) -> None:
        """Tell it that what was taken back can be had again."""
        with self._at_its_expense():
            self.refusals.regain()

    def may_leave(self, size: int, now: float) -> bool:
        """Tell whether `size` bytes of small messages needn't wait for the upload limits."""
        return self._uploads.overhead.may_leave(self.packed_address, size, now)

    def may_describe(self, size: int) -> bool:
        """Tell whether it may have `size` bytes of metadata or hashes, and count them."""
        assert self.torrent is not None
        return self._uploads.may_describe(self.torrent, self.packed_address, size)

    def sent_besides(self, count: int) -> None:
        """Book `count` bytes that the socket took and that were no payload."""
        if self.progress is None:
            self._uploads.overhead.protocol(count)
        else:
            self.progress.sent_besides(count)

    def show(self, indices: list[int]) -> None:
        """Tell it of pieces that it may request from now on (super-seeding).

        Called in the task of the session whose peer has just got a piece, or left, or by the tick.
        """
        with self._at_its_expense():
            self.wire.show(indices)
            self.resume()

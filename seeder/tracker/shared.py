"""What the peers of one swarm claim where several nodes hear it, and one of them counts it.

Which one that is goes by the name of the client's session. What the others hear is owed to it
(`seeder.tracker.owed`) until it says that it is settled, in whatever order and however often it
hears of it.

No I/O.
"""

from collections.abc import Iterable, Iterator
from math import inf, isfinite

from seeder.tracker.announce import LARGEST_COUNT, PEER_ID_LENGTH, AnnounceRequest
from seeder.tracker.belief import Belief
from seeder.tracker.claims import Claims
from seeder.tracker.counters import ClaimCounter
from seeder.tracker.downloads import DownloadState, look_at
from seeder.tracker.journal import SwarmNews
from seeder.tracker.owed import CLOCKS_DIFFER, OwedClaim, Settled
from seeder.tracker.past import PastRoom
from seeder.tracker.saved import Counted, SavedDownload
from seeder.tracker.sessions import COMPLETED, UNSURE, key_of, session_name
from seeder.tracker.told import SharedPeer

CLOCKS_AGREE = 0.04
"""Seconds by which what another node heard must be earlier to be of another download: so far the
clocks of two nodes agree."""


class SharedClaims(Claims):
    """The sessions of a swarm that this node knows, and which of them it counts."""

    def __init__(
        self,
        size: int,
        account: ClaimCounter,
        *,
        belief: Belief,
        memory: float,
        room: PastRoom,
        counted: Counted,
        news: SwarmNews,
    ) -> None:
        """Begin as `Claims` do; the others are told by `news`."""
        super().__init__(size, account, belief=belief, memory=memory, room=room, counted=counted)
        self._news = news
        self._downloads: dict[bytes, DownloadState] = {}
        """Of the sessions of which there is anything to know, by their names."""

    def _is_ours(self, number: int) -> bool:
        return self._news.journal.counts(self.sessions.name(number))

    # -- what is announced here

    def is_owed(self, number: int, request: AnnounceRequest) -> bool:
        """Tell whether another node of the cluster is to count that a session has completed."""
        return (
            request.event.completes
            and not self.sessions.flags[number] & COMPLETED
            and self._is_whole(request)
            and not self._is_ours(number)
        )

    def renew(self, request: AnnounceRequest, endpoint: bytes, now: float, peer: int) -> bool:
        """As for `Claims`; a client that starts may have something to tell others."""
        return not request.event.starts and super().renew(request, endpoint, now, peer)

    def _count(self, number: int, request: AnnounceRequest, endpoint: bytes, now: float) -> None:
        sessions, name = self.sessions, self.sessions.name(number)
        low, is_ours = sessions.downloaded[number], self._is_ours(number)
        counted = 0
        if request.event.starts and request.downloaded <= low:
            # The node that counts may know it to have had more. Nothing is to be counted yet but
            # from where.
            low = request.downloaded
            self._begin_anew(number, low, now)
        elif request.downloaded < low and not is_ours:
            self._go_back(number, request.downloaded)
            return
        else:
            counted = self._look(number, request)
            if not counted:
                return
        if not is_ours:
            self._news.owes_bytes(request, endpoint, now, name, low=low, began=self._began(name))
        elif counted:
            self._book(number, counted, endpoint, now)

    def _began(self, name: bytes) -> float:
        download = self._downloads.get(name)
        return -inf if download is None else download.began

    def _begin_anew(self, number: int, downloaded: int, began: float) -> None:
        """Note that a client began a download anew, if it has less than was known."""
        sessions, name = self.sessions, self.sessions.name(number)
        if downloaded < sessions.downloaded[number]:
            self._go_back(number, downloaded)
            self._downloads[name] = DownloadState(began, had_more=True)
        else:
            self._downloads.setdefault(name, DownloadState()).began = began

    def _go_back(self, number: int, downloaded: int) -> None:
        """Note that a client says less, which may have begun anew: others are told as much."""
        sessions = self.sessions
        sessions.downloaded[number], sessions.claimed[number] = downloaded, 0

    def _base(self, number: int) -> int:
        """Return from where on the bytes of a download are looked at, but for its gaps."""
        sessions = self.sessions
        download = self._downloads.get(sessions.name(number)) or DownloadState()
        return sessions.downloaded[number] - sessions.claimed[number] - download.missing

    # -- what others tell

    def hear_completion(self, told: SharedPeer, name: bytes, now: float) -> bool:
        """Take in that a session of this name has completed; return whether that is counted now.

        Who has gone meanwhile may be unknown here.
        """
        sessions, request = self.sessions, told.request()
        number = sessions.find_or_add(name, request.downloaded, told.seen)
        if number < 0:
            number = len(sessions.flags) - 1
            sessions.note_endpoint(number, told.endpoint)
            if now - self._lost_at < self._memory:
                sessions.flags[number] |= COMPLETED  # as in `note`
        flags = sessions.flags[number]
        sessions.flags[number] = flags & ~UNSURE
        completed = not flags & COMPLETED and self._complete(
            number, request, told.endpoint, now, flags & UNSURE > 0
        )
        if not sessions.is_listed(number) and name not in self._past:
            self._retire(name)
        return completed

    def hear_bytes(self, claim: OwedClaim, name: bytes, now: float) -> None:
        """Count which bytes a client of this name has claimed at another node, but none twice."""
        told, sessions = claim.peer, self.sessions
        low, high = claim.low, min(told.downloaded, LARGEST_COUNT)
        # Of one that was forgotten for lack of room nobody knows what was counted.
        was_lost = now - self._lost_at < self._memory
        number = sessions.find_or_add(name, high if was_lost else low, told.seen)
        if number < 0:
            number = len(sessions.flags) - 1
            sessions.note_endpoint(number, told.endpoint)
        if claim.began > self._began(name) + CLOCKS_DIFFER:
            # What was heard of it since may have been counted.
            if sessions.seen[number] <= claim.began + CLOCKS_AGREE:
                self._begin_anew(number, low, claim.began)
            else:
                self._downloads.setdefault(name, DownloadState()).began = claim.began
        sessions.seen[number] = max(sessions.seen[number], told.seen)
        if told.seen >= self._began(name) - CLOCKS_AGREE:
            download = self._downloads.get(name)
            if (
                download is not None
                and download.had_more
                and claim.began < download.began - CLOCKS_DIFFER
            ):
                # Whoever heard it didn't know that the client began anew with some.
                low = max(low, self._base(number))
            if low <= high:
                self._look_at(number, low, high, told.endpoint, now)
        if not sessions.is_listed(number) and name not in self._past:
            self._retire(name)

    def count_own(self, claim: OwedClaim, now: float) -> None:
        """Count bytes that were claimed here, as nobody else will: the node that did has gone."""
        told = claim.peer
        number = self.sessions.find(session_name(told.peer_id, told.key, told.endpoint))
        counted = min(self.size, told.downloaded - claim.low)
        if number >= 0 and counted > 0:
            self._book(number, counted, told.endpoint, now)

    def _look_at(self, number: int, low: int, high: int, endpoint: bytes, now: float) -> None:
        """Count some bytes of a download, as far as they weren't looked at."""
        sessions, name = self.sessions, self.sessions.name(number)
        claimed, highest = sessions.claimed[number], sessions.downloaded[number]
        if claimed >= self.size:
            return
        download = self._downloads.get(name) or DownloadState()
        base = self._base(number)
        fresh, sessions.downloaded[number] = look_at(download, base, highest, low, high)
        if download.gaps:
            self._downloads[name] = download
        counted = min(fresh, self.size - claimed)
        if counted:
            sessions.claimed[number] += counted
            self._book(number, counted, endpoint, now)

    def hear(self, number: int, told: SharedPeer, now: float, *, fresh: bool, seen: float) -> None:
        """Take in what another node was told of a session that was `seen` last before that (s).

        Of what isn't `fresh`, nothing is counted.
        """
        sessions = self.sessions
        later = told.seen > seen + CLOCKS_DIFFER
        # What it says of more than we know is of a download that has ended since.
        is_old = told.seen < seen - CLOCKS_AGREE
        sessions.seen[number] = max(sessions.seen[number], told.seen)
        if told.counted:
            sessions.flags[number] |= COMPLETED
        before = sessions.downloaded[number]
        if told.event.starts and told.downloaded <= before:
            if later:
                self._begin_anew(number, told.downloaded, told.seen)
        elif is_old or told.seen < self._began(sessions.name(number)) - CLOCKS_AGREE:
            return  # what it says is of the download before
        elif told.downloaded < before:
            if later and not told.gone and not self._is_ours(number):
                self._go_back(number, told.downloaded)
        elif not fresh:
            self._skip(number, min(told.downloaded, LARGEST_COUNT))
        elif told.downloaded > before:
            self._count_heard(number, told, now)

    def _count_heard(self, number: int, told: SharedPeer, now: float) -> None:
        counted = self._look(number, told.request())
        if counted and self._is_ours(number):
            self._book(number, counted, told.endpoint, now)
            self._tell_settled(number, told.seen)

    def _tell_settled(self, number: int, seen: float) -> None:
        """Have who told it know that all is counted, where that is so: it needn't tell it again.

        `seen` is when the client had said so.
        """
        sessions, name = self.sessions, self.sessions.name(number)
        download = self._downloads.get(name) or DownloadState()
        claimed, highest = sessions.claimed[number], sessions.downloaded[number]
        if claimed >= self.size:
            self._news.settled(name, Settled(seen, download.began, 0, LARGEST_COUNT))
        elif not download.gaps:
            self._news.settled(name, Settled(seen, download.began, highest - claimed, highest))

    def _skip(self, number: int, downloaded: int) -> None:
        """Take in that a client has more than was known, which may be counted already.

        If not, whoever heard it tells that it is owed.
        """
        sessions, name = self.sessions, self.sessions.name(number)
        before, claimed = sessions.downloaded[number], sessions.claimed[number]
        if downloaded <= before:
            return
        sessions.downloaded[number] = downloaded
        looked = downloaded - before
        if self._is_ours(number) and claimed < self.size:
            looked = self._downloads.setdefault(name, DownloadState()).skip(before, downloaded)
        sessions.claimed[number] = min(self.size, claimed + looked)

    def _forget(self, number: int) -> None:
        if self._downloads:
            self._downloads.pop(self.sessions.name(number), None)
        super()._forget(number)

    # -- what survives a restart

    def export_downloads(self) -> Iterator[SavedDownload]:
        """Yield what is known of downloads beside their sessions, at the first one."""
        for name, download in tuple(self._downloads.items()):
            number = self.sessions.find(name)
            if number < 0:
                continue
            yield SavedDownload(
                self.sessions.last_endpoint(number),
                name[:PEER_ID_LENGTH],
                key_of(name),
                download.began,
                tuple(download.gaps),
                self.sessions.seen[number],
            )

    def adopt_downloads(self, saved: Iterable[SavedDownload]) -> None:
        """Take back what an earlier run knew, of the sessions that there are."""
        for entry in saved:
            if entry.key or entry.endpoint:
                name = session_name(entry.peer_id, entry.key, entry.endpoint)
                if self.sessions.find(name) >= 0:
                    gaps, had_more = list(entry.gaps), isfinite(entry.began)
                    self._downloads[name] = DownloadState(entry.began, had_more, gaps)


def make_claims(
    size: int,
    account: ClaimCounter,
    *,
    belief: Belief,
    memory: float,
    room: PastRoom,
    counted: Counted,
    news: SwarmNews | None,
) -> Claims:
    """Return the sessions of a swarm; with `news` the other nodes of a cluster know them, too."""
    if news is None:
        return Claims(size, account, belief=belief, memory=memory, room=room, counted=counted)
    return SharedClaims(
        size, account, belief=belief, memory=memory, room=room, counted=counted, news=news
    )

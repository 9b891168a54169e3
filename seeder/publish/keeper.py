"""Keeps one configured object published: known, hashed, served, and replaced when it changes.

Each round asks S3 how the object stands (HEAD, or a listing for a bundle) and brings its torrent in
line with that; the next one comes with the next refresh, or when a fault of a piece wakes it. An
object below a prefix is looked at when its line in the listing has changed, and not before. What
becomes of the torrent that is served meanwhile is in `seeder.publish.current`.
"""

import logging
import weakref
from functools import partial
from math import inf

import trio

from seeder.errors import (
    AccessDenied,
    BudgetSpent,
    MetainfoError,
    ObjectChanged,
    ObjectMissing,
    OriginError,
    PieceMismatch,
    SeederError,
    StorageError,
    TooManyObjects,
)
from seeder.metainfo.ladder import describe_wanted
from seeder.metainfo.library import Library
from seeder.metainfo.records import Record
from seeder.publish.acquiring import LYING, Acquiring
from seeder.publish.current import CurrentTorrent
from seeder.publish.embargo import MOST_LOGGED, told
from seeder.publish.entries import Wanted
from seeder.publish.makers import Maker
from seeder.publish.restless import RESTLESS, Restless
from seeder.publish.rounds import Rounds
from seeder.publish.serving import DELETED, LOST, Serving, replaced
from seeder.publish.timetable import Timetable
from seeder.s3.listing import Listed, suspicion
from seeder.torrent.info import Outline
from seeder.torrent.objects import (
    PinnedObject,
    described_by,
    may_be_equal,
    same_state,
    still_there,
    told_alike,
)
from seeder.torrent.publications import Publication, State
from seeder.torrent.torrent import Torrent

_LOG = logging.getLogger(__name__)

SPREAD = 0.05
"""After a start, the first HEADs are spread over this many seconds for each known object."""
READS_FAIL_FOR = 60.0
"""Seconds for which an object stays faulty after a piece couldn't be read; a fault within them is
neither logged nor looked into again."""
PUBLISHED_AT = "it is published at "


class Keeper(Rounds):
    """One object, its publication, and what is known of its metainfo."""

    __slots__ = (
        "__weakref__",
        "_current",
        "_library",
        "_maker",
        "_metainfo",
        "_read_failed_at",
        "_restless",
        "_serving",
        "_unread",
        "publication",
        "wanted",
    )

    def __init__(
        self,
        wanted: Wanted,
        record: Record | StorageError | None,
        *,
        maker: Maker,
        library: Library,
        serving: Serving,
        timetable: Timetable,
    ) -> None:
        super().__init__(timetable)
        self.wanted = wanted
        settings = wanted.settings
        self.publication = Publication(
            wanted.ref,
            settings.is_public,
            bundle=settings.bundle,
            hidden=timetable.embargoes.holds(settings.publish_at),
        )
        self._unread = record if isinstance(record, StorageError) else None
        """Why the record on disk couldn't be read: it may be there all the same."""
        self._read_failed_at = -inf
        """When a piece couldn't be read though it should (trio's clock)."""
        self._restless = Restless()
        self._maker = maker
        self._library = library
        self._serving = serving
        known = None if isinstance(record, StorageError) else record
        # Without a circle it is let go of as soon as it has ended: no garbage is looked for among
        # what was there at the start.
        this: Keeper = weakref.proxy(self)
        self._current = CurrentTorrent(
            self.publication, known, this, maker=maker, library=library, serving=serving
        )
        self._metainfo = Acquiring(
            self.publication, known, this, self._current, maker=maker, library=library
        )

    @property
    def name(self) -> str:
        return str(self.wanted.ref)

    @property
    def origin(self) -> str:
        return self.wanted.ref.origin

    @property
    def refresh(self) -> float:
        return self.wanted.settings.refresh

    def begin(self, crowd: int) -> None:
        """Serve what is known of the object, and have S3 asked; `crowd` objects begin together."""
        delay, known = 0.0, self._metainfo.known
        if self.publication.hidden:
            self._hold()
        if self._unread is not None:
            self.publication.settle(State.WAITING, str(self._unread))
            self.tell(logging.ERROR, str(self._unread))
        if known is not None:
            record, outline = known
            # Pinned by its ETag, it is safe to serve before S3 was asked: a 412 would tell.
            if not self.publication.hidden:
                self._date(record)
                self._current.serve(record, outline, quiet=crowd > MOST_LOGGED)
            pinned = record.pinned
            is_same = self.wanted.listed == Listed(pinned.etag, pinned.size)
            # A listing doesn't tell what older records lack.
            is_same = is_same and pinned.description is not None
            delay = inf if is_same else self._timetable.rng.uniform(0, SPREAD * crowd)
        if delay < inf:
            self.start(delay)

    def change(self, wanted: Wanted) -> None:
        """Go on under another entry that asks for the same metainfo."""
        listed, self.wanted = self.wanted.listed, wanted
        self._serving.change_publicity(self.publication, public=wanted.settings.is_public)
        if self.publication.hidden:
            if self._timetable.embargoes.holds(wanted.settings.publish_at):
                self._hold()
            else:
                self.release()
        if listed != wanted.listed:
            self._restless = Restless()
        if listed != wanted.listed or self.is_put_off:
            self.wake()
        elif self.due_at is not None and self.due_at - trio.current_time() > self.refresh:
            # Its time was set by a longer `refresh`, as may be that of many others.
            self.start(self._timetable.rng.uniform(0, self.refresh))

    # -- before its time

    def may_go_on(self, wanted: Wanted) -> bool:
        """Tell whether it may go on under another entry: that asks for the same metainfo, and has
        it published if it is."""
        before, after = self.wanted.settings, wanted.settings
        if after is before:
            return True
        if describe_wanted(after) != describe_wanted(before):
            return False
        is_new = after.publish_at != before.publish_at and not self.publication.hidden
        return not (is_new and self._timetable.embargoes.holds(after.publish_at))

    def _hold(self) -> None:
        """Wait for its time."""
        until = self.wanted.settings.publish_at
        assert until is not None
        self._timetable.embargoes.add(self, until)
        if self.publication.state is not State.BUILDING:
            self.publication.settle(State.EMBARGOED, f"{PUBLISHED_AT}{told(until)}")

    def release(self, crowd: int = 1) -> None:
        """Publish it: its time has come. What is known of it is served at once.

        `crowd` objects are released together.
        """
        self._timetable.embargoes.forget(self)
        self.attempt(partial(self._release, crowd))

    def _release(self, crowd: int) -> None:
        publication, known = self.publication, self._metainfo.known
        self._serving.reveal(publication)
        # What S3 said is gone, or refused, is asked about first.
        failed = publication.state is State.FAILED
        if not failed and known is not None:
            self._date(known[0])
            self._current.serve(*known, quiet=crowd > MOST_LOGGED)
            return
        if publication.state is State.EMBARGOED:
            publication.settle(State.WAITING)
        self.wake()

    def torrent(self) -> Torrent | None:
        """Return its torrent, also before its time; None while there is none."""
        if not self.publication.hidden:
            return self.publication.torrent
        known = self._metainfo.known
        return None if known is None else self._library.torrent(*known)

    async def publish(self, record: Record, outline: Outline) -> None:
        """Serve the object as it is now by its metainfo, unless its time has not come."""
        if self._ended:
            return  # in this moment: see Serving
        if self.publication.hidden:
            self.publication.settle(State.WAITING)
            self._hold()
        else:
            self._date(record)
            await self._current.serve_or_go_on(record, outline)

    def _date(self, record: Record) -> None:
        """Have a torrent that was made before its time be as old as that, and no older."""
        at = self.wanted.settings.publish_at
        if at is not None and record.published is not None:
            record.published = max(record.published, int(at))

    def withdraw(self, reason: str) -> None:
        """End the torrent and the rounds."""
        self.end()
        self._timetable.embargoes.forget(self)
        self._serving.withdraw(self.publication, reason)

    def handle_fault(self, torrent: Torrent, error: SeederError) -> None:
        """Take note that S3 gave no piece of the torrent, or that its metainfo can't be read."""
        match error:
            case ObjectChanged() if self._current.is_live:
                if self._current.replacing.is_open:
                    return  # it is looked at
                self._current.replacing.hold(torrent, None)
            case ObjectChanged():
                self._current.retire(replaced(torrent))
            case PieceMismatch(steady=True) if torrent.rung not in ("build", "torrent_file"):
                assert self._metainfo.record is not None
                self._metainfo.record.refused[torrent.rung] = str(error)
                self._metainfo.record.outline = None
                self._current.retire(LYING)
            case MetainfoError():
                for record in (self._metainfo.record, self._current.record):
                    if record is not None:
                        record.outline = None
                self._current.retire(LOST)
            case _ if self._current.replacing.is_open:
                return  # the next state of the object is looked at
            case _:
                if isinstance(error, StorageError):
                    self._unread = error
                known = False
                if isinstance(error, PieceMismatch):
                    known, self._metainfo.wrong = bool(self._current.doubts), str(error)
                    self._current.doubts.add(error.index, error.digest, trio.current_time())
                elif isinstance(error, OriginError):
                    known = self._reads_fail  # then it was said and looked into a moment ago
                    self._read_failed_at = trio.current_time()
                self.publication.settle(State.FAULTY, str(error))
                if known:
                    return
        self.tell(logging.WARNING, error)
        self.wake()

    def rehash(self) -> None:
        """Make the metainfo anew of the object's bytes; it is served on if they are the same."""
        self._metainfo.anew = True
        self.wake()

    def handle_recovery(self, index: int) -> None:
        """Take note that a piece that came wrong has come right."""
        self._current.doubts.dispel(index)
        if not self._current.doubts:
            self.wake()

    # -- a round

    @property
    def _reads_fail(self) -> bool:
        """Whether a piece couldn't be read of late: an answer to a HEAD says nothing against it."""
        faulty = self.publication.state is State.FAULTY
        return faulty and trio.current_time() - self._read_failed_at < READS_FAIL_FOR

    async def look(self) -> float:
        """Bring publication and torrent in line with S3."""
        await self._bring_up_to_date()
        if self.publication.state is not State.FAULTY:
            self.told = None
        pause = self._restless.pause(self.wanted.listed, self.publication.pinned, self.refresh)
        due = self._current.doubts.next_at
        if self.publication.state is State.FAULTY and not self._current.doubts:
            due = self._read_failed_at + READS_FAIL_FOR
        # A little later than that: the pause between two rounds is varied by a tenth.
        return min(pause, max(0.0, 1.2 * (due - trio.current_time())))

    async def _read_record(self) -> None:
        """Try again to read the record; StorageError."""
        record = await self._maker.recall(self.publication.ref)
        self._unread = None
        if self.publication.torrent is None:
            self._metainfo.record = record
            known = self._metainfo.known
            if known is not None:
                await self.publish(*known)
        elif record is None and self._metainfo.record is not None:
            self._metainfo.record.outline = None
            self._current.retire(LOST)

    async def _bring_up_to_date(self) -> None:
        publication = self.publication
        if self._unread is not None:
            await self._read_record()
        await self._current.replacing.pause()
        pinned = await self._ask()
        self._serving.rule_out(publication, pinned)
        torrent = publication.torrent
        if torrent is not None and same_state(torrent.pinned, pinned):
            if await self._settle(torrent, pinned):
                return
        elif (
            torrent is not None
            and not still_there(torrent.pinned, pinned)
            and await self._let_go(torrent, pinned)
        ):
            return
        self._serving.look_at(publication, pinned)
        await self._metainfo.acquire(pinned)

    async def _ask(self) -> PinnedObject:
        """Return the object as S3 has it; OriginError."""
        wanted, publication = self.wanted, self.publication
        try:
            return await self._maker.look(
                publication.ref, wanted.settings, wanted.listed, publication.pinned
            )
        except ObjectMissing as error:
            if self.wanted.listed is None:
                raise
            raise ObjectMissing(f"{error}{suspicion(publication.ref.key)}") from error

    async def _settle(self, torrent: Torrent, pinned: PinnedObject) -> bool:
        """Go on with the torrent of an object that is as it was; return whether that was all."""
        publication = self.publication
        self._metainfo.record = self._current.record or self._metainfo.record
        self._current.release(torrent)
        # What is told of the object may have changed; its bytes haven't.
        publication.pinned = described_by(torrent.pinned, pinned)
        record = self._metainfo.record
        if record is not None and not told_alike(record.pinned, pinned):
            await self._maker.describe(record, pinned)
            if publication.torrent is not torrent:
                return True
        if self._metainfo.anew:
            await self._metainfo.rehash(torrent, pinned)
            return True
        if self._current.doubts:
            await self._metainfo.look_again(torrent, pinned)
        elif publication.state is State.FAULTY and not self._reads_fail:
            publication.settle(State.SERVING)
            _LOG.info("%s: S3 gives it right again", publication.ref)
        return publication.state is not State.DUPLICATE

    async def _let_go(self, torrent: Torrent, pinned: PinnedObject) -> bool:
        """Stop reading for the torrent of an object that has changed, or end it.

        Return whether the object has come back to a state whose hashes are known.
        """
        publication, current = self.publication, self._current
        if not (current.is_live and may_be_equal(torrent.pinned, pinned)):
            reason = replaced(torrent)
            current.retire(reason)
            _LOG.info("%s: %s", publication.ref, reason)
            return False
        is_held = current.replacing.is_open
        current.replacing.hold(torrent, pinned)
        if current.replacing.knows(pinned):
            if await current.return_to(torrent, pinned):
                self._metainfo.record = current.record
            return True
        if not is_held:
            _LOG.info(
                "%s: it has another ETag; until its new hashes are known, its torrent is"
                " served from the cache",
                publication.ref,
            )
        return False

    # -- what a round ends in

    def lack_budget(self, error: BudgetSpent) -> None:
        """Say so unless there is a torrent: what is served stays as it is."""
        if self.publication.torrent is None:
            self.publication.settle(State.WAITING, str(error))
            self.tell(logging.WARNING, error)
        elif self._current.replacing.is_open:
            self.publication.settle(State.FAULTY, str(error))
            self.tell(logging.WARNING, error)

    def fail(self, error: SeederError, retry: float) -> float:
        """Set the publication's state by what went wrong."""
        publication, delay = self.publication, retry
        state = State.WAITING
        match error:
            case ObjectMissing():
                if publication.torrent is not None:
                    self._current.retire(DELETED)
                self._serving.look_at(publication, None)
                state, delay = State.FAILED, self.put_off()
                if self._serving.may_return(publication) is not None:
                    delay = retry  # it may have been deleted to be uploaded anew
            case ObjectChanged():
                if self._restless.changes():
                    error, delay = ObjectChanged(f"{self.name}: {RESTLESS}"), self.refresh
            case AccessDenied():
                state, delay = State.FAILED, self.put_off()
            case StorageError():
                state = State.FAILED
            case MetainfoError() | TooManyObjects():
                if self._current.replacing.is_open and publication.torrent is not None:
                    self._current.retire(replaced(publication.torrent))
                state, delay = State.FAILED, self.refresh
        if publication.torrent is not None:
            state = State.FAULTY
        publication.settle(state, str(error))
        self.tell(logging.ERROR if state is State.FAILED else logging.WARNING, error)
        return delay

    def break_down(self, reason: str) -> None:
        """Publish it as failed."""
        self.publication.settle(State.FAILED, reason)

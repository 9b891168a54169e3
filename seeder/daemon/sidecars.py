"""Torrents written back to S3, as KEY.torrent beside the object, for whoever comes next.

Whoever looks there has the torrent for a GET: the next node, other programs, a CDN. It is a favour:
whatever goes wrong with it touches no object.

What we wrote has marks in its metadata, by which we know it again (`seeder.daemon.writer`): only
that is ever replaced, and a publisher's or another seeder's file stays.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal, TypeAlias, get_args

import trio

from seeder.config.fields import LONGEST_OBJECT_KEY
from seeder.config.objects import ObjectSettings
from seeder.daemon.writer import Writer
from seeder.errors import AccessDenied, BencodeError, ObjectChanged, ObjectMissing, SeederError
from seeder.gateway.published import PublishedObjects
from seeder.gateway.s3errors import S3Error
from seeder.ledger.counters import Ledger
from seeder.net.guards import Lapses
from seeder.net.scarcity import why_it_failed
from seeder.net.slices import Slices
from seeder.s3.listing import SIDECAR
from seeder.s3.origins import Origins
from seeder.s3.small_objects import SmallObject
from seeder.torrent import bencode
from seeder.torrent.catalog import Catalog
from seeder.torrent.info import LARGEST_TORRENT_FILE
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import Publication, State

_LOG = logging.getLogger(__name__)

LOOK_EVERY = 2.0
"""Seconds between two looks for torrents that aren't written yet."""
FIRST_RETRY, LONGEST_RETRY = 60.0, 3600.0
"""Seconds until one is tried again that S3 didn't take, doubled each time."""

_MAKER = b"seeder "
"""What `created by` of our torrents begins with, before the version."""

Written: TypeAlias = Literal["written", "kept", "failed"]
WRITTEN: tuple[Written, ...] = get_args(Written)
"""What became of sidecars: the second was right as it was."""


@dataclass(slots=True)
class _Failed:
    error: str
    retry: float
    due_at: float


@dataclass(slots=True, kw_only=True, eq=False)
class Sidecars:
    """Writes those of the objects whose entries say so, one after the other."""

    origins: Origins
    catalog: Catalog
    ledger: Ledger
    settings_of: Callable[[ObjectRef], ObjectSettings | None]
    """Returns the entry of what is published."""
    published: PublishedObjects
    """Makes the files."""
    announce: Callable[[], str]
    """Returns the URL that it names."""
    who: Callable[[], Writer]
    """Returns who we are, to tell what we wrote from what others did; it blocks (StorageError)."""
    is_ours: Callable[[ObjectRef], bool] = lambda _: True
    """Tells whether it is this node of the cluster that writes an object's."""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WRITTEN, 0))
    _done: dict[ObjectRef, tuple[bytes, str]] = field(default_factory=dict)
    """The info hash and the tracker of what S3 has, as far as we know."""
    _failed: dict[ObjectRef, _Failed] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)
    _writer: Writer | None = None

    @property
    def fault(self) -> str | None:
        """Why some aren't written; None if nothing is amiss."""
        for ref, failed in self._failed.items():
            more = f" (and {len(self._failed) - 1} more)" if len(self._failed) > 1 else ""
            return f"{ref}{SIDECAR} is not written{more}: {failed.error}"
        return None

    async def run(self) -> None:
        """Write what is to be written, until cancelled."""
        lapses = Lapses(_LOG, "sidecars")
        while True:
            pause = LOOK_EVERY
            async with lapses.spared():
                pause = await self._look()
            await trio.sleep(pause)

    async def _look(self) -> float:
        """Write what is due; return the seconds until the next look."""
        slices = Slices()
        for publication in tuple(self.catalog):
            if slices.is_over:
                await slices.turn()
            if self._is_due(publication):
                await self._write(publication)
        for ref in (*self._done, *self._failed):
            if slices.is_over:
                await slices.turn()
            if ref not in self.catalog.publications:
                self._done.pop(ref, None)
                self._failed.pop(ref, None)
        return slices.pause(LOOK_EVERY)

    def _is_due(self, publication: Publication) -> bool:
        ref, torrent = publication.ref, publication.torrent
        has_one = publication.state in (State.SERVING, State.DUPLICATE)
        if not has_one or torrent is None or not publication.public:
            return False
        settings = self.settings_of(ref)
        if settings is None or not settings.write_sidecar or not self.is_ours(ref):
            self._failed.pop(ref, None)
            return False
        if ref.key.endswith(SIDECAR) or _beside(ref) in self.catalog.publications:
            return False  # it would be one of a sidecar, or in the place of what is published
        if self._done.get(ref) == (torrent.info_hash, self.announce()):
            return False
        failed = self._failed.get(ref)
        if failed is None and len(_beside(ref).key.encode()) > LONGEST_OBJECT_KEY:
            self._fail(ref, SeederError(f"its key would have more than {LONGEST_OBJECT_KEY} bytes"))
            self._failed[ref].due_at = inf
            return False
        return failed is None or trio.current_time() >= failed.due_at

    async def _write(self, publication: Publication) -> None:
        ref, torrent = publication.ref, publication.torrent
        assert torrent is not None
        state = torrent.info_hash, self.announce()
        try:
            outcome = await self._bring_up_to_date(publication)
        except SeederError as error:
            self._fail(ref, error)
        except Exception as error:
            _LOG.exception("%s%s: internal error", ref, SIDECAR)
            self._fail(ref, SeederError(why_it_failed(error)))
        else:
            self._done[ref] = state
            self._failed.pop(ref, None)
            self.counts[outcome] += 1
            if outcome == "written":
                _LOG.info("%s%s: written", ref, SIDECAR)

    async def _bring_up_to_date(self, publication: Publication) -> Written:
        torrent = publication.torrent
        assert torrent is not None
        origin = self.origins[publication.ref.origin]
        ref = _beside(publication.ref)
        try:
            wanted = (await self.published.torrent_file(publication)).body
        except S3Error as error:
            raise SeederError(str(error)) from error
        info, writer = await torrent.fetch_info(), await self._who_writes()
        account = self.ledger.account_of(torrent.pinned)
        try:
            there = await origin.read_tagged(ref, LARGEST_TORRENT_FILE, account)
        except (ObjectMissing, AccessDenied):
            # Without s3:ListBucket, S3 denies access to a key that isn't there.
            there = None
        if there is not None:
            names_us = self.announce().encode() in there.body
            is_same = info.raw in there.body
            # One that isn't ours names other trackers, and may be where our torrent comes from.
            is_ours = writer.wrote(ref, there)
            if is_same and (names_us or not is_ours):
                return "kept"
            _check_is_torrent(there.body)
            if not is_ours and not (names_us and _is_by_a_seeder(there)):
                raise SeederError("another's torrent of that name stays: delete it, to have ours")
        is_there = self.catalog.publications.get(publication.ref) is publication
        if not is_there or publication.torrent is not torrent or not self._is_due(publication):
            # It may be private by now, or its time may be yet to come.
            raise ObjectChanged(f"{publication.ref}: it is published in another way by now")
        etag = None if there is None else there.etag or "*"
        mark = writer.mark(ref, wanted)
        await origin.write_small(ref, wanted, account, instead_of=etag, mark=mark)
        return "written"

    async def _who_writes(self) -> Writer:
        """Return who we are; StorageError."""
        if self._writer is None:
            self._writer = await trio.to_thread.run_sync(self.who)
        return self._writer

    def _fail(self, ref: ObjectRef, error: SeederError) -> None:
        self.counts["failed"] += 1
        text, before = str(error), self._failed.get(ref)
        retry = FIRST_RETRY if before is None else min(2 * before.retry, LONGEST_RETRY)
        self._failed[ref] = _Failed(text, retry, trio.current_time() + retry)
        # What is wrong with many is said of the first.
        reason = text.replace(str(ref), "")
        level = logging.DEBUG if reason in self._said else logging.WARNING
        if len(self._said) < 100:
            self._said.add(reason)
        _LOG.log(level, "%s%s is not written: %s", ref, SIDECAR, text)


def _beside(ref: ObjectRef) -> ObjectRef:
    """Return where an object's torrent is written."""
    return replace(ref, key=ref.key + SIDECAR)


def _is_by_a_seeder(there: SmallObject) -> bool:
    """Tell whether a torrent without a mark may be one of an older version of ours."""
    found = bencode.decode(there.body, canonical=False)
    made_by = found.get(b"created by") if isinstance(found, dict) else None
    return there.mark is None and isinstance(made_by, bytes) and made_by.startswith(_MAKER)


def _check_is_torrent(data: bytes) -> None:
    """SeederError unless a file is a torrent, of whatever kind and however made."""
    try:
        found = bencode.decode(data, canonical=False)
    except BencodeError:
        found = None
    if not (isinstance(found, dict) and isinstance(found.get(b"info"), dict)):
        raise SeederError("there is something else of that name, which is no torrent")

"""Bundles: the objects below a prefix as S3 lists them, and the plan for one torrent of them."""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Self, TypeAlias

import trio

from seeder.config.objects import ObjectSettings
from seeder.errors import (
    BudgetSpent,
    MetainfoError,
    ObjectMissing,
    OriginError,
    OriginFault,
    OriginUnreachable,
    TooManyObjects,
)
from seeder.metainfo.hashing import journal_numbers, known_hashes
from seeder.metainfo.records import Record
from seeder.metainfo.workers import do_all
from seeder.s3.answers import label, printable
from seeder.s3.client import S3Origin
from seeder.s3.listing import Listed, Page, Walk, publishable, suspicion
from seeder.torrent.bundle import (
    build_bundle_info,
    bundle_layout,
    bundle_piece_length,
    parse_bundle_info,
)
from seeder.torrent.layout import SHA1_LENGTH, Layout, check_piece_count
from seeder.torrent.objects import (
    Description,
    Meter,
    ObjectRef,
    PinnedBundle,
    PinnedObject,
    opaque,
    sections_of,
)
from seeder.torrent.torrent import Torrent
from seeder.units import LARGEST_SIZE

_MOST_ASKED = 1000
"""HEADs that one listing may cost for entries that lack an ETag or a size."""
_ASKED_AT_ONCE = 8
_UNLISTED = "S3 doesn't list it any more, but HEAD has it; it stays published"
_NOTHING: Mapping[str, Listed] = {}
_MD5_OF_NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
_Choose: TypeAlias = Callable[[Page, Set[str]], Iterator[tuple[str, Listed]]]


@dataclass(frozen=True, slots=True)
class Below:
    """What is below a prefix."""

    objects: dict[str, Listed]
    """By key."""
    left_out: dict[str, str]
    """Why an object isn't among them, by key: its entry lacks something, and HEAD didn't tell; or
    there is no entry, and HEAD has it."""
    gone: frozenset[str]
    """Those of them that aren't there at all: HEAD says so."""
    unlisted: dict[str, Listed]
    """By key, what was there before, has no entry, and is there all the same."""


async def look(
    origin: S3Origin,
    ref: ObjectRef,
    settings: ObjectSettings,
    meter: Meter,
    listed: Listed | None = None,
    *,
    before: PinnedObject | None = None,
) -> PinnedObject:
    """Return the present state of a section's object (HeadObject), or of its bundle (listings).

    `listed` is what the listing of its prefix says, `before` its last state. OriginError,
    BudgetSpent; TooManyObjects.
    """
    if settings.bundle:
        members = before.members if isinstance(before, PinnedBundle) else ()
        known = {each.ref.key: as_listed(each) for each in members}
        return await list_bundle(origin, settings, meter, known)
    return await origin.head(ref, meter, listed)


async def list_objects(
    origin: S3Origin,
    settings: ObjectSettings,
    belongs: Callable[[str], bool],
    meter: Meter,
    before: Mapping[str, Listed] = _NOTHING,
) -> Below:
    """Return the objects below a prefix that `belongs` accepts, from all its pages.

    Keys of `before` that aren't listed any more are left out if HEAD has them, for listings may
    lack something. OriginError, BudgetSpent; TooManyObjects as soon as there are more than
    `max_objects`.
    """

    def choose(page: Page, seen: Set[str]) -> Iterator[tuple[str, Listed]]:
        writes = settings.write_sidecar
        for key, listed in publishable(page.objects, seen, writes_sidecars=writes).items():
            if belongs(key):
                yield key, listed

    advice = ", and none of them is published anew; raise max_objects, or name longer prefixes"
    found = await _list(origin, settings, choose, advice, meter, before=before)
    for key in found.unlisted:
        found.left_out[key] = _UNLISTED
    return found


async def list_bundle(
    origin: S3Origin,
    settings: ObjectSettings,
    meter: Meter,
    before: Mapping[str, Listed] = _NOTHING,
) -> PinnedBundle:
    """Return the present state of the section's bundle; what only marks a directory isn't in it.

    Keys of `before` that aren't listed any more are in it as long as HEAD has them. OriginError
    (ObjectMissing: there is nothing below the prefix), BudgetSpent; TooManyObjects.
    """

    def choose(page: Page, _: Set[str]) -> Iterator[tuple[str, Listed]]:
        for key, listed in page.objects:
            if listed.size or not key.endswith("/"):
                yield key, listed

    advice = " below it; raise max_objects, or publish prefixes further down"
    listing = await _list(origin, settings, choose, advice, meter, before=before, doubts_sizes=True)
    ref, found = settings.ref, listing.objects | listing.unlisted
    for key, why in listing.left_out.items():
        # A torrent without one of its files would be another torrent.
        raise OriginFault(f"{label(ref)}: its torrent lacks {key}: {why}")
    if not found:
        raise ObjectMissing(f"{label(ref)}: there is no object below it; check the prefix")
    total = sum(listed.size for listed in found.values())
    if total > LARGEST_SIZE:
        raise OriginFault(f"{label(ref)}: its listing says {total} bytes, which nothing has")
    return await trio.to_thread.run_sync(_pin, ref, found)


async def _list(
    origin: S3Origin,
    settings: ObjectSettings,
    choose: _Choose,
    advice: str,
    meter: Meter,
    *,
    before: Mapping[str, Listed],
    doubts_sizes: bool = False,
) -> Below:
    """Return what `choose` takes of each page; `advice` ends the text of TooManyObjects.

    `choose` gets the keys of all pages so far as well. With `doubts_sizes`, HEAD is asked for sizes
    that nothing else would show to be wrong, or that were.
    """
    found = Below({}, {}, frozenset(), {})
    unclear: dict[str, str] = {}
    walk = Walk(settings.ref.key, settings.max_objects)
    token: str | None = None
    by_marker = False
    while True:
        page = await origin.list_page(settings.ref, token, meter, by_marker=by_marker)
        try:
            walk.take(page)
        except OriginFault as error:
            raise OriginFault(f"{label(settings.ref)}: {error}") from error
        chosen = dict(choose(page, walk.seen))
        found.objects.update(chosen)
        if doubts_sizes:
            for key, listed in chosen.items():
                why = _doubt(origin, replace(settings.ref, key=key), listed)
                if why is not None and len(unclear) < _MOST_ASKED:
                    unclear[key] = why
        problems = dict(page.unclear)
        if "" in problems:
            found.left_out["an entry"] = problems.pop("")
        # Of an unknown size they are taken for objects, as nearly all are.
        likely = Page(tuple((key, Listed("", 1)) for key in problems), None)
        unclear |= {key: problems[key] for key, _ in choose(likely, walk.seen)}
        if len(found.objects.keys() | unclear.keys()) > settings.max_objects:
            raise TooManyObjects(
                f"{label(settings.ref)}: has more than {settings.max_objects} objects{advice}"
            )
        token, by_marker = page.next_token, page.by_marker
        if token is None:
            missing = {key: each for key, each in before.items() if key not in walk.seen}
            if missing:
                await _keep_unlisted(origin, settings.ref, found, missing, meter)
            return await _ask(origin, settings.ref, found, unclear, meter) if unclear else found


async def _keep_unlisted(
    origin: S3Origin, prefix: ObjectRef, found: Below, missing: Mapping[str, Listed], meter: Meter
) -> None:
    """Keep those of the objects that a listing lacks of which HEAD doesn't say that they are gone.

    Of very many, some are asked about. OriginFault if those aren't gone; OriginUnreachable where
    all of S3 is away, BudgetSpent.
    """
    asked = list(missing)[:: -(-len(missing) // _MOST_ASKED)]

    async def ask(key: str) -> None:
        there: PinnedObject | Listed | None
        try:
            there = await origin.find_unlisted(replace(prefix, key=key), meter)
        except OriginUnreachable as error:
            if error.away:
                raise
            there = missing[key]
        if isinstance(there, PinnedObject):
            there = as_listed(there)
        if there is not None:
            found.unlisted[key] = there

    await do_all(iter(asked), ask, workers=_ASKED_AT_ONCE)
    if found.unlisted and len(asked) < len(missing):
        key = next(iter(found.unlisted))
        raise OriginFault(
            f"{label(prefix)}: its listing lacks {len(missing)} objects that were there before, and"
            f" HEAD has {printable(key)}"
        )


async def _ask(
    origin: S3Origin, prefix: ObjectRef, found: Below, unclear: Mapping[str, str], meter: Meter
) -> Below:
    """Return `found` with what HEAD tells of the entries that lack something.

    OriginUnreachable where all of S3 is away, BudgetSpent.
    """
    gone: set[str] = set()
    failed: list[OriginError | BudgetSpent] = []
    limiter = trio.CapacityLimiter(_ASKED_AT_ONCE)

    async def ask(key: str) -> None:
        async with limiter:
            try:
                pinned = await origin.head(replace(prefix, key=key), meter)
            except BudgetSpent as error:
                failed.append(error)
            except OriginError as error:
                if isinstance(error, OriginUnreachable) and error.away:
                    failed.append(error)
                why = str(error)
                if isinstance(error, ObjectMissing):
                    gone.add(key)
                    why += suspicion(key)
                found.objects.pop(key, None)
                found.left_out[key] = f"in the listing, {unclear[key]}; {why}"
            else:
                found.objects[key] = as_listed(pinned)
        if failed:
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for number, key in enumerate(unclear):
            if number < _MOST_ASKED:
                nursery.start_soon(ask, key)
            else:
                found.left_out[key] = (
                    f"in the listing, {unclear[key]}, as of more than {_MOST_ASKED} objects"
                )
    if failed:
        failed[1:] = []
        raise failed.pop()  # else it would be kept by its own traceback
    return replace(found, gone=frozenset(gone))


def as_listed(pinned: PinnedObject) -> Listed:
    """Return an object's state as a listing would have it."""
    told = pinned.description
    return Listed(pinned.etag, pinned.size, None if told is None else told.modified)


def _doubt(origin: S3Origin, ref: ObjectRef, listed: Listed) -> str | None:
    """Return why an object of a bundle may have another size than its listing says, if it may.

    An empty file is never read, so its size has no other witness than its ETag.
    """
    if listed.size == 0 and opaque(listed.etag) != _MD5_OF_NOTHING:
        return "its Size is 0, though its ETag isn't that of an empty object"
    return "its Size was another one when it was read" if origin.doubts(ref) else None


def _pin(prefix: ObjectRef, found: Mapping[str, Listed]) -> PinnedBundle:
    members = [
        PinnedObject(
            replace(prefix, key=key),
            listed.etag,
            listed.size,
            description=None if listed.modified is None else Description(listed.modified),
        )
        for key, listed in found.items()
    ]
    return PinnedBundle.of(prefix, members)


@dataclass(frozen=True, slots=True)
class BundlePlan:
    """How a bundle's torrent will be cut, and what it can reuse of an earlier one."""

    bundle: PinnedBundle
    layout: Layout
    private: bool
    known: Mapping[int, bytes]
    """Hashes of pieces of objects that have stayed, by their numbers in a journal."""
    useless: frozenset[str]
    """Cache ids of objects that are gone or changed, or were cut into other pieces."""

    @classmethod
    def of(cls, bundle: PinnedBundle, record: Record, settings: ObjectSettings) -> Self:
        """Return the plan; MetainfoError where the torrent would be too large for clients."""
        old, earlier = None, record.earlier
        if earlier is not None and earlier.info is not None:
            old = Torrent(earlier.info, earlier.pinned, earlier.rung)
        sizes = [member.size for member in bundle.members]
        before = None if old is None else old.layout.piece_length
        length = settings.piece_length or bundle_piece_length(sizes, before)
        layout = bundle_layout(sizes, length)
        try:
            check_piece_count(layout)
        except MetainfoError as error:
            raise MetainfoError(f"{label(bundle.ref)}: {error}") from error
        sections = sections_of(bundle, layout)
        kept = {section.cache_id for section in sections if section.pinned not in record.doubted}
        had = {section.cache_id for section in old.sections} if old is not None else set()
        known = known_hashes(old.pinned, old.info) if old is not None and before == length else {}
        for section in sections:
            if section.pinned in record.doubted:
                for number in journal_numbers(bundle, section):
                    known.pop(number, None)
        plan = cls(bundle, layout, settings.private, known, frozenset(had - kept))
        # Raises if it would be too large, before anything is read for it.
        plan.raw_info(bytes(layout.piece_count * SHA1_LENGTH))
        return plan

    def raw_info(self, pieces: bytes) -> bytes:
        """Return the info dictionary with these hashes."""
        return build_bundle_info(
            self.bundle,
            piece_length=self.layout.piece_length,
            pieces=pieces,
            private=self.private,
        )

    def torrent(self, pieces: bytes) -> Torrent:
        """Return the torrent with these hashes."""
        return Torrent(parse_bundle_info(self.raw_info(pieces))[0], self.bundle, "build")

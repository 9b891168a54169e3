"""Bundles that give to anybody what another entry keeps back, or keeps back longer."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from seeder.config.objects import ObjectSettings
from seeder.torrent.objects import ObjectRef


def explain_given_away(
    objects: Sequence[ObjectSettings], added: Iterable[ObjectSettings] = ()
) -> Iterator[str]:
    """Yield a line for each such bundle, of the file's entries and of those that were added."""
    others = [*added]
    places = {each.ref: f"objects[{n}]" for n, each in enumerate(objects) if each.bundle}
    places |= {each.ref: "added" for each in others if each.bundle}
    bundles = [each for each in chain(objects, others) if each.bundle]
    for bundle, kept in _given_away(bundles, chain(objects, others)):
        yield f"{places[bundle.ref]}: {_line(bundle, kept)}"


def explain_entry(
    entry: ObjectSettings,
    bundles: Iterable[ObjectSettings],
    others: Callable[[], Iterable[ObjectSettings]],
) -> Iterator[str]:
    """Yield a line for each of the bundles that gives an entry away, and for what it gives away
    itself of the `others`, if it is a bundle."""
    for bundle, kept in chain(
        _given_away(bundles, [entry]), _given_away([entry], others()) if entry.bundle else ()
    ):
        yield _line(bundle, kept)


def _line(bundle: ObjectSettings, kept: Sequence[ObjectSettings]) -> str:
    more = f" and {len(kept) - 1} more" if kept[1:] else ""
    return (
        f"the bundle {bundle.ref} has {kept[0].ref}{more} in it, too, and so gives to anybody what"
        " its own entry keeps back (publish_at, private, public): keep it back as well, or let the"
        " object lie outside"
    )


def _given_away(
    bundles: Iterable[ObjectSettings], entries: Iterable[ObjectSettings]
) -> Iterator[tuple[ObjectSettings, list[ObjectSettings]]]:
    """Yield each bundle that gives something away, with the entries that keep it back."""
    public = {each.ref: each for each in bundles if each.is_public}
    lengths: dict[tuple[str, str], set[int]] = {}
    for ref in public:
        lengths.setdefault((ref.origin, ref.bucket), set()).add(len(ref.key))
    found: dict[ObjectRef, list[ObjectSettings]] = {ref: [] for ref in public}
    now = time.time()
    for each in entries if public else ():
        ref, opens_at = each.ref, each.publish_at or 0.0
        if each.is_public and opens_at <= now:
            continue
        # There may be as many bundles as entries; their prefixes have few lengths.
        for length in lengths.get((ref.origin, ref.bucket), ()):
            around = ObjectRef(ref.origin, ref.bucket, ref.key[:length])
            bundle = public.get(around) if length <= len(ref.key) else None
            if bundle is None or (each.bundle and around == ref):
                continue
            if not each.is_public or opens_at > (bundle.publish_at or 0.0):
                found[around].append(each)
    yield from ((bundle, found[ref]) for ref, bundle in public.items() if found[ref])

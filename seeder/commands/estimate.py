"""`seeder estimate`: what downloads to come would cost, with and without us."""

from collections.abc import Iterator
from dataclasses import replace

from seeder.config.objects import ObjectSettings
from seeder.config.sections import Config
from seeder.daemon.foundation import LEDGER
from seeder.errors import SeederError, StorageError
from seeder.ledger.counters import FORMER, AccountKey
from seeder.ledger.estimate import Downloaded, Estimate, estimate
from seeder.ledger.reading import records_of
from seeder.ledger.spending import prices_of
from seeder.publish.entries import Entries
from seeder.torrent.layout import default_piece_length
from seeder.torrent.objects import ObjectRef


class NoSizes(SeederError):
    """It isn't known how large the objects are."""


def make_estimate(config: Config, downloads: int, at_once: int, size: int | None) -> Estimate:
    """Return what so many downloads of each object would cost; `size` is of one object instead.

    NoSizes, StorageError.
    """
    objects = list(_known(config)) if size is None else [_one(config, size)]
    if not objects:
        raise NoSizes(
            "no size of an object is known: let `seeder run` look at them once, or say --size"
        )
    return estimate(
        objects,
        prices_of(config),
        downloads=downloads,
        at_once=min(at_once, downloads),
        cache=config.cache.memory + config.cache.disk,
    )


def _one(config: Config, size: int) -> Downloaded:
    """Return an object of `size` bytes, published as the first entry says; NoSizes."""
    if not config.objects:
        raise NoSizes("there is no [[objects]] entry yet, which says how one is published")
    return _download(config.objects[0], size)


def _known(config: Config) -> Iterator[Downloaded]:
    """Yield the configured objects whose sizes the ledger knows."""
    try:
        with records_of(config.state_directory / LEDGER) as records:
            accounts = [(key, details) for _, key, details in records.accounts()]
    except StorageError as error:
        raise NoSizes(f"{error}; or say --size") from error
    entries = Entries(config.objects)
    for key, (_, size, _, state, _, _) in accounts:
        if not size or state == FORMER:
            continue
        entry = _entry(entries, key)
        if entry is not None:
            yield _download(entry, size)


def _entry(entries: Entries, key: AccountKey) -> ObjectSettings | None:
    named = ObjectRef(key.origin, key.bucket, key.key)
    for ref in (named, replace(named, version_id=key.version)):
        if ref in entries.objects:
            return entries.objects[ref]
    prefix = entries.prefix_of(named)
    return None if prefix is None else entries.prefixes[prefix]


def _download(entry: ObjectSettings, size: int) -> Downloaded:
    hashed = entry.torrent_file is None and "build" in entry.metainfo
    return Downloaded(size, entry.piece_length or default_piece_length(size), hashed)

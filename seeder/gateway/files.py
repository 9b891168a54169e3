"""The files of bundles at addresses of their own, as web seeds have them (BEP 19).

A client takes the address that a bundle's torrent names, PREFIX/~files/, and appends the torrent's
name and a file's path in it. Pads have addresses, too: clients that don't know them ask for them.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import trio

from seeder.torrent.bundle import parse_bundle_info
from seeder.torrent.info import InfoHash
from seeder.torrent.objects import PinnedBundle, PinnedObject
from seeder.torrent.torrent import Torrent

_MARK = "~files/"
"""Below a prefix, what a web seed's addresses begin with: no client has to encode it."""
_MARKED = re.compile(rf"(?:^|(?<=/)){_MARK}")
_MOST_MARKS = 4
"""Of a key: a prefix may have such a segment of its own."""
_MOST_KEPT = 8
"""Bundles whose files are kept by path; each may have some 70,000."""


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file of a bundle's torrent: `pinned.size` bytes from byte `start` of the torrent on."""

    pinned: PinnedObject
    """The object; of a pad, none that is in S3."""
    start: int


def files_key(prefix: str) -> str:
    """Return what stands below a bundle's prefix for the files of its torrent."""
    return f"{prefix}{'/' if prefix and not prefix.endswith('/') else ''}{_MARK}"


def split_key(key: str) -> Iterator[tuple[str, str]]:
    """Yield the prefixes of bundles that a key may name a file of, each with the file's path."""
    for found in islice(_MARKED.finditer(key), _MOST_MARKS):
        at, path = found.start(), key[found.end() :]
        yield key[:at], path
        if at:
            yield key[: at - 1], path


class BundleFiles:
    """Finds files by their paths; what was made of a few torrents is kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[InfoHash, Mapping[str, tuple[int, int, int]]] = OrderedDict()

    async def find(self, torrent: Torrent, path: str) -> BundleFile | None:
        """Return the file at NAME/PATH of a bundle's torrent; None where there is none.

        StorageError or MetainfoError where the torrent's info can't be read from disk.
        """
        files = self._kept.get(torrent.info_hash)
        if files is None:
            info = await torrent.fetch_info()
            files = await trio.to_thread.run_sync(_by_path, info.raw)
            self._kept[torrent.info_hash] = files
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        elif torrent.info_hash in self._kept:
            self._kept.move_to_end(torrent.info_hash)
        found = files.get(path)
        # It may have moved to another state with the same bytes.
        pinned = torrent.pinned
        if found is None or not isinstance(pinned, PinnedBundle):
            return None
        start, length, number = found
        if number < 0:
            ref = replace(pinned.ref, key=path)
            return BundleFile(PinnedObject(ref, f'"zeros-{length}"', length), start)
        return BundleFile(pinned.members[number], start)


def _by_path(raw_info: bytes) -> Mapping[str, tuple[int, int, int]]:
    """Return start, length and number of each file by NAME/PATH; a pad has the number -1."""
    info, files = parse_bundle_info(raw_info)
    found: dict[str, tuple[int, int, int]] = {}
    start = number = 0
    for file in files:
        path = "/".join((info.name, *file.path))
        found[path] = (start, file.length, -1 if file.pad else number)
        start += file.length
        number += not file.pad
    return found

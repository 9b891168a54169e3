"""What `seeder check` finds of this machine: limits and room that the configuration exceeds."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from seeder.config.sections import Config
from seeder.daemon.descriptors import Descriptors, raise_limit
from seeder.daemon.memory import doubt_memory
from seeder.units import rounded_size


def doubt_machine(config: Config) -> Iterator[str]:
    """Yield a line for each setting that this machine has no room for."""
    raise_limit(config)
    descriptors = Descriptors.of(config)
    if descriptors.peers < config.peer.connections:
        yield (
            f"peer.connections: {config.peer.connections} don't fit the limit of"
            f" {descriptors.limit} open files of this shell: {descriptors.peers} would be let in;"
            " raise it (ulimit -n, LimitNOFILE= of the service)"
        )
    yield from doubt_memory(config)
    cache = config.cache
    there = _nearest(cache.directory)
    try:
        free = shutil.disk_usage(there).free
        used = sum(each.stat().st_size for each in _files(cache.directory))
    except OSError:
        return  # whoever runs the service may be somebody else
    if cache.disk and free + used < cache.disk:
        yield (
            f"cache.disk: {rounded_size(cache.disk)} is more than {rounded_size(free + used)},"
            f" which {cache.directory} has room for; lower it, or choose another directory"
        )


def _nearest(path: Path) -> Path:
    """Return the directory, or the one above it in which it will be made."""
    # Path.exists raises where a directory is closed to us, as that of a service is.
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return path


def _files(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield entry
                elif entry.is_dir(follow_symlinks=False):
                    yield from _files(Path(entry.path))
    except OSError:
        return

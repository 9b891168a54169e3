"""How much memory the process may have, and whether its cache fits."""

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from seeder.config.sections import Config
from seeder.units import MIB, exact_size, rounded_size

OWN = 64 * MIB
"""Bytes of a daemon with nothing to do: 63 MiB were measured."""
OWN_ADDRESSES = 352 * MIB
"""Bytes of address space beside the cache's: its threads' stacks take some that nothing is in.
Eight objects were hashed at a time and served with so many, and not with 256 MiB."""
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def memory_limit(own: Path = _OWN_GROUPS, groups: Path = _CONTROL_GROUPS) -> int:
    """Return the bytes that the process may have: of the machine and of its control groups
    (cgroups(7), either version).

    `own` is the file that names its groups, `groups` where these are.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _files(own, groups):
        # "max" is no number; a group that can't be looked at is no limit.
        with suppress(OSError, ValueError):
            limits.append(int(file.read_text()))
    return min(limits)


def _files(own: Path, groups: Path) -> Iterator[Path]:
    """Yield the files that may have a limit: of each group, and of those that it is in."""
    try:
        lines = own.read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            root, name = groups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the uppermost one is its own, whatever the path says.
        here = Path(path.lstrip("/"))
        for group in (here, *here.parents):
            yield root / group / name


def doubt_memory(config: Config, limit: int | None = None) -> Iterator[str]:
    """Yield a line if the cache's memory can't fit a `limit` (bytes), by default the process's, or
    its address space (RLIMIT_AS)."""
    memory = config.cache.memory
    if limit is None:
        limit = memory_limit()
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if memory + OWN > limit:
        yield _doubt(memory, OWN, limit, "memory")
    elif addresses != resource.RLIM_INFINITY and memory + OWN_ADDRESSES > addresses:
        yield _doubt(memory, OWN_ADDRESSES, addresses, "address space")


def _doubt(memory: int, own: int, limit: int, what: str) -> str:
    return (
        f"cache.memory: {exact_size(memory)}, and {exact_size(own)} for the program itself,"
        f" are more than the {rounded_size(limit)} of {what} that it may have here; lower it,"
        " or raise the limit (MemoryMax= in the unit, the container's, ulimit -v)"
    )

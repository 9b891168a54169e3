"""Whether the cache fits the memory that the process may have."""

import resource
from pathlib import Path

import pytest

from seeder.config.sections import Config
from seeder.daemon.memory import OWN, OWN_ADDRESSES, doubt_memory, memory_limit
from seeder.units import GIB, MIB


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of which we know no limit but those of its control groups."""
    monkeypatch.setattr("os.sysconf", lambda _: 2**31)
    infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: infinite)
    return tmp_path / "cgroup"


def limit(groups: Path, own: str, **limits: str) -> int:
    for path, text in limits.items():
        file = groups / path.replace("__", "/").replace("_max", ".max")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (groups.parent / "own").write_text(own)
    return memory_limit(groups.parent / "own", groups)


def test_the_least_of_a_group_and_of_those_that_it_is_in_counts(groups: Path) -> None:
    slices = {"system__memory_max": f"{GIB}\n", "system__seeder__memory_max": "max\n"}
    assert limit(groups, "0::/system/seeder\n", **slices) == GIB
    assert limit(groups, "0::/system/seeder\n", system__seeder__memory_max="1000\n") == 1000


def test_a_container_finds_its_own_group_uppermost(groups: Path) -> None:
    assert limit(groups, "0::/docker/4f1d2c\n", memory_max=f"{GIB}\n") == GIB


def test_the_first_version_of_control_groups_is_known_too(groups: Path) -> None:
    file = groups / "memory" / "docker" / "memory.limit_in_bytes"
    file.parent.mkdir(parents=True)
    file.write_text(f"{GIB}\n")
    (groups / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert limit(groups, "5:cpu:/docker\n4:hugetlb,memory:/docker\n0::/\n") == GIB


@pytest.mark.parametrize("own", ["", "0::/missing\n", "0::/\n3:memory:/missing\n"])
def test_what_cannot_be_looked_at_is_no_limit(groups: Path, own: str) -> None:
    assert limit(groups, own) == 2**62
    assert memory_limit(groups / "missing", groups) == 2**62


async def test_the_limit_of_the_address_space_counts_with_what_threads_take_of_it(
    config: Config, groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enough = config.cache.memory + OWN_ADDRESSES
    monkeypatch.setattr(resource, "getrlimit", lambda _: (enough, GIB))
    assert list(doubt_memory(config)) == []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (enough - 1, GIB))
    [line] = doubt_memory(config)
    assert line.startswith("cache.memory: 256 MiB, and 352 MiB for the program itself, are more")
    assert "of address space" in line


async def test_a_cache_that_does_not_fit_is_told_in_a_line(config: Config) -> None:
    memory = config.cache.memory
    assert list(doubt_memory(config, memory + OWN)) == []
    [line] = doubt_memory(config, memory + OWN - MIB)
    assert line.startswith("cache.memory: 256 MiB, and 64 MiB for the program itself, are more")
    assert "MemoryMax=" in line

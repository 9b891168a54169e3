"""How the limit of open files is shared out, and raised."""

import logging
import resource
from collections.abc import Iterator

import pytest

from seeder.config.origins import OriginSettings
from seeder.config.sections import Config
from seeder.daemon.descriptors import ADMIN, LEAST, OWN, PUBLIC, Descriptors, raise_limit
from seeder.errors import Unavailable

FILES = resource.RLIMIT_NOFILE


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = resource.getrlimit(FILES)
    yield
    resource.setrlimit(FILES, before)


def allow(soft: int) -> None:
    resource.setrlimit(FILES, (soft, resource.getrlimit(FILES)[1]))


async def test_enough_for_all(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    allow(OWN + 16 + PUBLIC + ADMIN + 2000)
    shared = Descriptors.of(config)
    assert (shared.public, shared.admin, shared.peers) == (PUBLIC, ADMIN, 2000)
    assert shared.fit(config.peer) is config.peer
    assert not caplog.records


@pytest.mark.parametrize("limit", [1024, 640, 256])
async def test_peers_get_what_the_others_leave(
    config: Config, limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    two = {"default": OriginSettings(connections=16), "other": OriginSettings(connections=32)}
    config = config.model_copy(update={"origins": two})
    allow(limit)
    shared = Descriptors.of(config)
    assert OWN + 48 + shared.public + shared.admin + shared.peers == limit
    assert shared.public > shared.admin > 0
    with caplog.at_level(logging.WARNING):
        assert shared.fit(config.peer).connections == shared.peers < 2000
    [record] = caplog.records
    for part in ("peer.connections = 2000", str(limit), str(shared.peers), "LimitNOFILE="):
        assert part in record.getMessage()


async def test_everybody_has_one_however_few_there_are(config: Config) -> None:
    allow(OWN)
    shared = Descriptors.of(config)
    assert (shared.public, shared.admin, shared.peers) == (1, 1, 1)


async def test_the_soft_limit_is_raised_to_what_is_needed_and_no_further(config: Config) -> None:
    hard = resource.getrlimit(FILES)[1]
    allow(256)
    raise_limit(config)
    assert resource.getrlimit(FILES) == (OWN + 16 + PUBLIC + ADMIN + 2000, hard)
    allow(hard)
    raise_limit(config)
    assert resource.getrlimit(FILES) == (hard, hard)


async def test_too_few_to_work_with_are_refused_with_a_line(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hard in (LEAST - 1, 16):
        monkeypatch.setattr(resource, "getrlimit", lambda _, hard=hard: (hard, hard))
        with pytest.raises(Unavailable, match=f"only {hard} files .* LimitNOFILE="):
            raise_limit(config)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (LEAST, LEAST))
    raise_limit(config)


async def test_the_hard_limit_is_the_end(config: Config) -> None:
    hard = resource.getrlimit(FILES)[1]
    many = config.peer.model_copy(update={"connections": 1_000_000})
    allow(256)
    raise_limit(config.model_copy(update={"peer": many}))
    assert resource.getrlimit(FILES) == (min(hard, OWN + 16 + PUBLIC + ADMIN + 1_000_000), hard)

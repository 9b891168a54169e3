"""In idle time the cache's files are read again, and a bad one goes."""

from pathlib import Path

import pytest
import trio
import trio.lowlevel

from seeder.config.sections import Config
from seeder.daemon import scrubbing
from tests.daemon.support import BODY, served, serving, until


def pieces(config: Config) -> list[Path]:
    return list(Path(config.cache.directory).glob("*/0/*"))


@pytest.mark.usefixtures("store")
async def test_a_bit_that_flips_in_the_cache_is_found_without_anybody_asking(
    config: Config, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubbing, "EVERY", 0.1)
    monkeypatch.setattr(scrubbing, "RATE", 10 * len(BODY))
    monkeypatch.setattr(scrubbing, "PATIENCE", 0.01)
    async with serving(config) as node:
        await until(lambda: served(node))
        found = pieces(config)
        assert len(found) > 10
        content = bytearray(found[5].read_bytes())
        content[77] ^= 8
        found[5].write_bytes(content)
        await until(lambda: f"{found[5]} is corrupt" in caplog.text)
        await until(lambda: node.foundation.cache.statistics().corrupt == 1)
        await trio.lowlevel.checkpoint()
        assert caplog.text.count("is corrupt") == 1

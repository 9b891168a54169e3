"""What stands still says so: on the status page, in the log, the metrics, and to systemd."""

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from seeder.config.objects import ObjectSettings
from seeder.config.sections import Config
from seeder.daemon import progress
from seeder.daemon.reload import reload
from seeder.s3 import client
from seeder.s3.retry import RetryPolicy
from seeder.torrent.work import Work
from seeder.units import MIB
from tests.daemon.support import get, served, serving, until
from tests.s3.fault_server import FaultServer, silent
from tests.s3.objects_server import ObjectsServer


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lasts 15 s and half a minute takes a moment here."""
    hasty = partial(RetryPolicy, silence=0.3, tick=0.05)
    monkeypatch.setattr(client, "RetryPolicy", hasty)
    monkeypatch.setattr(progress, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(progress, "TELL_EVERY", 0.1)


async def status_of(config: Config) -> Any:
    return json.loads((await get(config.admin.listen[0], "/status.json"))[1])


def told(caplog: pytest.LogCaptureFixture, text: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if text in record.getMessage()]


async def test_a_build_of_which_nothing_comes_is_stalled_until_it_goes_on(
    config: Config, store: ObjectsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store.gate = trio.Event()
    async with serving(config) as node:
        await until(lambda: len(told(caplog, "hashed: stalled: S3 silent for ")) > 1)
        document = await status_of(config)
        [torrent], origin = document["torrents"], document["origins"]["default"]
        assert torrent["state"] == "stalled"
        assert torrent["reason"].startswith("S3 silent for ")
        assert torrent["progress"] == 0
        assert origin["stalled"]["reason"].startswith("S3 silent for ")
        assert origin["stalled"]["tries"] >= 1
        assert "origin default is stalled: S3 silent for " in await node.overview.summary()
        metrics = (await get(config.admin.listen[0], "/metrics"))[1]
        assert 'seeder_torrents{state="stalled"} 1\n' in metrics
        assert 'seeder_s3_stalled_seconds{origin="default"} 0\n' not in metrics
        [line] = told(caplog, "quotes/Nelson is stalled: S3 silent for ")
        assert line.levelno == logging.WARNING
        store.gate.set()
        await until(lambda: served(node) and told(caplog, "no longer stalled") != [])
        document = await status_of(config)
        assert document["torrents"][0]["state"] == "serving"
        assert document["origins"]["default"]["stalled"] is None
        assert "stalled" not in await node.overview.summary()


async def test_a_prefix_that_s3_doesnt_list_is_stalled(
    config: Config, faults: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    faults.default = silent()
    below = (ObjectSettings(bucket="quotes", prefix="a/"),)
    async with serving(config.model_copy(update={"objects": below})):
        await until(lambda: told(caplog, "quotes/a/ is stalled: S3 silent for ") != [])
        [prefix] = (await status_of(config))["prefixes"]
        assert prefix["stalled"]["reason"].startswith("S3 silent for ")


async def test_what_comes_too_slowly_for_a_line_every_half_minute_is_told_with_its_rate(
    config: Config,
    store: ObjectsServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "RetryPolicy", RetryPolicy)  # nothing is stalled that soon
    caplog.set_level("INFO")
    store.gate = trio.Event()
    async with serving(config) as node:
        [publication] = node.catalog
        await until(lambda: publication.work is not None and publication.work.size > 0)
        now = trio.current_time()
        publication.work = work = Work(now - 20)
        work.advance(0, 40 * MIB, now - 20)
        work.advance(20 * MIB, 40 * MIB, now)
        await until(lambda: told(caplog, "/s, ") != [])
        [torrent] = (await status_of(config))["torrents"]
        assert 0 < torrent["rate"] <= MIB
        assert torrent["time_left"] > 0
        assert " left" in await node.overview.summary()


async def test_the_last_reload_is_told_with_its_outcome(config: Config, file: Path) -> None:
    async with serving(config) as node:
        assert (await status_of(config))["reload"]["outcome"] == "ok"
        path = trio.Path(file)
        text = await path.read_text()
        await path.write_text(f"{text}[zzz]\n")
        await reload(node, file)
        found = (await status_of(config))["reload"]
        assert (found["outcome"], found["counts"]["refused"]) == ("refused", 1)
        assert "zzz" in found["reason"]
        await path.write_text(f"{text}[budget]\norigin_requests_per_day = 100000\n")
        await reload(node, file)
        assert (await status_of(config))["reload"]["outcome"] == "ok"
        restart = text.replace('["cache"]', '["cache"]\nmemory = "7 MiB"')
        await path.write_text(restart)
        await reload(node, file)
        found = (await status_of(config))["reload"]
        assert (found["outcome"], found["counts"]) == (
            "partial",
            {"ok": 1, "partial": 1, "refused": 1},
        )
        assert "cache.memory" in found["reason"]


async def test_the_event_loop_is_measured(config: Config) -> None:
    async with serving(config) as node:
        await until(lambda: sum(node.overview.pulse.lags.counts) > 1)
        assert (await status_of(config))["loop"]["lag"] >= 0

"""A fault of ours in one of the node's tasks doesn't end it; one that stops its work does."""

from pathlib import Path
from typing import Any

import pytest
import trio

from seeder.admin.overview import Overview
from seeder.config.sections import Config
from seeder.daemon import bans, passkeys, progress, run, sidecars, warming
from seeder.daemon.bans import BanKeeper
from seeder.daemon.passkeys import PasskeyWatch
from seeder.daemon.progress import ProgressLog
from seeder.daemon.reloading import Reloader
from seeder.daemon.restraint import Restraint
from seeder.daemon.sidecars import Sidecars
from seeder.daemon.systemd import Notifier
from seeder.daemon.warming import Warmer
from seeder.daemon.watching import FileWatch
from seeder.gateway import downloads
from seeder.gateway.downloads import Downloads
from seeder.net.guards import MOST_LAPSES
from seeder.publish.publisher import Publisher
from seeder.tracker.swarms import Swarms
from tests.daemon.support import get, served, serving, until


class Bug:
    """Stands for a method, and fails as long as it is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.met = 0
        self.there = True
        sound = getattr(owner, name)

        def call(it: Any, *arguments: Any, **options: Any) -> Any:
            if not self.there:
                return sound(it, *arguments, **options)
            self.met += 1
            raise KeyError("a bug")

        monkeypatch.setattr(owner, name, call)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seeder.net.guards.PAUSE", 0.01)
    for name in ("EXPIRE_EVERY", "BUDGET_EVERY", "STATUS_EVERY"):
        monkeypatch.setattr(run, name, 0.01)
    monkeypatch.setattr(downloads, "TICK", 0.01)
    for module in (bans, passkeys, progress, sidecars, warming):
        monkeypatch.setattr(module, "LOOK_EVERY", 0.01)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (BanKeeper, "_look"),
        (Downloads, "_tick"),
        (Overview, "summary"),
        (ProgressLog, "look"),
        (Sidecars, "_look"),
        (Swarms, "expire"),
        (Warmer, "_look"),
    ],
)
async def test_what_a_node_can_do_without_fails_as_often_as_it_likes(
    owner: type, name: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(config) as node:
        await until(lambda: served(node))
        bug = Bug(monkeypatch, owner, name)
        await until(lambda: bug.met > 2 * MOST_LAPSES)
        assert (await get(config.admin.listen[0], "/healthz"))[0] == 200


@pytest.mark.parametrize(
    ("owner", "name", "task"),
    [(Restraint, "update", "the budget"), (PasskeyWatch, "look", "passkeys")],
)
async def test_a_node_that_can_not_keep_to_its_limits_ends(
    owner: type,
    name: str,
    task: str,
    *,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
        async with serving(config):
            bug = Bug(monkeypatch, owner, name)
            await trio.sleep(30)
    assert bug.met == MOST_LAPSES
    assert caplog.text.count(f"{task}: internal error") == MOST_LAPSES - 1


async def test_a_reload_that_fails_by_a_fault_of_ours_is_told_and_the_next_one_works(
    config: Config, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reloader = Reloader(FileWatch(file), None, Notifier(None), lambda _: None)
    async with serving(config, reloader=reloader) as node:
        await until(lambda: served(node))
        bug = Bug(monkeypatch, Publisher, "apply")
        with trio.fail_after(60):
            report = await reloader.ask()
            assert report.outcome == "partial"
            assert report.reason == "internal error: KeyError('a bug')"
            assert node.overview.reloads.report is report
            bug.there = False
            assert (await reloader.ask()).outcome == "ok"
        assert served(node)
    assert "a reload: internal error" in caplog.text

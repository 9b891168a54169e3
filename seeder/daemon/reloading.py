"""Reloads one at a time, whoever asks for them: a signal, a change of the file, the control API."""

import logging
import time
from collections.abc import Callable

import trio

from seeder.admin.reloads import ReloadReport
from seeder.config.load import source_name
from seeder.config.node import LogSettings
from seeder.daemon.garbage import only_new_garbage
from seeder.daemon.node import Node
from seeder.daemon.reload import reload
from seeder.daemon.systemd import LONGEST_RELOAD, Notifier
from seeder.daemon.watching import FileWatch
from seeder.net.scarcity import why_it_failed

_LOG = logging.getLogger(__name__)


class _Asked:
    """Those who wait for the next reload."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.report: ReloadReport | None = None


class Reloader:
    """Reads the configuration again, in a task of its own: nobody who gives up waiting cuts a
    reload short. `taken_up` is told of [log] as it is from then on.
    """

    def __init__(
        self,
        watch: FileWatch,
        instance: str | None,
        notifier: Notifier,
        taken_up: Callable[[LogSettings], None],
    ) -> None:
        self._watch = watch
        self._instance = instance
        self._notifier = notifier
        self._taken_up = taken_up
        self._next = _Asked()
        self._wanted = trio.Event()

    @property
    def source(self) -> str:
        """What the configuration is called in a line for people."""
        path = self._watch.path
        return source_name(None if path is None else path.absolute())

    async def ask(self) -> ReloadReport:
        """Have the configuration read again, and return what became of it.

        One that has begun already doesn't count: it may have read the file before it changed.
        """
        asked = self._next
        self._wanted.set()
        await asked.done.wait()
        assert asked.report is not None
        return asked.report

    async def run(self, node: Node) -> None:
        """Reload the node's configuration whenever that is asked for, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            asked, self._next = self._next, _Asked()
            self._notifier.reloading()
            async with trio.open_nursery() as beside:
                # ExecReload waits for it, and systemd for ExecReload.
                beside.start_soon(self._notifier.ask_for_time, trio.move_on_after(LONGEST_RELOAD))
                await trio.to_thread.run_sync(self._watch.reading)
                asked.report = await self._reload(node)
                beside.cancel_scope.cancel()
            self._notifier.ready()
            asked.done.set()

    async def _reload(self, node: Node) -> ReloadReport:
        """Reload; a fault of ours is no end of what is served, and whoever asked hears of it."""
        try:
            with only_new_garbage():
                report = await reload(node, self._watch.path, self._instance)
            self._taken_up(node.config.log)
        except Exception as error:
            _LOG.exception("a reload: internal error")
            report = ReloadReport(time.time(), "partial", why_it_failed(error))
            node.overview.reloads.note(report)
        return report

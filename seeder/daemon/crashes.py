"""What nobody catches is a record too, and ends the process where nothing else would.

Without memory a thread may die with what it was to hand over, and so may the part of the loop that
takes it: whoever waits for that waits for ever, and a stop with him.
"""

import logging
import mmap
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import NoReturn

import trio

from seeder.daemon.systemd import LONGEST_STOP
from seeder.net.scarcity import NO_MEMORY, scarcity_of
from seeder.units import MIB

_LOG = logging.getLogger(__name__)

FAILED = 1
"""The exit code of whatever didn't end as it should."""
RESERVE = 4 * MIB
"""Bytes of address space that are given back to tell what happened. Nothing is in them."""
PATIENCE = 5.0
"""Seconds until the loop has to take what is handed to it."""
_STARTING = "in thread started by"
"""What Python says of a thread that dies before its start is over, for which its starter waits."""


class Crashes:
    """Logs what nobody catches, and ends the process with FAILED where it can't end by itself."""

    def __init__(self) -> None:
        self._reserve = mmap.mmap(-1, RESERVE, flags=mmap.MAP_PRIVATE)
        self._stops = False
        """Whether the clock of a stop runs."""

    def catch(self) -> None:
        """Hear of what nobody catches from now on."""
        sys.excepthook = self._crashed
        sys.unraisablehook = self._ignored
        threading.excepthook = self._thread_crashed

    def _crashed(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        self._reserve.close()
        cause = error.__cause__ if isinstance(error, trio.TrioInternalError) else None
        lacking = scarcity_of(cause or error)
        if lacking is None:
            _LOG.critical("the program failed", exc_info=(kind, error, trace))
        elif lacking == NO_MEMORY:
            # Python's own end would tell of each object that it can't end for lack of it.
            self._end(f"the program failed: {lacking}")
        else:
            _LOG.critical("the program failed: %s", lacking)

    def _thread_crashed(self, args: threading.ExceptHookArgs) -> None:
        self._end_for_thread(args.exc_value)

    def _ignored(self, args: "sys.UnraisableHookArgs") -> None:
        if _STARTING in (args.err_msg or ""):
            self._end_for_thread(args.exc_value)
        _LOG.error("%s %r", args.err_msg or "ignored in", args.object, exc_info=args.exc_value)

    def _end_for_thread(self, error: BaseException | None) -> NoReturn:
        why = scarcity_of(error) or f"internal error: {error!r}"
        self._end(f"a thread failed, and what waits for it would for ever: {why}")

    def _end(self, text: str) -> NoReturn:
        """End the process at once, from any thread: a kill -9 loses as much."""
        try:
            self._reserve.close()
            _LOG.critical("%s", text)
        finally:
            os._exit(FAILED)

    @contextmanager
    def heeding_stops(self) -> Iterator[None]:
        """Have a SIGTERM or SIGINT end the process in LONGEST_STOP, whatever its handler does,
        unless the block is over by then.

        The handlers are those that there are at the beginning of the block, in the main thread.
        """
        before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
        for each, handler in before.items():
            if callable(handler):
                signal.signal(each, self._heeded(handler))
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
            if self._stops:
                signal.setitimer(signal.ITIMER_REAL, 0)
                self._stops = False

    def _heeded(
        self, handler: Callable[[int, FrameType | None], object]
    ) -> Callable[[int, FrameType | None], object]:
        def heed(number: int, frame: FrameType | None) -> object:
            self._limit_stop()
            return handler(number, frame)

        return heed

    async def watch_stop(self) -> None:
        """Wait to be cancelled; whatever did that, the process ends in LONGEST_STOP from then on.

        It ends at once where the loop doesn't hear its threads any more.
        """
        try:
            await trio.sleep_forever()
        finally:
            self._limit_stop()
            heard = trio.Event()
            trio.lowlevel.current_trio_token().run_sync_soon(heard.set)
            with trio.move_on_after(PATIENCE, shield=True):
                await heard.wait()
            # Where the loop stood still for so long, both are due in the same pass of it.
            await trio.lowlevel.cancel_shielded_checkpoint()
            if not heard.is_set():
                self._end("the program failed: its loop broke; most likely it lacked memory")

    def _limit_stop(self) -> None:
        if not self._stops:
            self._stops = True
            signal.signal(signal.SIGALRM, self._overdue)
            signal.setitimer(signal.ITIMER_REAL, LONGEST_STOP)

    def _overdue(self, *_: object) -> None:
        self._end(f"the stop took more than {LONGEST_STOP:g} s: ended as it is")

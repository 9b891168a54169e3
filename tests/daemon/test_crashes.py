"""What nobody catches: it is told, and whoever would wait for it for ever needn't."""

import io
import json
import signal
import sys
import threading
from pathlib import Path

import pytest

from seeder.daemon.crashes import Crashes
from seeder.daemon.logs import Form, log_to_stderr
from tests.commands.support import environment, write_settings
from tests.support.processes import Child

BEGINNING = """
import sys, threading
import trio
from seeder.daemon import crashes as room
from seeder.daemon.logs import log_to_stderr

def fail(*_, **__):
    raise MemoryError

log_to_stderr()
crashes = room.Crashes()
crashes.catch()
"""
WAITS_FOR_A_THREAD = """
async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crashes.watch_stop)
        await trio.to_thread.run_sync(print)

trio.run(main)
"""
NO_MEMORY_FOR = {
    "what a thread hands over": "import outcome; outcome.capture = fail",
    "the beginning of a thread": "threading.Thread._bootstrap = fail",
    "what the loop is handed": (
        "from trio._core._wakeup_socketpair import WakeupSocketpair\n"
        "WakeupSocketpair.wait_woken = fail; room.PATIENCE = 0.1"
    ),
    "the loop": "from trio._core._io_epoll import EpollIOManager; EpollIOManager.get_events = fail",
}
STOP_THAT_HANGS = """
room.LONGEST_STOP = 0.1

async def main():
    with trio.open_signal_receiver(15) as received, crashes.heeding_stops():
        with trio.CancelScope(shield=True):
            print("waits", flush=True)
            await trio.sleep_forever()

trio.run(main)
"""
STOP_OF_NOBODY = """
room.LONGEST_STOP = 0.1

async def hang():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crashes.watch_stop)
        nursery.start_soon(hang)
        await trio.testing.wait_all_tasks_blocked()
        raise OSError("it fails")

import trio.testing
trio.run(main)
"""
STOPS_THAT_STAND_STILL = """
import time
room.PATIENCE = 0.001

async def stand_still():
    try:
        await trio.sleep_forever()
    finally:
        time.sleep(0.01)

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crashes.watch_stop)
        for _ in range(3):
            nursery.start_soon(stand_still)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

import trio.testing
with crashes.heeding_stops():
    for _ in range(50):
        trio.run(main)
"""
DAEMON = """
from seeder.cli import main
from seeder.daemon import run
from seeder.daemon.swarm_file import SwarmFile

async def hang(*_):
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

async def break_down(*_):
    raise OSError("it fails")

room.LONGEST_STOP = 0.1
{fault}
main(["run", "-c", {path!r}])
"""
FAULTS = {
    "hears no signal": "run._obey = hang",
    "breaks down and can't stop": "SwarmFile.save, run._follow = hang, break_down",
}


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_nobody_catches_is_a_record(monkeypatch: pytest.MonkeyPatch, form: Form) -> None:
    for module, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    stream = io.StringIO()
    log_to_stderr(stream=stream, form=form)
    Crashes().catch()
    sys.excepthook(ValueError, ValueError("lost"), None)
    if form == "json":
        [told] = map(json.loads, stream.getvalue().splitlines())
        assert (told["level"], told["message"]) == ("critical", "the program failed")
        assert told["traceback"].endswith("ValueError: lost")
    else:
        first, *_, last = stream.getvalue().splitlines()
        assert first.endswith("CRITICAL seeder.daemon.crashes: the program failed")
        assert last == "    ValueError: lost"


def started(text: str, log: Path) -> Child:
    return Child([sys.executable, "-c", BEGINNING + text], log=log, env=environment())


@pytest.mark.parametrize("what", NO_MEMORY_FOR)
def test_without_memory_the_program_ends_with_one_line_instead_of_waiting(
    what: str, tmp_path: Path
) -> None:
    with started(NO_MEMORY_FOR[what] + WAITS_FOR_A_THREAD, tmp_path / "log") as program:
        assert program.wait(30) == 1
        [line] = [each for each in program.output().splitlines() if "CRITICAL" in each]
        assert "memory" in line
        assert "Traceback" not in program.output()


def test_a_stop_that_hangs_ends_with_a_line(tmp_path: Path) -> None:
    with started(STOP_THAT_HANGS, tmp_path / "log") as program:
        program.wait_until(lambda: "waits" in program.output(), timeout=30, what="a start")
        program.signal(signal.SIGTERM)
        assert program.wait(30) == 1
        assert "the stop took more than 0.1 s" in program.output().splitlines()[-1]


def test_so_does_one_that_no_signal_asked_for(tmp_path: Path) -> None:
    with started(STOP_OF_NOBODY, tmp_path / "log") as program:
        assert program.wait(30) == 1
        assert "the stop took more than 0.1 s" in program.output().splitlines()[-1]


def test_a_loop_that_stood_still_for_long_is_not_broken(tmp_path: Path) -> None:
    with started(STOPS_THAT_STAND_STILL, tmp_path / "log") as program:
        assert program.wait(60) == 0, program.output()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_daemon_ends_though_it(fault: str, tmp_path: Path) -> None:
    path = write_settings(tmp_path / "seeder.toml", "http://127.0.0.1:1")
    program = DAEMON.format(path=str(path), fault=FAULTS[fault])
    with started(program, tmp_path / "log") as daemon:
        if "signal" in fault:
            daemon.wait_until(lambda: "ready: " in daemon.output(), timeout=60, what="a start")
            daemon.signal(signal.SIGTERM)
        assert daemon.wait(60) == 1
        assert "the stop took more than 0.1 s" in daemon.output().splitlines()[-1]

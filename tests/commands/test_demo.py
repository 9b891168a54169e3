"""`seeder demo` runs to its end, or is interrupted, and leaves nothing behind."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.commands.support import (
    PROGRAM,
    environment,
)
from tests.support.processes import Child
from tests.support.raw_peer import RawPeer


def start_demo(directory: Path, size: str) -> Child:
    """Start the demo in a process group of its own, with temporary files below `directory`."""
    pytest.importorskip("libtorrent", exc_type=ImportError)
    temporary = directory / "tmp"
    temporary.mkdir()
    return Child(
        [*PROGRAM, "demo", "--size", size],
        log=directory / "demo.log",
        env=environment(TMPDIR=str(temporary)),
    )


def assert_nothing_is_left(demo: Child, directory: Path) -> None:
    """Check for files, processes and listeners of a demo that has ended."""
    assert list((directory / "tmp").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)
    output = demo.output()
    assert "Traceback" not in output, output
    assert "Error" not in output
    for port in re.findall(r"http://127\.0\.0\.1:(\d+)", output):
        with pytest.raises(ConnectionRefusedError):
            RawPeer("127.0.0.1", ("127.0.0.1", int(port)))


def test_the_demo_runs_to_its_end_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with start_demo(tmp_path, "4 MiB") as demo:
        assert demo.wait(60) == 0, demo.output()
        output = demo.output()
        assert "4 clients have the object, each checked" in output
        assert re.search(r"Downloads completed +4\b", output)
        assert re.search(r"From S3 +4\.00 MiB", output)
        assert_nothing_is_left(demo, tmp_path)


@pytest.mark.parametrize("moment", ["S3 server on", "status:", "leecher-4/Nelson.bin"])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, moment: str) -> None:
    with start_demo(tmp_path, "64 MiB") as demo:

        def has_come() -> bool:
            return moment in demo.output() or bool(list(tmp_path.glob(f"tmp/*/{moment}")))

        demo.wait_until(has_come, timeout=30, what=moment)
        demo.signal(signal.SIGINT)
        assert demo.wait(15) == 130
        assert_nothing_is_left(demo, tmp_path)

"""`seeder demo` runs to its end, goes on or is interrupted, and leaves nothing behind."""

import os
import re
import signal
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from seeder.commands.demo import Show, verdict
from tests.commands.support import (
    PROGRAM,
    environment,
)
from tests.support.objects import KIB, MIB
from tests.support.processes import Child
from tests.support.raw_peer import RawPeer


def start_demo(directory: Path, size: str, *options: str) -> Child:
    """Start the demo in a process group of its own, with temporary files below `directory`."""
    pytest.importorskip("libtorrent", exc_type=ImportError)
    temporary = directory / "tmp"
    temporary.mkdir()
    return Child(
        [*PROGRAM, "demo", "--size", size, *options],
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
    with start_demo(tmp_path, "4 MiB", "--fast") as demo:
        assert demo.wait(60) == 0, demo.output()
        output = demo.output()
        begun, over = "4 clients download it", "4 clients have the object, each checked"
        assert 0 < output.index(begun) < output.index(over), (
            "whoever sees no bars isn't kept waiting"
        )
        assert re.search(r"Downloads completed +4\b", output)
        assert re.search(r"From S3 +4\.00 MiB", output)
        assert output.splitlines()[-1] == "4 copies delivered, 1 paid for: 75 % saved."
        assert_nothing_is_left(demo, tmp_path)


def test_a_demo_that_is_kept_shows_its_page_until_a_signal(tmp_path: Path) -> None:
    with start_demo(tmp_path, "1 MiB", "--fast", "--keep") as demo:
        demo.wait_until(lambda: "until Ctrl-C: " in demo.output(), timeout=60, what="the end")
        *_, sentence, kept = demo.output().splitlines()
        assert sentence == "4 copies delivered, 1 paid for: 75 % saved."
        page = kept.removeprefix("It goes on until Ctrl-C: ")
        told = httpx.get(f"{page}status.json", trust_env=False).json()
        assert told["totals"]["seeds"] == 4
        demo.signal(signal.SIGINT)
        assert demo.wait(30) == 0
        assert_nothing_is_left(demo, tmp_path)


@pytest.mark.parametrize("library", ["moto", "libtorrent"])
def test_without_the_extra_the_demo_names_it(tmp_path: Path, library: str) -> None:
    (tmp_path / f"{library}.py").write_text("raise ModuleNotFoundError('no such module')\n")
    (tmp_path / "tmp").mkdir()
    path = f"{tmp_path}:{environment().get('PYTHONPATH', '')}"
    settings = environment(PYTHONPATH=path, TMPDIR=str(tmp_path / "tmp"))
    with Child([*PROGRAM, "demo"], log=tmp_path / "demo.log", env=settings) as demo:
        assert demo.wait(30) == 1
        [line] = demo.output().splitlines()
        assert line.startswith(f"the demo needs {library}: pip install '.[demo]'")
        assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("size", "fast", "rate"),
    [(64 * MIB, False, 6.4 * MIB), (1, False, 64 * KIB), (64 * MIB, True, None)],
)
def test_people_can_watch_unless_it_is_to_be_fast(size: int, fast: bool, rate: float) -> None:
    assert Show(size=size, console=Console(), fast=fast).upload_rate == rate


@pytest.mark.parametrize(
    ("copies", "size", "paid", "sentence"),
    [
        (4, 64, 64, "4 copies delivered, 1 paid for: 75 % saved."),
        (4, 100, 125, "4 copies delivered, 1.25 paid for: 68.8 % saved."),
        (4, 3, 15, "4 copies delivered, 5 paid for: -25 % saved."),
        (4, 3000, 3001, "4 copies delivered, 1 paid for: 75 % saved."),
    ],
)
def test_the_verdict_is_a_sentence(copies: int, size: int, paid: int, sentence: str) -> None:
    assert verdict(copies, size, paid) == sentence


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("S3 server on", signal.SIGINT),
        ("status:", signal.SIGTERM),
        ("leecher-4/Nelson.bin", signal.SIGHUP),
    ],
)
def test_an_interrupted_demo_leaves_nothing_behind(
    tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    with start_demo(tmp_path, "64 MiB") as demo:

        def has_come() -> bool:
            return moment in demo.output() or bool(list(tmp_path.glob(f"tmp/*/{moment}")))

        demo.wait_until(has_come, timeout=30, what=moment)
        demo.signal(number)
        assert demo.wait(30) == 130
        assert_nothing_is_left(demo, tmp_path)

"""A log that nobody reads holds up nobody, and tells afterwards what is lost of it."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

import pytest

from seeder.daemon.writing import CHUNK, PATIENCE, PatientHandler

MANY = 2000
TRACE = "x" * 20 * CHUNK


@dataclass
class Pipe:
    reader: int
    stream: TextIO

    def read(self) -> str:
        """Return what is there."""
        os.set_blocking(self.reader, False)
        found = b""
        try:
            while data := os.read(self.reader, 2**20):
                found += data
        except BlockingIOError:
            pass
        return found.decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    # What the reader didn't take, or can't any more, is still to be written.
    with suppress(BrokenPipeError), open(writer, "w") as stream:
        yield Pipe(reader, stream)
        os.set_blocking(writer, False)
    os.close(reader)


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("seeder", logging.INFO, __file__, 1, "%s", (text,), None)


@pytest.mark.parametrize("line", ["a line of the usual length, or something like that", TRACE])
def test_lines_that_nobody_reads_are_counted_and_the_next_ones_come(pipe: Pipe, line: str) -> None:
    handler = PatientHandler(pipe.stream)
    began = time.monotonic()
    for _ in range(MANY):
        handler.handle(record(line))
    # One line waited, and no other.
    assert time.monotonic() - began < 10 * PATIENCE / 1000 + 5
    read = pipe.read().splitlines()
    whole = read.count(line)
    assert set(read[:whole]) == {line}
    handler.handle(record("the next"))
    rest = [each for each in pipe.read().splitlines() if each]
    assert rest == [f"{MANY - whole} lines are lost: nobody read the log", "the next"]


def test_a_reader_that_has_gone_is_an_error_and_no_wait(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = PatientHandler(pipe.stream)
    met: list[logging.LogRecord] = []
    monkeypatch.setattr(handler, "handleError", met.append)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, pipe.reader)
    os.close(nothing)
    handler.handle(record("to nobody"))
    assert len(met) == 1

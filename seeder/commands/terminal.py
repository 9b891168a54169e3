"""The terminal that we write to, if it is one."""

import os
import shutil
import sys
from typing import TextIO

from rich.cells import cell_len, set_cell_size

_NARROWEST = 40


def terminal_width() -> int | None:
    """Return the columns of the terminal that stdout is; None where it is something else."""
    if not sys.stdout.isatty():
        return None
    return max(shutil.get_terminal_size().columns, _NARROWEST)


def cut(line: str, stream: TextIO) -> str:
    """Return as much of a line as the stream's terminal has room for."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return line
    return line if cell_len(line) < columns else set_cell_size(line, max(columns - 1, 1))

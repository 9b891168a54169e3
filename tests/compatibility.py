"""The table of config/s3.md that says what works with which S3 and which client.

    python -m tests.compatibility

runs the tests that find it out and writes the table from what they found. In any other run these
tests compare what they find with what the table says.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.s3.dialects import DIALECTS

_ROOT = Path(__file__).parent.parent
_DOCUMENT = _ROOT / "config" / "s3.md"
_FOUND = "TESTS_COMPATIBILITY"
"""The variable that names the file which takes what is found."""
_TESTS = ("tests/publish/test_publisher_dialects.py", "tests/e2e/test_compatibility.py")
_BEGIN, _END = "<!-- tests/compatibility.py writes this -->\n", "<!-- to here -->\n"
_ROW = re.compile(r"^\|(.*)\|$", re.MULTILINE)

METAINFO = ("listed by", "`origin`", "`sidecar`", "`checksums`", "`build`")
SCRIPTED = (*METAINFO, "replaced, gone", "403, 503", "libtorrent", "web seed")
REAL = (*METAINFO, "replaced, gone", "web seed")
REAL_SERVERS = ("Ceph RGW 16.2", "OpenStack Swift", "LocalStack", "moto")
CLIENTS = ("libtorrent", "Transmission", "qBittorrent", "aria2", "rTorrent", "WebTorrent")


def note(row: str, cells: Mapping[str, str]) -> None:
    """Take what was found about a server: it has to be what the document says."""
    file = os.environ.get(_FOUND)
    if file is None:
        said = documented()[row]
        assert {name: said.get(name) for name in cells} == dict(cells), (
            f"{row}: run python -m tests.compatibility"
        )
        return
    with Path(file).open("a", encoding="utf-8") as found:
        found.write(json.dumps([row, dict(cells)]) + "\n")


def documented() -> dict[str, dict[str, str]]:
    """Return the cells of the document by row and column."""
    text = _DOCUMENT.read_text(encoding="utf-8").partition(_BEGIN)[2].partition(_END)[0]
    rows: dict[str, dict[str, str]] = {}
    columns: list[str] = []
    for line in _ROW.findall(text):
        cells = [cell.strip() for cell in line.split("|")]
        if cells[0] in ("By script", "Real server"):
            columns = cells[1:]
        elif not cells[0].startswith("---"):
            rows[cells[0]] = dict(zip(columns, cells[1:], strict=True))
    return rows


def real_row(server: str) -> str:
    return f"{server} (real)"


def _table(title: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, str]]) -> str:
    lines = [f"| {title} | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name, cells in rows.items():
        told = " | ".join(cells.get(column, "not tried") for column in columns)
        lines.append(f"| {name} | {told} |")
    return "\n".join(lines) + "\n"


def tables(found: Mapping[str, Mapping[str, str]]) -> str:
    """Return both tables."""
    real = {real_row(name): found.get(real_row(name), {}) for name in REAL_SERVERS}
    scripted = {each.name: found.get(each.name, {}) for each in DIALECTS}
    first = _table("Real server", (*REAL, *CLIENTS), real)
    return f"{first}\n{_table('By script', SCRIPTED, scripted)}"


def main() -> int:
    """Run the tests and write the tables."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "found"
        file.touch()
        command = [sys.executable, "-m", "pytest", "-q", *_TESTS]
        result = subprocess.run(
            command, cwd=_ROOT, env={**os.environ, _FOUND: str(file)}, check=False
        )
        found: dict[str, dict[str, str]] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            row, cells = json.loads(line)
            found.setdefault(row, {}).update(cells)
    text = _DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _DOCUMENT.write_text(
        before + _BEGIN + tables(found) + _END + rest.partition(_END)[2], encoding="utf-8"
    )
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())

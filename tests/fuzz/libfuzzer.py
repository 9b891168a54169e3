"""What libFuzzer is given, and what it leaves behind."""

import re
import shutil
from hashlib import sha1
from pathlib import Path

from tests.fuzz.inputs import LONGEST, Target

LIMITS = (f"-max_len={LONGEST}", "-rss_limit_mb=2048")
"""Options that every run has."""
_WORD = re.compile(rb"[A-Za-z][A-Za-z0-9_-]{2,40}")


def write_seeds(tried: Target, directory: Path) -> None:
    """Make a directory with the seeds."""
    directory.mkdir()
    for seed in tried.seeds:
        (directory / stem(seed)).write_bytes(seed)


def write_dictionary(tried: Target, path: Path) -> None:
    """Write the words of the seeds as libFuzzer reads them."""
    words = {word for seed in tried.seeds for word in _WORD.findall(seed)}
    # Without a single word libFuzzer refuses the file.
    lines = [b'"%b"\n' % word for word in sorted(words | {b"word"})[:500]]
    path.write_bytes(b"".join(lines))


def stem(data: bytes) -> str:
    """Return the name of the file of an input."""
    return sha1(data, usedforsecurity=False).hexdigest()[:16]


def keep_artifacts(work: Path, findings: Path, log: str) -> None:
    """Keep the input that ended libFuzzer: by time, memory, or a crash of Python itself."""
    findings.mkdir(parents=True, exist_ok=True)
    for path in work.glob("*-*"):
        if path.is_file():
            shutil.copy(path, findings / path.name)
            (findings / f"{path.name}.txt").write_text(log[-8000:], encoding="utf-8")
    (findings / "last-log.txt").write_text(log[-20000:], encoding="utf-8")

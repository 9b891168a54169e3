"""The handbook, config/*.md: tests hold the daemon to what it says."""

import re

from tests.house import ROOT

HANDBOOK = ROOT / "config"
PAGES = sorted(HANDBOOK.glob("*.md"))


def page(name: str) -> str:
    """Return the text of a page."""
    return (HANDBOOK / f"{name}.md").read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """Return a section of a page, with the smaller ones in it."""
    lines = iter(page(name).splitlines(keepends=True))
    level = next(line for line in lines if re.fullmatch(rf"#+ {re.escape(heading)}\n", line))
    higher = re.compile(rf"#{{1,{level.index(' ')}}} ")
    found: list[str] = []
    fenced = False
    for line in lines:
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and higher.match(line):
            break
        found.append(line)
    return "".join(found)

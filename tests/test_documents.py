"""Every link of the documents leads somewhere: files, headings in them, tests and modules."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = (".github", "config", "seeder", "systemd", "tests")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(
    r"""!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)|^\[[^\]]+\]:\s*(\S+)""", re.MULTILINE
)
PLACEHOLDER = re.compile(r"NAME|PACKAGE|MODULE")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"(?<![\w./-])(?:seeder|tests|config|systemd|\.github|\.ci)/[\w./-]*\w")


def documents() -> list[Path]:
    """Return the project's documents."""
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")]
    return sorted([*ROOT.glob("*.md"), *below])


def anchors(document: Path) -> set[str]:
    """Return the fragments that a document's headings have on a forge's page."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", document.read_text(encoding="utf-8"))):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        name, number = slug, 0
        while name in found:
            number += 1
            name = f"{slug}-{number}"
        found.add(name)
    return found


def broken_links(document: Path) -> list[str]:
    """Return the relative links of a document that lead nowhere."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    broken = []
    for link in (inline or reference for inline, reference in LINK.findall(text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, fragment = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        if not target.exists():
            broken.append(f"{link}: no such file")
        elif fragment and fragment not in anchors(target):
            broken.append(f"{link}: no such heading")
    return broken


def missing_paths(document: Path) -> list[str]:
    """Return the paths that a document names in its running text and that aren't there."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    named = {
        path
        for code in CODE.findall(text)
        for path in PATH.findall(code)
        if not PLACEHOLDER.search(path)
    }
    places = (ROOT, document.parent)
    return sorted(path for path in named if not any((place / path).exists() for place in places))


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    assert broken_links(document) == []


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_a_document_names_is_there(document: Path) -> None:
    assert missing_paths(document) == []


def names_in(module: Path) -> set[str]:
    """Return what a module defines: functions, classes, constants, and "Class.method"."""
    found: set[str] = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name):
                found.add(name)
                found.update(
                    f"{name}.{each.name}"
                    for each in node.body
                    if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
                )
            case ast.Assign():
                found.update(map(ast.unparse, node.targets))
    return found


MAP = ROOT / "seeder" / "README.md"
ROW = re.compile(r"^\|(?: \d+ \|)? (`[\w/.`, ]+`) \|(.*)\|$", re.MULTILINE)


@pytest.mark.parametrize(("modules", "said"), ROW.findall(MAP.read_text(encoding="utf-8")))
def test_the_map_and_the_trips_name_what_is_there(modules: str, said: str) -> None:
    places = [MAP.parent / name for name in CODE.findall(modules)]
    assert [place for place in places if not place.exists()] == []
    for name in CODE.findall(said):
        if re.fullmatch(r"[\w/]+\.py", name):
            assert (MAP.parent / name).is_file()
        elif places[0].is_dir():  # the map: a room, and its door
            module, _, door = name.partition(".")
            assert door in names_in(places[0] / f"{module}.py")
        else:
            assert name in names_in(places[0])


def test_every_room_is_on_the_map() -> None:
    shown = {
        name.rstrip("/")
        for modules, _ in ROW.findall(MAP.read_text(encoding="utf-8"))
        for name in CODE.findall(modules)
        if "/" not in name.rstrip("/")
    }
    rooms = {path.parent.name for path in MAP.parent.glob("*/__init__.py")}
    corridor = {path.name for path in MAP.parent.glob("*.py")} - {"__init__.py"}
    assert shown == rooms | corridor


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` c\n## A b c\n[here](#a-b-c) [twice](#a-b-c-1) [no](#d) [gone](gone.md) [x][y]\n"
        "\n[y]: also-gone.md\n```\n[not a link](nowhere)\n```\n`seeder/nothing.py`"
    )
    assert broken_links(page) == [
        "#d: no such heading",
        "gone.md: no such file",
        "also-gone.md: no such file",
    ]
    assert missing_paths(page) == ["seeder/nothing.py"]

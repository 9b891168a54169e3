"""Rules of the tests themselves: they mirror seeder/, and helpers do not live in test modules."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MODULES = sorted(path.relative_to(TESTS) for path in TESTS.rglob("*.py"))
PACKAGES = {path.name for path in (TESTS.parent / "seeder").iterdir() if path.is_dir()}
MIRRORS = [path for path in MODULES if path.name.startswith("test_") and path.parts[0] in PACKAGES]


def imported(source: str) -> set[str]:
    """Return the dotted names of the modules, and of what is taken from them."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def borrowed(source: str) -> set[str]:
    """Return what is imported from test modules and from conftest modules."""
    return {
        name
        for name in imported(source)
        if name.startswith("tests.")
        and any(part.startswith("test_") or part == "conftest" for part in name.split("."))
    }


def stands_for(test: Path) -> list[str]:
    """Return the modules of seeder/ that a test module may be named after."""
    name = test.stem.removeprefix("test_")
    modules = (TESTS.parent / "seeder" / test.parent).glob("*.py")
    return [path.stem for path in modules if f"{name}_".startswith(f"{path.stem}_")]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_helpers_come_from_modules_without_tests_and_fixtures_by_name(path: Path) -> None:
    assert borrowed((TESTS / path).read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("path", MIRRORS, ids=str)
def test_a_test_module_is_named_after_what_it_tests(path: Path) -> None:
    assert stands_for(path)


def test_the_rules_see_what_they_forbid() -> None:
    source = (
        "from tests.s3.conftest import faults\nimport tests.peer.test_hub\nimport tests.s3.support"
    )
    assert borrowed(source) == {"tests.s3.conftest.faults", "tests.peer.test_hub"}
    assert stands_for(Path("peer/test_hub_pace.py")) == ["hub"]
    assert stands_for(Path("peer/test_hubs.py")) == []

"""A file that is no TOML is told by line and column, and gives what stands above that."""

from pathlib import Path

import pytest

from seeder.config.load import load
from seeder.config.toml import salvage_toml
from seeder.errors import ConfigError
from tests.config.support import ONE_OBJECT, Load, only_problem


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[origin]\nregion us-east-1\n", "line 2, column 8"),
        ("a = 1\na = 2\n", "line 2, column 6"),
        ("[cache\n", "line 1, column 7"),
        ("x = [1,\n2", "line 2, column 2 (the end)"),
    ],
)
def test_bad_toml_is_placed_by_line_and_column(
    read: Load, tmp_path: Path, text: str, place: str
) -> None:
    problem = only_problem(read, text)
    assert problem.startswith(f"{tmp_path}/seeder.toml, {place}: not TOML: ")
    assert "(at " not in problem


def test_a_file_that_is_not_utf_8_is_placed_by_line(tmp_path: Path) -> None:
    path = tmp_path / "latin1.toml"
    path.write_bytes(b"[origin]\n# caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.problems == (f"{path}, line 2: not UTF-8 (byte 0xe9); save it as UTF-8",)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbf" + ONE_OBJECT.encode())
    assert len(load(path).objects) == 1


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "gone.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError) as caught:
            load(path)
        (problem,) = caught.value.problems
        assert problem.startswith(f"{path}: can't be read: {reason}")


@pytest.mark.parametrize(
    ("rest", "salvaged"),
    [
        ("b 2", {"a": 1}),
        ("b = [1,\n2,\n", {"a": 1}),
        ('b = """', {"a": 1}),
        ("b = 1\na = 1", {"a": 1, "b": 1}),
        ("b = " + "[" * 5000, {}),
    ],
)
def test_what_stands_above_a_mistake_is_salvaged(
    tmp_path: Path, rest: str, salvaged: dict[str, object]
) -> None:
    path = tmp_path / "seeder.toml"
    path.write_text(f"a = 1\n{rest}\n")
    assert salvage_toml(path) == salvaged


def test_nothing_is_salvaged_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert salvage_toml(tmp_path / "gone.toml") == {}

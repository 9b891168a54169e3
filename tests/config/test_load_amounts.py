"""Amounts that are none (not a number, without end) are refused at every key, by its name."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from seeder.config.load import load
from seeder.errors import ConfigError
from tests.config.support import EXAMPLE

ODD = [
    "nan", "-nan", "inf", "-inf", "1e999", "[nan]", '{ "0 B" = nan }',
    '{ "0 B" = 0.1, "1 TiB" = inf }',
]  # fmt: skip
"""In TOML; a text is taken where any text will do."""
OBJECT = '[[objects]]\nbucket = "b"\n'


def keys() -> Iterator[tuple[str, str]]:
    """Yield every key that the example names, with the header of its table."""
    table = ""
    for line in EXAMPLE.read_text().splitlines():
        text = re.sub("^# ?", "", line)
        if match := re.match(r"(\[\[?[a-z.A-Z_\"-]+\]\]?)\s*(#.*)?$", text):
            table = match[1]
        elif match := re.match(r"([a-z_]+)\s*=", text):
            yield table, match[1]


@pytest.mark.parametrize(("table", "key"), sorted(set(keys())))
def test_what_is_no_amount_is_refused_by_the_name_of_its_key(
    tmp_path: Path, table: str, key: str
) -> None:
    for value in ODD:
        line = f"{key} = {value}\n"
        if table == "[[objects]]":
            text = (OBJECT if key != "bucket" else "[[objects]]\n") + line
        else:
            text = f"{OBJECT}key = 'k'\n{table}\n{line}" if table else f"{line}{OBJECT}key = 'k'\n"
        path = tmp_path / "seeder.toml"
        path.write_text(text)
        with pytest.raises(ConfigError) as refused:
            load(path)
        named = [problem for problem in refused.value.problems if key in problem]
        assert len(named) == 1, text
        assert not any("\n" in problem for problem in refused.value.problems)


def test_there_are_keys() -> None:
    assert len(set(keys())) > 80

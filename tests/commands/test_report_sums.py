"""The reports by group and by name, in each form."""

import csv
import json
from collections.abc import Iterable
from typing import cast

import pytest

from seeder.commands.report_sums import tell_groups, tell_names
from seeder.ledger.groups import GroupCounts
from seeder.ledger.holders import HolderCounts, HolderSum
from seeder.ledger.records import Records

NAMES = ["alice", "=1+1", "+1", "-1", "@x", "a,b"]


class Kept:
    """A ledger in which each name was sent something."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)

    def interval(self, begin: float | None, end: float | None) -> tuple[int, int]:
        return int(begin or 0), int(end or 100)

    def groups(self, first: int, last: int) -> dict[str, GroupCounts]:
        return {name: GroupCounts(sent_bytes=5) for name in self._names}

    def holders(self, first: int, last: int) -> list[HolderSum]:
        return [HolderSum(name, 60, HolderCounts(sent_bytes=5)) for name in self._names]


def told(by: str, form: str, names: Iterable[str] = NAMES) -> str:
    lines: list[str] = []
    tell = tell_groups if by == "group" else tell_names
    tell(cast("Records", Kept(names)), None, None, form=form, show=lines.append)
    return "\n".join(lines)


@pytest.mark.parametrize("by", ["group", "name"])
def test_each_form_has_every_name_once(by: str) -> None:
    document = json.loads(told(by, "json"))
    assert document["by"] == by
    assert document["since"] is None
    rows = document[f"{by}s"]
    assert sorted(row[by] if by in row else row["name"] for row in rows) == sorted(NAMES)
    table = told(by, "text").split("\n")
    assert len({line.partition("  ")[0].rstrip() for line in table} & set(NAMES)) == len(NAMES)
    cells = list(csv.reader(told(by, "csv").splitlines()))
    assert cells[0] == list(rows[0])
    assert [len(row) for row in cells] == [len(cells[0])] * (1 + len(NAMES))


@pytest.mark.parametrize("by", ["group", "name"])
def test_no_name_is_a_formula_of_a_spreadsheet(by: str) -> None:
    """Whoever asks for a passkey by an access key has its name in the report."""
    names = [row[0] for row in csv.reader(told(by, "csv").splitlines())][1:]
    assert sorted(names) == sorted(["alice", "'=1+1", "'+1", "'-1", "'@x", "a,b"])


@pytest.mark.parametrize("by", ["group", "name"])
def test_where_nothing_was_counted_the_report_says_so(by: str) -> None:
    assert "was" in told(by, "text", [])
    assert json.loads(told(by, "json", []))[f"{by}s"] == []
    assert len(told(by, "csv", []).splitlines()) == 1

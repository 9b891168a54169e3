"""config/monitoring.md names every metric and no other, and so do the rules and the dashboard."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from seeder.ledger.budget import Budget, Spent
from seeder.ledger.counters import AccountKey, Counters, Ledger
from seeder.ledger.limits import Limit, Period, Resource
from tests.admin.support import PRICES, render
from tests.support.handbook import section

CONFIG = Path(__file__).parents[2] / "config"
RULES = CONFIG / "prometheus-rules.yaml"
DASHBOARD = CONFIG / "grafana-dashboard.json"
SCOPES = {"origin": "seeder_node_", "prefix": "seeder_prefix_", "object": "seeder_"}
NAME = re.compile(r"\b(?:seeder|process)_[a-z0-9_]+")


def written() -> dict[str, str]:
    """Return the kind of every family that /metrics has, by name."""
    ledger = Ledger()
    ledger.account(AccountKey("default", "quotes", "Nelson", "v")).uploaded(1)
    limits = [Limit(Resource.ORIGIN_BYTES, Period.DAY, 1)]
    budget = Budget(limits, PRICES, totals=Counters(), spent=Spent(), now=0)
    lines = render(ledger, budget=budget.left()).splitlines()
    return {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")}


def documented() -> dict[str, str]:
    found: dict[str, str] = {}
    row = re.compile(r"^\| `(\w+)` \| (\w+) \| ?([^|]*?) ?\|", re.M)
    for name, kind, third in row.findall(section("monitoring", "Metrics")):
        if name.startswith("seeder_"):
            found[name] = kind
        else:
            found |= {SCOPES[scope] + name: kind for scope in third.split(", ")}
    return found


def expressions() -> list[str]:
    """Return what the rules and the dashboard ask for."""
    rules = re.sub(r"^ *(#|- alert:|summary:|runbook_url:).*", "", RULES.read_text(), flags=re.M)
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [rules, *(target["expr"] for panel in panels for target in panel["targets"])]


def test_the_document_has_every_metric_with_its_kind_and_no_other() -> None:
    assert documented() == written()


@pytest.mark.parametrize("expression", expressions())
def test_rules_and_dashboard_ask_for_what_is_there(expression: str) -> None:
    known = {*written(), "process_resident_memory_bytes"}
    known |= {f"{name}_bucket" for name, kind in written().items() if kind == "histogram"}
    assert set(NAME.findall(expression)) - known == set()


def test_each_alert_leads_to_its_section() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))
    links = re.findall(r"runbook_url: (\S+)", RULES.read_text(encoding="utf-8"))
    assert links == [f"config/monitoring.md#{name.lower()}" for name in alerts]
    assert re.findall(r"^### (\w+)$", section("monitoring", "Alerts"), re.M) == alerts


def promtool(*arguments: str | Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; apt-get install prometheus brings it")
    ran = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", RULES)


def test_each_alert_comes_when_it_should_and_not_before() -> None:
    promtool("test", "rules", Path(__file__).parent / "rules_test.yaml")

"""Every number of /status.json is in /metrics, with the same value, or is reckoned from those."""

import json
import re
from collections.abc import Iterator
from functools import partial

import pytest
import trio

from seeder.config.money import BudgetSettings
from seeder.config.objects import ObjectSettings
from seeder.config.sections import Config
from tests.admin.support import Sample, samples_of
from tests.daemon.support import BODY, get, served, serving, until
from tests.s3.objects_server import ObjectsServer

COUNTED = {
    "requester_charged": "origin_requester_charged_requests_total",
    "uploaded_bytes": "uploaded_bytes_total",
    "protocol_bytes": "protocol_bytes_total",
    "delivered_verified_bytes": "delivered_verified_bytes_total",
    "delivered_claimed_bytes": "delivered_claimed_bytes_total",
    "completed": "completed_downloads_total",
    "peers_seen": "peer_sessions_total",
    "saved_verified_bytes": "saved_verified_bytes",
    "saved_claimed_bytes": "saved_claimed_bytes",
    "size": "objects_bytes",
    "pieces": "objects_pieces",
    "peers": "swarm_peers",
    "seeds": "swarm_seeds",
    "origin_money": "origin_money",
    "saved_verified_money": "saved_verified_money",
    "saved_claimed_money": "saved_claimed_money",
}
SCOPES = {
    r"totals\.": ("seeder_node_", {}),
    r"unattributed\.": ("seeder_node_", {"origin": ""}),
    r"torrents\.([^.]+)\.": ("seeder_", {"key": r"\1"}),
}
TOLD: dict[str, tuple[str, dict[str, str]]] = {
    r"peers\.states\.(.+)": ("seeder_peer_connections", {"state": r"\1"}),
    r"peers\.closes\.(.+)": ("seeder_peer_closes_total", {"reason": r"\1"}),
    r"peers\.refusals\.(.+)": ("seeder_peer_refusals_total", {"reason": r"\1"}),
    r"peers\.connected": ("seeder_peer_connections", {}),
    r"peers\.downloads": ("seeder_http_downloads", {}),
    r"peers\.accepted": ("seeder_peer_connections_accepted_total", {}),
    r"tracker\.announces\.(.+)\.(.+)": (
        "seeder_announces_total",
        {"event": r"\1", "outcome": r"\2"},
    ),
    r"tracker\.scrapes\.(.+)": ("seeder_scrapes_total", {"outcome": r"\1"}),
    r"cache\.(memory|disk)_budget": ("seeder_cache_limit_bytes", {"tier": r"\1"}),
    r"cache\.(memory|disk)_(bytes|pieces)": (r"seeder_cache_\2", {"tier": r"\1"}),
    r"cache\.(memory|disk)_(hits|evictions)": (r"seeder_cache_\2_total", {"tier": r"\1"}),
    r"cache\.(misses|dropped_writes|corrupt|origin_mismatches)": (r"seeder_cache_\1_total", {}),
    r"cache\.fetching": ("seeder_cache_fetching_pieces", {}),
    r"cache\.queued_writes": ("seeder_cache_queued_writes", {}),
    r"cache\.disk_ok": ("seeder_cache_disk_ok", {}),
    r"origins\.(.+)\.operations\.(.+)\.(.+)": (
        "seeder_s3_requests_total",
        {"origin": r"\1", "operation": r"\2", "outcome": r"\3"},
    ),
    r"origins\.(.+)\.errors\.(.+)": ("seeder_s3_errors_total", {"origin": r"\1", "kind": r"\2"}),
    r"origins\.(.+)\.(retries|switched)": (r"seeder_s3_\2_total", {"origin": r"\1"}),
    r"origins\.(.+)\.waiting": ("seeder_s3_waiting_calls", {"origin": r"\1"}),
    r"origins\.(.+)\.reachable": ("seeder_s3_reachable", {"origin": r"\1"}),
    r"origins\.(.+)\.last_success": ("seeder_s3_last_answer_timestamp_seconds", {}),
    r"origins\.(.+)\.clock_ahead": ("seeder_s3_clock_ahead_seconds", {"origin": r"\1"}),
    r"origins\.(.+)\.requests": ("seeder_s3_requests_total", {"origin": r"\1"}),
    r"prefixes\.(.+)\.objects": ("seeder_listed_objects", {"prefix": r"\1"}),
    r"prefixes\.(.+)\.bytes": ("seeder_prefix_objects_bytes", {"prefix": r"\1"}),
    r"prefixes\.(.+)\.listed_at": ("seeder_listed_timestamp_seconds", {"prefix": r"\1"}),
    r"budget\.(.+)\.limit": ("seeder_budget_limit", {}),
    r"budget\.(.+)\.(spent|left)": (r"seeder_budget_\2", {}),
    r"budget\.(.+)\.resets_at": ("seeder_budget_resets_timestamp_seconds", {}),
    r"reload\.counts\.(.+)": ("seeder_reloads_total", {"outcome": r"\1"}),
    r"reload\.at": ("seeder_last_reload_timestamp_seconds", {}),
    r"reload\.taken_up_at": ("seeder_config_timestamp_seconds", {}),
    r"ledger\.writable": ("seeder_ledger_writable", {}),
    r"ledger\.(flushes|failures)": (r"seeder_ledger_\1_total", {}),
    r"ledger\.flushed_at": ("seeder_ledger_flushed_timestamp_seconds", {}),
    r"turned_away\.(.+)": ("seeder_turned_away_total", {"section": r"\1"}),
    r"events\.(.+)\.messages\.(.+)": (
        "seeder_event_messages_total",
        {"source": r"\1", "outcome": r"\2"},
    ),
    r"events\.(.+)\.news\.(.+)": ("seeder_events_total", {"source": r"\1", "outcome": r"\2"}),
    r"sidecars\.(.+)": ("seeder_sidecars_total", {"outcome": r"\1"}),
    r"events\.(.+)\.up": ("seeder_events_up", {"source": r"\1"}),
    r"events\.(.+)\.held": ("seeder_events_held_messages", {"source": r"\1"}),
    r"events\.(.+)\.heard_at": ("seeder_events_heard_timestamp_seconds", {"source": r"\1"}),
    r"events\.(.+)\.delay": ("seeder_events_delay_seconds", {"source": r"\1"}),
    r"ready": ("seeder_ready", {}),
    r"torrents_in_all": ("seeder_node_objects", {}),
}
for scope, (prefix, about) in SCOPES.items():
    for name, metric in COUNTED.items():
        TOLD[scope + name] = (prefix + metric, about)
    purpose = {"purpose": r"\2" if "(" in scope else r"\1"}
    for name in ("origin_bytes", "origin_requests"):
        TOLD[scope + name] = (f"{prefix}{name}_total", about)
        TOLD[f"{scope}{name}_by_purpose\\.(.+)"] = (f"{prefix}{name}_total", about | purpose)
RECKONED = (
    r".*\.(total_saving|offload)_(verified|claimed)",
    r".*\.(cache_saving|s3_copies|seeder_copies)",
    r"prices\.price_per_(gb|1000_requests)",  # by byte and request there
    r"at",  # now
    r"loop\.lag",  # the histogram's
)


def numbers(document: object, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number below a document with its path; entries of lists by their name."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from numbers(value, f"{path}.{name}" if path else name)
    elif isinstance(document, list):
        for entry in document:
            name = entry.get("prefix", entry.get("key", entry.get("resource")))
            yield from numbers(entry, f"{path}.{name}")
    elif isinstance(document, int | float):
        yield path, float(document)


async def told(config: Config) -> dict[str, float]:
    """Return the numbers of /status.json that are to be in /metrics."""
    status = json.loads((await get(config.admin.listen[0], "/status.json"))[1])
    return {
        path: value
        for path, value in numbers(status)
        if not any(re.fullmatch(each, path) for each in RECKONED)
    }


def summed(samples: dict[Sample, float], metric: str, about: dict[str, str]) -> float | None:
    """Return the sum of the series of a metric that have some labels; None without any."""
    wanted = set(about.items())
    found = [value for (name, has), value in samples.items() if name == metric and wanted <= has]
    return sum(found) if found else None


@pytest.mark.parametrize("prefix", ["", "N"])
async def test_every_number_of_the_status_is_a_series_of_the_same_value(
    config: Config, store: ObjectsServer, prefix: str
) -> None:
    budget = BudgetSettings.model_validate({"origin_requests_per_day": 1_000_000})
    below = ObjectSettings.model_validate({"bucket": "quotes", "prefix": prefix})
    objects = config.objects if not prefix else (below,)
    given = config.model_copy(update={"budget": budget, "objects": objects})
    async with serving(given) as node:
        await until(partial(served, node))
        assert (await get(config.tracker.listen[0], "/announce"))[0] == 200
        assert (await get(config.tracker.listen[0], "/scrape"))[0] == 200
        await until(lambda: node.hub.statistics().connected == 0)
        before: dict[str, float] = {"": 0.0}
        found: dict[str, float] = {}
        with trio.fail_after(120):
            while before != found:  # a flush or a HEAD may come in between
                before = await told(config)
                samples = samples_of((await get(config.admin.listen[0], "/metrics"))[1])
                found = await told(config)
    assert found["totals.size"] == len(BODY)
    assert len(found) > 100
    differ = {}
    for path in found:
        [(pattern, (metric, about))] = [
            (each, TOLD[each]) for each in TOLD if re.fullmatch(each, path)
        ] or [("", ("", {}))]
        match = re.fullmatch(pattern, path)
        name = metric if match is None else match.expand(metric)
        has = {} if match is None else {key: match.expand(value) for key, value in about.items()}
        value = summed(samples, name, has)
        if value is None or value != pytest.approx(found[path], rel=1e-9):
            differ[path] = (found[path], name, has, value)
    assert differ == {}

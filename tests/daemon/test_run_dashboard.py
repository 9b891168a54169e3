"""A real Prometheus, told what compose.yaml tells it, scrapes a real node: every query of the
dashboard brings something."""

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote_from_bytes

import httpx
import pytest
import trio
import yaml

from seeder.config.money import BudgetSettings
from seeder.config.sections import Config
from tests.daemon.support import BODY, LOOPBACK, get, served, serving, until
from tests.s3.objects_server import ObjectsServer
from tests.support.ports import free_port

DASHBOARD = Path(__file__).parents[2] / "config" / "grafana-dashboard.json"
RULES = DASHBOARD.with_name("prometheus-rules.yaml")
PROMETHEUS = DASHBOARD.with_name("prometheus.yaml")
VARIABLES = {"$instance": ".*", "$__rate_interval": "10s"}


@asynccontextmanager
async def prometheus(directory: Path, target: str) -> AsyncIterator[str]:
    """Run Prometheus as in compose.yaml with our rules, but quicker, and return its URL."""
    await trio.Path(directory).mkdir()
    settings = yaml.safe_load(PROMETHEUS.read_text(encoding="utf-8"))
    settings["global"] |= {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    settings["rule_files"] = [str(RULES)]
    settings["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    config, address = trio.Path(directory / "prometheus.yml"), f"{LOOPBACK}:{free_port(LOOPBACK)}"
    await config.write_text(json.dumps(settings))
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/data"]
    command += [f"--web.listen-address={address}", "--log.level=error"]
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        with trio.CancelScope(shield=True), trio.move_on_after(10):
            await process.wait()


async def ask(client: httpx.AsyncClient, expression: str) -> list[object]:
    """Return the series that an expression brings now."""
    try:
        answer = await client.get("/api/v1/query", params={"query": expression})
    except httpx.TransportError:
        return []  # it is still starting
    if answer.status_code == 503:
        return []
    found = answer.json()
    assert found["status"] == "success", found
    result = found["data"]["result"]
    assert isinstance(result, list)
    return result


def expressions() -> dict[str, str]:
    """Return each query of the dashboard, as Grafana asks it, by panel and legend."""
    found = {}
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            found[f"{panel['title']}: {target['legendFormat']}"] = expression
    return found


async def test_every_query_of_the_dashboard_brings_something(
    config: Config, store: ObjectsServer, tmp_path: Path
) -> None:
    if shutil.which("prometheus") is None:
        pytest.skip("Prometheus is not installed; apt-get install prometheus brings it")
    budget = BudgetSettings.model_validate({"origin_requests_per_day": 1_000_000})
    async with serving(config.model_copy(update={"budget": budget})) as node:
        await until(partial(served, node))
        [publication] = node.catalog
        assert publication.torrent is not None
        info_hash = quote_from_bytes(publication.torrent.info_hash)
        left = f"left={len(BODY)}&event=started"
        announce = f"/announce?info_hash={info_hash}&peer_id={'x' * 20}&port=2000&{left}"
        assert (await get(config.tracker.listen[0], announce))[0] == 200
        # A peer that comes and goes, so that there is a reason.
        stream = await trio.open_tcp_stream(*config.peer.listen[0])
        await stream.aclose()
        await until(lambda: node.hub.statistics().closes != {})
        target = str(config.admin.listen[0])
        async with (
            prometheus(tmp_path / "prometheus", target) as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            lacking = expressions()
            assert len(lacking) > 20
            with trio.move_on_after(60):
                while lacking:
                    for name, expression in list(lacking.items()):
                        if await ask(client, expression):
                            del lacking[name]
                    await trio.sleep(0.2)
            assert not lacking
            assert await ask(client, 'ALERTS{alertname=~"SeederFaulty|SeederS3Away"}') == []

"""The examples for compose and Kubernetes: their schemas, and what has to fit together in them."""

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from seeder.cli import main
from seeder.config.load import load
from seeder.config.sections import Config

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "config" / "compose.yaml"
KUBERNETES = ROOT / "config" / "kubernetes.yaml"
RULES = ROOT / "config" / "prometheus-rules.yaml"
TOOLS = ROOT / ".venv-manifests" / "bin"
SCHEMAS = pytest.mark.skipif(
    not (TOOLS / "kubernetes-validate").exists(),
    reason="needs .venv-manifests, which tests/run.py makes",
)
ACCOUNT = 10001
PORTS = {("TCP", 6969), ("UDP", 6969), ("TCP", 6881)}
"""What the world reaches."""


def check(*words: str | Path) -> str:
    """Run a program that finds nothing wrong, and return what it says."""
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return read


def beside_compose(name: str) -> Any:
    return yaml.safe_load(COMPOSE.with_name(name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def resources() -> dict[tuple[str, str], Any]:
    """The resources for Kubernetes by kind and name."""
    documents = yaml.safe_load_all(KUBERNETES.read_text(encoding="utf-8"))
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


@pytest.fixture(scope="module")
def pod(resources: dict[tuple[str, str], Any]) -> Any:
    return resources["StatefulSet", "seeder"]["spec"]["template"]


@pytest.fixture(scope="module")
def container(pod: Any) -> Any:
    [only] = pod["spec"]["containers"]
    return only


def image_setting(instruction: str) -> str:
    """Return what an instruction of the last stage of the Containerfile says."""
    text = (ROOT / "config" / "Containerfile").read_text(encoding="utf-8")
    [line] = [each for each in text.splitlines() if each.startswith(f"{instruction} ")]
    return line.removeprefix(f"{instruction} ")


# -- compose --------------------------------------------------------------------------------------


@SCHEMAS
def test_the_compose_file_is_one_to_its_schema() -> None:
    check(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_what_compose_mounts_is_there_and_the_daemon_s_root_stays_as_it_is(
    services: dict[str, Any],
) -> None:
    for service in services["services"].values():
        assert service["cap_drop"] == ["ALL"]
        for mount in service["volumes"]:
            source, _, _ = mount.partition(":")
            if source.startswith("."):
                assert (COMPOSE.parent / source).exists()
            else:
                assert source in services["volumes"]
    seeder = services["services"]["seeder"]
    assert seeder["read_only"] is True
    assert set(seeder["secrets"]) == set(services["secrets"])
    places = [mount.split(":")[1] for mount in seeder["volumes"]]
    assert places == ["/etc/seeder", "/var/lib/seeder", "/var/cache/seeder"]


def test_the_daemon_of_compose_answers_prometheus_by_the_name_that_it_calls(
    services: dict[str, Any],
) -> None:
    settings = services["services"]["seeder"]["environment"]
    ours = {name: value for name, value in settings.items() if name.startswith("SEEDER_")}
    config = load(COMPOSE.with_name("seeder.toml"), None, ours)
    scraped = beside_compose("prometheus.yaml")
    [job] = scraped["scrape_configs"]
    assert job["job_name"] == "seeder"  # the alerts ask for it
    [target] = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert host in services["services"]
    assert host in config.admin.hosts
    assert [int(port)] == [each.port for each in config.admin.listen]
    assert [each.host for each in config.admin.listen] == ["0.0.0.0"]


def test_prometheus_takes_what_compose_says(services: dict[str, Any], tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; apt-get install prometheus brings it")
    path = tmp_path / "prometheus.yml"
    shutil.copy(COMPOSE.with_name("prometheus.yaml"), path)
    shutil.copy(RULES, tmp_path / "rules.yaml")
    [mount] = [each for each in services["services"]["prometheus"]["volumes"] if RULES.name in each]
    assert mount.split(":")[1] == "/etc/prometheus/rules.yaml"
    said = check("promtool", "check", "config", path)
    assert "1 rule files found" in said


def test_grafana_finds_dashboard_and_prometheus(services: dict[str, Any]) -> None:
    grafana = services["services"]["grafana"]
    shown = [mount.split(":")[1] for mount in grafana["volumes"] if ".json" in mount]
    [provider] = beside_compose("grafana-dashboards.yaml")["providers"]
    assert [str(Path(each).parent) for each in shown] == [provider["options"]["path"]]
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in shown
    [source] = beside_compose("grafana-datasource.yaml")["datasources"]
    places = {mount.partition(":")[0]: mount.split(":")[1] for mount in grafana["volumes"]}
    for name, kind in (("datasource", "datasources"), ("dashboards", "dashboards")):
        place = Path(places[f"./grafana-{name}.yaml"])
        assert str(place.parent) == f"/etc/grafana/provisioning/{kind}"
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services["services"]


# -- Kubernetes -----------------------------------------------------------------------------------


@SCHEMAS
def test_the_resources_are_ones_to_the_oldest_and_the_newest_schema() -> None:
    for version in ("1.27", "1.37"):
        said = check(TOOLS / "kubernetes-validate", "--strict", "-k", version, KUBERNETES)
        unknown = [line for line in said.splitlines() if " passed for resource " not in line]
        # The operator's is none of Kubernetes' own.
        assert ["ServiceMonitor" in line for line in unknown] == [True]


MONITOR = """
import json, sys
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor
told = json.load(sys.stdin)
monitor = ServiceMonitor.model_validate(told)
read = monitor.model_dump(mode="json", by_alias=True, exclude_unset=True)
sys.exit(0 if read == told else f"not known there: {told} {read}")
"""
"""What is wrong ends it, and so does what the operator's schema knows nothing of."""


@SCHEMAS
def test_the_service_monitor_is_one_to_the_schema_of_prometheus_operator(
    resources: dict[tuple[str, str], Any],
) -> None:
    written = json.dumps(resources["ServiceMonitor", "seeder"])
    ran = subprocess.run(
        [TOOLS / "python", "-c", MONITOR],
        input=written,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_check_takes_the_configuration_of_kubernetes(
    resources: dict[tuple[str, str], Any], tmp_path: Path
) -> None:
    config = kubernetes_config(resources, tmp_path)
    assert config.watch
    assert [str(each) for each in config.admin.listen] == ["0.0.0.0:9180"]
    done = CliRunner().invoke(main, ["check", "-c", str(tmp_path / "seeder.toml")])
    assert done.exit_code == 0
    assert "1 object" in done.stdout


def kubernetes_config(resources: dict[tuple[str, str], Any], directory: Path) -> Config:
    """Write the configuration of the ConfigMap, and read it."""
    path = directory / "seeder.toml"
    path.write_text(resources["ConfigMap", "seeder"]["data"]["seeder.toml"])
    return load(path, None, {})


def test_every_port_of_the_configuration_is_one_of_the_pod_and_the_public_ones_of_the_service(
    resources: dict[tuple[str, str], Any], container: Any, tmp_path: Path
) -> None:
    config = kubernetes_config(resources, tmp_path)
    listening = {("TCP", each.port) for each in (*config.tracker.listen, *config.peer.listen)}
    listening |= {("UDP", each.port) for each in config.tracker.udp_listen}
    assert listening == PORTS
    named = {each["name"]: (each["protocol"], each["containerPort"]) for each in container["ports"]}
    assert set(named.values()) == PORTS | {("TCP", 9180)}
    public = resources["Service", "seeder"]["spec"]
    assert public["externalTrafficPolicy"] == "Local"
    reached = {named[each["targetPort"]] for each in public["ports"]}
    assert reached == {(each["protocol"], each["port"]) for each in public["ports"]} == PORTS
    rules = resources["NetworkPolicy", "seeder"]["spec"]["ingress"]
    let_in = [{named[each["port"]] for each in rule["ports"]} for rule in rules]
    assert let_in == [PORTS, {("TCP", 9180)}]
    assert "from" in rules[1]


def test_the_pod_may_do_no_more_than_the_image_needs(pod: Any, container: Any) -> None:
    general = pod["spec"]["securityContext"]
    assert general["runAsNonRoot"] is True
    assert general["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {general[name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {ACCOUNT}
    assert image_setting("USER") == f"{ACCOUNT}:{ACCOUNT}"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_what_the_pod_mounts_is_declared_and_what_is_secret_is_for_its_group_alone(
    resources: dict[tuple[str, str], Any], pod: Any, container: Any
) -> None:
    claims = resources["StatefulSet", "seeder"]["spec"]["volumeClaimTemplates"]
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert set(mounted) == {*volumes, *(each["metadata"]["name"] for each in claims)}
    assert mounted["state"] in image_setting("VOLUME")
    assert mounted["cache"] in image_setting("VOLUME")
    secret = volumes["secrets"]["secret"]
    assert secret["defaultMode"] == 0o440
    [variable] = container["env"]
    place = Path(variable["value"])
    assert str(place.parent) == mounted["secrets"]
    assert place.name in resources["Secret", secret["secretName"]]["stringData"]
    config = resources["ConfigMap", volumes["config"]["configMap"]["name"]]["data"]
    assert tomllib.loads(config[Path("seeder.toml").name])
    assert all("subPath" not in each for each in container["volumeMounts"])


def test_the_probes_ask_the_pages_that_are_there(container: Any) -> None:
    asked = {
        name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
    }
    assert {name: get["path"] for name, get in asked.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {get["port"] for get in asked.values()} == {"admin"}


def test_everything_is_chosen_by_labels_that_are_there(
    resources: dict[tuple[str, str], Any], pod: Any
) -> None:
    labels = pod["metadata"]["labels"].items()
    state = resources["StatefulSet", "seeder"]["spec"]
    assert state["selector"]["matchLabels"].items() <= labels
    assert ("Service", state["serviceName"]) in resources
    for name in ("seeder", "seeder-admin"):
        assert resources["Service", name]["spec"]["selector"].items() <= labels
    assert (
        resources["NetworkPolicy", "seeder"]["spec"]["podSelector"]["matchLabels"].items() <= labels
    )
    monitor = resources["ServiceMonitor", "seeder"]["spec"]
    admin = resources["Service", "seeder-admin"]
    chosen = monitor["selector"]["matchLabels"].items()
    assert chosen <= admin["metadata"]["labels"].items()
    assert not chosen <= resources["Service", "seeder"]["metadata"]["labels"].items()
    [endpoint] = monitor["endpoints"]
    assert endpoint["port"] in [each["name"] for each in admin["spec"]["ports"]]
    # The alerts ask for job="seeder".
    assert admin["metadata"]["labels"][monitor["jobLabel"]] == "seeder"

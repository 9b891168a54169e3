"""The examples of config/ for Kubernetes and compose, as podman can run them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

CONFIG = Path(__file__).parents[2] / "config"
IMAGE = "localhost/seeder:latest"


def pod_of_kubernetes(changes: Mapping[str, str], secrets: Path) -> tuple[str, str]:
    """Return kubernetes.yaml with these texts replaced: its claims, and a pod on this network.

    podman makes no pods of a StatefulSet: it gets the one that Kubernetes would, with its claims.
    It would ask the probes by a curl in the image, and publish ports that the machine has already.
    What is in a Secret podman 4.3 mounts in base64: it lies in `secrets`, as Kubernetes mounts it.
    """
    text = (CONFIG / "kubernetes.yaml").read_text(encoding="utf-8")
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(text))
    of_kind = {each["kind"]: each for each in documents}
    stateful = of_kind["StatefulSet"]["spec"]
    spec = stateful["template"]["spec"] | {"hostNetwork": True}
    claims = []
    for claim in stateful["volumeClaimTemplates"]:
        name = claim["metadata"]["name"]
        spec["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": _own(name)}})
        claims.append(
            _kind("PersistentVolumeClaim") | claim | {"metadata": {"name": _own(name)}},
        )
    for volume in spec["volumes"]:
        if (mounted := volume.pop("secret", None)) is not None:
            assert mounted["secretName"] == of_kind["Secret"]["metadata"]["name"]
            for name, told in of_kind["Secret"]["stringData"].items():
                _write(secrets / name, told, mounted["defaultMode"], spec["securityContext"])
            volume["hostPath"] = {"path": str(secrets), "type": "Directory"}
    [container] = spec["containers"]
    for name in ("ports", "startupProbe", "livenessProbe", "readinessProbe"):
        del container[name]
    metadata = stateful["template"]["metadata"] | {"name": "seeder-0"}
    pod = _kind("Pod") | {"metadata": metadata, "spec": spec}
    return yaml.safe_dump_all(claims), yaml.safe_dump_all([of_kind["ConfigMap"], pod])


def _own(claim: str) -> str:
    return f"{claim}-seeder-0"


def _write(path: Path, told: str, mode: int, context: Mapping[str, int]) -> None:
    path.write_text(told, encoding="utf-8")
    os.chown(path, 0, context["fsGroup"])
    path.chmod(mode)


def _kind(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": name}

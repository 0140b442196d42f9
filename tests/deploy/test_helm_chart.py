"""The Helm chart: rendered, linted, every object validated, and wrong values refused by name."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "swinunet"
WHY = "is not installed (pip install 'swinunet[deploy-check]')"
helm = pytest.importorskip("helm_python", reason=f"helm-python-sdk {WHY}")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason=f"kubernetes-validate {WHY}")
yaml = pytest.importorskip("yaml", reason=f"PyYAML {WHY}")

S3 = {"type": "s3", "s3": {"url": "s3://models/swinunet", "secretName": "keys", "region": "eu-central-1"}}
SCALED = {"autoscaling": {"enabled": True, "maxReplicas": 5, "selector": 'namespace="radiology"'}}
OPEN = {
    "dicomFrom": ["10.1.0.0/16"],
    "deliverTo": [{"cidr": "10.1.2.3/32", "port": 104}],
}
CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "gpu, s3, scaled": {"triton": {"gpu": {"enabled": True, "count": 2}, "modelRepository": S3}, **SCALED},
    "models in an image": {"triton": {"modelRepository": {"type": "image", "image": {"reference": "models:3"}}}},
    "open to a PACS": {"networkPolicy": OPEN},
    "triton alone": {
        "gateway": {"enabled": False},
        "canaryExporter": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "imagePullSecrets": [{"name": "registry"}],
        "triton": {"config": "tensorrt", "nodeSelector": {"gpu": "yes"}, "tolerations": [{"operator": "Exists"}]},
    },
}


def objects(values: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """What the chart makes of values, by kind and name."""
    rendered = helm.Chart.load(str(CHART)).render(values, name="r", namespace="ns")
    documents = [each for name, text in rendered.items() if name.endswith(".yaml") for each in yaml.safe_load_all(text)]
    found = {(each["kind"], each["metadata"]["name"]): each for each in documents if each}
    assert len(found) == len([each for each in documents if each])
    return found


def containers(spec: Any) -> Iterator[dict[str, Any]]:
    """Every container of the pods of an object, those that run first included."""
    pod = spec["spec"]["template"]["spec"]
    yield from pod.get("initContainers", [])
    yield from pod["containers"]


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_every_object_is_one_that_kubernetes_takes(values: dict[str, Any]) -> None:
    for (kind, _), each in objects(values).items():
        if kind != "ScaledObject":  # of KEDA, below
            kubernetes_validate.validate(each, "1.27", strict=True)
            kubernetes_validate.validate(each, "1.34", strict=True)


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_the_chart_lints(values: dict[str, Any]) -> None:
    said = helm.lint(str(CHART), values, strict=True)
    assert said["errors"] == []
    assert {message["error"] for message in said["messages"]} <= {"icon is recommended"}


def test_no_container_has_more_rights_than_it_needs() -> None:
    for (kind, name), each in objects(CASES["gpu, s3, scaled"]).items():
        if kind in ("Deployment", "StatefulSet"):
            pod = each["spec"]["template"]["spec"]
            assert pod["automountServiceAccountToken"] is False, name
            assert pod["securityContext"]["runAsNonRoot"] is True, name
            for container in containers(each):
                rights = container["securityContext"]
                assert rights["readOnlyRootFilesystem"] is True, container["name"]
                assert rights["allowPrivilegeEscalation"] is False, container["name"]
                assert rights["capabilities"] == {"drop": ["ALL"]}, container["name"]


def test_the_canary_decides_whether_triton_is_up() -> None:
    deployment = objects({})["Deployment", "r-swinunet-triton"]
    (triton,) = [each for each in containers(deployment) if each["name"] == "triton"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert "swinunet.serving.probe" in triton[probe]["exec"]["command"]
    startup = triton["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 900
    assert {volume["name"] for volume in deployment["spec"]["template"]["spec"]["volumes"]} >= {"shm", "models"}


def test_a_gpu_is_asked_for_by_values_and_the_rest_stays() -> None:
    limits = [
        next(containers(objects({"triton": {"gpu": {"enabled": enabled}}})["Deployment", "r-swinunet-triton"]))[
            "resources"
        ]["limits"]
        for enabled in (False, True)
    ]
    assert limits == [{"memory": "8Gi"}, {"memory": "8Gi", "nvidia.com/gpu": 1}]


@pytest.mark.parametrize(
    ("values", "source"),
    [
        ({}, {"persistentVolumeClaim": {"claimName": "swinunet-models", "readOnly": True}}),
        ({"triton": {"modelRepository": S3}}, {"emptyDir": {}}),
        (CASES["models in an image"], {"emptyDir": {}}),
    ],
)
def test_models_come_from_where_values_say(values: dict[str, Any], source: dict[str, Any]) -> None:
    deployment = objects(values)["Deployment", "r-swinunet-triton"]
    volumes = {each.pop("name"): each for each in deployment["spec"]["template"]["spec"]["volumes"]}
    assert volumes["models"] == source
    for container in containers(deployment):
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        filled_first = container["name"] == "models"
        assert mounts["models"].get("readOnly", False) is not filled_first


def test_keda_scales_by_both_signals() -> None:
    keda = pytest.importorskip("cloudcoil.models.keda.v1alpha1", reason=f"cloudcoil-models-keda {WHY}")
    made = objects(CASES["gpu, s3, scaled"])
    scaled = made["ScaledObject", "r-swinunet-triton"]
    known = keda.ScaledObject.model_validate(scaled).model_dump(by_alias=True, exclude_unset=True, mode="json")
    assert known == scaled, "KEDA knows no such field"
    queries = {each["name"]: each["metadata"]["query"] for each in scaled["spec"]["triggers"]}
    assert set(queries) == {"queue-seconds", "pending-requests"}
    assert all('{namespace="radiology"}' in query for query in queries.values())
    assert "replicas" not in made["Deployment", "r-swinunet-triton"]["spec"], "KEDA and the chart would both set it"
    assert objects({})["Deployment", "r-swinunet-triton"]["spec"]["replicas"] == 2


def test_the_network_is_closed_but_for_what_values_open() -> None:
    closed = objects({})["NetworkPolicy", "r-swinunet-gateway"]["spec"]
    assert not any("ipBlock" in peer for rule in closed["ingress"] + closed["egress"] for peer in rule.get("from", []))
    opened = objects(CASES["open to a PACS"])["NetworkPolicy", "r-swinunet-gateway"]["spec"]
    assert opened["ingress"][0] == {
        "from": [{"ipBlock": {"cidr": "10.1.0.0/16"}}],
        "ports": [{"protocol": "TCP", "port": "dicom"}],
    }
    assert opened["egress"][-1]["ports"] == [{"protocol": "TCP", "port": 104}]
    triton = objects({})["NetworkPolicy", "r-swinunet-triton"]["spec"]
    assert triton["egress"] == []
    assert triton["policyTypes"] == ["Ingress", "Egress"]


def test_the_gateways_configuration_is_one_that_it_takes(tmp_path: Path) -> None:
    reading = pytest.importorskip("swinunet.gateway.config.reading", reason="the gateway's libraries are not installed")
    text = objects({})["ConfigMap", "r-swinunet-gateway"]["data"]["gateway.toml"]
    assert tomllib.loads(text)["models"]["url"] == "dns:///r-swinunet-triton:8001"
    (tmp_path / "gateway.toml").write_text(text)
    reading.read_config(tmp_path / "gateway.toml")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"tritn": {}}, "additional properties 'tritn' not allowed"),
        ({"triton": {"replica": 1}}, "additional properties 'replica' not allowed"),
        ({"triton": {"modelRepository": {"type": "nfs"}}}, "/triton/modelRepository/type"),
        ({"triton": {"modelRepository": {"type": "s3"}}}, "/triton/modelRepository/s3/url"),
        ({"networkPolicy": {"dicomFrom": ["everybody"]}}, "/networkPolicy/dicomFrom/0"),
        ({"autoscaling": {"enabled": True, "minReplicas": 9}}, "minReplicas .9. is above autoscaling.maxReplicas .8."),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], says: str) -> None:
    with pytest.raises(helm.HelmError, match=says if "above" in says else re.escape(says)):
        objects(values)


def test_every_value_has_a_place_in_the_schema() -> None:
    """So that a value that is added, and forgotten in the schema, is noticed: the defaults themselves are checked."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values.keys() == schema["properties"].keys() - {"global"}
    for name, each in values.items():
        if isinstance(each, dict):
            assert each.keys() == schema["properties"][name]["properties"].keys(), name

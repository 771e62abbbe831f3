"""The manifests, as kubectl builds them, are Kubernetes', strictly, and agree with the service's settings, routes and image."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fastapi import FastAPI

from app.main import create_app
from app.server import GRACE_S
from app.serving.jobs.store import RESERVE_BYTES
from app.settings import Settings
from app.telemetry import REASONS
from app.variables import read_variables
from model.inference.processes.scene_program import MEMORY_BYTES
from tests.support.deploy.files import ADAPTER, COMPOSE, DEPLOY, JOBS, KEDA, adapter_query, assert_confined

pytestmark = pytest.mark.long  # kubectl builds them
FOLDER = DEPLOY / "kubernetes"
LABELS = {"app.kubernetes.io/name": "segment"}
UNITS = {"Gi": 1 << 30, "Mi": 1 << 20, "m": 1 << 20}

Manifests = dict[str, dict[str, Any]]
"""Manifests by kind."""


def size(text: str) -> int:
    """The bytes of a size such as 2Gi, or nginx's 64m."""
    number, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def build(kubectl: str, folder: Path) -> Manifests:
    """What `kubectl apply -k` would send."""
    command = [kubectl, "kustomize", str(folder)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    manifests = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(text)}
    assert len(manifests) == text.count("\nkind:") + text.startswith("kind:")
    return manifests


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def plain(overlay: str, kubectl: str) -> Manifests:
    """The manifests as the folder has them."""
    return build(kubectl, FOLDER / overlay)


@pytest.fixture(scope="module")
def complete(overlay: str, kubectl: str, tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """The manifests with every component that the overlay's comment names."""
    folder = tmp_path_factory.mktemp("manifests") / "kubernetes"
    shutil.copytree(FOLDER, folder)
    path = folder / overlay / "kustomization.yaml"
    text, count = re.subn(r"(?m)^# (components:|  - \.\./\w+)", r"\1", path.read_text())
    assert count == 4
    path.write_text(text)
    return build(kubectl, folder / overlay)


def pod(manifests: Manifests) -> dict[str, Any]:
    spec: dict[str, Any] = manifests["Deployment"]["spec"]["template"]["spec"]
    return spec


def container(manifests: Manifests) -> dict[str, Any]:
    only: dict[str, Any]
    (only,) = pod(manifests)["containers"]
    return only


def environment(manifests: Manifests) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(manifests)["env"]}


def settings(manifests: Manifests) -> Settings:
    values = {name.removeprefix("SEGMENT_").lower(): value for name, value in environment(manifests).items()}
    return Settings(**values)


def test_kubernetes_knows_every_field_and_variables_are_settings(plain: Manifests, complete: Manifests) -> None:
    for manifest in (*plain.values(), *complete.values()):
        for version in ("1.29", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(manifest, version, strict=True)
    for manifests in (plain, complete):
        read_variables(environment(manifests), Settings.model_fields)


def test_a_pod_has_the_time_that_a_drain_may_take(plain: Manifests) -> None:
    values = settings(plain)
    needed = values.lame_duck_s + values.drain_s + GRACE_S
    assert values.lame_duck_s > 0
    assert needed < pod(plain)["terminationGracePeriodSeconds"] < needed + 10


def test_probes_and_ports_are_those_of_the_service(plain: Manifests) -> None:
    values = settings(plain)
    app: FastAPI = create_app(values)
    ports = {port["name"]: port["containerPort"] for port in container(plain)["ports"]}
    assert ports == {"http": values.port}
    # a probe that ends the pod asks whether it is live: a network may take any time to compile
    paths = {"startupProbe": "/health/live", "readinessProbe": "/health/ready", "livenessProbe": "/health/live"}
    for probe, path in paths.items():
        assert container(plain)[probe]["httpGet"] == {"path": path, "port": "http"}
        assert app.url_path_for(path.rsplit("/", 1)[1]) == path
    annotations = plain["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert (annotations["prometheus.io/port"], annotations["prometheus.io/path"]) == (str(values.port), "/metrics")
    (port,) = plain["Service"]["spec"]["ports"]
    assert port["targetPort"] in ports
    assert plain["Service"]["spec"]["ipFamilyPolicy"] == "PreferDualStack"
    ((rule,),) = (each["ports"] for each in plain["NetworkPolicy"]["spec"]["ingress"])
    assert rule["port"] in ports


def test_selectors_find_the_pod(plain: Manifests) -> None:
    assert plain["Deployment"]["spec"]["template"]["metadata"]["labels"] == LABELS
    assert plain["Service"]["spec"]["selector"] == LABELS
    assert plain["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == LABELS
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert plain[kind]["spec"]["selector"]["matchLabels"] == LABELS
    (spread,) = pod(plain)["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == LABELS


def test_the_process_may_do_nothing_but_serve(plain: Manifests) -> None:
    assert_confined(pod(plain))
    assert pod(plain)["automountServiceAccountToken"] is pod(plain)["enableServiceLinks"] is False
    assert plain["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert plain["NetworkPolicy"]["spec"]["egress"] == []
    # files of batches
    (volume,) = pod(plain)["volumes"]
    assert size(volume["emptyDir"]["sizeLimit"]) >= 2 * settings(plain).max_batch_mb * 1e6
    limits = container(plain)["resources"]["limits"]
    assert size(limits["ephemeral-storage"]) > size(volume["emptyDir"]["sizeLimit"])


def test_a_pod_reserves_the_memory_and_cores_that_the_service_counts_on(plain: Manifests) -> None:
    resources = container(plain)["resources"]
    for name in ("memory", "cpu"):
        assert resources["requests"][name] == resources["limits"][name]
    values = settings(plain)
    # without a value of its own, the budget follows the limit
    assert values.memory_mb * 1e6 < 0.5 * size(resources["limits"]["memory"])


def test_the_image_is_the_one_that_compose_builds(plain: Manifests, overlay: str) -> None:
    services = COMPOSE["services"].values()
    (image,) = {service["image"] for service in services if service.get("build", {}).get("target") == overlay}
    assert container(plain)["image"] == image


def test_only_the_gpu_s_pods_ask_for_a_gpu_and_start_nowhere_else(plain: Manifests, overlay: str) -> None:
    asked = container(plain)["resources"]["limits"].get("nvidia.com/gpu")
    expected = {"cpu": (None, ("auto",)), "gpu": ("1", ("cuda",))}
    assert (asked, settings(plain).device) == expected[overlay]
    surge = plain["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert surge["maxSurge"] == (0 if asked else 1)


def test_nothing_outside_reaches_the_service_unless_the_component_is_taken_which_needs_keys(
    plain: Manifests, complete: Manifests, overlay: str, kubectl: str, tmp_path: Path
) -> None:
    assert ("Ingress" in plain, plain["Service"]["spec"].get("type", "ClusterIP")) == (False, "ClusterIP")
    assert "nginx-ingress" not in str(plain["NetworkPolicy"])
    assert "nginx-ingress" in str(complete["NetworkPolicy"])
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    path = tmp_path / "kubernetes" / overlay / "kustomization.yaml"
    path.write_text(path.read_text() + "\ncomponents: [../ingress]\n")
    opened = build(kubectl, path.parent)
    assert "Ingress" in opened
    assert environment(opened)["SEGMENT_API_KEYS_FILE"] == environment(complete)["SEGMENT_API_KEYS_FILE"]
    for manifests in (opened, complete):
        assert [entry["name"] for entry in container(manifests)["env"]].count("SEGMENT_API_KEYS_FILE") == 1
        assert "optional" not in str(pod(manifests)["volumes"])  # a pod without its keys does not start


def test_the_pod_for_jobs_is_a_single_one_with_a_volume_where_the_setting_says(kubectl: str) -> None:
    manifests = build(kubectl, FOLDER / "jobs")
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    read_variables(environment(manifests), Settings.model_fields)
    assert manifests["Deployment"]["spec"]["replicas"] == 1
    assert manifests["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["Service"]["spec"]["selector"] == labels != LABELS
    (mount,) = (each for each in container(manifests)["volumeMounts"] if each["name"] == "jobs")
    assert environment(manifests)["SEGMENT_JOBS_DIR"].startswith(f"{mount['mountPath']}/")
    (volume,) = (each["persistentVolumeClaim"] for each in pod(manifests)["volumes"] if each["name"] == "jobs")
    claim = manifests["PersistentVolumeClaim"]
    assert volume["claimName"] == claim["metadata"]["name"]
    assert size(claim["spec"]["resources"]["requests"]["storage"]) > Settings().jobs_mb * 1e6 + RESERVE_BYTES
    memory = size(container(manifests)["resources"]["limits"]["memory"])
    assert int(environment(manifests)["SEGMENT_MEMORY_MB"]) * 1e6 + MEMORY_BYTES < memory


def test_the_ingress_opens_all_routes_but_health_and_metrics(plain: Manifests, complete: Manifests, kubectl: str) -> None:
    (rule,) = complete["Ingress"]["spec"]["rules"]
    exact, prefixes = defaultdict(list), defaultdict(list)
    for entry in rule["http"]["paths"]:
        {"Exact": exact, "Prefix": prefixes}[entry["pathType"]][entry["path"]].append(entry["backend"]["service"]["name"])

    def opened(path: str) -> bool:
        return path in exact or any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)

    pages = ["/", "/docs", "/docs/static/swagger-ui.css", "/openapi.json", "/static/page.js"]
    for path in [*create_app(settings(plain)).openapi()["paths"], *JOBS, *pages]:
        assert opened(path) is not path.startswith(("/health", "/metrics")), path
    services = {manifests["Service"]["metadata"]["name"] for manifests in (plain, build(kubectl, FOLDER / "jobs"))}
    assert {name for names in [*exact.values(), *prefixes.values()] for name in names} == services
    assert prefixes["/jobs"] == ["segment-jobs"]


def test_the_ingress_takes_bodies_as_large_and_waits_as_long_as_the_service(plain: Manifests, complete: Manifests) -> None:
    annotations, values = complete["Ingress"]["metadata"]["annotations"], settings(plain)
    assert size(annotations["nginx.org/client-max-body-size"]) >= max(values.max_batch_mb, values.job_upload_mb) * 1e6
    assert float(annotations["nginx.org/proxy-read-timeout"].rstrip("s")) > values.request_timeout_s


def test_the_autoscaler_sets_the_number_of_pods_by_the_adapter_s_metrics(plain: Manifests, complete: Manifests) -> None:
    assert "HorizontalPodAutoscaler" not in plain
    spec = complete["HorizontalPodAutoscaler"]["spec"]
    assert spec["scaleTargetRef"]["name"] == complete["Deployment"]["metadata"]["name"]
    assert "replicas" not in complete["Deployment"]["spec"]
    assert (
        spec["minReplicas"] == plain["Deployment"]["spec"]["replicas"] > plain["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    )
    assert [metric["pods"]["metric"]["name"] for metric in spec["metrics"]] == [rule["name"]["as"] for rule in ADAPTER]


def test_the_keys_lie_where_the_setting_looks_for_them(complete: Manifests) -> None:
    path = Path(environment(complete)["SEGMENT_API_KEYS_FILE"])
    (mount,) = (each for each in container(complete)["volumeMounts"] if each["name"] == "keys")
    (volume,) = (each for each in pod(complete)["volumes"] if each["name"] == "keys")
    assert (Path(mount["mountPath"]), mount["readOnly"]) == (path.parent, True)
    assert volume["secret"]["secretName"] in (FOLDER / "keys" / "kustomization.yaml").read_text().split("patches:")[0]


def test_adapter_and_keda_count_the_same_refusals_by_reasons_that_the_service_has() -> None:
    queries = [*map(adapter_query, ADAPTER), *KEDA]
    reasons = [set(each.split("|")) for query in queries for each in re.findall(r'reason=~"([^"]+)"', query)]
    assert len(queries) == 2 * len(reasons) == 4
    assert reasons[0] == reasons[1] <= set(REASONS)

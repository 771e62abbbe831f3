"""The manifests are Kubernetes', strictly, and agree with the service's settings, routes and image."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fastapi import FastAPI

from app.environment import check_names
from app.main import create_app
from app.server import GRACE_S
from app.settings import Settings
from tests.conftest import ROOT
from tests.deploy.conftest import DEPLOY

MANIFESTS: dict[str, dict[str, Any]] = {
    manifest["kind"]: manifest for manifest in yaml.safe_load_all((DEPLOY / "kubernetes" / "segment.yaml").read_text())
}
POD = MANIFESTS["Deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
ENVIRONMENT = {entry["name"]: entry["value"] for entry in CONTAINER["env"]}
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def settings() -> Settings:
    values = {name.removeprefix("SEGMENT_").lower(): value for name, value in ENVIRONMENT.items()}
    return Settings(_env_file=None, **values)


@pytest.mark.parametrize("kind", MANIFESTS)
@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_kubernetes_knows_every_field(kind: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[kind], version, strict=True)


def test_variables_are_settings() -> None:
    check_names(ENVIRONMENT, Settings.model_fields)


def test_a_pod_is_given_the_time_that_a_drain_may_take(settings: Settings) -> None:
    needed = settings.lame_duck_s + settings.drain_s + GRACE_S
    assert settings.lame_duck_s > 0
    assert needed < POD["spec"]["terminationGracePeriodSeconds"] < needed + 10


def test_probes_and_ports_are_those_of_the_service(settings: Settings) -> None:
    app: FastAPI = create_app(settings)
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert ports == {"http": settings.port}
    for probe, path in (("livenessProbe", "/health/live"), ("readinessProbe", "/health/ready")):
        assert CONTAINER[probe]["httpGet"] == {"path": path, "port": "http"}
        assert app.url_path_for(path.rsplit("/", 1)[1]) == path
    annotations = POD["metadata"]["annotations"]
    assert (annotations["prometheus.io/port"], annotations["prometheus.io/path"]) == (str(settings.port), "/metrics")
    (port,) = MANIFESTS["Service"]["spec"]["ports"]
    assert port["targetPort"] in ports


def test_selectors_find_the_pod() -> None:
    labels = POD["metadata"]["labels"]
    assert MANIFESTS["Service"]["spec"]["selector"] == labels
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert MANIFESTS[kind]["spec"]["selector"]["matchLabels"] == labels
    (spread,) = POD["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == labels


def test_the_process_may_do_nothing_but_serve() -> None:
    user = int(re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)[0])
    pod, container = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert (pod["runAsNonRoot"], pod["runAsUser"]) == (True, user)
    assert container["readOnlyRootFilesystem"] is True
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    # batches are spooled here
    (mount,) = CONTAINER["volumeMounts"]
    (volume,) = POD["spec"]["volumes"]
    assert (mount["name"], mount["mountPath"]) == (volume["name"], "/tmp")
    assert volume["emptyDir"]["sizeLimit"]
    assert set(CONTAINER["resources"]["limits"]) >= {"cpu", "memory"}

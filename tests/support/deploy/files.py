"""What the files in `deploy/` say, and the programs that read them."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from app.api.jobs import router
from tests.support.checkout import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
GROUPS: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
ALERTS: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [rule["expr"] for group in GROUPS for rule in group["rules"]]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
ADAPTER: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "kubernetes" / "autoscaling" / "prometheus-adapter.yaml").read_text())[
    "rules"
]["custom"]
KEDA = re.findall(r"^ {10}query: (.+)$", (ROOT / "docs" / "platforms.md").read_text(), re.MULTILINE)
JOBS = {route.path for route in router.routes if isinstance(route, APIRoute)}
METRIC = re.compile(r"\b(?:segment|process|python)_[a-z_]+\b")


def adapter_query(rule: dict[str, Any]) -> str:
    """The query that prometheus-adapter makes of its rule, for the pods `one` and `two`."""
    values = {
        "Series": rule["seriesQuery"].split("{")[0],
        "LabelMatchers": 'namespace="default",pod=~"one|two"',
        "GroupBy": "pod",
    }
    return re.sub(r"<<\.(\w+)>>", lambda match: values[match[1]], rule["metricsQuery"])


def assert_confined(pod: dict[str, Any]) -> None:
    """The process of a pod's only container may do nothing but its work: as the image's user, without rights, on `/tmp`."""
    user = int(re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0])
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, user)
    (container,) = pod["containers"]
    own = container["securityContext"]
    assert (own["readOnlyRootFilesystem"], own["allowPrivilegeEscalation"]) == (True, False)
    assert own["capabilities"] == {"drop": ["ALL"]}
    (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
    assert (mount["name"], mount["mountPath"]) == (volume["name"], "/tmp")


def program(name: str, command: str = "apt-get install prometheus") -> str:
    """The path of a program; skips where it is not installed, which in CI is an error. command: what installs it."""
    if path := shutil.which(name):
        return path
    missing = f"{name} is not installed ({command})"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)

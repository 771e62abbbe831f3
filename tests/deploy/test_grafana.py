"""The dashboard has what Grafana requires, and compose puts it where Grafana looks."""

from __future__ import annotations

import json
from typing import Any

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.checkout import ROOT
from tests.support.deploy.files import COMPOSE, DASHBOARD, DEPLOY, PANELS

MONITORING = {name: service for name, service in COMPOSE["services"].items() if service.get("profiles") == ["observability"]}


def unread(document: Any, read: Any, path: str = "") -> list[str]:
    """What of the given document is not, or is otherwise, in what was read of it."""
    if isinstance(document, dict):
        return [each for key, value in document.items() for each in unread(value, (read or {}).get(key), f"{path}/{key}")]
    if isinstance(document, list) and isinstance(read, list) and len(document) == len(read):
        return [each for i, pair in enumerate(zip(document, read, strict=True)) for each in unread(*pair, f"{path}/{i}")]
    return [] if document == read else [path]


def test_grafana_s_own_types_read_all_of_the_dashboard() -> None:
    register_default_plugins()
    read = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(DASHBOARD)))
    assert unread(DASHBOARD, read) == []


def test_the_dashboard_can_be_provisioned() -> None:
    assert DASHBOARD["uid"] == "fcn-segment"
    assert "id" not in DASHBOARD
    assert DASHBOARD["schemaVersion"] >= 36  # from then on a data source is named by its uid
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identities)) == len(identities)
    variables = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert variables == ["datasource", "job", "instance"]
    for panel in PANELS:
        assert panel["title"]
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert target["expr"].count('{job=~"$job", instance=~"$instance"') == target["expr"].count("{")


def test_compose_gives_prometheus_and_grafana_their_files() -> None:
    mounts = {}
    for service in MONITORING.values():
        for source, target, *_ in (volume.split(":") for volume in service["volumes"]):
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
                mounts[source] = target
    assert mounts["./deploy/prometheus"] == "/etc/prometheus"  # where it looks for prometheus.yml
    provisioned = [path for path in mounts.values() if path.startswith("/etc/grafana/provisioning/")]
    assert sorted(path.split("/")[4] for path in provisioned) == ["dashboards", "datasources"]
    (provider,) = yaml.safe_load((DEPLOY / "grafana" / "dashboards.yml").read_text())["providers"]
    assert mounts["./deploy/grafana/dashboard.json"].startswith(provider["options"]["path"] + "/")
    (source,) = yaml.safe_load((DEPLOY / "grafana" / "datasources.yml").read_text())["datasources"]
    assert source["url"].removeprefix("http://").split(":")[0] in MONITORING

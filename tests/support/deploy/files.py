"""What the files in `deploy/` say, and the programs that read them."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import Any

import pytest
import yaml

from tests.support.checkout import ROOT

DEPLOY = ROOT / "deploy"
GROUPS: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
ALERTS: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [rule["expr"] for group in GROUPS for rule in group["rules"]]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
METRIC = re.compile(r"\b(?:segment|process|python)_[a-z_]+\b")


def program(name: str) -> str:
    """The program of Debian's package `prometheus`; skips where it is not installed, which in CI is an error."""
    if path := shutil.which(name):
        return path
    missing = f"{name} is not installed (apt-get install prometheus)"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)

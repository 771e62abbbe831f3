"""The rules and the configuration of Prometheus, read by its own programs; what they ask for is what the service tells."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.harness.serving import free_port
from tests.support.app.exchanges import PHOTO
from tests.support.checkout import ROOT
from tests.support.deploy.files import (
    ADAPTER,
    ALERTS,
    COMPOSE,
    DEPLOY,
    KEDA,
    METRIC,
    QUERIES,
    RULES,
    VARIABLES,
    adapter_query,
    program,
)
from tests.support.polling import HANG_S, wait_until

FOLDER = DEPLOY / "prometheus"
SELECTOR = re.compile(r"\b(?:segment|process)_[a-z_]+\{[^}]*\}")
OF_STATUS = re.compile(r', status[=!~]+"[^"]*"')  # of answers that no service gives for long


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", "alerts.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "alerts_test.yml", "answers_test.yml"],
    ],
)
def test_prometheus_takes_rules_and_configuration_and_the_rules_pass_their_tests(arguments: list[str]) -> None:
    result = subprocess.run([program("promtool"), *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_is_seen_to_fire_and_stands_on_the_operating_page() -> None:
    tests = [test for path in FOLDER.glob("*_test.yml") for test in yaml.safe_load(path.read_text())["tests"]]
    checks = [check for test in tests for check in test.get("alert_rule_test", ())]
    names = [rule["alert"] for rule in ALERTS]
    assert sorted({check["alertname"] for check in checks if check["exp_alerts"]}) == sorted(names)
    assert sorted({check["alertname"] for check in checks if not check["exp_alerts"]}) == sorted(names)
    rows = re.findall(r"^\| `(Segment[A-Za-z]+)` \| (\w+) ", (ROOT / "docs" / "operate.md").read_text(), re.MULTILINE)
    assert rows == [(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS]


def test_rules_and_dashboard_ask_for_metrics_that_the_service_has(narrow_url: str) -> None:
    httpx.post(f"{narrow_url}/segment?format=json", content=PHOTO, timeout=HANG_S)
    queried = {name for text in RULES + QUERIES + VARIABLES for name in METRIC.findall(text)}
    assert len(queried) > 15

    def missing() -> set[str]:
        families = text_string_to_metric_families(httpx.get(f"{narrow_url}/metrics", timeout=HANG_S).text)
        return queried - {sample.name for family in families for sample in family.samples}

    wait_until(lambda: not missing(), lambda: f"no such metrics: {missing()}")  # a request is counted after its answer is sent


def test_what_is_scraped_is_every_instance_of_the_compose_file() -> None:
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    assert job["job_name"] == "segment"
    (names,) = job["dns_sd_configs"]
    services = COMPOSE["services"].items()
    ports = {name: service["environment"]["SEGMENT_PORT"] for name, service in services if "build" in service}
    assert sorted(names["names"]) == sorted(ports)
    assert {names["port"]} == set(map(int, ports.values()))


def test_the_instances_of_systemd_may_be_scraped_in_place_of_those_of_docker() -> None:
    text, count = re.subn(r"(?m)^    # (static_configs: )", r"    \1", (FOLDER / "prometheus.yml").read_text())
    assert count == 1
    (job,) = yaml.safe_load(text)["scrape_configs"]
    ((targets,),) = (each.values() for each in job["static_configs"])
    enabled = re.findall(r"fcn-segment@(\d+)", (DEPLOY / "systemd" / "fcn-segment@.service").read_text())
    balanced = re.findall(r"server \w+ (127\.0\.0\.1:\d+)", (DEPLOY / "haproxy" / "haproxy.cfg").read_text())
    assert targets == [f"127.0.0.1:{port}" for port in enabled] == list(dict.fromkeys(balanced))


@pytest.fixture
def prometheus(narrow_url: str, tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus with our configuration that looks at the service every second."""
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    configuration["global"] = dict.fromkeys(configuration["global"], "1s")
    (job,) = configuration["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [
        {"targets": [narrow_url.removeprefix("http://")], "labels": {"namespace": "default", "pod": "one"}}
    ]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    rules, count = re.subn(r"(?m)^    interval: \S+$", "    interval: 1s", (FOLDER / "alerts.yml").read_text())
    assert count == 1
    (tmp_path / "alerts.yml").write_text(rules)
    port = free_port()
    command = [program("prometheus"), "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, cwd=tmp_path, stderr=log, stdout=log) as process:
        try:
            yield f"http://127.0.0.1:{port}/api/v1"
        finally:
            process.terminate()


def ask(url: str, path: str, **query: str) -> Any:
    try:
        response = httpx.get(f"{url}/{path}", params=query, timeout=HANG_S)
    except httpx.TransportError:
        return None  # it is not there yet
    return response.json()["data"] if response.status_code == 200 else None


@pytest.mark.long
def test_a_real_prometheus_scrapes_the_service_and_finds_what_rules_and_dashboard_ask(prometheus: str, narrow_url: str) -> None:
    def with_variables(query: str) -> str:
        return query.replace("$__rate_interval", "1m").replace("$job", ".+").replace("$instance", ".+")

    selectors = {OF_STATUS.sub("", selector) for rule in RULES for selector in SELECTOR.findall(rule)}
    missing = [with_variables(query) for query in [*QUERIES, *selectors, *map(adapter_query, ADAPTER), *KEDA]]

    def has_all_series() -> bool:
        for body in (PHOTO, b"no image"):
            httpx.post(f"{narrow_url}/segment?format=json", content=body, timeout=HANG_S)
        missing[:] = [query for query in missing if not (ask(prometheus, "query", query=query) or {}).get("result")]
        return not missing

    try:
        wait_until(has_all_series)
    finally:
        assert missing == []

    def target() -> tuple[str, str]:
        (target,) = ask(prometheus, "targets")["activeTargets"]
        return target["health"], target["lastError"]

    wait_until(lambda: target() == ("up", ""), lambda: str(target()))  # a busy machine may miss a second's scrape

    def rules() -> list[tuple[str, str]]:
        rules = [rule for group in ask(prometheus, "rules")["groups"] for rule in group["rules"]]
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}, rules
        return [(rule["health"], rule.get("state", "inactive")) for rule in rules]  # recorded ones have no state

    wait_until(lambda: set(rules()) == {("ok", "inactive")} and len(rules()) == len(RULES))

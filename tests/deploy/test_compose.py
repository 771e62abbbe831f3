"""docker-compose.yml: what reaches the service, and what it may take."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import Any

import pytest

from app.settings import Settings
from app.variables import read_env_file
from tests.support.checkout import ROOT
from tests.support.deploy.files import COMPOSE, DEPLOY
from tests.support.polling import HANG_S

OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
HAPROXY = DEPLOY / "haproxy"


@pytest.mark.long
def test_the_file_is_one_by_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("service", OURS.values(), ids=OURS)
def test_every_line_of_the_settings_file_reaches_each_instance_which_has_limits_and_time_to_drain(
    service: dict[str, Any],
) -> None:
    assert service["env_file"][0] == {"path": ".env", "required": False, "format": "raw"}
    fields = {f"SEGMENT_{field}".upper() for field in Settings.model_fields}
    assert set(service["environment"]) <= fields
    own = {"SEGMENT_DEVICE", "SEGMENT_TRUSTED_PROXIES", "SEGMENT_JOBS_DIR"}
    assert set(service["environment"]) - own == {"SEGMENT_HOST", "SEGMENT_PORT"}
    for port in service.get("ports", []):
        assert port.endswith(f":{service['environment']['SEGMENT_PORT']}")
    (host,) = re.findall(r"SEGMENT_HOST=(\S+)", (ROOT / "Dockerfile").read_text())
    assert service["environment"]["SEGMENT_HOST"] == host == "::"
    settings = Settings()
    (lame_duck,) = re.findall(r"SEGMENT_LAME_DUCK_S=(\d+)", (ROOT / "Dockerfile").read_text())
    assert float(service["stop_grace_period"].rstrip("s")) >= float(lame_duck) + settings.drain_s + 2
    assert service["init"]
    assert service["read_only"]
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)
    (folder,) = service["tmpfs"]
    assert re.fullmatch(r"/tmp:size=\$\{TMP_SIZE:-\dg\}", folder)


@pytest.mark.parametrize("service", OURS.values(), ids=OURS)
def test_jobs_are_on_a_volume_that_the_image_s_user_may_write(service: dict[str, Any]) -> None:
    folders = [volume.partition(":") for volume in service.get("volumes", ())]
    assert ("SEGMENT_JOBS_DIR" in service["environment"]) == bool(folders)
    for name, _, folder in folders:
        assert name in COMPOSE["volumes"]
        assert service["environment"]["SEGMENT_JOBS_DIR"].startswith(f"{folder}/")
        assert f"install -d -o segment -m 700 {folder} " in (ROOT / "Dockerfile").read_text()


def test_no_service_fills_the_disk_with_logs_or_takes_all_memory() -> None:
    for service in COMPOSE["services"].values():
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}
        assert service["mem_limit"]


@pytest.mark.parametrize("variables", [{}, {"KEYS_FILE": "./keys.txt"}, {"KEYS_FILE": ""}], ids=["none", "a file", "empty"])
def test_a_file_of_keys_is_read_as_soon_as_it_is_named(variables: dict[str, str]) -> None:
    (source,) = {secret["file"] for secret in COMPOSE["secrets"].values()}
    assert interpolated(source, variables) == (variables.get("KEYS_FILE") or "/dev/null")
    for service in OURS.values():
        assert service["secrets"] == ["keys"]
        assert {entry["format"] for entry in service["env_file"]} == {"raw"}
        paths = [ROOT / interpolated(entry["path"], variables) for entry in service["env_file"]]
        settings = {name: value for path in paths[1:] for name, value in read_env_file(path).items()}
        assert settings == ({"SEGMENT_API_KEYS_FILE": "/run/secrets/keys"} if variables else {})


def test_ports_are_those_of_this_machine_unless_an_address_is_set() -> None:
    all_variables: list[dict[str, str]] = [{}, {"PUBLISH_ADDRESS": ""}, {"PUBLISH_ADDRESS": "0.0.0.0"}]
    for variables in all_variables:
        addresses = {
            name: {interpolated(port, variables).rsplit(":", 2)[0] for port in service.get("ports", ())}
            for name, service in COMPOSE["services"].items()
        }
        own, local = {variables.get("PUBLISH_ADDRESS") or "127.0.0.1"}, {"127.0.0.1"}
        assert addresses == {
            "segment": own, "gpu": own, "proxy": own, "replica": set(), "prometheus": local, "grafana": local,
        }  # fmt: skip


def interpolated(text: str, variables: dict[str, str]) -> str:
    """The text with Compose's variables, by its specification: `${NAME:-default}` and `${NAME+replacement}`."""

    def value(match: re.Match[str]) -> str:
        name, operator, other = match.groups()
        if operator == "+":
            return other if name in variables else ""
        return variables.get(name) or other

    return re.sub(r"\$\{(\w+)(:-|\+)([^}]*)\}", value, text)


def test_the_default_services_are_those_without_a_profile() -> None:
    assert [name for name, service in COMPOSE["services"].items() if "profiles" not in service] == ["segment"]


def test_the_replicas_have_the_proxy_s_configuration_but_for_their_addresses() -> None:
    def lines(name: str) -> list[str]:
        text = re.sub(r"(?m)\s*#.*$", "", (HAPROXY / name).read_text())
        return [line.strip() for line in text.splitlines() if line.strip()]

    own = lines("compose.cfg")
    missing = [line for line in lines("haproxy.cfg") if line not in own]
    servers = ["server first 127.0.0.1:8001", "server second 127.0.0.1:8002"]
    assert [line for line in missing if "txn.client" not in line] == [*servers, *servers, "bind 127.0.0.1:8404"]


def test_haproxy_s_buffers_fit_its_memory() -> None:
    for name in ("haproxy.cfg", "compose.cfg"):
        text = (HAPROXY / name).read_text()
        words = ("maxconn", "tune.buffers.limit", "tune.bufsize")
        connections, buffers, size = (int(re.findall(rf"(?m)^  {word} (\d+)$", text)[0]) for word in words)
        assert 2 * connections <= buffers
        assert buffers * size < 0.95 * (int(COMPOSE["services"]["proxy"]["mem_limit"].rstrip("g")) << 30)


@pytest.mark.long
@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
def test_haproxy_reads_its_configurations() -> None:
    for name in ("haproxy.cfg", "compose.cfg"):
        command = ["haproxy", "-c", "-f", str(HAPROXY / name)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
        assert (result.returncode, result.stderr) == (0, "")

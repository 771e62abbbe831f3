"""The container's health check: the very command of the Dockerfile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.health_check import ports
from app.settings import read_settings
from benchmarks.harness.serving import free_port
from tests.support.checkout import ROOT
from tests.support.polling import wait_until
from tests.support.servers import fcn_serve

WORDS = re.search(r"^HEALTHCHECK .*?CMD (\[.*?\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE | re.DOTALL)


NAMES = (
    "SEGMENT_PORT",
    "SEGMENT_HOST",
    "PORT",
    "SAGEMAKER_BIND_TO_PORT",
    "SAGEMAKER_BATCH",
    "AIP_HTTP_PORT",
    "AIP_PREDICT_ROUTE",
)


def check(**variables: str) -> int:
    """The exit status of the check in an environment with these variables."""
    assert WORDS
    python, *arguments = json.loads(WORDS[1])
    assert python == "python3"
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | variables
    return subprocess.run([sys.executable, *arguments], env=environment, stderr=subprocess.DEVNULL, check=False).returncode


def test_the_container_s_health_check_asks_no_proxy(narrow_file: Path, tmp_path: Path) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with fcn_serve(narrow_file, tmp_path) as it:
        # again where a busy machine takes longer than the check's two seconds
        wait_until(lambda: check(SEGMENT_PORT=str(it.port)) == 0)
        proxies = {"http_proxy": dead, "HTTP_PROXY": dead, "all_proxy": dead, "no_proxy": ""}
        wait_until(lambda: check(SEGMENT_PORT=str(it.port), **proxies) == 0)
    assert check(SEGMENT_PORT=str(it.port)) == 1


@pytest.mark.parametrize(
    "variables",
    [
        {"PORT": "{port}"},
        {"PORT": "1", "SEGMENT_PORT": "{port}"},
        {"PORT": "1", "AIP_HTTP_PORT": "{port}"},
        {"PORT": "1", "AIP_HTTP_PORT": "2", "SEGMENT_PORT": "{port}", "SEGMENT_HOST": "127.0.0.1"},
        {"PORT": "1", "SAGEMAKER_BIND_TO_PORT": "{port}"},
        {"PORT": "{port}", "SEGMENT_PORT": "tcp://10.0.0.1:80", "SEGMENT_HOST": "0.0.0.0"},
    ],
    ids=lambda variables: "+".join(variables),
)
def test_the_health_check_asks_the_port_that_is_served(variables: dict[str, str], narrow_url: str) -> None:
    port = narrow_url.rpartition(":")[2]
    own = {name: value.format(port=port) for name, value in variables.items()}
    wait_until(lambda: check(**own) == 0)
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.delenv(name, raising=False)
        for name, value in own.items():
            patch.setenv(name, value)
        assert read_settings().port == int(port)


def test_the_health_check_finds_sagemaker_s_port_without_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its container has the argument `serve`, and the image's `PORT`."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PORT", "8000")
    assert read_settings(platform="sagemaker").port == 8080
    assert ports({"PORT": "8000"}) == ["8000", "8080"]
    assert ports({"PORT": "8000", "segment_port": "81"}) == ["81"]
    assert ports({"PORT": "81", "AIP_HTTP_PORT": "82", "SEGMENT_PLATFORM": "none"}) == ["81", "8080"]
    assert ports({}) == ["8000", "8080"]


def test_the_health_check_fails_where_no_port_is_right() -> None:
    assert check(AIP_HTTP_PORT="http") == 1
    assert check(SEGMENT_PORT=str(free_port())) == 1

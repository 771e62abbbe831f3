"""The container's health check: the very command of the Dockerfile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from app.health_check import ports
from app.settings import read_settings
from benchmarks.harness.serving import free_port
from tests.support.checkout import ROOT
from tests.support.polling import wait_until

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


def test_the_container_s_health_check_asks_the_service_and_no_proxy(narrow_url: str) -> None:
    port, dead = narrow_url.rpartition(":")[2], f"http://127.0.0.1:{free_port()}"
    # a busy machine takes longer than the check's two seconds
    wait_until(lambda: check(PORT="1", SEGMENT_PORT=port, SEGMENT_HOST="0.0.0.0") == 0)
    proxies = {"http_proxy": dead, "HTTP_PROXY": dead, "all_proxy": dead, "no_proxy": ""}
    wait_until(lambda: check(SEGMENT_PORT=port, **proxies) == 0)
    assert check(AIP_HTTP_PORT="http") == 1
    assert check(SEGMENT_PORT=str(free_port())) == 1


def test_it_asks_the_port_that_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """SageMaker's is the second, where its container has the argument `serve` and no variable, but the image's `PORT`."""
    for variables, asked in (
        ({}, ["8000", "8080"]),
        ({"PORT": "81"}, ["81", "8080"]),
        ({"PORT": "1", "segment_port": "81"}, ["81"]),
        ({"PORT": "1", "AIP_HTTP_PORT": "81"}, ["81", "8080"]),
        ({"PORT": "81", "AIP_HTTP_PORT": "1", "SEGMENT_PLATFORM": "none"}, ["81", "8080"]),
        ({"PORT": "1", "SAGEMAKER_BIND_TO_PORT": "81"}, ["81", "8080"]),
        ({"PORT": "81", "SEGMENT_PORT": "tcp://10.0.0.1:80"}, ["81", "8080"]),
    ):
        assert ports(variables) == asked
        with monkeypatch.context() as patch:
            for name in (*NAMES, "SEGMENT_PLATFORM"):
                patch.delenv(name, raising=False)
            for name, value in variables.items():
                patch.setenv(name, value)
            assert read_settings().port == int(asked[0])
            assert "PORT" in variables or read_settings(platform="sagemaker").port == 8080

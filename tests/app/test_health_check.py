"""The container's health check: the very command of the Dockerfile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from benchmarks.harness.serving import free_port
from tests.support.checkout import ROOT
from tests.support.polling import wait_until
from tests.support.servers import Process

WORDS = re.search(r"^HEALTHCHECK .*?CMD (\[.*?\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE | re.DOTALL)


def check(**variables: object) -> int:
    """The exit status of the check in an environment with these variables."""
    assert WORDS
    python, *arguments = json.loads(WORDS[1])
    assert python == "python3"
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    return subprocess.run([sys.executable, *arguments], env=environment, stderr=subprocess.DEVNULL, check=False).returncode


def test_the_container_s_health_check_asks_the_service_and_no_proxy(running: Process) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    proxies = {"http_proxy": dead, "HTTP_PROXY": dead, "all_proxy": dead, "no_proxy": ""}
    # again where a busy machine takes longer than the check's two seconds
    for host in ("0.0.0.0", "::", "127.0.0.1"):  # the service here has no IPv6
        wait_until(lambda host=host: check(SEGMENT_PORT=running.port, SEGMENT_HOST=host, **proxies) == 0)
    wait_until(lambda: check(PORT=running.port) == 0)
    assert check(SEGMENT_PORT=free_port()) == 1
    assert check(AIP_HTTP_PORT="http") == 1

"""The container's health check. `python3 -P -m app.health_check` exits with 0 if the service here is ready, else with 1."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping

from app.platform_variables import SAGEMAKER_PORT, WrongPort, implied_settings

TIMEOUT_S = 2.0
DEFAULT_PORT = 8000
EVERY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def ports(variables: Mapping[str, str]) -> list[int]:
    """Where the service may listen, by the environment: `SEGMENT_PORT`, else the platform's port or `PORT`.

    SageMaker's port comes last, because SageMaker names itself in the container's argument, which this process does not see.
    Empty if the environment has a wrong port, with which the service does not start.
    """
    settings = {name.upper(): value for name, value in variables.items()}
    own = settings.get("SEGMENT_PORT", "")
    if own.isascii() and own.isdecimal():  # else Kubernetes has set it for a Service
        return [int(own)]
    platform = settings.get("SEGMENT_PLATFORM")
    try:
        port = int(implied_settings(variables, {"platform": platform} if platform else {}).get("port", DEFAULT_PORT))
    except WrongPort:
        return []
    return [port, int(SAGEMAKER_PORT)]


def is_ready(host: str, port: int) -> bool:
    """Whether a service there answers that it is ready. No proxy is asked."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    address = os.environ.get("SEGMENT_HOST", "")
    sys.exit(not any(is_ready(EVERY_ADDRESS.get(address, address), port) for port in ports(os.environ)))

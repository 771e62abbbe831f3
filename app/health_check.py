"""The container's health check. `python3 -P -m app.health_check` exits with 0 if the service here is ready, else with 1."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping

from app.platform_variables import SAGEMAKER_PORT, implied_settings

TIMEOUT_S = 2.0
DEFAULT_PORT = "8000"
EVERY_ADDRESS = {"", "0.0.0.0", "::"}  # noqa: S104
LOOPBACK = ("127.0.0.1", "::1")  # `::` is IPv4 alone where there is no IPv6


def ports(variables: Mapping[str, str]) -> list[str]:
    """Where the service may listen, by the environment: `SEGMENT_PORT`, else the platform's port or `PORT`.

    SageMaker's port comes last, because SageMaker names itself in the container's argument, which this process does not see.
    """
    settings = {name.upper(): value for name, value in variables.items()}
    own = settings.get("SEGMENT_PORT", "")
    if own.isdecimal():  # else Kubernetes has set it for a Service
        return [own]
    platform = {"platform": settings["SEGMENT_PLATFORM"]} if "SEGMENT_PLATFORM" in settings else {}
    _, port = implied_settings(variables, platform).get("port", ("", DEFAULT_PORT))
    return [port, SAGEMAKER_PORT]


def is_ready(host: str, port: str) -> bool:
    """Whether a service there answers that it is ready. No proxy is asked."""
    try:
        connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, OverflowError, ValueError, http.client.HTTPException):  # no service, or no port
        return False


if __name__ == "__main__":
    host = os.environ.get("SEGMENT_HOST", "")
    hosts = LOOPBACK if host in EVERY_ADDRESS else (host,)
    sys.exit(not any(is_ready(each, port) for port in ports(os.environ) for each in hosts))

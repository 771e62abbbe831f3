"""Compares the services of two checkouts: the same settings, weights and requests, one request at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.commits.differences import Report
from benchmarks.commits.exchanges import Case, Client, case
from benchmarks.commits.requests import (
    Facts,
    few_cases,
    form_cases,
    head_cases,
    image_cases,
    limit_cases,
    parameter_cases,
    route_cases,
    socket_cases,
)
from benchmarks.harness.serving import service

Checkouts = tuple[Path, Path]
"""The former checkout and this one."""
SMALL_MB, FIXED = 500, {"runtime": "openvino", "device": "cpu", "precision": "float32", "threads": 1, "memory_mb": 1500}
KEYS = {"Authorization": "Bearer first-key"}


class Setup(NamedTuple):
    """A service's settings, and the requests to it. ends: whether it is ended under the last ones."""

    settings: Mapping[str, object]
    cases: tuple[Callable[[Facts], Iterator[Case]], ...]
    ends: bool = False


KEYED = {
    "api_keys": "alice:first-key,second-key", "protect_all": True, "cors_origins": "https://example.org",
    "root_path": "/segmentation",
}  # fmt: skip
NARROW_LIMITS = {
    "max_upload_mb": 0.1, "max_batch_mb": 0.15, "max_megapixels": 0.1, "max_queued_tiles": 20, "upload_timeout_s": 1,
}  # fmt: skip
SETUPS = {
    "parameters": Setup({}, (parameter_cases,)),
    "images": Setup({}, (image_cases,)),
    "requests": Setup({}, (form_cases, head_cases, route_cases)),
    "sockets": Setup({}, (socket_cases,)),
    "keys": Setup(KEYED, (route_cases,)),
    "limits": Setup(NARROW_LIMITS, (limit_cases,)),
    "late": Setup({"request_timeout_s": 0.01, "lame_duck_s": 3}, (head_cases,), ends=True),
    "sagemaker": Setup({"platform": "sagemaker"}, (form_cases, route_cases)),
    "vertex": Setup({"platform": "vertex_ai", "vertex_predict_route": "/predict"}, (form_cases, route_cases)),
    "default": Setup({"weights": "", "precision": "auto"}, (few_cases,)),
}


def compare_services(report: Report, checkouts: Checkouts, weights: str, default: str, name: str, folder: Path) -> None:
    """Starts both services with the settings of this name in `SETUPS`, and adds their answers to the report.

    weights: the files of cheap networks; default: that of the default network. folder: gets the services' logs.
    """
    setup = SETUPS[name]
    settings = FIXED | {"weights": weights} | setup.settings
    settings |= {"weights": settings["weights"] or default}
    with ExitStack() as stack:
        servers = [
            stack.enter_context(service(checkout=checkout, log=folder / f"{name}-{side}.log", **settings))
            for side, checkout in zip(("former", "this"), checkouts, strict=True)
        ]
        facts = Facts.of(*(server.url for server in servers), headers=KEYS)
        clients = [Client(server.url) for server in servers]
        for each in (each for cases in setup.cases for each in cases(facts)):
            report.add(each.kind, f"{name}: {each.name}", *(client.ask(each) for client in clients))
        if setup.ends:
            for server in servers:
                server.process.terminate()
            ready = case("ending", "GET", "/health/ready")
            while any(b"200" in client.ask(ready)["status"] for client in clients):
                time.sleep(0.05)
            for each in (ready, case("ending", "POST", "/segment", content=b"")):
                report.add(each.kind, each.name, *(client.ask(each) for client in clients))


COMPARISONS = {name: partial(compare_services, name=name) for name in SETUPS}

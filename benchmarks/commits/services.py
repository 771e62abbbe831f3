"""Compares the services of two checkouts: the same settings, weights and requests, one request at a time."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.commits.differences import Report
from benchmarks.commits.exchanges import Client, case
from benchmarks.commits.requests import CASES, TABLES, Facts
from benchmarks.harness.serving import ROOT, service

Checkouts = tuple[Path, Path]
"""The former checkout and this one."""
FIXED: dict[str, Any] = {"runtime": "openvino", "device": "cpu", "precision": "float32", "threads": 1, "memory_mb": 1500}


def compare_services(report: Report, checkouts: Checkouts, weights: Path, folder: Path, *, name: str) -> None:
    """Starts both services as the table `services.NAME` says, sends its requests, and ends both while they are asked.

    weights: the folder of the cheap networks. folder: gets the services' logs.
    """
    table = TABLES["services"][name]
    settings = FIXED | {"weights": f"{weights}/varied.safetensors,{weights}/narrow.safetensors"} | table.get("settings", {})
    if "weights" in table.get("settings", {}):
        settings["weights"] = ROOT / "weights" / f"{settings['weights']}.safetensors"
    with ExitStack() as stack:
        servers = [
            stack.enter_context(service(checkout=checkout, log=folder / f"{side}.log", **settings))
            for side, checkout in enumerate(checkouts)
        ]
        facts, clients = Facts(*(server.url for server in servers)), [Client(server.url) for server in servers]
        for each in (each for cases in table["cases"] for each in CASES[cases](facts)):
            report.add(each.kind, f"{name}: {each.name}", *(client.ask(each) for client in clients))
        if "lame_duck_s" in settings:
            for server in servers:
                server.process.terminate()
            ready = case("ending", "GET", "/health/ready")
            while any(b" 200 " in client.ask(ready)["status"] for client in clients):
                time.sleep(0.05)
            for each in (ready, case("ending", "POST", "/segment", content=b"")):
                report.add(each.kind, each.name, *(client.ask(each) for client in clients))


COMPARISONS = {name: partial(compare_services, name=name) for name in TABLES["services"]}

"""SageMaker's contract: how it starts a container, asks for its health, invokes it, and ends it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from benchmarks.harness.serving import ROOT, free_port, start_server
from tests.support.app.exchanges import PHOTO, assert_problem
from tests.support.app.services import Serve, module_client
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import LARGE

SCRIPT = re.compile(r"(printf '[^']+') > /usr/local/bin/serve")
CONSOLE_SCRIPT = """#!{}
import sys
from cli.start import serve
if __name__ == "__main__":
    sys.exit(serve())
"""
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


client = module_client(platform="sagemaker")


def invoke(client: TestClient, data: bytes = PHOTO, **headers: str) -> Any:
    return client.post("/invocations", content=data, headers={"Content-Type": "application/x-image", **headers})


@pytest.fixture
def image_serve(tmp_path: Path) -> Path:
    """The container's program `serve`, made by the Dockerfile's own words, with this checkout's `fcn-serve` beside it."""
    words = SCRIPT.search((ROOT / "Dockerfile").read_text())
    assert words
    program, command = tmp_path / "serve", tmp_path / "fcn-serve"
    program.write_text(subprocess.check_output(["sh", "-c", words[1]], text=True))
    command.write_text(CONSOLE_SCRIPT.format(sys.executable))
    program.chmod(0o755)
    command.chmod(0o755)
    return program


@pytest.mark.long
def test_a_container_that_sagemaker_starts_and_ends(image_serve: Path, narrow_file: Path, tmp_path: Path) -> None:
    port = free_port()
    variables = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
        "SAGEMAKER_BIND_TO_PORT": str(port), "PORT": "8000",
        "SEGMENT_WEIGHTS": str(narrow_file), "SEGMENT_DEVICE": "cpu", "SEGMENT_RUNTIME": "openvino", "SEGMENT_TILE": "96",
        "SEGMENT_THREADS": "1", "SEGMENT_LAME_DUCK_S": "600",
    }  # fmt: skip
    log = tmp_path / "log"
    with (
        start_server([str(image_serve)], port, "/ping", variables, log=log) as server,
        httpx.Client(base_url=server.url, timeout=HANG_S) as client,
        ThreadPoolExecutor() as pool,
    ):
        headers = {"Content-Type": "image/png", "Accept": "application/json"}
        answer = client.post("/invocations", content=PHOTO, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.content == client.post("/segment", content=PHOTO, params={"format": "json"}).content
        large = pool.submit(client.post, "/invocations", content=LARGE, headers={ATTRIBUTES: "side=2000"})
        wait_until(lambda: client.get("/health").json()["queued_tiles"] > 0)
        assert client.get("/ping").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/ping").status_code == 503)
        assert large.result(HANG_S).status_code == 200
        assert client.post("/invocations", content=PHOTO).status_code == 200  # the lame-duck time
    assert '"/ping"' not in log.read_text()  # what is polled is not logged


def test_attributes_are_parameters(client: TestClient) -> None:
    expected = client.post("/segment", content=PHOTO, params={"format": "overlay", "alpha": 0.25, "image_format": "jpeg"})
    answer = invoke(client, **{ATTRIBUTES: "format=overlay&alpha=0.25&image_format=jpeg"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.content == expected.content
    assert answer.headers["etag"] == expected.headers["etag"]
    assert {"server-timing", "x-request-id"} <= set(answer.headers)
    both = client.post("/invocations?format=overlay&alpha=0.25", content=PHOTO, headers={ATTRIBUTES: "image_format=jpeg"})
    assert both.content == expected.content


def test_keys_are_asked_for_by_invocations_alone(serve: Serve) -> None:
    with serve(platform="sagemaker", api_keys="secret", protect_all=True) as client:
        assert client.get("/ping").status_code == 200
        assert_problem(invoke(client), 401)
        assert invoke(client, **{"X-API-Key": "secret"}).status_code == 200
        document = client.get("/openapi.json", headers={"X-API-Key": "secret"}).json()
        assert document["paths"]["/invocations"]["post"]["security"]


def test_the_routes_are_there_only_on_the_platform(client: TestClient, serve: Serve) -> None:
    assert "/invocations" in client.get("/openapi.json").json()["paths"]
    with serve() as plain:
        assert not {"/invocations", "/predict"} & set(plain.get("/openapi.json").json()["paths"])
        assert_problem(invoke(plain), 404)


def test_the_answer_s_attributes_say_what_headers_say_of_its_object(client: TestClient) -> None:
    for query, facts in (
        ("format=cutout&classes=circle", "box=0,0,130,90"),
        ("format=cutout&classes=square", "box=none"),
        ("format=overlay&classes=square", "object_pixels=0"),
        ("format=png", None),
    ):
        assert invoke(client, **{ATTRIBUTES: query}).headers.get(ATTRIBUTES) == facts

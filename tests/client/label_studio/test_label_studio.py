"""The backend in a real Label Studio, which `make label-studio` installs: predictions appear with the right pixels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from fcn_client import SegmentClient

from benchmarks.harness.serving import free_port, start_server
from tests.support.checkout import ROOT
from tests.support.client.label_studio import configuration
from tests.support.polling import HANG_S, LONGEST_S, POLL_S

VENV = ROOT / "build" / "label-studio" / "bin"
PHOTOS = ROOT / "docs" / "photos"
KEY = "0123456789abcdef0123456789abcdef01234567"
SIZE = (300, 451)
BACKEND = "import sys; from fcn_client.label_studio.command import main; sys.exit(main())"
# decodes brush labels with the SDK's own code: a list of run lengths on standard input, masks as one array in a file
DECODE = """
import json, sys
import numpy as np
from label_studio_sdk.converter.brush import decode_rle
np.save(sys.argv[1], [decode_rle(rle) for rle in json.load(sys.stdin)])
"""
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not (VENV / "label-studio").exists(), reason="no Label Studio: make label-studio"),
]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a Label Studio with SQLite in an empty folder, as the user with the key `KEY`."""
    folder = tmp_path_factory.mktemp("label-studio")
    port = free_port()
    command = [
        str(VENV / "label-studio"), "start", "--no-browser", "--data-dir", str(folder), "--internal-host", "127.0.0.1",
        "--port", str(port), "--username", "me@example.org", "--password", "not-a-secret", "--user-token", KEY,
        "--enable-legacy-api-token",
    ]  # fmt: skip
    variables = {"COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": ""}
    variables |= {f"ML_TIMEOUT_{name}": str(HANG_S) for name in ("HEALTH", "SETUP", "PREDICT")}
    variables["ML_CONNECTION_TIMEOUT"] = str(HANG_S)
    with (
        start_server(command, port, None, variables, folder, folder / "log") as server,
        httpx.Client(base_url=server.url, headers={"Authorization": f"Token {KEY}"}, timeout=HANG_S) as client,
    ):
        end = time.monotonic() + LONGEST_S  # it makes its database first, which takes a minute on a machine with nothing to do
        while not is_up(client):
            assert server.process.status() != psutil.STATUS_ZOMBIE, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(POLL_S)
        yield client


def is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        return False


@contextmanager
def backend(service: str, folder: Path, **environment: str) -> Iterator[str]:
    port = free_port()
    command = (sys.executable, "-c", BACKEND, "--service", service, "--port", str(port), "--tolerance", "0")
    command += ("--setup-timeout", str(HANG_S))
    variables = {name: "" for name in os.environ if name.startswith("LABEL_STUDIO")} | environment
    with start_server(command, port, "/health", variables, folder, folder / "log") as server:
        yield server.url


def document_of(response: httpx.Response) -> Any:
    assert response.is_success, response.text
    return response.json()


def predictions(studio: httpx.Client, backend_url: str, tag: str) -> list[Any]:
    """Makes a project with two uploaded photographs, connects the backend, and gets the predictions of the first.

    The model is named as its version, as the documentation advises: so tasks have their score in the list.
    """
    config = configuration(tag).replace("$photo", "$image")
    number = document_of(studio.post("/api/projects", json={"title": f"Trial of {tag}", "label_config": config}))["id"]
    files = [(name, (name, (PHOTOS / name).read_bytes(), "image/jpeg")) for name in ("chelsea.jpg", "coffee.jpg")]
    assert document_of(studio.post(f"/api/projects/{number}/import", files=files))["task_count"] == 2
    (version,) = document_of(httpx.get(f"{backend_url}/versions", timeout=HANG_S))["versions"]
    model = document_of(studio.post("/api/ml", json={"url": backend_url, "project": number, "title": version}))
    assert (model["readable_state"], model["model_version"]) == ("Connected", version)
    action = {"id": "retrieve_tasks_predictions", "project": number}
    everything = {"selectedItems": {"all": True, "excluded": []}}
    assert document_of(studio.post("/api/dm/actions", params=action, json=everything))["processed_items"] == 2
    tasks = document_of(studio.get("/api/tasks", params={"project": number, "fields": "all"}))["tasks"]
    first = next(task for task in tasks if task["data"]["image"].endswith("chelsea.jpg"))
    (prediction,) = document_of(studio.get(f"/api/tasks/{first['id']}"))["predictions"]
    assert 0 < prediction["score"] == first["predictions_score"] < 1
    results: list[Any] = prediction["result"]
    assert all((result["original_height"], result["original_width"]) == SIZE for result in results)
    return results


def cat(service: str) -> Any:
    with SegmentClient(service) as client:
        return client.segment(PHOTOS / "chelsea.jpg").mask("cat")


def test_brush_labels_have_the_pixels_of_the_class(studio: httpx.Client, live_url: str, tmp_path: Path) -> None:
    """Label Studio's address and key are those that its `/setup` sends."""
    with backend(live_url, tmp_path) as url:
        results = predictions(studio, url, "BrushLabels")
    assert {tuple(result["value"]["brushlabels"]) for result in results} == {("Cat",)}
    lists = json.dumps([result["value"]["rle"] for result in results])
    command = [str(VENV / "python"), "-c", DECODE, str(tmp_path / "masks.npy")]
    subprocess.run(command, input=lists, text=True, check=True, timeout=HANG_S)
    masks = np.load(tmp_path / "masks.npy").reshape(-1, *SIZE, 4)
    assert set(np.unique(masks)) == {0, 255}
    np.testing.assert_array_equal((masks == 255).any(axis=0).all(axis=-1), cat(live_url))


def test_polygon_labels_come_for_images_that_a_token_fetches(studio: httpx.Client, live_url: str, tmp_path: Path) -> None:
    """Images are fetched with a personal access token."""
    token = document_of(studio.post("/api/token/", json={}))["token"]
    with backend(live_url, tmp_path, LABEL_STUDIO_URL=str(studio.base_url), LABEL_STUDIO_API_KEY=token) as url:
        results = predictions(studio, url, "PolygonLabels")
    assert {tuple(result["value"]["polygonlabels"]) for result in results} == {("Cat",)}

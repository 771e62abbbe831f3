"""A network that takes its time to compile: what health checks and images get meanwhile, at the start and in a reload."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.serving.watchdog import INTERVAL_S
from app.settings import Settings
from model.inference.loading import load_runtime
from model.inference.runtime import Runtime
from model.weights_file import WeightsFiles
from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, service_of
from tests.support.model.doubles import HeldRuntime, Hold
from tests.support.polling import HANG_S, wait_until


class SlowLoad:
    """Compiles a network only while `compiling` is open; the network runs only while `running` is open."""

    def __init__(self) -> None:
        self.compiling, self.running = Hold(), Hold()

    def __call__(self, files: WeightsFiles, *options: object) -> Runtime:
        self.compiling()
        return HeldRuntime(load_runtime(files, *options), self.running)  # type: ignore[arg-type]


def stay_for_longer_than_a_stall(client: TestClient) -> None:
    """The watchdog looks as often as in the time of a stall, and finds nothing; the event loop answers in between."""
    watchdog = service_of(client).watchdog
    watchdog.stop()  # its thread; it looks here
    for _ in range(round(watchdog.stall_s / INTERVAL_S) + 2):
        assert watchdog.look() is None
        assert client.get("/health/live").status_code == 200
    assert service_of(client).failure is None


def test_while_networks_compile_and_warm_up_it_is_live_and_says_what_it_waits_for(
    narrow_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, load = tmp_path / "copy.onnx", SlowLoad()
    shutil.copy(narrow_file.with_suffix(".onnx"), copy)
    monkeypatch.setattr("app.serving.registry.load_runtime", load)
    weights = f"{narrow_file},{copy}"
    app = create_app(Settings(weights=weights, device="cpu", runtime="openvino", precision="float32", tile="96", threads=1))
    with load.compiling, load.running, TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        assert load.compiling.entry.wait(HANG_S)
        stay_for_longer_than_a_stall(client)
        for path in ("/health/ready", "/health/ready?model=narrow", "/health/ready?model=copy", "/models", "/info"):
            assert_problem(client.get(path), 503, "starting: loading and compiling narrow")
        assert_problem(client.post("/segment", content=PHOTO), 503, "starting: loading and compiling narrow")
        assert_problem(client.get("/health/ready?model=third"), 404, "model must be one of narrow, copy, got 'third'")

        load.compiling.open()
        assert load.running.entry.wait(HANG_S)
        stay_for_longer_than_a_stall(client)
        assert_problem(client.get("/health/ready"), 503, "starting: warming up narrow")

        load.compiling.close()
        load.running.open()
        assert load.compiling.entry.wait(HANG_S)
        wait_until(lambda: client.get("/health/ready?model=narrow").status_code == 200)  # the first worker takes its time
        for path in ("/health/ready", "/health/ready?model=copy"):
            assert_problem(client.get(path), 503, "starting: loading and compiling copy")
        assert client.get("/health").json()["ready"]["reason"] == "starting: loading and compiling copy"
        assert client.post("/segment", content=PHOTO).status_code == 200
        assert_problem(client.post("/segment?model=copy", content=PHOTO), 503, "starting: loading and compiling copy")
        assert_problem(client.post("/segment?model=third", content=PHOTO), 422, "one of narrow, copy, got 'third'")

        load.compiling.open()
        for query in ("", "?model=narrow", "?model=copy"):
            wait_until(lambda query=query: client.get(f"/health/ready{query}").status_code == 200)  # type: ignore[misc]
        assert client.post("/segment?model=copy", content=PHOTO).status_code == 200
        assert_idle(service_of(client))

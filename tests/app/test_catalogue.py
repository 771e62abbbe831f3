"""Several models in one service, and their replacement while requests go on."""

from __future__ import annotations

import gc
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.service import Service
from model import highest, merging
from model.labels import numbered_labels
from model.preprocessing import Preprocessing
from model.weights_file import Manifest, save_weights
from tests.app.conftest import Serve
from tests.conftest import encoded, make_photo, narrow_net, randomise, wait_for

PHOTO = encoded(make_photo(70, 101))


def save(path: Path, seed: int, names: list[str]) -> Path:
    net = randomise(narrow_net(), seed)
    save_weights(path, net, Manifest(net.architecture, numbered_labels(names), Preprocessing(side=(64, 128)), "Apache-2.0"))
    return path


@pytest.fixture(scope="module")
def other_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("other") / "other.safetensors", 7, ["sky", "road", "tree", "car"])


@pytest.fixture(scope="module")
def both(serve: Serve, narrow_file: Path, other_file: Path) -> Iterator[TestClient]:
    with serve(weights=f"{narrow_file}, {other_file}") as client:
        yield client


def service_of(client: TestClient) -> Service:
    found: Service = client.app.state.service  # type: ignore[attr-defined]
    return found


def test_models_are_listed_with_their_labels_and_the_first_is_the_default(both: TestClient) -> None:
    models = both.get("/models").json()
    assert [(entry["name"], entry["default"]) for entry in models] == [("narrow", True), ("other", False)]
    assert [entry["name"] for entry in models[1]["classes"]] == ["sky", "road", "tree", "car"]
    assert models[0]["sha256"] != models[1]["sha256"]


def test_model_picks_the_network_and_its_labels(both: TestClient) -> None:
    default, narrow, other = (
        both.post("/segment?format=json" + query, content=PHOTO).json() for query in ("", "&model=narrow", "&model=other")
    )
    assert default == narrow
    assert other["model"]["name"] == "other"
    assert {entry["name"] for entry in other["classes"]} <= {"sky", "road", "tree", "car"}
    assert other["class_map"] != narrow["class_map"]
    assert both.get("/classes?model=other").json()[0]["name"] == "sky"
    assert both.get("/info?model=other").json()["model"]["name"] == "other"
    assert both.get("/info").json()["model"]["name"] == "narrow"


@pytest.mark.parametrize("path", ["/classes", "/info", "/segment"])
def test_an_unknown_model_is_refused_with_the_choices(both: TestClient, path: str) -> None:
    response = both.request("POST" if path == "/segment" else "GET", f"{path}?model=third", content=PHOTO)
    assert response.status_code == 422
    assert response.json()["detail"] == "model must be one of narrow, other, got 'third'"
    assert service_of(both).queued_tiles == 0


def test_two_files_of_one_name_do_not_start(serve: Serve, narrow_file: Path, tmp_path: Path) -> None:
    shutil.copy(narrow_file, tmp_path / narrow_file.name)
    with (
        pytest.raises(AssertionError, match="two weights files are named narrow"),
        serve(weights=f"{narrow_file},{tmp_path}/narrow.safetensors"),
    ):
        pass


def test_a_reload_serves_the_new_file_and_drops_no_request(serve: Serve, narrow_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    shutil.copy(narrow_file, path)
    with serve(weights=str(path)) as client, ThreadPoolExecutor(5) as pool:
        service = service_of(client)
        before = client.post("/segment", content=PHOTO).content
        old = service.corridors[0]
        stop = threading.Event()

        def ask() -> set[bytes]:
            answers = set()
            while not stop.is_set():
                response = client.post("/segment", content=PHOTO)
                assert response.status_code == 200, response.text
                answers.add(response.content)
            return answers

        asking = [pool.submit(ask) for _ in range(4)]
        save(path, 7, ["a", "b", "c", "d"])
        service.reload()
        try:
            wait_for(lambda: not old.engine.alive)
        finally:
            stop.set()
        answers = set[bytes]().union(*(each.result(30) for each in asking))
        after = client.post("/segment", content=PHOTO).content
        assert before != after
        assert {before, after} >= answers
        assert client.get("/classes").json()[0]["name"] == "a"
        assert client.get("/health/ready").status_code == 200


def test_a_reload_that_fails_leaves_all_as_it_was(
    serve: Serve, narrow_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mine.safetensors"
    shutil.copy(narrow_file, path)
    with serve(weights=str(path)) as client:
        before = client.post("/segment", content=PHOTO).content
        path.write_bytes(b"broken")
        service_of(client).reload()
        wait_for(lambda: "not reloaded" in caplog.text)
        assert client.post("/segment", content=PHOTO).content == before
        assert client.get("/health").status_code == 200


def test_a_retired_corridor_waits_for_those_on_their_way(serve: Serve) -> None:
    with serve() as client, ThreadPoolExecutor(1) as pool:
        service = service_of(client)
        corridor = service.catalogue.enter(None)
        retiring = pool.submit(corridor.retire)
        time.sleep(0.1)
        assert corridor.engine.alive
        corridor.leave()
        retiring.result(30)
        assert not corridor.engine.alive


def test_what_comes_after_the_network_is_recorded_before_the_first_image(serve: Serve) -> None:
    recorders = highest._graphs, merging._graph
    for recorder in recorders:
        recorder.cache_clear()
    with serve() as client:
        recorded = [recorder.cache_info().misses for recorder in recorders]
        assert client.post("/segment", content=PHOTO).status_code == 200
        assert recorded == [recorder.cache_info().misses for recorder in recorders] == [1, 1]


class Left:
    """What only the collector can free."""

    def __init__(self) -> None:
        self.me = self


def test_what_is_loaded_is_kept_from_the_collector_until_it_is_loaded_anew(serve: Serve) -> None:
    gc.unfreeze()
    with serve() as client:
        assert gc.get_freeze_count() > 10_000
        left = weakref.ref(Left())
        gc.freeze()
        gc.collect()
        assert left() is not None
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        service.reload()
        wait_for(lambda: left() is None and gc.get_freeze_count() > 10_000)

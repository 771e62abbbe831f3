"""Health, models, classes, info, metrics, the API reference and the page's files."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio.to_thread
import pytest
from fastapi.testclient import TestClient

from app.api.schemas import SegmentAnswer
from app.main import create_app
from app.serving.service import Service
from app.settings import Settings
from model.preprocessing import Preprocessing
from tests.support.app.exchanges import PHOTO, assert_problem, post, rejections, service_of
from tests.support.app.services import Serve
from tests.support.classes import NAMES
from tests.support.images import encode, make_photo
from tests.support.model.doubles import Hold
from tests.support.polling import HANG_S
from tests.support.runtimes import ON_EACH_RUNTIME


def test_before_it_is_loaded_it_is_live_and_refuses_images(narrow_file: Path) -> None:
    client = TestClient(create_app(Settings(weights=str(narrow_file))), "http://localhost")  # its lifespan does not begin
    assert client.get("/health/live").status_code == 200
    assert client.get("/health").status_code == 503
    for response in (client.get("/health/ready"), post(client), client.get("/info")):
        assert_problem(response, 503, "starting: about to load the weights")
        assert response.headers["retry-after"] == "1"
    assert rejections(client) == {"starting": 1}


def test_health_tells_device_queue_and_uptime_and_a_service_that_takes_no_images_why(serve: Serve) -> None:
    with serve() as client:
        health = client.get("/health").json()
        assert health["live"] == health["ready"] == {"status": "ok", "reason": None}
        assert (health["device"], health["queued_tiles"], health["requests_in_flight"]) == ("cpu", 0, 0)
        assert health["uptime_s"] >= 0
        service_of(client).ending = True
        assert_problem(client.get("/health/ready?model=narrow"), 503, "draining")
        service_of(client).draining = True
        assert client.get("/health/live").status_code == 200
        assert_problem(client.get("/health/ready"), 503, "draining")
        assert client.get("/health").json()["ready"]["reason"] == "draining: the service is stopping"
        response = post(client)
        assert_problem(response, 503, "draining")
        assert response.headers["retry-after"] == "1"
        assert "segment_ready 0.0" in client.get("/metrics").text
        service_of(client).fail("the device is lost")
        for response in (post(client), client.get("/health/live"), client.get("/health/ready")):
            assert_problem(response, 503, "the device is lost")
        assert client.get("/health").status_code == 503
        assert rejections(client) == {"draining": 1, "failed": 1}


def test_health_is_answered_while_every_thread_is_busy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = Hold()

    def one_thread() -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1

    with serve() as client, ThreadPoolExecutor() as pool:
        assert client.portal
        client.portal.call(one_thread)
        monkeypatch.setattr("app.telemetry.generate_latest", lambda registry: hold() or b"")
        with hold:
            busy = pool.submit(client.get, "/metrics")
            assert hold.entry.wait(HANG_S)
            for path in ("/health/live", "/health/ready", "/health"):
                assert pool.submit(client.get, path).result(HANG_S).status_code == 200
        assert busy.result(HANG_S).status_code == 200


def test_scrapes_that_come_at_once_share_a_text_that_is_made_after_them(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    hold, texts = Hold(), list[bytes]()

    def text(_: object) -> bytes:
        hold()
        texts.append(b"%d" % len(texts))
        return texts[-1]

    with serve() as client, ThreadPoolExecutor(30) as pool:
        monkeypatch.setattr("app.telemetry.generate_latest", text)
        with hold:
            first = pool.submit(client.get, "/metrics")
            assert hold.entry.wait(HANG_S)
            others = [pool.submit(client.get, "/metrics") for _ in range(29)]
            assert client.get("/health/live").status_code == 200
        assert first.result(HANG_S).content == b"0"
        assert {b"0"}.isdisjoint(answers := [other.result(HANG_S).content for other in others])
        assert len(set(answers)) <= 3  # a scrape may come late


@pytest.fixture(scope="module")
def both(serve: Serve, narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Two networks: the narrow one, and one of other classes that has no export."""
    path = tmp_path_factory.mktemp("both") / "other.safetensors"
    from benchmarks.harness.narrow import narrow_net
    from tests.support.model.weights_files import save_net

    save_net(path, narrow_net(), ["sky", "road", "tree", "car"], Preprocessing(side=(64, 64)))
    with serve(weights=f"{narrow_file}, {path}", runtime="auto") as client:
        yield client


def test_models_are_listed_and_the_first_is_the_default(both: TestClient) -> None:
    models = both.get("/models").json()
    facts = [(each["name"], each["default"], each["runtime"], each["precision"]) for each in models]
    assert facts == [("narrow", True, "openvino", "float32"), ("other", False, "torch", "float32")]
    assert [label["name"] for label in models[1]["classes"]] == ["sky", "road", "tree", "car"]
    assert models[0]["sha256"] != models[1]["sha256"]


def test_model_picks_the_network_and_its_labels(both: TestClient) -> None:
    queries = ("", "&model=narrow", "&model=other")
    default, narrow, other = (both.post(f"/segment?format=json{query}", content=PHOTO).json() for query in queries)
    assert default == narrow
    assert other["model"]["name"] == "other"
    assert {entry["name"] for entry in other["classes"]} <= {"sky", "road", "tree", "car"}
    assert other["class_map"] != narrow["class_map"]
    assert both.get("/classes?model=other").json()[0]["name"] == "sky"
    assert [both.get(f"/info?{query}").json()["model"]["name"] for query in queries] == ["narrow", "narrow", "other"]


def test_an_unknown_parameter_of_a_route_that_has_one_is_refused(client: TestClient) -> None:
    for path in ("/health/ready", "/classes", "/info"):
        assert_problem(client.get(f"{path}?modle=narrow"), 422, "query modle: there is no such parameter; did you mean model?")
        assert_problem(client.get(f"{path}?model=narrow&model=narrow"), 422, "it comes twice")
        (parameter,) = client.get("/openapi.json").json()["paths"][path]["get"]["parameters"]
        assert (parameter["name"], parameter["in"], parameter["required"]) == ("model", "query", False)


def test_classes_are_the_label_set_also_in_answers(client: TestClient) -> None:
    listed = client.get("/classes").json()
    assert [entry["name"] for entry in listed] == NAMES
    for entry in post(client, format="json").json()["classes"]:
        assert listed[entry["id"]].items() <= entry.items()
    assert listed[1] == {"id": 1, "name": "circle", "color": "#800000", "display_color": "#bbff00"}


@ON_EACH_RUNTIME
def test_info_tells_model_runtime_limits_and_versions(client: TestClient, service: Service) -> None:
    segmenter = service.registry.get().segmenter
    info = client.get("/info").json()
    assert info["model"] == segmenter.identity
    assert info["runtime"] == segmenter.runtime.describe()
    assert info["instructions_reason"] or info["runtime"]["runtime"] == "torch"
    assert info["architecture"]["variant"] == "fcn8s"
    assert (info["tile"], info["overlap"], info["blend"]) == ([96, 96], 0.25, "mean")
    assert info["preprocessing"]["side"] == [64, 128]
    assert info["limits"]["max_megapixels"] == 100
    assert {"python", "openvino", "fcn-segment"} <= set(info["versions"])
    assert ("torch" in info["versions"]) == (importlib.util.find_spec("torch") is not None)
    assert "command" not in info["training"]


def test_json_answers_fit_the_schema(client: TestClient) -> None:
    for mask in ("rle", "png", "array", "polygons"):
        query = {"format": "json", "mask": mask, "confidence": mask == "png"}
        body = client.post("/segment", params=query, content=encode(make_photo(40, 50))).content
        assert json.loads(SegmentAnswer.model_validate_json(body).model_dump_json(exclude_none=True)) == json.loads(body)


def test_every_route_of_the_contract_is_there(client: TestClient) -> None:
    paths = set(client.get("/openapi.json").json()["paths"])
    state = {"/health", "/health/live", "/health/ready", "/classes", "/info", "/models", "/metrics"}
    of_others = {"/v1/models", "/v1/models/{id}/info", "/v1/predict", "/predictions/{model}", "/ping"}
    assert paths == state | {"/segment", "/segment/batch"} | of_others
    for path in (*state, "/", "/docs", "/openapi.json"):
        get, head = client.get(path), client.head(path)
        assert get.status_code == head.status_code == 200
        assert get.headers["content-type"] == head.headers["content-type"]

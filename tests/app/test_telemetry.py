"""What `/metrics` and the log tell: rejections by reason, what is served, the process; no polls, and no floods."""

from __future__ import annotations

import json
import logging
import platform
import re
from datetime import datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.api.segment import STAGES
from app.telemetry import REASONS, REPEAT_S, JsonFormatter, OnceAMinute, TextFormatter
from common.command_line import package_version
from model.inference.cores import available_memory
from model.inference.runtime import DeviceOutOfMemory
from tests.support.app.exchanges import PHOTO, metric, post, rejections, samples, service_of
from tests.support.app.services import Serve, hold_model, occupy
from tests.support.checkout import ROOT
from tests.support.images import encode, make_photo
from tests.support.model.doubles import Clock
from tests.support.polling import wait_until

OPERATE = (ROOT / "docs" / "operate.md").read_text()


def info(client: TestClient, name: str) -> list[dict[str, str]]:
    return [sample.labels for sample in samples(client) if sample.name == name and sample.value == 1]


def test_an_image_of_a_batch_is_counted_by_itself_and_load_by_what_was_short(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(max_queued_tiles=4) as client:
        response = client.post("/segment/batch", files=[("file", PHOTO), ("file", b"text"), ("file", b"")])
        assert (response.status_code, rejections(client)) == (200, {"type": 1, "empty": 1})
        service = service_of(client)
        with occupy(service, 4):
            assert post(client).status_code == 503
        model = service.registry.get()
        with monkeypatch.context() as patch:
            error = DeviceOutOfMemory("the memory is full")
            patch.setattr(model.segmenter.runtime, "logits", lambda _: _raise(error))
            assert post(client, encode(make_photo(50, 50))).status_code == 503
        counts = {"type": 1, "empty": 1, "full": 1, "device_memory": 1}
        assert rejections(client) == counts
        monkeypatch.setattr(model.scheduler, "submit", lambda *_: _raise(RuntimeError("can't start new thread")))
        response = client.post("/segment/batch", files=[("file", PHOTO)])
        assert (response.json()["status"], rejections(client)) == (503, counts | {"failed": 1})
    with serve(request_timeout_s=0.2) as client, hold_model(service_of(client)):
        assert client.post("/segment", content=PHOTO).status_code == 504
        assert rejections(client) == {"timeout": 1}


def _raise(error: Exception) -> None:
    raise error


def test_metrics_tell_of_the_build_the_limits_the_load_and_the_process(client: TestClient) -> None:
    expected = {"version": package_version(), "python": platform.python_version()}
    assert info(client, "segment_build_info") == [expected]
    assert metric(client, "segment_max_queued_tiles") == 1024
    assert metric(client, "segment_request_timeout_seconds") == 60
    assert metric(client, "segment_memory_limit_bytes") == available_memory()
    service_of(client).in_flight += 1
    assert metric(client, "segment_requests_in_flight") == 1
    service_of(client).in_flight -= 1
    if Path("/proc/self/stat").exists():  # process metrics are of Linux
        assert metric(client, "process_resident_memory_bytes") > 10e6
        assert 0 < metric(client, "process_open_fds") < metric(client, "process_max_fds")
        before = metric(client, "process_cpu_seconds_total")
        wait_until(lambda: metric(client, "process_cpu_seconds_total") > before)


def test_stages_tiles_pixels_by_class_and_mean_confidence_are_counted_where_the_answer_needs_it(serve: Serve) -> None:
    def pixels_of_classes(client: TestClient) -> dict[str, float]:
        series = [sample for sample in samples(client) if sample.name == "segment_class_pixels_total"]
        assert {sample.labels["model"] for sample in series} <= {service_of(client).registry.get().name}
        return {sample.labels["class"]: sample.value for sample in series}

    with serve() as client:
        assert pixels_of_classes(client) == {}
        for query in ("format=png", "format=coco", "format=color&classes=0"):
            assert client.post(f"/segment?{query}", content=PHOTO).status_code == 200
        assert "segment_mean_confidence_count" not in {sample.name for sample in samples(client)}
        classes = client.post("/segment", params={"format": "json"}, content=PHOTO).json()["classes"]
        assert metric(client, "segment_mean_confidence_count") == 1
        mean = sum(each["fraction"] * each["mean_confidence"] for each in classes)
        assert metric(client, "segment_mean_confidence_sum") == pytest.approx(mean, abs=1e-4)
        names = {entry["name"] for entry in client.get("/classes").json()}
        once = dict.fromkeys(names, 0) | {entry["name"]: entry["pixels"] for entry in classes}
        assert pixels_of_classes(client) == {name: 4 * pixels for name, pixels in once.items()}
        assert metric(client, "segment_pixels_total") == 4 * sum(once.values()) == 4 * 90 * 130
        assert metric(client, "segment_tiles_total") == metric(client, "segment_batch_tiles_sum") == 8
        stages = [sample for sample in samples(client) if sample.name == "segment_stage_seconds_count"]
        assert {sample.labels["stage"]: sample.value for sample in stages} == dict.fromkeys(STAGES, 4)
        service = service_of(client)
        assert metric(client, "segment_queue_seconds") == 0
        with occupy(service, 3):
            assert metric(client, "segment_queue_seconds") == pytest.approx(service.admission.small.seconds(1))


def test_the_operating_page_names_every_metric_and_every_reason(client: TestClient) -> None:
    assert client.post("/segment", params={"format": "json"}, content=PHOTO).status_code == 200
    names = {sample.name for sample in samples(client)}
    names = {re.sub(r"(?<=segment)(.*_(?:seconds|tiles|confidence))_(bucket|count|sum)$", r"\1", name) for name in names}
    tables = OPERATE[OPERATE.index("| metrics |") : OPERATE.index("| why a worker ended |")]
    cells = [line.partition(" | ")[0] for line in tables.splitlines() if line.startswith("| `")]
    assert names == {name for cell in cells for name in re.findall(r"`((?:segment|process|python)_[a-z_]+)[`{]", cell)}
    reasons = re.findall(r"^\| (`[a-z_`, ]+) \| \d{3}", tables, re.MULTILINE)
    assert set(REASONS) == {reason for cell in reasons for reason in re.findall(r"`(\w+)`", cell)}


def test_polls_are_logged_at_debug_unless_they_fail_unexpectedly(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ("/health", "/health/live", "/health/ready", "/metrics")

    def lines(level: int) -> list[tuple[str, int]]:
        records = [record for record in caplog.records if record.message == "request" and record.levelno == level]
        return [(record.fields["path"], record.fields["status"]) for record in records]  # type: ignore[attr-defined]

    with serve() as client, caplog.at_level(logging.DEBUG, "segment"):
        caplog.clear()
        for path in paths:
            client.get(path)
            client.head(path)
        client.get("/models")
        service_of(client).draining = True
        client.get("/health/ready")
        monkeypatch.setattr("app.telemetry.generate_latest", lambda registry: _raise(ZeroDivisionError()))
        client.get("/metrics")
    assert lines(logging.DEBUG) == [(path, 200) for path in paths for _ in range(2)] + [("/health/ready", 503)]
    assert lines(logging.INFO) == [("/models", 200), ("/metrics", 500)]


def test_what_repeats_is_logged_once_a_minute_with_how_many_there_were() -> None:
    clock, records = Clock(), []
    logger = logging.Logger("libraries")
    logger.addFilter(OnceAMinute(clock))
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger.addHandler(handler)

    def log(number: int) -> None:
        logger.warning("invalid request %d", number)

    for number in range(5):
        log(number)
    logger.warning("something else")
    assert [record.getMessage() for record in records] == ["invalid request 0", "something else"]
    clock.now += REPEAT_S
    log(5)
    assert records[-1].getMessage() == "invalid request 5"
    assert records[-1].fields == {"left_out": 4}
    clock.now += REPEAT_S
    log(6)
    assert not hasattr(records[-1], "fields")


TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"
SEVERITIES = {5: "DEFAULT", 10: "DEBUG", 20: "INFO", 25: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL", 60: "CRITICAL"}


def test_a_line_has_its_time_as_rfc_3339_writes_it_and_google_s_severity() -> None:
    for level, severity in SEVERITIES.items():
        record = logging.LogRecord("segment", level, "", 0, "ready", None, None)
        record.created = 1795928400.0625
        line = json.loads(JsonFormatter().format(record))
        assert (line["level"], line["severity"]) == (record.levelname.lower(), severity)
        assert re.fullmatch(TIME, line["time"])
        assert datetime.fromisoformat(line["time"]).timestamp() == int(record.created * 1000) / 1000
        assert re.fullmatch(rf"{TIME} {record.levelname} ready", TextFormatter().format(record))

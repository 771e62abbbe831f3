"""`POST /segment`: every format, parameter, header and error of the contract."""

from __future__ import annotations

import base64
import io
import struct
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from pycocotools import mask as coco

from app.engine_errors import Cancelled
from app.jobs import Job
from app.pools import Pools
from app.service import Service
from imaging.answer import Rendering
from model.segmentation import Options, plan_image, run_in_batches, segment
from tests.app.conftest import Serve
from tests.conftest import Pixels, encoded, make_photo

PHOTO = encoded(make_photo(90, 130))


def post(
    client: TestClient, data: bytes = PHOTO, *, field: str = "file", headers: dict[str, str] | None = None, **query: Any
) -> Any:
    return client.post("/segment", files={field: ("photo", data)}, params=query, headers=headers or {})


def pixels(body: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(body)))


def assert_problem(response: Any, status: int, *words: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "request_id"}
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    for word in words:
        assert word in problem["detail"]


def expected_map(service: Service, image: Pixels, **options: Any) -> Pixels:
    """The class map by the corridor's own functions, without the web."""
    assert service.predictor
    manifest = service.predictor.manifest
    plan = plan_image(image.shape[:2], Options(**({"tile": (96, 96)} | options)), manifest.preprocessing.side)
    return segment(image, plan, run_in_batches(service.predictor), num_classes=4, grid="corner").class_map


def test_the_mask_is_an_8_bit_palette_png_of_the_images_size_with_class_ids(client: TestClient, service: Service) -> None:
    response = post(client)
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    mask = Image.open(io.BytesIO(response.content))
    assert (mask.mode, mask.size, response.content[24]) == ("P", (130, 90), 8)
    assert len(mask.getpalette() or []) == 768
    expected = expected_map(service, make_photo(90, 130))
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(np.asarray(mask), expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (31, 32), (33, 500), (500, 375), (90, 1), (1, 200)])
def test_every_size_comes_back_as_it_was(client: TestClient, height: int, width: int) -> None:
    assert pixels(post(client, encoded(make_photo(height, width))).content).shape == (height, width)


@pytest.mark.parametrize(
    "query", [{"blend": "hann"}, {"overlap": 0.5}, {"side": 300}, {"side": "native"}, {"overlap": 0}], ids=str
)
def test_tiling_parameters_do_what_they_do_in_the_corridor(client: TestClient, service: Service, query: dict[str, Any]) -> None:
    image = make_photo(120, 210)
    np.testing.assert_array_equal(pixels(post(client, encoded(image), **query).content), expected_map(service, image, **query))


def test_the_three_encodings_hold_the_class_map_of_the_png(client: TestClient) -> None:
    mask = pixels(post(client).content)
    answers = {name: post(client, format="json", mask=name).json() for name in ("rle", "png", "array")}
    rle = answers["rle"]["class_map"]
    assert rle["size"] == [90, 130]
    decoded = np.full(mask.shape, 255, np.uint8)
    for class_id, counts in rle["counts"].items():
        decoded[coco.decode({"size": rle["size"], "counts": counts.encode()}) == 1] = int(class_id)
    np.testing.assert_array_equal(decoded, mask)
    np.testing.assert_array_equal(pixels(base64.b64decode(answers["png"]["class_map"]["data"])), mask)
    np.testing.assert_array_equal(np.array(answers["array"]["class_map"]["data"]), mask)


def test_json_tells_model_image_classes_and_tiling(client: TestClient, service: Service) -> None:
    assert service.predictor
    answer = post(client, format="json").json()
    assert set(answer) == {"model", "image", "classes", "class_map", "tiling"}
    assert answer["model"] == {"name": "narrow", "sha256": service.predictor.weights.sha256}
    assert answer["image"] == {"width": 130, "height": 90}
    assert answer["tiling"] == {"side": [89, 128], "tile": [96, 96], "overlap": 0.25, "blend": "mean", "tiles": 2}
    sizes = [entry["pixels"] for entry in answer["classes"]]
    assert sum(sizes) == 130 * 90
    assert sizes == sorted(sizes, reverse=True)
    assert set(answer["classes"][0]) == {"id", "name", "color", "pixels", "fraction", "mean_confidence", "bbox"}
    assert {str(entry["id"]) for entry in answer["classes"]} == set(answer["class_map"]["counts"])


def test_mean_confidence_is_that_of_the_confidence_image(client: TestClient) -> None:
    mask, confidence = pixels(post(client).content), pixels(post(client, format="confidence").content)
    assert confidence.dtype == np.uint8
    for entry in post(client, format="json").json()["classes"]:
        assert entry["mean_confidence"] == pytest.approx(confidence[mask == entry["id"]].mean() / 255, abs=0.003)


def test_color_and_overlay_show_the_palette(client: TestClient, service: Service) -> None:
    assert service.predictor
    mask = pixels(post(client).content)
    colors = np.array(service.predictor.manifest.labels.palette, np.uint8)[mask]
    np.testing.assert_array_equal(pixels(post(client, format="color").content), colors)
    np.testing.assert_array_equal(pixels(post(client, format="overlay", alpha=1).content), colors)
    np.testing.assert_array_equal(pixels(post(client, format="overlay", alpha=0).content), make_photo(90, 130))


@pytest.mark.parametrize("field", ["file", "image"])
def test_the_image_may_be_in_either_field(client: TestClient, field: str) -> None:
    assert post(client, field=field).content == post(client).content


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "application/octet-stream", "text/plain", "application/x-www-form-urlencoded", ""]
)
def test_a_raw_body_is_judged_by_its_bytes(client: TestClient, content_type: str) -> None:
    response = client.post("/segment", content=PHOTO, headers={"Content-Type": content_type})
    assert response.content == post(client).content


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "image/png"),
        ("image/png", "image/png"),
        ("image/*", "image/png"),
        ("application/json", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("image/png;q=0.5, application/json", "application/json"),
        ("application/json;q=0.2, */*", "image/png"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "image/png"),
    ],
)
def test_accept_chooses_between_png_and_json(client: TestClient, accept: str, media_type: str) -> None:
    assert post(client, headers={"Accept": accept}).headers["content-type"] == media_type


def test_format_beats_accept(client: TestClient) -> None:
    assert post(client, headers={"Accept": "text/csv"}, format="png").headers["content-type"] == "image/png"


@pytest.mark.parametrize("accept", ["text/csv", "application/json;q=0, image/png;q=0"])
def test_an_accept_that_nothing_fits_is_406(client: TestClient, accept: str) -> None:
    assert_problem(post(client, headers={"Accept": accept}), 406, accept, "image/png", "application/json")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"format": "gif"}, ["format", "'png'", "'overlay'", "gif"]),
        ({"mask": "polygon"}, ["mask", "'rle'", "polygon"]),
        ({"blend": "median"}, ["blend", "'hann'"]),
        ({"overlap": 0.6}, ["overlap", "0.5"]),
        ({"overlap": "nan"}, ["overlap"]),
        ({"side": 31}, ["side", "32"]),
        ({"side": 20000}, ["side", "16384"]),
        ({"side": "big"}, ["side", "'auto'", "'native'"]),
        ({"alpha": -1}, ["alpha"]),
    ],
    ids=str,
)
def test_bad_parameters_are_422_with_the_choices(client: TestClient, query: dict[str, Any], words: list[str]) -> None:
    assert_problem(post(client, **query), 422, *words)


def bomb(side: int) -> bytes:
    """A PNG whose header announces side x side pixels, and little more."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "status", "word"),
    [
        (b"just some text", 415, "PNG, JPEG"),
        (encoded(make_photo(80, 80), "JPEG")[:700], 422, "damaged"),
        (PHOTO[:400], 422, "damaged"),
        (b"", 400, "empty"),
        (bomb(20000), 413, "400.0 megapixels"),
    ],
    ids=["text", "truncated JPEG", "truncated PNG", "empty file", "bomb"],
)
def test_broken_files_are_named_and_leave_the_service_healthy(client: TestClient, data: bytes, status: int, word: str) -> None:
    assert_problem(post(client, data), status, word)
    assert_problem(client.post("/segment", content=data), status, word)
    assert client.get("/health/ready").status_code == 200
    assert post(client).status_code == 200


def test_a_form_without_an_image_names_the_fields_that_came(client: TestClient) -> None:
    assert_problem(post(client, field="picture"), 400, "file", "picture")
    assert_problem(client.post("/segment", files={"x": ("a", b"b")}, data={"file": "text"}), 400, "file")


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_a_form_that_cannot_be_read_is_400(client: TestClient, content_type: str) -> None:
    assert_problem(client.post("/segment", content=b"--y\r\nnonsense", headers={"Content-Type": content_type}), 400)


def test_an_array_above_four_megapixels_is_413_before_any_work(client: TestClient) -> None:
    data = encoded(np.zeros((2001, 2000, 3), np.uint8))
    response = post(client, data, format="json", mask="array")
    assert_problem(response, 413, "4 megapixels", "mask=rle")


def test_unknown_paths_and_methods_are_problems_too(client: TestClient) -> None:
    assert_problem(client.get("/nothing"), 404, "/nothing", "/docs")
    assert_problem(client.get("/segment"), 405, "POST")


def test_a_sane_request_id_is_echoed_and_another_replaced(client: TestClient) -> None:
    assert post(client, headers={"X-Request-ID": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    for bad in ("a b", "x" * 129, "<script>"):
        answered = client.get("/nothing", headers={"X-Request-ID": bad}).headers["x-request-id"]
        assert answered != bad
        assert len(answered) == 32


def test_server_timing_names_the_four_stages(client: TestClient) -> None:
    parts = dict(part.split(";dur=") for part in post(client).headers["server-timing"].split(", "))
    assert list(parts) == ["decode", "queue", "inference", "encode"]
    assert all(float(value) >= 0 for value in parts.values())
    assert float(parts["inference"]) > 0


def test_equal_requests_give_equal_bytes(client: TestClient) -> None:
    for query in ({}, {"format": "json"}, {"format": "overlay"}):
        assert post(client, **query).content == post(client, **query).content


def test_an_exif_rotated_photo_comes_back_upright(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(make_photo(60, 100), exif=exif)
    upright = encoded(np.rot90(make_photo(60, 100), -1))
    assert pixels(post(client, turned).content).shape == (100, 60)
    assert post(client, turned).content == post(client, upright).content


def test_limits_of_bytes_pixels_and_tiles_are_413_that_name_them(serve: Serve) -> None:
    with serve(max_upload_mb=0.02, max_megapixels=0.01, max_queued_tiles=4) as client:
        noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
        assert_problem(post(client, encoded(noise)), 413, "0.02 MB")
        chunks = iter([bytes(15_000), bytes(15_000)])
        assert_problem(client.post("/segment", content=chunks), 413, "0.02 MB")
        assert_problem(post(client, encoded(np.zeros((110, 110, 3), np.uint8))), 413, "0.01 megapixels")
        assert_problem(post(client, encoded(np.zeros((50, 50, 3), np.uint8)), side=400), 413, "tiles", "at most 4")
        assert post(client, encoded(np.zeros((50, 50, 3), np.uint8))).status_code == 200


def test_keys_are_asked_for_where_they_are_set(serve: Serve) -> None:
    with serve(api_keys="alpha, beta") as client:
        assert_problem(post(client), 401, "X-API-Key")
        assert_problem(post(client, headers={"X-API-Key": "alphabet"}), 401)
        assert post(client).headers["www-authenticate"] == "Bearer"
        assert post(client, headers={"X-API-Key": "alpha"}).status_code == 200
        assert post(client, headers={"Authorization": "Bearer beta"}).status_code == 200
        assert client.get("/health/ready").status_code == 200


def test_other_origins_may_call_only_where_they_are_allowed(serve: Serve, client: TestClient) -> None:
    origin = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in client.get("/classes", headers=origin).headers
    with serve(cors_origins="https://example.org") as open_client:
        answer = open_client.get("/classes", headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()


def test_a_deadline_that_passes_is_504(serve: Serve) -> None:
    with serve(request_timeout_s=0.001) as client:
        assert_problem(post(client, side=2000), 504, "smaller image")
        assert client.get("/health/live").status_code == 200


def test_a_full_queue_is_503_with_a_time_to_come_back(serve: Serve) -> None:
    with serve(max_queued_tiles=3) as client:
        engine = client.app.state.service.engine  # type: ignore[attr-defined]
        ticket = engine.admit(3, engine.clock() + 60)
        response = post(client)
        assert_problem(response, 503, "3 tiles are queued and at most 3")
        assert int(response.headers["retry-after"]) >= 1
        engine.release(ticket)
        assert post(client).status_code == 200


def test_a_full_queue_refuses_before_the_body_is_read(serve: Serve) -> None:
    with serve(max_queued_tiles=4) as client:
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        assert service.engine
        ticket = service.engine.admit(4, service.deadline())
        assert_problem(post(client, b"no image"), 503, "4 tiles are queued and at most 4")
        service.engine.release(ticket)
        assert_problem(post(client, b"no image"), 415)
        service.in_flight = 4
        assert_problem(post(client), 503, "4 requests are waiting")
        service.in_flight = 0
        assert post(client).status_code == 200


def test_an_image_is_let_in_by_its_header_alone(serve: Serve) -> None:
    with serve(max_queued_tiles=4) as client:
        damaged = encoded(make_photo(400, 400))[:500]
        assert_problem(post(client, damaged, side="native"), 413, "makes 36 tiles and at most 4 are taken; give a smaller side")
        assert_problem(post(client, damaged), 422, "damaged")
        assert client.get("/health").json()["queued_tiles"] == 0


def test_large_images_have_threads_of_their_own(client: TestClient, service: Service) -> None:
    """So many wait for their turn that no other thread of theirs is free, and a small one is answered."""
    pools = service.pools
    assert (pools.of(4.0), pools.of(4.1)) == (pools.small, pools.large)
    go = threading.Event()
    held = [pools.large.submit(go.wait, 30) for _ in range(8)]
    try:
        assert post(client).status_code == 200
    finally:
        go.set()
    assert all(future.result(30) for future in held)


def test_a_slot_is_left_while_its_thread_waits_and_large_images_take_none() -> None:
    pools = Pools(2)
    seen: list[int] = []

    def results() -> Iterator[int]:
        seen.append(pools.slots.held)
        yield 1

    try:
        with pools.slot(1.0, 0.0) as slot:
            assert pools.slots.held == 1
            assert list(slot.left_for(results())) == [1]
            with pools.slot(1.0, 0.0), pools.slot(100.0, 0.0):
                assert (pools.slots.held, pools.slots.beside) == (2, 1)
        assert seen == [0]
        assert (pools.slots.held, pools.slots.beside) == (0, 0)
    finally:
        pools.shutdown()


def test_a_request_s_own_tensors_take_one_thread(service: Service) -> None:
    assert service.pools.small.submit(torch.get_num_threads).result(30) == 1
    assert service.pools.large.submit(torch.get_num_threads).result(30) == 1


def test_a_cancelled_job_is_neither_decoded_nor_run(client: TestClient, service: Service) -> None:
    assert service.engine
    job = Job(PHOTO, service.options(side="native"), Rendering(), service.deadline())
    service.admit(job)
    assert service.engine.queued_tiles > 0
    service.cancel(job)
    with pytest.raises(Cancelled):
        service.process(job)
    assert "decode" in job.stages
    assert "inference" not in job.stages
    service.finish(job)
    assert service.engine.queued_tiles == 0


def test_refused_preflights_are_problems_with_the_id_that_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with serve(cors_origins="https://example.org") as client, caplog.at_level("INFO", "segment"):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        response = client.options("/segment", headers=headers)
        assert_problem(response, 400, "SEGMENT_CORS_ORIGINS")
        assert caplog.records[-1].fields["request_id"] == response.headers["x-request-id"]  # type: ignore[attr-defined]


def test_repeated_accept_lines_are_one_list_and_invented_methods_no_label(client: TestClient) -> None:
    headers = [("Accept", "text/html"), ("Accept", "application/json")]
    assert client.post("/segment", content=PHOTO, headers=headers).headers["content-type"] == "application/json"
    assert_problem(client.post("/segment", content=PHOTO, headers={"Accept": "image/png;q=nan"}), 406)
    client.request("FOO", "/segment")
    assert "FOO" not in client.get("/metrics").text

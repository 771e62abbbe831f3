"""`POST /segment/batch`: each image's own answer or error, as lines of JSON or a zip."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from pycocotools.coco import COCO

from app.api.batch import image_outcomes
from app.serving.admission import Reservation
from app.serving.photos import AHEAD, Upload
from app.serving.service import Service
from imaging.coco import INFO
from model.inference.processes import protocol
from model.inference.processes.blob import Blob
from model.inference.processes.protocol import Answer
from tests.support.app.exchanges import answer_on, assert_idle, assert_problem, connect, head, service_of
from tests.support.app.services import Serve, hold_model, occupy, reserve
from tests.support.images import encode, make_photo
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import over_http

PHOTOS = [encode(make_photo(40 + 8 * i, 60, seed=i)) for i in range(7)]
Part = tuple[str, tuple[str, bytes]]


def parts(*images: tuple[str, bytes]) -> list[Part]:
    return [("file", image) for image in images]


def lines(client: TestClient, files: list[Part], **query: Any) -> list[dict[str, Any]]:
    response = client.post("/segment/batch", files=files, params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def test_every_image_has_a_line_in_order_with_its_own_answer_or_error(
    client: TestClient, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["x/a.png", "y/a.png", "a (2).png", "bad", "a.png", "", "", "empty.png"]
    data = [*PHOTOS[:3], b"text", *PHOTOS[3:6], b""]
    distinct = ["a.png", "a (3).png", "a (2).png", "bad", "a (4).png", "image", "image (2)", "empty.png"]
    files = parts(*zip(names, data, strict=True))
    with caplog.at_level(logging.INFO, "segment"):
        caplog.clear()
        entries = lines(client, files, side=96, mask="png")
    assert [(line["index"], line["file"]) for line in entries] == list(enumerate(distinct))
    assert [line["status"] for line in entries] == [200, 200, 200, 415, 200, 200, 200, 400]
    for line, image in zip(entries, data, strict=True):
        if line["status"] == 200:
            assert line["answer"] == client.post("/segment?format=json&side=96&mask=png", content=image).json()
    problem = entries[3]["problem"]
    assert set(problem) == {"type", "title", "status", "detail", "request_id"}
    assert problem["status"] == 415
    (record,) = [record for record in caplog.records if record.message == "request"]
    fields: dict[str, Any] = record.fields  # type: ignore[attr-defined]
    expected = {"format": "json", "images": 8, "failed": 2, "sizes": "60x40 60x48 60x56 60x64 60x72 60x80"}
    assert {name: fields[name] for name in expected} == expected
    files = [(field, (name, PHOTOS[0])) for field, name in (("file", "a"), ("image", "b"), ("file", "c"))]
    assert [(line["index"], line["file"]) for line in lines(client, files)] == [(0, "a"), (1, "b"), (2, "c")]
    assert_idle(service)


def segment(client: TestClient, data: bytes, **query: Any) -> httpx.Response:
    return client.post("/segment", files=parts(("a", data)), params=query)


def header_facts(headers: httpx.Headers) -> dict[str, Any]:
    """What headers of `/segment` say of the image, as a batch names it."""
    facts: dict[str, Any] = {"etag": headers["etag"]}
    if box := headers.get("x-object-box"):
        facts["box"] = None if box == "none" else [int(side) for side in box.split(",")]
    if pixels := headers.get("x-object-pixels"):
        facts["object_pixels"] = int(pixels)
    return facts


TINY = encode(make_photo(8, 8))  # the narrow network sees circles alone in it


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"format": "grey", "min_confidence": 0.5}, ["etag"]),
        ({"format": "cutout", "classes": "square", "image_format": "webp", "background": "#ffffff"}, ["etag", "box"]),
        ({"format": "overlay", "classes": "triangle"}, ["etag", "object_pixels"]),
    ],
    ids=str,
)
def test_a_zip_has_the_bytes_of_segment_and_says_of_each_image_what_headers_say_of_one(
    client: TestClient, query: dict[str, Any], names: list[str]
) -> None:
    files = [("a.jpg", PHOTOS[0]), ("bad", b"nothing"), ("a.jpg", PHOTOS[1]), ("tiny.png", TINY)]
    body = client.post("/segment/batch", params=query, files=parts(*files)).content
    flags, method, _, _, _, size = struct.unpack("<HHHHLL", body[6:22])
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        # its size stands before a member: readers of streams find no end of one that is not compressed
        assert (flags & 0x8, method, size) == (0, zipfile.ZIP_STORED, archive.infolist()[0].file_size)
        contents = {name: archive.read(name) for name in archive.namelist()}
    *members, last = contents
    rows = [json.loads(line) for line in contents[last].splitlines()]
    assert ("001-bad.problem.json" in members, last) == (True, "results.jsonl")
    assert [row["member"] for row in rows if row["member"]] == members
    for index, (row, (name, data)) in enumerate(zip(rows, files, strict=True)):
        assert (row["index"], row["file"]) == (index, name)
        if name == "bad":
            assert row["problem"] == json.loads(contents[row["member"]])
            assert (row["status"], row["width"], row["height"], row["classes"]) == (415, None, None, {})
            assert row.get("box", 0) == (None if "box" in names else 0)
            continue
        answer = client.post("/segment?format=json", content=data).json()
        picture = segment(client, data, **query)
        facts = header_facts(picture.headers)
        assert set(facts) == set(names)
        assert contents.get(row["member"], picture.content) == picture.content
        assert facts.items() <= row.items()
        assert (row["status"], row["problem"]) == (200, None)
        assert {"width": row["width"], "height": row["height"]} == answer["image"]
        assert row["classes"] == {entry["name"]: entry["fraction"] for entry in answer["classes"]}
        assert (row["mean_confidence"] is None) == ("min_confidence" not in query)
        assert (row["member"] is None) == (facts.get("box", 0) is None)


def test_lines_and_coco_say_what_headers_say_of_one(client: TestClient) -> None:
    for query in ({"mask": "polygons", "classes": "triangle"}, {"format": "hf"}):
        for line, data in zip(lines(client, parts(("a", PHOTOS[0]), ("b", TINY)), **query), (PHOTOS[0], TINY), strict=True):
            facts = header_facts(segment(client, data, **{"format": "json"} | query).headers)
            assert line == {"index": line["index"], "file": line["file"], "status": 200, "answer": line["answer"], **facts}
    query = {"format": "coco", "classes": "triangle"}
    entries = client.post("/segment/batch", params=query, files=parts(("a", PHOTOS[0]), ("a", TINY))).json()["images"]
    for entry, data in zip(entries, (PHOTOS[0], TINY), strict=True):
        facts = header_facts(segment(client, data, **query).headers)
        assert facts.items() <= entry.items()
        assert (facts["object_pixels"] == 0) == (data is TINY)


@pytest.mark.parametrize("mask", ["rle", "polygons"])
def test_coco_is_one_document_whose_ids_do_not_repeat(client: TestClient, service: Service, mask: str) -> None:
    files = parts(("a.png", PHOTOS[0]), ("b.txt", b"text"), ("a.png", PHOTOS[1]), ("c.png", PHOTOS[2]))
    response = client.post("/segment/batch", files=files, params={"format": "coco", "mask": mask})
    assert response.headers["content-type"] == "application/json"
    whole = response.json()
    assert [(image["id"], image["file_name"]) for image in whole["images"]] == [(1, "a.png"), (3, "a (2).png"), (4, "c.png")]
    assert [entry["id"] for entry in whole["annotations"]] == list(range(1, len(whole["annotations"]) + 1))
    assert [(entry["index"], entry["file"], entry["status"]) for entry in whole["problems"]] == [(1, "b.txt", 415)]
    assert whole["problems"][0]["problem"]["status"] == 415
    index = COCO()
    index.dataset = whole
    index.createIndex()
    index.info()
    for id, photo in ((1, PHOTOS[0]), (3, PHOTOS[1]), (4, PHOTOS[2])):
        alone = client.post("/segment", content=photo, params={"format": "coco", "mask": mask}).json()
        assert whole["categories"] == alone["categories"]
        own = ("id", "image_id")
        assert [{key: value for key, value in entry.items() if key not in own} for entry in index.imgToAnns[id]] == [
            {key: value for key, value in entry.items() if key not in own} for entry in alone["annotations"]
        ]
    assert_idle(service)


def test_coco_of_failed_images_alone_is_a_document_without_images(client: TestClient) -> None:
    whole = client.post("/segment/batch?format=coco", files=parts(("b.txt", b"text"))).json()
    assert (whole["images"], whole["annotations"], len(whole["problems"])) == ([], [], 1)
    assert (whole["info"], whole["licenses"]) == (INFO, [])


def test_an_error_that_nobody_expected_is_its_image_s_alone(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    segment = Service.segment

    async def failing(service: Service, image: protocol.ImageRequest, *others: Any) -> Any:
        if image.body.data == PHOTOS[1]:
            raise FloatingPointError("nobody thought of this")
        return await segment(service, image, *others)

    monkeypatch.setattr(Service, "segment", failing)
    files = parts(*((name, data) for name, data in zip("abc", PHOTOS, strict=False)))
    assert [line["status"] for line in lines(client, files)] == [200, 500, 200]
    with zipfile.ZipFile(io.BytesIO(client.post("/segment/batch?format=png", files=files).content)) as archive:
        assert json.loads(archive.read("001-b.problem.json"))["status"] == 500
        assert len(archive.namelist()) == 4
    assert "nobody thought of this" in caplog.text
    assert_idle(service_of(client))


def test_without_images_the_whole_is_refused(client: TestClient, service: Service) -> None:
    messages: list[dict[str, Any]] = [{"files": [("other", ("a.png", b"x"))]}, {"content": b"raw"}, {}]
    for message in messages:
        assert_problem(client.post("/segment/batch", **message), 400)
    assert_idle(service)


def test_limits_of_the_whole_of_an_image_and_of_their_number(serve: Serve) -> None:
    with serve(max_upload_mb=0.003, max_batch_mb=0.02) as client:
        small = encode(make_photo(8, 8))
        assert [line["status"] for line in lines(client, parts(("a.png", small), ("b.png", bytes(5000))))] == [200, 413]
        assert_problem(client.post("/segment/batch", files=parts(("a.png", bytes(30_000)))), 413)
        crowd = client.post("/segment/batch", files=parts(*[("a.png", b"x")] * 101))
        assert_problem(crowd, 413, "more than 100 images", "send fewer at once")
        assert "retry-after" not in crowd.headers
        assert_idle(service_of(client))


def test_a_full_queue_refuses_single_images_of_a_batch_or_the_whole_as_it_does_a_single_one(serve: Serve) -> None:
    with serve(max_queued_tiles=2) as client:
        service, files = service_of(client), parts(*[("a.png", PHOTOS[0])] * 100)
        with occupy(service):
            entries = lines(client, parts(*((f"{i}", data) for i, data in enumerate(PHOTOS[:4]))))
            assert {(line["status"], line.get("retry_after")) for line in entries} == {(200, None), (503, 1)}
        with occupy(service, 2):
            for path in ("/segment/batch", "/segment/batch?format=coco", "/segment/batch?format=png"):
                refusal = client.post(path, files=files)
                assert_problem(refusal, 503, "2 tiles are queued and at most 2 are allowed", "try again later")
                assert int(refusal.headers["retry-after"]) >= 1
        assert_idle(service)


def test_a_queue_that_fills_while_the_images_arrive_refuses_them_all_at_once(serve: Serve) -> None:
    form = httpx.Request("POST", "http://x", files=parts(*[("a.png", PHOTOS[0])] * 100))
    body, kind = form.read(), f"Content-Type: {form.headers['content-type']}"
    with serve(max_queued_tiles=1) as client, over_http(client) as port, connect(port) as connection:
        service = service_of(client)
        connection.sendall(head(len(body), kind, path="/segment/batch") + body[:-1])
        wait_until(lambda: service.in_flight == 1)
        with occupy(service):
            connection.sendall(body[-1:])
            refusal = answer_on(connection)
            assert (refusal.status, refusal.getheader("retry-after")) == (503, "1")
        assert_idle(service)


def test_a_batch_never_has_more_of_the_queue_than_a_few_single_images(serve: Serve) -> None:
    with serve() as client, hold_model(service_of(client)) as hold, ThreadPoolExecutor() as pool:
        service = service_of(client)
        whole = pool.submit(client.post, "/segment/batch?side=96", files=parts(*[("a.png", PHOTOS[0])] * 100))
        assert hold.entry.wait(HANG_S)
        wait_until(lambda: len(service.admission.small.working) == AHEAD)
        assert len(service.admission.places) == AHEAD
        assert not service.admission.small.waiting
        hold.open()
        assert [json.loads(line)["status"] for line in whole.result(HANG_S).text.splitlines()] == [200] * 100
        assert_idle(service)


@pytest.mark.parametrize(("path", "count"), [("/segment", 1), ("/segment/batch?format=png", AHEAD)])
def test_a_client_that_goes_leaves_no_tiles_and_no_reservation(serve: Serve, path: str, count: int) -> None:
    start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    form = b"".join(start + data + b"\r\n" for data in PHOTOS[:count])
    form += b"--x--\r\n"
    with serve() as client, over_http(client) as port:
        service = service_of(client)
        with hold_model(service) as hold:
            with connect(port) as connection:
                connection.sendall(head(len(form), "Content-Type: multipart/form-data; boundary=x", path=path) + form)
                assert hold.entry.wait(HANG_S)
                wait_until(lambda: len(service.admission.places) == count)
            wait_until(lambda: service.in_flight == 0)
        assert_idle(service)


@pytest.mark.parametrize("before", [True, False])
def test_an_outcome_that_comes_as_its_batch_is_cancelled_gives_its_memory_back(
    service: Service, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    async def cancel() -> None:
        async def answer(_: object, __: object, ___: object, reservation: Reservation) -> Any:
            reservation.set_body(1000)
            if before:
                taking.cancel()
            else:
                asyncio.get_running_loop().call_soon(taking.cancel)
            return Answer(Blob(b"a", length=1), "", (1, 1), {}, {}, None), {}

        monkeypatch.setattr(Service, "segment", answer)
        state = {"reservation": reserve(service), "log_fields": {}, "request_id": "a"}
        uploads = [Upload(Blob.of(PHOTOS[0]))]
        outcomes = image_outcomes(Request({"type": "http", "state": state}), service, {"format": "json"}, uploads, ["a.jpg"])
        taking = asyncio.ensure_future(anext(outcomes))
        with pytest.raises(asyncio.CancelledError):
            await taking

    asyncio.run(cancel())
    assert_idle(service)

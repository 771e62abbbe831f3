"""What the service says to parameters, files and forms that are wrong, and that it goes on."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.app.asking import PHOTO, assert_problem, post
from tests.conftest import encoded, make_photo


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


def test_of_a_parameter_that_comes_twice_the_last_counts_and_unknown_ones_do_not(client: TestClient) -> None:
    assert client.post("/segment?side=31&side=64&sides=31", content=PHOTO).status_code == 200
    assert_problem(client.post("/segment?side=64&side=31", content=PHOTO), 422, "query side")


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

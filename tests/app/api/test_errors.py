"""What the service says to parameters, files and addresses that are wrong, and that it goes on."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import app
import imaging
from app.api.errors import FOREIGN, SEGMENT_PROBLEMS, Problem, to_problem
from app.serving.errors import QueueFull, ServingError
from benchmarks.harness.image_files import bomb
from imaging.errors import ImageError
from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, post, service_of
from tests.support.app.services import Serve
from tests.support.images import encode, make_photo


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"format": "gif"}, ["query format: must be one of png, grey,", "got 'gif'"]),
        ({"format": "polygons"}, ["query format: must be one of", "got 'polygons'"]),
        ({"mask": "polygon"}, ["query mask: must be one of rle, png, array, polygons, got 'polygon'"]),
        ({"blend": "median"}, ["query blend: must be one of mean, hann, got 'median'"]),
        ({"overlap": 0.6}, ["query overlap: must be a number from 0 to 0.5, got '0.6'"]),
        ({"overlap": "nan"}, ["overlap"]),
        ({"side": 31}, ["side", "32"]),
        ({"side": 20000}, ["side", "16384"]),
        ({"side": "big"}, ["query side: must be one of auto, native or a whole number from 32 to 16384, got 'big'"]),
        ({"side": "\x00\ud7ff"}, ["side"]),
        ({"alpha": -1}, ["alpha"]),
        ({"min_confidence": "inf"}, ["min_confidence"]),
        (
            {"min_area": "1e3"},
            [
                "query min_area: must be a whole number of pixels such as 200, or a share of the image from 0% to 100%",
                "got '1e3'",
            ],
        ),
        ({"fill_holes": "101%"}, ["query fill_holes: ", "got '101%'"]),
        ({"tolerance": 101}, ["tolerance"]),
        ({"model": "third"}, ["model must be one of narrow, got 'third'"]),
    ],
    ids=str,
)
def test_bad_parameters_are_422_with_the_choices(client: TestClient, query: dict[str, Any], words: list[str]) -> None:
    assert_problem(post(client, **query), 422, *words)


def test_a_damaged_image_and_a_wrong_parameter_are_different_problems(client: TestClient) -> None:
    damage, wrong = post(client, PHOTO[:400]).json(), post(client, mask="gif").json()
    assert (damage["type"], damage["title"]) == ("urn:problem-type:fcn-segment:damaged-image", "Damaged image")
    assert (wrong["type"], wrong["title"]) == ("urn:problem-type:fcn-segment:wrong-parameter", "Wrong parameter")


def test_every_problem_has_its_own_type() -> None:
    def kinds(kind: type[Problem]) -> list[type[Problem]]:
        return [kind, *(below for child in kind.__subclasses__() for below in kinds(child))]

    names = [kind.name for kind in kinds(Problem)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("data", "status", "word"),
    [
        (b"just some text", 415, "PNG, JPEG"),
        (encode(make_photo(80, 80), "JPEG")[:700], 422, "damaged"),
        (PHOTO[:400], 422, "damaged"),
        (bomb(20000), 413, "400.0 megapixels"),
    ],
    ids=["text", "truncated JPEG", "truncated PNG", "bomb"],
)
def test_broken_files_are_named_and_leave_the_service_healthy(client: TestClient, data: bytes, status: int, word: str) -> None:
    assert_problem(post(client, data), status, word)
    assert_problem(client.post("/segment", content=data), status, word)
    assert client.get("/health/ready").status_code == 200
    assert_idle(service_of(client))


def test_limits_of_pixels_and_tiles_are_413_that_name_them(serve: Serve) -> None:
    with serve(max_megapixels=0.2, max_queued_tiles=4) as client:
        assert_problem(post(client, encode(make_photo(500, 500))), 413, "at most 0.2 megapixels", "SEGMENT_MAX_MEGAPIXELS")
        half_image = encode(make_photo(400, 400))[:500]
        words = ("has 36 tiles; the limit is 4; give a smaller side", "SEGMENT_MAX_QUEUED_TILES")
        assert_problem(post(client, half_image, side="native"), 413, *words)
        assert_problem(post(client, half_image), 422, "damaged")
        assert_idle(service_of(client))


def test_an_array_above_four_megapixels_is_413_before_any_work(client: TestClient) -> None:
    data = encode(np.zeros((2001, 2000, 3), np.uint8))
    assert_problem(post(client, data, format="json", mask="array"), 413, "4 megapixels", "mask=rle")
    assert_idle(service_of(client))


@pytest.mark.parametrize("path", ["/segment%0A", "/segment/batch%0A", "/health%0A", "/%0A", "/a%00"])
def test_a_path_with_a_control_character_is_none(client: TestClient, path: str) -> None:
    """A route's pattern would take a line feed at its end for none, and the paths that are shed would not."""
    assert_problem(client.post(path, content=PHOTO), 404, "nothing at /")


def test_unknown_paths_and_methods_are_problems_too(client: TestClient) -> None:
    for path in ("/nothing", "/segments", "/%ff%00"):
        assert_problem(client.post(path, content=PHOTO), 404, "the routes are listed at /docs")
    for path in ("/segment", "/segment/batch"):
        assert_problem(client.get(path), 405, "GET", path, "POST")
        assert client.head(path).status_code == 405
    assert_problem(client.post("/health/live"), 405, "GET")


def test_a_slash_at_the_end_is_another_path_and_leads_nowhere(client: TestClient) -> None:
    """A redirection would name the host that the client claims to have asked."""
    for path in ("/segment/", "/health/live/", "/info/"):
        response = client.get(path, headers={"Host": "elsewhere.example"}, follow_redirects=False)
        assert_problem(response, 404)
        assert "location" not in response.headers


def test_every_error_of_imaging_and_serving_has_a_problem() -> None:
    def leaves(kind: type[Exception]) -> set[type[Exception]]:
        below = kind.__subclasses__()
        return set().union(*map(leaves, below)) if below else {kind}

    for package in (imaging, app):  # errors of modules that nobody has imported are unknown here
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    lacking = [kind for kind in leaves(ImageError) | leaves(ServingError) if not set(kind.__mro__) & set(FOREIGN)]
    assert not lacking
    assert {to_problem(kind("why")).detail.removesuffix("; try again later") for kind in FOREIGN} == {"why"}
    assert to_problem(QueueFull("full", 7)).headers == {"Retry-After": "7"}


def test_examples_of_errors_are_what_the_service_says(client: TestClient) -> None:
    answers = {
        415: client.post("/segment", content=b"text"),
        405: client.get("/segment"),
        406: client.post("/segment", content=b"x", headers={"Accept": "text/csv"}),
        422: client.post("/segment?mask=gif", content=b"x"),
    }
    kinds = {kind.status: kind for kind in Problem.__subclasses__()}
    for status, response in answers.items():
        assert (response.status_code, response.json()["title"]) == (status, kinds[status].title)
        assert response.json()["detail"] == kinds[status].example


def test_the_api_reference_shows_an_example_of_every_error(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/segment"]["post"]
    statuses = {kind.status for kind in SEGMENT_PROBLEMS}
    assert statuses == {400, 401, 406, 408, 412, 413, 415, 422, 503, 504}
    for status in statuses:
        examples = operation["responses"][str(status)]["content"]["application/problem+json"]["examples"]
        assert set(examples) == {kind.name for kind in SEGMENT_PROBLEMS if kind.status == status}
        for example in examples.values():
            assert example["value"]["status"] == status
            assert example["value"]["detail"]

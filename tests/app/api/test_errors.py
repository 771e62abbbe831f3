"""What the service says to files and addresses that are wrong, as the API reference has it, and that it goes on."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import app
import imaging
from app.api import errors
from app.api.errors import FOREIGN, SEGMENT_PROBLEMS, Problem, to_problem
from app.serving.errors import QueueFull, ServingError
from app.serving.service import LATE
from app.telemetry import REASONS
from benchmarks.harness.image_files import bomb
from imaging.errors import ImageError
from tests.support.app.exchanges import (
    PHOTO,
    answer_on,
    assert_idle,
    assert_problem,
    connect,
    head,
    post,
    rejections,
    service_of,
)
from tests.support.app.services import Serve, hold_model, module_client, occupy
from tests.support.images import encode, make_photo
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import over_http

KEY = {"X-API-Key": "abc"}


key_client = module_client(api_keys="abc")


def full(client: TestClient) -> Any:
    with occupy(service_of(client), 1024):
        return client.post("/segment", content=PHOTO, headers=KEY)


def repeat(client: TestClient) -> Any:
    tag = client.post("/segment", content=PHOTO, headers=KEY).headers["etag"]
    return client.post("/segment", content=PHOTO, headers=KEY | {"If-None-Match": tag})


ANSWERS: list[tuple[type[Problem], Callable[[TestClient], Any]]] = [
    (errors.BadRequest, lambda client: post(client, field="picture", headers=KEY)),
    (errors.EmptyBody, lambda client: client.post("/segment", content=b"", headers=KEY)),
    (errors.Unauthorized, lambda client: client.post("/segment", content=PHOTO)),
    (errors.Forbidden, lambda client: client.post("/segment", content=PHOTO, headers={"Origin": "https://other.example"})),
    (errors.NotFound, lambda client: client.post("/segments", content=PHOTO, headers=KEY)),
    (errors.MethodNotAllowed, lambda client: client.get("/segment", headers=KEY)),
    (errors.NotAcceptable, lambda client: client.post("/segment", content=PHOTO, headers=KEY | {"Accept": "text/csv"})),
    (errors.PreconditionFailed, repeat),
    (errors.TooLarge, lambda client: client.post("/segment", content=bomb(20_000), headers=KEY)),
    (errors.UnsupportedType, lambda client: client.post("/segment", content=b"text", headers=KEY)),
    (errors.Undecodable, lambda client: client.post("/segment", content=PHOTO[:-30], headers=KEY)),
    (errors.BadParameter, lambda client: client.post("/segment?mask=gif", content=PHOTO, headers=KEY)),
    (errors.Unavailable, full),
]


def test_a_problem_is_answered_as_its_example_in_the_reference_says_counted_and_logged_with_its_reason(
    key_client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    tag, counts = re.compile('"[0-9a-f]{32}"'), Counter[str | None]()
    for kind, ask in ANSWERS:
        with caplog.at_level("INFO", "segment"):
            response = ask(key_client)
        reason = "full" if kind is errors.Unavailable else kind.reason
        assert caplog.records[-1].fields.get("reason") == reason  # type: ignore[attr-defined]
        counts[reason] += 1
        assert rejections(key_client) == {name: count for name, count in counts.items() if name}
        assert (response.status_code, response.json()["title"]) == (kind.status, kind.title)
        assert response.json()["type"] == f"urn:problem-type:fcn-segment:{kind.name}"
        assert tag.sub("tag", response.json()["detail"]) == tag.sub("tag", kind.example)
    assert set(SEGMENT_PROBLEMS) <= {kind for kind, _ in ANSWERS} | {errors.TimedOut, errors.UploadTooSlow}
    operation = key_client.get("/openapi.json").json()["paths"]["/segment"]["post"]
    for status in {kind.status for kind in SEGMENT_PROBLEMS}:
        examples = operation["responses"][str(status)]["content"]["application/problem+json"]["examples"]
        assert set(examples) == {kind.name for kind in SEGMENT_PROBLEMS if kind.status == status}
        assert all(example["value"]["status"] == status and example["value"]["detail"] for example in examples.values())


def test_the_examples_of_deadlines_are_what_is_answered(serve: Serve) -> None:
    with serve(request_timeout_s=0.2, upload_timeout_s=0.2) as client, over_http(client) as port, connect(port) as connection:
        with hold_model(service_of(client)):
            late = client.post("/segment", content=PHOTO).json()["detail"]
        connection.settimeout(HANG_S)
        connection.sendall(head(1000) + b"abc")
        slow = json.loads(answer_on(connection).read())["detail"]
        wait_until(lambda: 'segment_rejected_total{reason="slow_upload"} 1.0' in client.get("/metrics").text)
        assert_idle(service_of(client))
    assert late.replace("0.2 s", "60 s") in (errors.TimedOut.example, LATE)  # whichever sees it first
    assert slow.replace("0.2 s", "30 s") == errors.UploadTooSlow.example


def test_an_answer_that_is_too_large_is_413_and_says_what_is_not(client: TestClient) -> None:
    array = encode(np.zeros((2001, 2000, 3), np.uint8))
    assert_problem(post(client, array, format="json", mask="array"), 413, "4 megapixels", "mask=rle")


def test_limits_of_pixels_and_tiles_are_413_that_name_them(serve: Serve) -> None:
    with serve(max_megapixels=0.2, max_queued_tiles=4) as client:
        assert_problem(post(client, encode(make_photo(500, 500))), 413, "at most 0.2 megapixels", "SEGMENT_MAX_MEGAPIXELS")
        half_image = encode(make_photo(400, 400))[:500]
        words = ("has 36 tiles; the limit is 4; give a smaller side", "SEGMENT_MAX_QUEUED_TILES")
        assert_problem(post(client, half_image, side="native"), 413, *words)
        assert_problem(post(client, half_image), 422, "damaged")
        assert_problem(post(client, encode(make_photo(320, 320)), side=640), 422, "640x640 pixels", "0.2")
        assert_idle(service_of(client))


def test_unknown_paths_and_methods_are_problems_too(client: TestClient) -> None:
    for path in ("/nothing", "/segments", "/%ff%00"):
        assert_problem(client.post(path, content=PHOTO), 404, "the routes are listed at /docs")
    # a route's pattern would take a line feed at its end for none, and the paths that are shed would not
    for path in ("/segment%0A", "/segment/batch%0A", "/health%0A", "/%0A", "/a%00"):
        assert_problem(client.post(path, content=PHOTO), 404, "nothing at /")
    for path in ("/segment", "/segment/batch"):
        assert_problem(client.get(path), 405, "GET", path, "POST")
        assert client.head(path).status_code == 405
    assert_problem(client.post("/health/live"), 405, "GET")
    # a redirection to the path without the slash would name the host that the client claims to have asked
    for path in ("/segment/", "/health/live/"):
        response = client.get(path, headers={"Host": "elsewhere.localhost"}, follow_redirects=False)
        assert_problem(response, 404)
        assert "location" not in response.headers


def test_every_error_of_imaging_and_serving_has_a_problem_of_its_own_type_and_a_reason() -> None:
    def leaves(kind: type[Exception]) -> set[type[Exception]]:
        below = kind.__subclasses__()
        return set().union(*map(leaves, below)) if below else {kind}

    for package in (imaging, app):  # errors of modules that nobody has imported are unknown here
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    lacking = [kind for kind in leaves(ImageError) | leaves(ServingError) if not set(kind.__mro__) & set(FOREIGN)]
    assert not lacking
    problems = [to_problem(kind("why")) for kind in FOREIGN]
    assert {problem.detail.removesuffix("; try again later") for problem in problems} == {"why"}
    assert {problem.reason for problem in problems if problem.status != 499} <= set(REASONS)  # its client went
    assert to_problem(QueueFull("full", 7)).headers == {"Retry-After": "7"}
    names = [kind.name for kind in (Problem, *Problem.__subclasses__())]
    assert len(names) == len(set(names))


ALLOWED = {
    "/segment": "POST", "/": "GET, HEAD", "/static/page.js": "GET, HEAD", "/health": "GET, HEAD", "/jobs": "GET, POST, HEAD",
    "/jobs/1": "DELETE, GET, HEAD", "/jobs/1/results": "GET, HEAD",
}  # fmt: skip


def test_an_address_names_all_methods_that_work_there(serve: Serve, tmp_path: Path) -> None:
    with serve(jobs_dir=tmp_path) as client:
        for path, methods in ALLOWED.items():
            for method in ("PUT", "PATCH", "FOO", "OPTIONS"):
                response = client.request(method, path)
                assert_problem(response, 405, f"{method} is not allowed on {path}; allowed: {methods}")
                assert response.headers["allow"] == methods
            assert 405 not in {client.request(method, path).status_code for method in methods.split(", ")}

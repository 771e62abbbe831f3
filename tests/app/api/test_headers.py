"""Headers: which format is answered, entity tags, and compression of answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.errors import NotAcceptable
from app.api.segment import format_from_accept, takes_gzip
from app.serving.service import entity_tag
from imaging.rendering import Rendering
from model.inference.plan import Options
from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, post, service_of
from tests.support.images import encode, make_photo
from tests.support.model.doubles import FirstChannel

OTHER = encode(make_photo(90, 130, seed=1))


def tag(client: TestClient, data: bytes = PHOTO, **query: Any) -> str:
    response = client.post("/segment", content=data, params=query)
    assert response.status_code == 200
    return response.headers["etag"]


def test_a_tag_differs_by_all_that_an_answer_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    options, runtime = Options(), FirstChannel()
    tags = [
        entity_tag("a", options, runtime),
        entity_tag("b", options, runtime),
        entity_tag("a", replace(options, overlap=0.5), runtime),
        entity_tag("a", replace(options, rendering=Rendering("json")), runtime),
    ]
    assert entity_tag("a", Options(), FirstChannel()) == tags[0]
    for name in ("name", "sha256", "runtime", "precision", "instructions"):
        other = FirstChannel()
        other.identity = replace(other.identity, **{name: "b"})
        tags.append(entity_tag("a", options, other))
    monkeypatch.setattr("app.serving.service.package_version", lambda: "another")
    tags.append(entity_tag("a", options, runtime))
    runtime.file_sha256 = "2" * 64
    tags.append(entity_tag("a", options, runtime))
    assert len(set(tags)) == len(tags)


def test_who_has_the_answer_is_not_answered_again(client: TestClient) -> None:
    own_tag = tag(client)
    assert own_tag.startswith('W/"')
    assert own_tag not in (tag(client, OTHER), tag(client, side=96))
    for header in (own_tag, own_tag.removeprefix("W/"), f'"old", {own_tag}'):
        response = client.post("/segment", content=PHOTO, headers={"If-None-Match": header})
        assert (response.status_code, response.headers["etag"]) == (412, own_tag)
        assert response.headers["content-type"] == "application/problem+json"
    assert client.post("/segment", content=OTHER, headers={"If-None-Match": own_tag}).status_code == 200
    assert_idle(service_of(client))


def test_json_is_compressed_where_the_client_takes_it(client: TestClient) -> None:
    query = "/segment?format=json&mask=array"
    plain = client.post(query, content=PHOTO, headers={"Accept-Encoding": "identity"})
    gzip_answer = client.post(query, content=PHOTO, headers={"Accept-Encoding": "br, gzip"})
    assert "content-encoding" not in plain.headers
    assert gzip_answer.headers["content-encoding"] == "gzip"
    assert gzip_answer.content == plain.content
    assert int(gzip_answer.headers["content-length"]) < len(plain.content) / 2
    assert gzip_answer.headers["etag"] == plain.headers["etag"]
    assert {"Accept", "Accept-Encoding"} <= set(gzip_answer.headers["vary"].split(", "))
    assert "content-encoding" not in post(client, headers={"Accept-Encoding": "gzip"}).headers

    tiny = client.post("/segment?format=json", content=encode(make_photo(2, 2)), headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in tiny.headers
    assert len(tiny.content) < 1000
    for taken in ("gzip", "*", "br;q=1, GZIP;q=0.1", "gzip, *;q=0", "*;q=0, gzip"):
        assert takes_gzip(taken), taken
    for refused in ("gzip;q=0", "br", "", "*;q=1, gzip;q=0", "*;q=0"):
        assert not takes_gzip(refused), refused


def test_headers_that_come_twice_are_one_list(client: TestClient) -> None:
    etag_headers = [("If-None-Match", '"other"'), ("If-None-Match", tag(client))]
    assert client.post("/segment", content=PHOTO, headers=etag_headers).status_code == 412
    encoding_headers = [("Accept-Encoding", "br"), ("Accept-Encoding", "gzip")]
    answer = client.post("/segment?format=json&mask=array", content=PHOTO, headers=encoding_headers)
    assert answer.headers["content-encoding"] == "gzip"


FORMATS = {
    "": "png",
    "image/*": "png",
    "Application/JSON; charset=utf-8": "json",
    "application/json, text/plain, */*": "json",
    "image/png;q=0.5, application/json": "json",
    "application/json;q=0.2, */*": "png",
    "application/json, image/png": "png",
    "image/*;q=0, */*": "json",
    "image/png;q=nan, application/json;q=0.1": "json",
    "text/html,application/xhtml+xml,*/*;q=0.8": "png",
}


def test_accept_chooses_between_png_and_json() -> None:
    assert {accept: format_from_accept(accept) for accept in FORMATS} == FORMATS
    for accept in ("text/csv", "application/json;q=0, image/png;q=0", "image/png;q=nan", "image/png;q=2"):
        with pytest.raises(NotAcceptable, match="fits neither image/png nor application/json"):
            format_from_accept(accept)


def test_the_header_s_lines_are_one_list_and_format_beats_it(client: TestClient) -> None:
    lines = [("Accept", "text/html"), ("Accept", "application/json")]
    assert client.post("/segment", content=PHOTO, headers=lines).headers["content-type"] == "application/json"
    response = post(client, headers={"Accept": "text/csv"}, format="png")
    assert response.headers["content-type"] == "image/png"
    assert "Accept" in response.headers["vary"].split(", ")
    assert_problem(post(client, headers={"Accept": "text/csv"}), 406, "text/csv", "image/png", "application/json")


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([("Accept", "," * 2000)], ""),
        ([("Accept", "image/png"), ("Accept", "a" * 1020)], ""),
        ([("Accept-Encoding", "gzip," * 300)], ""),
        ([("Content-Type", 'a/b;"' * 300)], ""),
        ([("X", "")] * 101, ""),
        ([], "a&" * 101),
    ],
    ids=["long", "long in sum", "codings", "a long type", "many headers", "many parameters"],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/segment"), ("GET", "/health/live")])
def test_what_would_take_long_to_take_apart_is_refused(
    client: TestClient, method: str, path: str, headers: list[tuple[str, str]], query: str
) -> None:
    assert_problem(client.request(method, f"{path}?{query}", headers=headers, content=PHOTO), 400, "the limit is")

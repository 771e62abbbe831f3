"""Entity tags and compression of answers."""

from __future__ import annotations

import gzip

import pytest
from fastapi.testclient import TestClient

from app.representation import represent
from tests.conftest import encoded, make_photo

PHOTO = encoded(make_photo(70, 101))
OTHER = encoded(make_photo(70, 101, seed=1))


def tag(client: TestClient, query: str = "", data: bytes = PHOTO) -> str:
    response = client.post(f"/segment?{query}", content=data)
    assert response.status_code == 200
    return response.headers["etag"]


def test_equal_requests_have_one_tag_and_others_another(client: TestClient) -> None:
    tags = [
        tag(client),
        tag(client, "format=json"),
        tag(client, "side=96"),
        tag(client, data=OTHER),
        tag(client, "overlap=0.5"),
    ]
    assert tags[0] == tag(client)
    assert len(set(tags)) == len(tags)
    assert all(entry.startswith('"') and entry.endswith('"') for entry in tags)


def test_who_has_the_answer_is_not_answered_again(client: TestClient) -> None:
    known = tag(client)
    response = client.post("/segment", content=PHOTO, headers={"If-None-Match": f'"old", {known}'})
    assert (response.status_code, response.headers["etag"]) == (412, known)
    assert response.headers["content-type"] == "application/problem+json"
    assert client.post("/segment", content=OTHER, headers={"If-None-Match": known}).status_code == 200
    assert client.get("/health").json()["queued_tiles"] == 0


def test_json_is_compressed_where_the_client_takes_it(client: TestClient) -> None:
    query = "/segment?format=json&mask=array"
    plain = client.post(query, content=PHOTO, headers={"Accept-Encoding": "identity"})
    packed = client.post(query, content=PHOTO, headers={"Accept-Encoding": "br, gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert packed.headers["etag"] == plain.headers["etag"][:-1] + '-gzip"'
    assert "Accept-Encoding" in packed.headers["vary"]
    again = client.post(query, content=PHOTO, headers={"If-None-Match": packed.headers["etag"]})
    assert again.status_code == 412


def test_masks_are_sent_as_they_are(client: TestClient) -> None:
    assert "content-encoding" not in client.post("/segment", content=PHOTO, headers={"Accept-Encoding": "gzip"}).headers


@pytest.mark.parametrize(("accepted", "packed"), [("gzip", True), ("*", True), ("gzip;q=0", False), ("br", False), ("", False)])
def test_what_the_client_takes(accepted: str, packed: bool) -> None:
    body, headers = represent(b"[]" * 1000, "application/json", "abc", accepted)
    assert ("Content-Encoding" in headers) is packed
    assert (gzip.decompress(body) if packed else body) == b"[]" * 1000
    assert represent(b"[]", "application/json", "abc", "gzip")[0] == b"[]"

"""Which format is answered: `format`, else `Accept`."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from app.api.errors import NotAcceptable
from app.api.segment import format_from_accept
from tests.support.app.exchanges import PHOTO, assert_problem, post

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

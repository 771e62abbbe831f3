"""How the values of parameters are sent."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from fcn_client import SegmentClient


def test_lists_are_values_with_commas_in_every_method() -> None:
    queries: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        queries.append(dict(request.url.params))
        return httpx.Response(200, json={"jobID": "1", "status": "accepted"})

    with SegmentClient("http://service", transport=httpx.MockTransport(answer)) as client:
        client.raw(b"image", classes=["cat", 12], crop=True, side=None)
        client.submit(Path(__file__), output="tif", bands=[3, 2, 1], scale=(0, 0.5))
        with pytest.raises(ValueError, match="classes must have at least one value, got an empty list"):
            client.coco(b"image", classes=[])
    assert queries == [{"classes": "cat,12", "crop": "true"}, {"output": "tif", "bands": "3,2,1", "scale": "0,0.5"}]

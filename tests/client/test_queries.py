"""How the values of parameters are sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.client.scripted_service import Kind, both, client_of


@both
def test_lists_are_values_with_commas_in_every_method(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "scene.tif").write_bytes(b"scene")
    queries: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        queries.append(dict(request.url.params))
        return httpx.Response(200, json={"jobID": "1", "status": "accepted"})

    with client_of(kind, transport=httpx.MockTransport(answer)) as client:
        client.raw(b"image", format="binary", classes=["cat", 12], crop=True, side=None)
        client.coco(b"image", classes=(8, 12))
        client.submit(tmp_path / "scene.tif", output="tif", bands=[3, 2, 1], scale=(0, 0.5))
        for values in ({"classes": []}, {"bands": ()}):
            with pytest.raises(ValueError, match=f"{next(iter(values))} must have at least one value, got an empty list"):
                client.raw(b"image", **values)
    assert queries[0] == {"format": "binary", "classes": "cat,12", "crop": "true"}
    assert queries[1] == {"format": "coco", "mask": "rle", "classes": "8,12"}
    assert queries[2] == {"output": "tif", "bands": "3,2,1", "scale": "0,0.5"}

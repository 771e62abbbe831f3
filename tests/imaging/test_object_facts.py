"""Facts of an answer's object, as headers and read from headers."""

from __future__ import annotations

from typing import Any

import pytest

from imaging.object_facts import lacks_object, object_facts, object_headers, read_object_headers
from imaging.rendering import Rendering


@pytest.mark.parametrize(
    ("format", "box", "pixels", "facts", "is_empty"),
    [
        ("cutout", (3, 4, 50, 60), 2000, {"box": (3, 4, 50, 60)}, False),
        ("cutout", (0, 0, 1, 1), 0, {"box": (0, 0, 1, 1)}, False),
        ("cutout", None, 5, {"box": None}, True),
        ("overlay", None, 5, {"object_pixels": 5}, False),
        ("coco", None, 0, {"object_pixels": 0}, True),
        ("png", None, None, {}, None),
    ],
)
def test_headers_say_what_facts_say(format: Any, box: Any, pixels: int | None, facts: dict[str, Any], is_empty: bool) -> None:
    assert object_facts(Rendering(format), box, pixels) == facts
    assert read_object_headers(object_headers(facts | {"etag": "x"})) == facts
    assert lacks_object(facts) is is_empty


@pytest.mark.parametrize("box", ["", "1,2,3", "1,2,3,4,5", "1,2,3,x", "-1,2,3,4", "nothing", "1,2,3,4, 1,2,3,4"])
def test_headers_of_another_service_are_refused(box: str) -> None:
    with pytest.raises(ValueError, match="X-Object-Box"):
        read_object_headers({"X-Object-Box": box})
    with pytest.raises(ValueError, match="X-Object-Pixels"):
        read_object_headers({"X-Object-Pixels": box})

"""What a user does on the page, what it then shows, and answers of the service made by hand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from playwright.sync_api import Page, Route, expect

from imaging.runs import column_runs, encode_rle
from tests.support.checkout import ROOT
from tests.support.images import Pixels, encode, make_photo
from tests.support.polling import HANG_S

PHOTOS = ROOT / "docs" / "photos"
CAT = PHOTOS / "chelsea.jpg"
SEGMENT = "**/segment?*"
ANSWER_MS = 1000 * HANG_S
COLORS = {0: ("background", "#000000"), 1: ("leaf", "#3ca951"), 2: ("stone", "#4269d0")}
Visit = Callable[..., Page]


def thumb(page: Page, name: str) -> Any:
    return page.locator(f'.thumb[title="{name}"]')


def state(page: Page, name: str, value: str) -> None:
    expect(thumb(page, name)).to_have_attribute("data-state", value, timeout=ANSWER_MS)


def give(page: Page, *files: Any) -> None:
    page.set_input_files("#more" if page.locator("#work").is_visible() else "#file", list(files))


def picture(name: str, height: int = 60, width: int = 90, format: str = "PNG", seed: int = 0, **options: Any) -> dict[str, Any]:
    """A file as a form takes it."""
    data = encode(make_photo(height, width, seed), format, **options)
    return {"name": name, "mimeType": f"image/{format.lower()}", "buffer": data}


def segment_file(page: Page, file: Any = CAT) -> Page:
    """The page with the service's answer to this file."""
    give(page, file)
    expect(page.locator("#result")).to_be_visible(timeout=ANSWER_MS)
    return page


def answer_of(class_map: Pixels, name: str = "by hand") -> dict[str, Any]:
    """The JSON answer for this class map, with the classes of `COLORS`."""
    height, width = class_map.shape
    ids = [int(i) for i in np.unique(class_map)]
    classes = [
        {
            "id": i, "name": COLORS[i][0], "color": COLORS[i][1], "pixels": int((class_map == i).sum()),
            "fraction": float((class_map == i).mean()), "mean_confidence": 0.5, "bbox": [0, 0, width, height],
        }
        for i in ids
    ]  # fmt: skip
    counts = encode_rle(column_runs(class_map), ids)
    return {
        "model": {"name": name, "sha256": "0" * 64},
        "image": {"width": width, "height": height},
        "classes": classes,
        "class_map": {"encoding": "rle", "size": [height, width], "counts": counts},
    }


def reply(page: Page, *answers: dict[str, Any]) -> list[str]:
    """Answers requests from here, in order, the last one again and again; gives the list that collects their addresses."""
    requests: list[str] = []

    def fulfill(route: Route) -> None:
        answer = answers[min(len(requests), len(answers) - 1)]
        requests.append(route.request.url)
        route.fulfill(**({"json": answer} if "status" not in answer else answer))

    page.route(SEGMENT, fulfill)
    return requests


def problem(status: int, title: str, detail: str, name: str = "unavailable", **headers: str) -> dict[str, Any]:
    """An error of the service; `name` is the last part of its type."""
    body = {
        "type": f"urn:problem-type:fcn-segment:{name}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": "r",
    }
    return {"status": status, "body": json.dumps(body), "content_type": "application/problem+json", "headers": headers}


def quarters(height: int = 60, width: int = 90) -> Pixels:
    """Background above, a leaf below to the left, a stone below to the right."""
    class_map = np.zeros((height, width), np.uint8)
    class_map[height // 2 :, : width // 2] = 1
    class_map[height // 2 :, width // 2 :] = 2
    return class_map


def box(page: Page, selector: str) -> dict[str, float]:
    """The place of an element on the screen: x, y, width and height."""
    bounds = page.locator(selector).bounding_box()
    assert bounds
    return dict(bounds)


def on_screen(page: Page, column: float, row: float) -> tuple[float, float]:
    """Where on the screen a pixel of the shown image lies."""
    return tuple(
        page.evaluate(
            """([column, row]) => {
                const box = document.querySelector("#colors").getBoundingClientRect();
                const { width, height } = document.querySelector("#colors");
                return [box.left + (column + 0.5) * box.width / width, box.top + (row + 0.5) * box.height / height];
            }""",
            [column, row],
        )
    )


def color_at(page: Page, column: int, row: int, layer: str = "#colors") -> list[int]:
    """The red, green, blue and opacity of a layer there."""
    script = "(layer, [x, y]) => [...layer.getContext('2d').getImageData(x, y, 1, 1).data]"
    rgba: list[int] = page.locator(layer).evaluate(script, [column, row])
    return rgba


def until(page: Page, is_done: Callable[[], object]) -> None:
    """Returns once it is done, while the page goes on."""
    end = time.monotonic() + HANG_S
    while not is_done():
        assert time.monotonic() < end
        page.wait_for_timeout(10)

"""The page's reading of COCO's compressed run lengths, against numpy."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from imaging.runs import column_runs, encode_rle
from tests.support.images import Pixels

READ_PROGRAM = """async ([map, largest]) => {
    const { classMap } = await import("./static/rle.js");
    const { width, height, ids } = classMap(map, largest);
    let text = "";
    for (let at = 0; at < ids.length; at += 32768) text += String.fromCharCode(...ids.subarray(at, at + 32768));
    return [width, height, btoa(text)];
}"""


def read(page: Page, class_map: Pixels, largest: int = 4096) -> Pixels:
    document: dict[str, Any] = {
        "size": list(class_map.shape), "counts": encode_rle(column_runs(class_map), np.unique(class_map).tolist()),
    }  # fmt: skip
    width, height, text = page.evaluate(READ_PROGRAM, [document, largest])
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width)


def nearest(length: int, target: int) -> Any:
    return ((np.arange(target) + 0.5) * length / target).astype(int)


SIZES = [((1, 1), 1), ((1, 40), 2), ((40, 1), 2), ((37, 53), 1), ((37, 53), 5), ((300, 200), 255), ((129, 65), 2)]


def test_every_pixel_is_read_as_it_was_written(page: Page) -> None:
    for size, values in SIZES:
        noise = np.random.default_rng(0).integers(0, values, size, dtype=np.uint8)
        np.testing.assert_array_equal(read(page, noise), noise)
        blocks = np.kron(noise, np.ones((5, 7), np.uint8))
        np.testing.assert_array_equal(read(page, blocks), blocks)


def test_a_large_map_is_read_smaller_by_the_nearest_pixel(page: Page) -> None:
    for size in ((50, 400), (400, 50), (333, 333)):
        noise = np.random.default_rng(1).integers(0, 4, size, dtype=np.uint8)
        result = read(page, noise, 100)
        assert max(result.shape) == 100
        np.testing.assert_array_equal(
            result, noise[np.ix_(nearest(size[0], result.shape[0]), nearest(size[1], result.shape[1]))]
        )


@pytest.mark.long
def test_a_hundred_megapixels_are_read_at_4096_a_side(page: Page) -> None:
    rows, columns = np.ogrid[:10000, :10000]
    large = ((rows // 700 + columns // 900) % 3).astype(np.uint8)
    result = read(page, large)
    assert result.shape == (4096, 4096)
    at = nearest(10000, 4096)
    assert np.array_equal(result, large[np.ix_(at, at)])

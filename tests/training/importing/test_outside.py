"""How much of an outline lies outside of its photo, and when that is an error of the document."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.training.coco import SIZE, document, thing
from training.importing.coco import make_document
from training.importing.drawing.outside import MOST_OUTSIDE, measure, outside_error

FILE = Path("labels.json")
Polygon = list[float]


def box(left: float, top: float, width: float, height: float, scale: float = 1) -> Polygon:
    right, bottom = left + width, top + height
    return [scale * value for value in (left, top, right, top, right, bottom, left, bottom)]


@pytest.mark.parametrize(
    ("polygon", "outside"),
    [
        (box(5, 5, 10, 10), 0),
        (box(0, 0, 60, 40), 0),
        (box(-1, -1, 3, 3), 0),
        (box(40, 10, 21.5, 20), 0.07),
        (box(-2, -1, 63, 42), 0.09),
        (box(40, 10, 50, 20), 0.6),
        (box(-30, -20, 60, 40), 0.75),
        (box(200, 5, 9, 9), 1),
        (box(-90, 5, 9, 9), 1),
        (box(58.4, 5, 3, 3), 1.4 / 3),
        (box(-500, -300, 1000, 600), 0.996),
        ([40, 10, 90, 30, 90, 10, 40, 30], 0.52),
        ([-400_000.0, 0, 400_000, 0, 400_000, 40, -400_000, 40], 0.99992),
    ],
)
def test_the_share_of_an_outline_outside_of_its_photo(polygon: Polygon, outside: float) -> None:
    """Within a pixel it is none. A polygon may cross itself, and be tiny or large."""
    assert measure([polygon], SIZE).outside == pytest.approx(outside, abs=0.01)


SMALL = [box(58.4, 5, 3, 3), box(-1.6, 5, 3, 3), box(30, 38.4, 3, 3)]
GRID = [(x, y, 12, 9) for x in (1, 24, 48) for y in (1, 16, 31)]
INSIDE, WIDE = box(5, 5, 10, 10), box(40, 10, 50, 20)


@pytest.mark.parametrize(
    ("polygons", "words"),
    [
        ([INSIDE, WIDE], ""),
        ([INSIDE, INSIDE, WIDE, WIDE], ""),
        (SMALL, ""),
        ([INSIDE, SMALL[0]], ""),
        (SMALL[:1], ""),
        (
            [WIDE],
            "1 of 1 objects lie to more than a tenth outside of their photos, such as a.png: the object 0 of image 1, leaf, ",
        ),
        (
            [box(*place, 3) for place in GRID],
            "8 of 9 objects lie to more than a tenth outside of their photos, such as a.png: the ",
        ),
        ([box(*place, 3) for place in GRID], "leaf, 100%, and 5 more: they fit photos 3 times larger: give the photos"),
        ([*(box(*place, 3) for place in GRID * 20), box(9000, 0, 9, 9)], "they fit photos 3 times larger"),
        ([box(0, 0, 930, 471.2)], "they fit photos 16 times as wide and 12 times as high"),
        ([box(40, 10, 115, 107.8)], "they fit photos 2.6 times as wide and 2.9 times as high"),
        ([box(y, x, 9, 12) for x in (42, 48) for y in (2, 20)], "as high, or whose width and height are swapped: swap x and y"),
        ([box(x, y, 30, 20) for x in (-30, -10) for y in (-20, -5)], "from -0.5 to 0.33 of the width and from -0.5 to 0.38 of"),
        ([box(5, -15, 10, 10), box(10, -30, 20, 20)], "from -0.75 to -0.12 of the height"),
    ],
)
def test_most_objects_outside_are_an_error_that_says_what_fits(polygons: list[Polygon], words: str) -> None:
    """Half of the objects are not most; a few pixels are carelessness; an outlier does not make the factor."""
    objects = [(thing(index), measure([polygon], SIZE)) for index, polygon in enumerate(polygons)]
    outside = [each for each in objects if each[1].outside > MOST_OUTSIDE]
    error = outside_error(FILE, make_document(FILE, document(*(entry for entry, _ in objects))), outside)
    assert words in str(error) if words else error is None
    assert len(str(error)) < 500

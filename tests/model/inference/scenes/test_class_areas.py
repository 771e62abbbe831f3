"""The area of each class of a scene."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from imaging.georeferenced.place import Place, Window, pixel_areas
from model.inference.scenes.rows import ClassRows
from model.inference.scenes.work import ClassAreas
from tests.support.imaging.scenes import UTM, north_up

SIZE = (200, 300)
FULL_DISK = "+proj=geos +h=35785831"  # whose pixels differ within a row
DEGREES = Affine.translation(10, 60) @ Affine.scale(1e-5, -1e-5)


@pytest.mark.parametrize(
    ("crs", "transform"), [(UTM, north_up(0.5)), ("EPSG:4326", DEGREES), (FULL_DISK, north_up(2_000, (3_000_000, 3_000_000)))]
)
def test_the_area_of_a_class_is_that_of_its_pixels(crs: str, transform: Affine) -> None:
    where = Place(SIZE, transform, CRS.from_user_input(crs))
    ids = np.random.default_rng(0).choice(np.array([0, 2, 255], np.uint8), SIZE)
    class_areas = ClassAreas(where)
    assert len(list(class_areas.summed([ClassRows(0, ids[:70], None), ClassRows(70, ids[70:], None)]))) == 2
    pixels = np.broadcast_to(pixel_areas(where, Window(0, 0, *SIZE)), SIZE)
    assert class_areas.totals[[0, 1, 2, 255]] == pytest.approx([pixels[ids == id].sum() for id in (0, 1, 2, 255)], rel=1e-3)

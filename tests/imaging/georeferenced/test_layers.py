"""Polygons of a layer are those of the class map, moved by no more than the tolerance."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from PIL import Image
from rasterio.crs import CRS

from imaging.georeferenced.layers import layer_polygons
from imaging.georeferenced.place import Place
from tests.support.imaging.scenes import UTM, north_up


@pytest.mark.parametrize("tolerance", [0.1, 0.2])
def test_no_outer_ring_moves_by_more_than_the_tolerance(tolerance: float) -> None:
    """Also where a ring begins, and where it would cross itself."""
    noise = (np.random.default_rng(0).random((40, 60)) * 255).astype(np.uint8)
    ids = np.asarray(Image.fromarray(noise).resize((300, 200), Image.Resampling.BICUBIC)) // 64
    where, names = Place((200, 300), north_up(0.05), CRS.from_string(UTM)), {id: str(id) for id in range(4)}
    exact, simple = (
        shapely.transform(
            [polygon for polygon, _ in layer_polygons([(0, ids, None)], where, names, tolerance=most)], where.to_map
        )
        for most in (0, tolerance)
    )
    assert shapely.is_valid(simple).all()
    assert shapely.get_num_coordinates(simple).sum() < 0.6 * shapely.get_num_coordinates(exact).sum()
    assert shapely.get_num_interior_rings(simple).sum() < shapely.get_num_interior_rings(exact).sum()
    moved = shapely.hausdorff_distance(*map(shapely.get_exterior_ring, (exact, simple)))
    assert moved.max() <= tolerance + 1e-6

"""Metres of a pixel in metres, feet, degrees and Mercator's stretched metres; GeoJSON in longitude and latitude."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from imaging.georeferenced.errors import NoCoordinates, SceneError
from imaging.georeferenced.geojson import GeoJSONWriter, feature_collection
from imaging.georeferenced.ground import metres_per_pixel, pixel_areas, scaled_size
from imaging.georeferenced.place import Place, Window
from tests.support.imaging.scenes import UTM, north_up

SIZE = (200, 300)


def place(crs: str | None, transform: Affine, size: tuple[int, int] = SIZE) -> Place:
    return Place(size, transform, CRS.from_user_input(crs) if crs else None)


METRES = place(UTM, north_up(0.5))
FEET = place("EPSG:2263", north_up(1.0, (980_000, 200_000)))  # New York, US survey feet
MERCATOR = place("EPSG:3857", north_up(1.0, (1_000_000, 8_399_737)))  # at 60 degrees
GEOGRAPHIC = place("EPSG:4326", Affine.translation(10, 60) @ Affine.scale(1e-5, -1e-5))
TURNED = place(UTM, north_up(0.5) @ Affine.rotation(30))
LOCAL = place('LOCAL_CS["site",UNIT["metre",1]]', north_up(0.25, (0, 0)))


@pytest.mark.parametrize(
    ("where", "down", "right"),
    [
        (METRES, 0.5, 0.5), (FEET, 0.3048, 0.3048), (TURNED, 0.5, 0.5), (MERCATOR, 0.5, 0.5), (GEOGRAPHIC, 1.1141, 0.5580),
    ],
)  # fmt: skip
def test_the_size_of_a_pixel(where: Place, down: float, right: float) -> None:
    assert metres_per_pixel(where) == pytest.approx((down, right), rel=5e-3)
    areas = pixel_areas(where, Window(50, 20, 100, 120))
    assert np.broadcast_to(areas, (100, 120)).mean() == pytest.approx(down * right, rel=1e-2)


def test_areas_shrink_towards_the_pole() -> None:
    areas = pixel_areas(
        place("EPSG:4326", Affine.translation(0, 90) @ Affine.scale(0.1, -0.1), (1800, 3600)), Window(0, 0, 1800, 3600)
    )
    assert areas.shape == (1800, 1)
    earth = 510_065_622e6  # m2, of the ellipsoid
    assert areas.sum() * 3600 == pytest.approx(earth, rel=1e-3)


def test_a_middle_beyond_its_projection_is_named() -> None:
    with pytest.raises(SceneError, match="cannot become longitude and latitude"):
        metres_per_pixel(Place((90, 130), Affine(1, 0, 1e9, 0, -1, 1e9), CRS.from_epsg(32632)))


def test_a_scale_in_metres_gives_the_size_to_work_at() -> None:
    assert scaled_size(METRES, 0.25, 4) == (400, 600)
    assert scaled_size(METRES, 1000, 4) == (1, 1)
    height, width = scaled_size(GEOGRAPHIC, 1.0, 4)
    assert (height, width) == (223, 167)


@pytest.mark.parametrize(("where", "least"), [(METRES, 0.125), (GEOGRAPHIC, 0.279)])
def test_a_scale_may_not_enlarge_too_much(where: Place, least: float) -> None:
    with pytest.raises(SceneError, match=f"pixels of 0.1 m enlarge a.tif more than 4 times: .* at least {least}"):
        scaled_size(where, 0.1, 4, "a.tif")
    assert scaled_size(where, 1.001 * least, 4)


@pytest.mark.parametrize("where", [METRES, FEET, TURNED, GEOGRAPHIC])
def test_a_scaled_place_shows_the_same_ground(where: Place) -> None:
    scaled = where.scaled(scaled_size(where, 0.8, 4))
    assert metres_per_pixel(scaled) == pytest.approx((0.8, 0.8), rel=5e-3)
    (height, width), (own_height, own_width) = scaled.size, where.size
    corners = scaled.to_map([[0, 0], [width, 0], [width, height]])
    assert corners == pytest.approx(where.to_map([[0, 0], [own_width, 0], [own_width, own_height]]))


def test_without_coordinates_there_are_no_metres() -> None:
    with pytest.raises(NoCoordinates, match="no relation to the Earth"):
        metres_per_pixel(LOCAL)
    for nowhere in (place(None, north_up()), place(UTM, Affine.identity())):
        with pytest.raises(NoCoordinates, match=r"has no (coordinate system|transform)"):
            metres_per_pixel(nowhere)


def test_polygons_become_longitude_and_latitude_anticlockwise() -> None:
    ring = shapely.Polygon([(0, 0), (0, 20), (20, 20), (20, 0)], [[(5, 5), (5, 9), (9, 9), (9, 5)]])
    document = feature_collection([(ring, {"class": "tree"})], METRES, {"name": "a"})
    (feature,) = document["features"]
    assert document["name"] == "a"
    assert feature["properties"] == {"class": "tree"}
    outer, hole = feature["geometry"]["coordinates"]
    assert shapely.LinearRing(outer).is_ccw
    assert not shapely.LinearRing(hole).is_ccw
    assert METRES.to_degrees([[0, 0]])[0].round(8).tolist() in np.round(outer, 8).tolist()
    text = io.StringIO()
    writer = GeoJSONWriter(text, METRES, {"name": "a"})
    writer.add(ring, {"class": "tree"})
    writer.close()
    assert json.loads(text.getvalue()) == document


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32601", "EPSG:3832"])
def test_polygons_are_cut_at_the_antimeridian(crs: str) -> None:
    if crs == "EPSG:4326":
        transform = Affine.translation(179.9, 10.1) @ Affine.scale(1e-3, -1e-3)
    elif crs == "EPSG:32601":
        transform = north_up(100, (160_000, 1_110_000))
    else:
        transform = north_up(100, (3_330_000, 1_110_000))
    where = place(crs, transform)
    box = shapely.box(0, 0, 300, 200)
    geometry = feature_collection([(box, {})], where)["features"][0]["geometry"]
    assert geometry["type"] == "MultiPolygon"
    west, east = sorted((shapely.Polygon(part[0]) for part in geometry["coordinates"]), key=lambda part: part.bounds[0])
    assert west.bounds[0] == -180
    assert east.bounds[2] == 180
    assert all(abs(part.bounds[2] - part.bounds[0]) < 1 for part in (west, east))
    area = sum(part.area for part in (west, east)) * (math.pi * 6_371_000 / 180) ** 2 * math.cos(math.radians(10))
    assert area == pytest.approx(pixel_areas(where, Window(0, 0, *SIZE)).mean() * SIZE[0] * SIZE[1], rel=2e-2)

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
from rasterio.features import rasterize
from rasterio.warp import transform as change_system

from imaging.georeferenced.errors import NoCoordinates, SceneError
from imaging.georeferenced.geojson import feature_collection, write_geojson
from imaging.georeferenced.place import Place, Window, metres_per_pixel, pixel_areas, scaled_size
from imaging.polygons import faces
from tests.support.imaging.scenes import UTM, north_up

SIZE = (200, 300)


def place(crs: str | None, transform: Affine, size: tuple[int, int] = SIZE) -> Place:
    return Place(size, transform, CRS.from_user_input(crs) if crs else None)


METRES = place(UTM, north_up(0.5))
FEET = place("EPSG:2263", north_up(1.0, (980_000, 200_000)))  # New York, US survey feet
MERCATOR = place("EPSG:3857", north_up(1.0, (1_000_000, 8_399_737)))  # at 60 degrees
GEOGRAPHIC = place("EPSG:4326", Affine.translation(10, 60) @ Affine.scale(1e-5, -1e-5))
TURNED = place(UTM, north_up(0.5) @ Affine.rotation(30))


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


@pytest.mark.parametrize(("crs", "scale"), [("EPSG:3413", 0.9698), ("EPSG:3031", 0.9728)])
def test_pixels_at_a_pole_are_as_large_as_beside_it(crs: str, scale: float) -> None:
    at_pole = place(crs, Affine(0.1, 0, -15, 0, -0.1, 10))
    assert metres_per_pixel(at_pole) == pytest.approx((0.1 / scale, 0.1 / scale), rel=1e-3)
    assert pixel_areas(at_pole, Window(0, 0, *SIZE)) == pytest.approx(np.full((200, 1), (0.1 / scale) ** 2), rel=1e-3)


def test_areas_shrink_towards_the_pole() -> None:
    areas = pixel_areas(
        place("EPSG:4326", Affine.translation(0, 90) @ Affine.scale(0.1, -0.1), (1800, 3600)), Window(0, 0, 1800, 3600)
    )
    assert areas.shape == (1800, 1)
    earth = 510_065_622e6  # m2, of the ellipsoid
    assert areas.sum() * 3600 == pytest.approx(earth, rel=1e-3)


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


@pytest.mark.parametrize(("unit", "metres"), [('UNIT["metre",1]', 0.25), ('UNIT["foot",0.3048]', 0.0762)])
def test_a_local_system_has_the_lengths_of_its_unit(unit: str, metres: float) -> None:
    site = place(f'LOCAL_CS["site",{unit}]', north_up(0.25, (0, 0)))
    assert metres_per_pixel(site) == pytest.approx((metres, metres))
    assert pixel_areas(site, Window(3, 4, 5, 6)) == pytest.approx(np.full((5, 1), metres**2))
    with pytest.raises(NoCoordinates, match="no relation to the Earth"):
        site.to_degrees([[0, 0]])


def test_without_coordinates_or_an_area_there_are_no_metres() -> None:
    flat = Affine(0, 0, 448_000, 0, 0, 5_412_000), Affine(math.nan, 0, 0, 0, -1, 0)
    for nowhere in (place(None, north_up()), *(place(UTM, transform) for transform in (Affine.identity(), *flat))):
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
    write_geojson(text, [(ring, {"class": "tree"})], METRES, {"name": "a"})
    assert json.loads(text.getvalue()) == document


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine.translation(179.9, 10.1) @ Affine.scale(1e-3, -1e-3)),
        ("EPSG:32601", north_up(100, (160_000, 1_110_000))),
        ("EPSG:3832", north_up(100, (3_330_000, 1_110_000))),
    ],
)
def test_polygons_are_cut_at_the_antimeridian(crs: str, transform: Affine) -> None:
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


WORLD = place("EPSG:4326", Affine(1, 0, -180, 0, -1, 90), (180, 360))
WEB_WORLD = place("EPSG:3857", Affine(100_187.5, 0, -20_037_500, 0, -100_187.5, 20_037_500), (400, 400))
WIDE = place(UTM, Affine(10, 0, 300_000, 0, -10, 5_400_000), (10_980, 10_980))  # as those of Sentinel-2
CONIC = place("ESRI:102008", Affine(100, 0, -500_000, 0, -100, 500_000), (9_000, 12_000))


@pytest.mark.parametrize("where", [WORLD, WEB_WORLD, WIDE, CONIC, METRES], ids=["world", "web", "wide", "conic", "small"])
def test_sides_lie_where_the_raster_has_them(where: Place) -> None:
    """Also between their ends, and where they are longer than half a turn of longitude."""
    height, width = where.size
    assert_sides(where, shapely.box(0, 0, width, height))


def assert_sides(where: Place, outline: shapely.Polygon) -> None:
    """The outline's sides in degrees, seen in the raster again, lie where they were."""
    (part,) = feature_collection([(outline, {})], where)["features"][0]["geometry"]["coordinates"]
    between = shapely.get_coordinates(shapely.segmentize(shapely.Polygon(part), 0.1))
    assert where.crs is not None
    x, y = change_system("OGC:CRS84", where.crs, between[:, 0], between[:, 1])
    points = where.to_pixels(np.column_stack([x, y]))
    assert shapely.distance(shapely.points(points), outline.exterior).max() < 0.12
    assert shapely.Polygon(points).area == pytest.approx(outline.area, rel=1e-3)
    assert len(part) < 250


@pytest.mark.parametrize("crs", ["EPSG:3031", "EPSG:3413"])
def test_polygons_around_a_pole_hold_it(crs: str) -> None:
    where = place(crs, Affine(1000, 0, -100_300, 0, -1000, 75_400), (150, 210))
    box, far = shapely.box(0, 0, 210, 150), shapely.box(10, 10, 30, 30)
    ring = shapely.Polygon(box.exterior, [shapely.box(90, 60, 120, 90).exterior, far.exterior])
    areas = []
    for polygon in (box, far, ring):
        geometry = shapely.geometry.shape(feature_collection([(polygon, {})], where)["features"][0]["geometry"])
        assert geometry.is_valid
        assert geometry.covers(shapely.Point(77, math.copysign(90, geometry.bounds[1]))) == (polygon is box)
        flat = shapely.transform(shapely.segmentize(geometry, 0.2), lambda at: np.c_[at[:, 0], np.sin(np.radians(at[:, 1]))])
        areas.append(flat.area / polygon.area)  # on a cylinder of equal areas
    assert np.allclose(areas, areas[0], rtol=1e-3)


@pytest.mark.parametrize("distance", [1000, 10], ids=str)
def test_close_to_a_pole_polygons_are_valid_and_hold_their_pixels(distance: int) -> None:
    """There a pixel is many degrees of longitude wide, and as few of latitude high as anywhere."""
    where = place("EPSG:3031", Affine(0.05, 0, distance, 0, -0.05, distance), (40, 60))
    ids = np.zeros(where.size, np.uint8)
    ids[10:30, 5:15], ids[20:39, 40:58], ids[22, 42] = 1, 2, 0
    regions = faces(ids)
    document = feature_collection([(region, {}) for region in regions], where)
    for region, feature in zip(regions, document["features"], strict=True):
        geometry = shapely.geometry.shape(feature["geometry"])
        x, y = change_system("OGC:CRS84", "EPSG:3031", *shapely.get_coordinates(geometry).T)
        in_pixels = shapely.set_coordinates(geometry, where.to_pixels(np.column_stack([x, y])))
        assert shapely.is_valid(shapely.geometry.shape(feature["geometry"]))
        assert (rasterize([in_pixels], ids.shape) == rasterize([region], ids.shape)).all()


@pytest.mark.parametrize("figure", ["+datum=WGS84", "+ellps=GRS80", "+a=6378169 +b=6356583.8"])
def test_pixels_beyond_the_disk_of_a_projection_count_for_nothing(figure: str) -> None:
    """As those of weather satellites, which show the whole side of the Earth and space around it."""
    full_disk = place(f"+proj=geos +h=35785831 +lon_0=0 {figure}", north_up(55_000, (-5_500_000, 5_500_000)), (200, 200))
    areas = pixel_areas(full_disk, Window(0, 0, 200, 200))
    assert max(areas[0, 0], areas[-1, -1]) < 1e-3 * 55_000**2
    assert areas[100, 100] == pytest.approx(55_000**2, rel=2e-2)
    world = place(f"+proj=moll {figure}", north_up(100_000, (-2e7, 2e7)), (400, 400))  # GDAL makes an error of space here
    assert (pixel_areas(world, Window(0, 0, 90, 400)) == 0).all()
    inside, outside = shapely.box(50, 50, 150, 150), shapely.box(0, 0, 110, 110)
    assert_sides(full_disk, inside)
    with pytest.raises(SceneError, match="a corner that has no longitude and latitude"):
        feature_collection([(outside, {})], full_disk)

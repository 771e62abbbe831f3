"""Reads polygons with their attributes from vector files of a GIS, moves them to a raster, and burns them into masks."""

from __future__ import annotations

import codecs
import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine
from pyogrio.errors import DataLayerError, DataSourceError
from pyogrio.raw import read
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.features import rasterize
from rasterio.warp import transform, transform_bounds

from common.arrays import Floats, Geometries, Integers, Integers16, Mask
from imaging.georeferenced.errors import SceneError, VectorError
from imaging.georeferenced.geojson import within_a_turn
from imaging.georeferenced.opening import check_system, ended_by_ctrl_c
from imaging.georeferenced.place import Place, Window, moved, system_name
from imaging.georeferenced.vector_files import check_vector_file

System = CRS
"""A coordinate system, as rasterio knows it."""
LONGEST_EDGE = 100.0  # metres between corners of a polygon that is moved: an edge bends by less than a millimetre
FAR = 1000 * LONGEST_EDGE  # which no map stretches an edge to, but near a pole
METRES_A_DEGREE = 111_320.0
MARGIN = 0.01  # share of a raster's extent by which polygons are sought around it
LATTICE = np.linspace(0, 1, 33)  # where a raster's bounds in a map are looked for beside its edges, as shares of its sides
MOST_NAMES = 20
NOTHING = -1  # value of pixels outside of all polygons


@dataclass(frozen=True)
class Features:
    """The features of a layer. x comes first, also where the coordinate system says latitude first.

    geometries: two-dimensional; None for a feature without one, and for one whose bytes are damaged. has_geometry: bool (N,),
    True for damaged ones too. numbers: of the features in the file (FIDs). values: those of the field; empty without one.
    encoding: in which a shapefile's values are read, if it is not UTF-8 and some need it.
    """

    layer: str
    crs: CRS
    geometries: Geometries
    has_geometry: Mask
    numbers: list[int]
    values: list[Any]
    encoding: str = ""


@ended_by_ctrl_c()
def read_features(path: Path, layer: str | None = None, field: str | None = None) -> Features:
    """The features of a layer of a file. layer: its name; not needed if the file has only one with geometries.

    field: the attribute to read. Raises `VectorError` for a file of another format or that names others, for a layer or field
    that does not exist, for several layers of which none is named, and for a layer without a coordinate system.
    """
    check_vector_file(path)
    encoding = _encoding(path)
    try:
        name = _choose(path, layer)
        if field is not None:
            names = pyogrio.read_info(path, layer=name, encoding=encoding)["fields"]
            _check_field(f"{path}, layer {name},", field, list(map(str, names)))
        columns = [] if field is None else [field]
        facts, numbers, wkb, values = read(
            path, layer=name, encoding=encoding, columns=columns, force_2d=True, return_fids=True
        )
    except UnicodeDecodeError as error:
        raise VectorError(
            f"{path} has texts that are not in {encoding or 'utf-8'}; write their encoding, such as CP1252 or GBK, into "
            f"{path.with_suffix('.cpg').name} beside it, or save it as a GeoPackage"
        ) from error
    except (DataSourceError, DataLayerError) as error:
        raise VectorError(f"{path} is no vector file that GDAL reads: {error}") from error
    if not facts["crs"]:
        raise VectorError(f"{path}, layer {name}, has no coordinate system; set that in which its polygons were drawn")
    try:
        check_system(facts["crs"], f"{path}, layer {name},")
        crs = CRS.from_user_input(facts["crs"])
    except SceneError as error:
        raise VectorError(str(error)) from error
    except CRSError as error:
        raise VectorError(f"{path}, layer {name}, has an unknown coordinate system, {facts['crs'][:60]}: {error}") from error
    has_geometry = np.array([each is not None for each in wkb], np.bool_)
    geometries = shapely.from_wkb(wkb, on_invalid="ignore")
    column = [value.item() if isinstance(value, np.generic) else value for value in values[0]] if field is not None else []
    is_other = encoding not in (None, "utf-8") and not all(str(value).isascii() for value in column)
    encoding = encoding if encoding and is_other else ""
    return Features(name, crs, geometries, has_geometry, [int(number) for number in numbers], column, encoding)


def _encoding(path: Path) -> str | None:
    """The encoding of a shapefile's texts, as Python names it: UTF-8 if it says none; None for other files.

    GDAL would read what says none as Latin-1. Raises `VectorError` for one that is not known.
    """
    if path.suffix.lower() != ".shp":
        return None
    files = [each for each in path.parent.glob(f"{glob.escape(path.stem)}.*") if each.suffix.lower() == ".cpg"]
    words = files[0].read_text("ascii", "replace").strip() if files else ""
    parts = re.fullmatch(r"(?i)(?:ansi|cp|oem|windows)?[ -]?(\d{3,5})", words)
    number = re.fullmatch(r"(?i)(?:iso)?[ _-]?8859[ _-]?(\d+)", words)
    name = f"iso8859-{number[1]}" if number else "utf-8" if words == "65001" else f"cp{parts[1]}" if parts else words
    try:
        b"a ".decode(name or "utf-8")
        return codecs.lookup(name or "utf-8").name
    except (LookupError, UnicodeError) as error:
        raise VectorError(f"{files[0]} names an unknown encoding, {words[:40]!r}; write such as CP1252 or GBK") from error


def _choose(path: Path, layer: str | None) -> str:
    """The name of the layer to read. Raises `VectorError`."""
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    names = ", ".join(layers[:MOST_NAMES])
    if not layers:
        raise VectorError(f"{path} has no layer with geometries")
    if layer is None and len(layers) > 1:
        raise VectorError(f"{path} has {len(layers)} layers ({names}); name one of them")
    if layer is not None and layer not in layers:
        raise VectorError(f"{path} has no layer {layer!r}; its layers are {names}")
    return layer or layers[0]


def _check_field(where: str, field: str, fields: Sequence[str]) -> None:
    if field not in fields:
        near = get_close_matches(field, fields, 1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        names = f"its fields are {', '.join(fields[:MOST_NAMES])}" if fields else "it has no fields"
        raise VectorError(f"{where} has no field {field!r}{hint}; {names}")


def polygons_in_pixels(polygons: Geometries, crs: CRS, place: Place) -> tuple[Integers, Geometries]:
    """The indices of those polygons (N,) near a raster, and these polygons in its pixels: x is the column and y the row.

    crs: of the polygons. Long edges get further corners before they are moved to another system. Raises `VectorError` for a
    polygon without a place in the raster's system, and `NoCoordinates`.
    """
    target = place.require("the scene")
    indices = np.sort(shapely.STRtree(polygons).query(surroundings(place, crs), predicate="intersects"))
    shapes = polygons[indices]
    if crs != target:
        with _moving(crs, target):
            longest = LONGEST_EDGE / (METRES_A_DEGREE if crs.is_geographic else float(crs.linear_units_factor[1]))
        shapes = move(shapely.segmentize(shapes, longest), crs, target)
        if target.is_geographic:
            shapes = within_a_turn(shapes)
        else:
            _check_edges(shapes, target)
    if target.is_geographic and np.nanmax(np.abs([*bounds(place, target)[::2], *shapely.bounds(shapes)[:, ::2].flat])) > 180:
        shapes = _in_turns(shapes)
    a, b, c, d, e, f = (~place.transform)[:6]
    return indices, shapely.transform(shapes, lambda x, y: (a * x + b * y + c, d * x + e * y + f), interleaved=False)


def _check_edges(shapes: Geometries, crs: CRS) -> None:
    """Raises `VectorError` for an edge that is far longer than before it was moved to this system: the map ends between."""
    points, owners = shapely.get_coordinates(shapely.get_rings(shapes), return_index=True)
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1) * (np.diff(owners) == 0)
    if len(far := np.flatnonzero(lengths > FAR)):
        x, y = points[far[0]]
        raise VectorError(
            f"an edge of a polygon, at x {x:.9g}, y {y:.9g}, lies across the end of the map in {system_name(crs)}; cut the "
            "polygon there"
        )


def surroundings(place: Place, crs: CRS) -> shapely.Geometry:
    """What is around a raster, in a system; in degrees also turns away, as polygons may count them otherwise."""
    left, bottom, right, top = bounds(place, crs)
    right += 360 * (left > right)
    margin = MARGIN * max(right - left, top - bottom)
    box = shapely.box(left - margin, bottom - margin, right + margin, top + margin)
    return _in_turns(np.array([box]))[0] if crs.is_geographic else box


def _in_turns(shapes: Geometries) -> Geometries:
    """Shapes in degrees, each also a turn further west and east."""
    turned = [shapely.transform(shapes, lambda at, turn=turn: np.add(at, (turn, 0))) for turn in (-360, 0, 360)]
    result: Geometries = shapely.union_all(turned, axis=0)
    return result


def bounds(place: Place, crs: CRS) -> tuple[float, float, float, float]:
    """The left, lower, right and upper edge of a raster in a coordinate system; left is the larger one across 180 degrees.

    Raises `VectorError` if its edges have no place in the system.
    """
    height, width = place.size
    own = place.require("the scene")
    points = place.to_map(np.stack(np.meshgrid(width * LATTICE, height * LATTICE), -1).reshape(-1, 2))
    with _moving(own, crs):
        edges: tuple[float, float, float, float] = transform_bounds(own, crs, *points.min(0), *points.max(0))
        if not np.isfinite(edges).all():
            raise ValueError("edges without a place")
    if crs.is_projected:  # a map of the world has places outside of its edges
        places = np.vstack([np.reshape(edges, (2, 2)), moved(points, own, crs)[0]])
        edges = (*np.nanmin(places, 0), *np.nanmax(places, 0))
    return edges


@contextmanager
def _moving(crs: CRS, target: CRS) -> Iterator[None]:
    """Raises `VectorError` for coordinates that cannot become those of the other system."""
    try:
        with rasterio.Env():  # which keeps GDAL from writing to stderr
            yield
    except Exception as error:  # rasterio does not publish the classes of GDAL's errors
        raise VectorError(
            f"coordinates in {system_name(crs)} cannot become those in {system_name(target)}; save the polygons in the scene's "
            "system, or correct the one that either file names"
        ) from error


def move(geometries: Geometries, crs: CRS, target: CRS) -> Geometries:
    """Geometries in another coordinate system, corner by corner. Raises `VectorError` if a corner has no place in it."""

    def corners(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        with _moving(crs, target):
            xs, ys = transform(crs, target, x, y)
        return np.asarray(xs), np.asarray(ys)

    if not len(geometries):
        return geometries
    result: Geometries = shapely.transform(geometries, corners, interleaved=False)
    places = shapely.get_coordinates(result)
    if not np.isfinite(places).all():
        x, y = shapely.get_coordinates(geometries)[~np.isfinite(places).all(1)][0]
        corner = f"a polygon's corner at {x:.10g}, {y:.10g}"
        raise VectorError(f"{corner} has no place in {system_name(target)}; cut the polygon there")
    return result


class Burner:
    """Burns polygons into windows of one raster.

    A pixel belongs to a polygon that holds its centre. Smaller polygons lie over larger ones.
    """

    def __init__(self, polygons: Geometries, values: Sequence[int], on_top: Sequence[bool]) -> None:
        """polygons: in the raster's pixels. values: of their pixels, 0 to 255. on_top: those that lie over all others."""
        areas = shapely.area(polygons)
        rank = sorted(range(len(values)), key=lambda at: (on_top[at], -areas[at], at))
        self._shapes = [(polygons[at], values[at]) for at in rank]
        self._tree = shapely.STRtree(polygons[rank])

    def burn(self, window: Window) -> Integers16:
        """The values of a window's pixels (H, W), `NOTHING` outside of all polygons."""
        place = Affine.translation(window.left, window.top)
        area = shapely.box(window.left, window.top, window.left + window.width, window.top + window.height)
        values = np.full((window.height, window.width), NOTHING, np.int16)
        if indices := sorted(self._tree.query(area, predicate="intersects").tolist()):
            rasterize([self._shapes[at] for at in indices], out=values, transform=place)
        return values

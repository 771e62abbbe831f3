"""Checks vector files of a GIS by their bytes, before GDAL opens them: that it reads them whole, and nothing beside them."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from rasterio.crs import CRS
from rasterio.errors import CRSError

from common.printable import excerpt
from imaging.georeferenced.errors import SceneError, VectorError
from imaging.georeferenced.opening import check_files, check_system, list_names, read_head

BOM = b"\xef\xbb\xbf"
HEADS = re.compile(rb"(?s)(SQLite format 3\0.{52}(GPKG|GP1[01])|fgb\x03fgb.(\0|.\0|..\0|...\0))")
"""How GeoPackage and FlatGeobuf begin. Their first 0 ends the text in which GDAL looks for words of other formats."""
ARCHIVES = (b"PK\3\4", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!")
GEOJSON_TYPES = ("FeatureCollection", "Feature", "Polygon", "MultiPolygon", "GeometryCollection")
PARTS = ("crs", "features", "geometry", "geometries")
MEMBERS = ("type", "properties", "name", *PARTS)
DEFAULT_SYSTEM = {"type": "name", "properties": {"name": "EPSG:4326"}}
MOST_PROPERTIES = 5000  # of all features; GDAL takes a second for twice as many, and four for four times
SYSTEM_NAMES = re.compile(r"(?i)^(?:urn:ogc:def:crs:|https?://(?:www\.)?opengis\.net/def/crs/|(?:EPSG|ESRI|OGC):)[\w:./-]+$")
"""Names of coordinate systems that GDAL does not look for in files and at addresses."""
FGB_HEAD, MOST_HEAD = 12, 1 << 24  # bytes of a FlatGeobuf: before its head, whose length they end in, and of that at most


def check_vector_file(path: Path) -> None:
    """Checks by its bytes that a file names no others, before GDAL opens it with any driver. Raises `VectorError`."""
    try:
        check_files(path, list_names)
        head = read_head(path)
        if head.removeprefix(BOM).lstrip().startswith(b"{") and not re.search(
            rb"<OGR|<(wfs:)?WFS_", head
        ):  # of formats that lead on
            document = json.loads(path.read_bytes().removeprefix(BOM), object_pairs_hook=partial(_check_members, set()))
            _check_systems(document)
            is_read = document.get("type") in GEOJSON_TYPES and path.suffix.lower() in (".geojson", ".json")
        else:
            is_shape = head.startswith(b"\0\0\x27\x0a") and path.suffix.lower() == ".shp"
            is_read = is_shape or HEADS.match(head) is not None
            if is_read and not is_shape:
                check_system(_system_words(path), str(path))
    except SceneError as error:
        raise VectorError(str(error)) from error
    except sqlite3.Error as error:
        raise VectorError(f"{path} is no GeoPackage that is read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise VectorError(f"{path} is no GeoJSON: {error}") from error
    if head.startswith(ARCHIVES):
        raise VectorError(f"{path} is an archive; unpack it, and give the file in it (of a shapefile, that which ends in .shp)")
    if not is_read:
        raise VectorError(
            f"{path} is no vector file that is read: by bytes and ending, no GeoPackage, GeoJSON, shapefile or FlatGeobuf; "
            "export it from the GIS as a GeoPackage"
        )


def _system_words(path: Path) -> str:
    """The coordinate systems of a GeoPackage, or the head of a FlatGeobuf, as words. Raises `sqlite3.Error`."""
    with path.open("rb") as file:
        head = file.read(FGB_HEAD)
        if head.startswith(b"fgb"):
            return file.read(min(int.from_bytes(head[-4:], "little"), MOST_HEAD)).decode("utf-8", "replace")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        return str(database.execute("SELECT * FROM gpkg_spatial_ref_sys").fetchall())


def _check_systems(document: dict[str, Any]) -> None:
    """Raises `SceneError` if a part has another coordinate system than the document, or if the document's is no object."""
    system, features = document.get("crs") or DEFAULT_SYSTEM, document.get("features")
    for number, feature in enumerate(features if isinstance(features, list) else [document]):
        if other := next((crs for crs in _systems(feature) if crs and crs != system), None):
            raise SceneError(
                f"feature {number} has a crs of its own, {excerpt(other)}, and only that of the whole GeoJSON is read; write "
                "it beside the features, or export the file again"
            )
    if not isinstance(system, dict):
        raise SceneError(f"a crs of GeoJSON is read as a name, got {excerpt(system)}; export the file again")


def _systems(part: Any) -> Iterator[Any]:
    """The coordinate systems of parts of GeoJSON and of their geometries."""
    if isinstance(part, dict):
        yield part.get("crs")
        part = [part.get("geometry"), part.get("geometries")]
    for each in part if isinstance(part, list) else []:
        yield from _systems(each)


def _check_members(names: set[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of a JSON object that say what it is, and where.

    names: of the members of all objects, to which its own are added. Raises `SceneError` for more than GDAL reads soon, since
    it compares each with all; for a coordinate system at an address; and for a member of `PARTS` that comes twice. Names count
    in any case, as for GDAL, which looks for a system only in objects that have a type.
    """
    names.update(key for key, _ in pairs)
    if len(names) > MOST_PROPERTIES:
        raise SceneError(
            f"the GeoJSON has more than {MOST_PROPERTIES:,} different properties; leave out those that nobody needs"
        )
    members = {key.lower() if key.lower() in PARTS else key: value for key, value in pairs if key.lower() in MEMBERS}
    has_type = any(key.lower() == "type" for key in members)
    parts = [key.lower() for key, _ in pairs if key.lower() in PARTS]
    if twice := next((part for part in parts if has_type and parts.count(part) > 1), None):
        raise SceneError(f"an object of the GeoJSON has {twice} twice; export the file again")
    for value in (value for key, value in pairs if has_type and key.lower() == "crs" and isinstance(value, dict)):
        kinds = {str(kind).lower() for key, kind in value.items() if key.lower() == "type"}
        if not kinds or kinds - {"name", "epsg"}:
            raise SceneError(f"a crs of GeoJSON is read as a name, got {value}; export the file again")
        check_system(str(value), "the GeoJSON")
        try:
            if "name" in kinds:  # of an unknown one, GDAL takes the coordinates for longitudes and latitudes
                CRS.from_user_input(SYSTEM_NAMES.findall(value["properties"]["name"])[0])
        except (CRSError, LookupError, TypeError) as error:
            raise SceneError(f"a crs of GeoJSON is read as the name of a known system, got {value}; export it again") from error
    return members

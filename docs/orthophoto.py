"""Draws the picture of the page "Maps" for classes of one's own: a scene with its labels, and what a network makes of it.

`python -m docs.orthophoto ground.tif crowns.gpkg FOLDER` writes `orthophoto.jpg` to a folder.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio.raw
import rasterio
import shapely
from PIL import Image, ImageDraw
from rasterio import Affine
from rasterio.warp import transform as change_system

from docs.pictures import sheet

SCENES = Path(__file__).parent / "scenes"
SCENE, LABELS, EXTENT = (SCENES / name for name in ("osbs.tif", "osbs-labels.geojson", "osbs-extent.geojson"))
SIDE, GAP = 440, 6  # of the pictures
COLORS = {"crown": (255, 90, 0), "shadow": (0, 230, 255), "": (255, 255, 255)}


def draw(classes: Path, polygons: Path, folder: Path) -> None:
    """classes: the raster of ids. polygons: the GeoPackage of crowns."""
    with rasterio.open(SCENE) as file:
        photo, place, crs = Image.fromarray(np.moveaxis(file.read(), 0, 2)), file.transform, file.crs
    pictures = [photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS) for _ in range(3)]
    to_picture = Affine.scale(SIDE / photo.width, SIDE / photo.height) @ ~place
    for path, names in ((LABELS, _classes(LABELS)), (EXTENT, [""])):
        for shape, name in zip(shapes(path), names, strict=True):
            in_scene = shapely.transform(shape, lambda x, y: tuple(change_system("OGC:CRS84", crs, x, y)), interleaved=False)
            outline(pictures[0], in_scene, to_picture, COLORS[name])
    with rasterio.open(classes) as file:
        names_of_ids = {int(tag[6:]): name for tag, name in file.tags(1).items() if tag.startswith("CLASS_")}
        ids = file.read(1)
    pictures[1] = _colored(photo, ids, names_of_ids).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    for shape in shapes(polygons):
        outline(pictures[2], shape, to_picture, COLORS["crown"])
    sheet([pictures], GAP).save(folder / "orthophoto.jpg", quality=80, optimize=True)


def _classes(path: Path) -> list[str]:
    facts, _, _, columns = pyogrio.raw.read(path, columns=["class"])
    return [str(name) for name in dict(zip(facts["fields"], columns, strict=True))["class"]]


def shapes(path: Path) -> Iterable[shapely.Geometry]:
    """The geometries of a file."""
    geometries: Iterable[shapely.Geometry] = shapely.from_wkb(pyogrio.raw.read(path)[2])
    return geometries


def _colored(photo: Image.Image, ids: npt.NDArray[np.uint8], names: dict[int, str]) -> Image.Image:
    """The photo in grey, with the colour of each class over it."""
    grey = np.asarray(photo.convert("L").convert("RGB")).astype(np.float32)
    for id, name in names.items():
        if name in COLORS:
            grey[ids == id] = 0.5 * grey[ids == id] + 0.5 * np.array(COLORS[name], np.float32)
    return Image.fromarray(np.rint(grey).astype(np.uint8))


def outline(
    picture: Image.Image, shape: shapely.Geometry, to_picture: Affine, color: tuple[int, int, int], width: int = 2
) -> None:
    """Draws the rings of a shape. width: of the line, in pixels."""
    pen = ImageDraw.Draw(picture)
    for ring in shapely.get_rings(shape):
        points = [to_picture @ (x, y) for x, y in shapely.get_coordinates(ring).tolist()]
        pen.line([(float(x), float(y)) for x, y in points], fill=color, width=width)


if __name__ == "__main__":
    draw(*map(Path, sys.argv[1:]))

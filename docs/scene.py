"""Makes the scene of the page "Maps" and its picture: a photo of `docs/photos` with invented coordinates.

`python -m docs.scene meadow.tif` writes the scene. `python -m docs.scene meadow.tif classes.tif cows.gpkg FOLDER` draws the
picture `maps.jpg` in a folder: the scene, its classes, and its polygons.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from PIL import Image

from docs.orthophoto import outline, shapes
from docs.pictures import DOCS, sheet

PIXEL = 0.01  # metres
CORNER = 448_000.0, 5_412_000.0  # in UTM zone 32
BORDER = 60  # pixels without data
WIDTH, GAP = 520, 6  # of the pictures


def write_scene(path: Path) -> None:
    """The meadow, and it mirrored, side by side, with a border that has no data, as a GeoTIFF of 8-bit RGB and a mask."""
    photo = np.asarray(Image.open(DOCS / "photos" / "cows.jpg").convert("RGB"))
    pixels = np.pad(np.concatenate([photo, photo[:, ::-1]], 1), ((BORDER, BORDER), (BORDER, BORDER), (0, 0)))
    mask = np.zeros(pixels.shape[:2], np.bool_)
    mask[BORDER:-BORDER, BORDER:-BORDER] = True
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", height=pixels.shape[0], width=pixels.shape[1], count=3, dtype="uint8",
            crs="EPSG:32632", transform=Affine(PIXEL, 0, CORNER[0], 0, -PIXEL, CORNER[1]), tiled=True, compress="deflate",
        ) as file,
    ):  # fmt: skip
        file.write(np.moveaxis(pixels, 2, 0))
        file.write_mask(mask)


def draw(scene: Path, classes: Path, polygons: Path, folder: Path) -> None:
    with rasterio.open(scene) as file:
        photo, transform = Image.fromarray(np.moveaxis(file.read(), 0, 2)), file.transform
    with rasterio.open(classes) as file:
        colormap, ids = file.colormap(1), file.read(1)
    colors: npt.NDArray[np.uint8] = np.array([colormap[id][:3] for id in range(256)], np.uint8)
    colors[0], colors[255] = (72, 72, 72), (255, 255, 255)
    outline_picture = photo.copy()
    for shape in shapes(polygons):
        outline(outline_picture, shape, ~transform, (255, 230, 0), width=5)
    size = WIDTH, round(WIDTH * photo.height / photo.width)
    pictures = [each.resize(size, Image.Resampling.LANCZOS) for each in (photo, Image.fromarray(colors[ids]), outline_picture)]
    sheet([[picture] for picture in pictures], GAP).save(folder / "maps.jpg", quality=85, optimize=True)


if __name__ == "__main__":
    places = [Path(each) for each in sys.argv[1:]]
    if len(places) == 1:
        write_scene(places[0])
    else:
        draw(*places)

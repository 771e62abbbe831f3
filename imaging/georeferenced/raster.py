"""Writes class ids and confidence as a GeoTIFF: tiled, compressed, with what its pixels mean, nodata, and overviews."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.windows import Window as RasterioWindow

from common.arrays import Ids
from imaging.answer import Labels
from imaging.classes import VOID
from imaging.georeferenced.errors import SceneError, gdal_reason
from imaging.georeferenced.opening import ignore_warnings
from imaging.georeferenced.place import Place
from imaging.georeferenced.scene import GDAL_SETTINGS

BLOCK = 512  # pixels of a side of the file's tiles, a multiple of 16
LARGEST_OVERVIEW = 512  # pixels of the longer side of the smallest overview, at most
COMPRESSION = {"compress": "deflate", "zlevel": 6}
KEY_TAG = "FCN_KEY"
CONFIDENCE = "255 x the probability of each pixel's class; 0 where the scene has no data"


def write_raster(
    path: Path, place: Place, rows: Iterable[Ids], labels: Labels | None, tags: Mapping[str, str], *, cog: bool = False
) -> None:
    """Writes rows of class ids or confidence, uint8 (any number, width), from top to bottom, with the place of their scene.

    labels, tags: what the file says beside its pixels: names and colours of classes, None for confidence, and texts by name.
    cog: whether to write a Cloud Optimized GeoTIFF, for which a second file of about the same size lies beside it meanwhile.
    Equal rows give equal bytes. Reads the file again, since not every failed write is told. Raises `OSError` if it is not what
    was written, or if there is no room.
    """
    plain = path.with_name(f"{path.stem}.plain{path.suffix}") if cog else path
    ignore_warnings()
    with rasterio.Env(**GDAL_SETTINGS, GDAL_TIFF_OVR_BLOCKSIZE=BLOCK):
        try:
            sums = _write(plain, place, rows, labels, tags)
            if cog:
                options = {"blocksize": BLOCK, "overview_resampling": "nearest", "bigtiff": "if_safer", "level": 6}
                copy(plain, path, driver="COG", compress="deflate", **options)
            else:
                _add_overviews(plain, place)
            _check(path, sums)
        except RasterioError as error:
            raise OSError(f"{path} cannot be written: {gdal_reason(error)}") from error
        finally:
            if cog:
                plain.unlink(missing_ok=True)


def raster_bytes(place: Place, class_map: Ids, labels: Labels, tags: Mapping[str, str]) -> bytes:
    """The file of a class map, uint8 (H, W), without overviews. Equal maps give equal bytes."""
    with rasterio.Env(**GDAL_SETTINGS), MemoryFile() as memory:
        _write(memory.name, place, [class_map], labels, tags)
        return bytes(memory.read())


def write_tile(path: Path, pixels: Ids, place: Place, names: Sequence[str]) -> None:
    """Writes pixels uint8 (H, W, bands) with their place, and the names of their bands."""
    (height, width), count = place.size, pixels.shape[2]
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count, dtype="uint8", crs=place.crs,
        transform=place.transform, photometric="minisblack", **COMPRESSION,
    ) as file:  # fmt: skip
        file.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined] * (count - 1)]
        file.descriptions = list(names)
        file.write(np.moveaxis(pixels, -1, 0))


def read_key(path: os.PathLike[str] | str) -> str | None:
    """The tag `KEY_TAG` of a raster; None if there is no such file or tag."""
    ignore_warnings()
    try:
        with rasterio.open(path, driver="GTiff") as file:
            key: str | None = file.tags().get(KEY_TAG)
            return key
    except RasterioError:
        return None


def _write(path: Path | str, place: Place, rows: Iterable[Ids], labels: Labels | None, tags: Mapping[str, str]) -> list[int]:
    """Writes the raster without overviews, and gives the sum of each row of tiles."""
    (height, width), sums, top = place.size, [], 0
    photometric, nodata = ("palette", VOID) if labels else ("minisblack", 0)
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype="uint8", crs=place.crs, transform=place.transform,
        nodata=nodata, tiled=True, blockxsize=BLOCK, blockysize=BLOCK, photometric=photometric, bigtiff="if_safer",
        **COMPRESSION,
    ) as file:  # fmt: skip
        if labels:
            file.write_colormap(1, {id: (*color, 0 if id == VOID else 255) for id, color in enumerate(labels.palette)})
        file.update_tags(**tags)
        names = {f"CLASS_{label.id}": label.name for label in labels.classes} if labels else {"MEANING": CONFIDENCE}
        file.update_tags(1, **names)
        file.set_band_description(1, "class" if labels else "confidence")
        for part in in_blocks(rows, BLOCK):
            for left in range(0, width, BLOCK):
                columns = np.ascontiguousarray(part[:, left : left + BLOCK])
                file.write(columns, 1, window=RasterioWindow(left, top, columns.shape[1], len(part)))
            sums.append(crc32(part.tobytes()))
            top += len(part)
    if top != height:
        raise SceneError(f"{path}: {top} rows of {height} were written")
    return sums


def in_blocks(rows: Iterable[Ids], size: int) -> Iterator[Ids]:
    """The same rows, uint8 (any number, ...), in pieces of so many; the last may have fewer."""
    pieces: list[Ids] = []
    count = 0
    for part in rows:
        pieces.append(part)
        count += len(part)
        if count >= size:
            whole = np.concatenate(pieces)
            for start in range(0, count - size + 1, size):
                yield np.ascontiguousarray(whole[start : start + size])
            count %= size
            pieces = [whole[len(whole) - count :].copy()]
    if count:
        yield np.ascontiguousarray(np.concatenate(pieces))


def _add_overviews(path: Path, place: Place) -> None:
    factors: list[int] = []
    while max(place.size) > LARGEST_OVERVIEW << len(factors):
        factors.append(2 << len(factors))
    if factors:
        with rasterio.open(path, "r+") as file:
            file.build_overviews(factors, Resampling.nearest)


def _check(path: Path, sums: Sequence[int]) -> None:
    """Raises `OSError` unless the file holds the rows of tiles with these sums, and its overviews can be read."""
    with rasterio.open(path) as file:
        for index, crc in enumerate(sums):
            top = index * BLOCK
            window = RasterioWindow(0, top, file.width, min(BLOCK, file.height - top))
            if crc32(file.read(1, window=window).tobytes()) != crc:
                raise OSError(f"{path}: rows {top} to {top + BLOCK} are not what was written; is the disk full or damaged?")
        if factors := file.overviews(1):
            file.read(1, out_shape=(max(1, file.height // factors[-1]), max(1, file.width // factors[-1])))

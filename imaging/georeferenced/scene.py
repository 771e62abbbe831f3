"""Reads scenes by windows: rasters with coordinates, of any size, through GDAL."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from common.arrays import Mask, Pixels, Samples, Size
from imaging.errors import ImageError
from imaging.formats.signatures import TIFF
from imaging.formats.tiff import check_tables
from imaging.georeferenced.errors import DamagedScene, SceneError, gdal_reason
from imaging.georeferenced.opening import VRT, open_raster
from imaging.georeferenced.place import WARPS, Place, Window

SAFE_DRIVERS = ("GTiff",)
"""GDAL's names of the formats that are read from strangers: those that lead to no other file and no network."""
DRIVERS = (*SAFE_DRIVERS, "JP2OpenJPEG", "VRT", "HFA", "PNG", "JPEG", "ENVI")
"""GDAL's names of the formats that the command line reads. ENVI is last: it takes any file that has a .hdr beside it."""
CACHE_MB = 64  # of GDAL's blocks; the default is a twentieth of the memory
GDAL_SETTINGS: dict[str, Any] = {"GDAL_CACHEMAX": CACHE_MB, "GDAL_NUM_THREADS": 1}
MOST_BLOCK_BYTES = 1 << 29  # of all bands of a block, which GDAL decodes whole
MOST_BANDS = 1000
PIECE_COLUMNS = 4096  # that are read at once, so that what is between file and answer takes little memory


class Scene:
    """An open scene. For one thread.

    name: for messages. place: size, coordinate system and transform. colors: what each band is (`red`, `gray`, ...), as the
    file says. alpha: the numbers of the bands, from 1, that the file calls alpha. dtype: of all bands. units: the factor and
    the offset that the file gives to each band's samples. files: that its pixels come from, besides its own.
    """

    def __init__(self, name: str, dataset: DatasetReader) -> None:
        self.name = name
        self._dataset = dataset
        self.files = [file for file in _files(dataset) if file != dataset.name]
        self.place = Place((dataset.height, dataset.width), dataset.transform, dataset.crs, _tie(dataset))
        self.colors = [each.name for each in dataset.colorinterp]
        self.dtype = np.dtype(np.result_type(*(np.dtype(each) for each in dataset.dtypes)))
        self.block: Size = dataset.block_shapes[0]
        self.units: list[tuple[float, float]] = list(zip(dataset.scales, dataset.offsets, strict=True))
        self._is_inverted = _is_inverted(dataset)
        self.alpha = [number for number, color in enumerate(self.colors, 1) if color == ColorInterp.alpha.name]
        self._masks = _mask_numbers(dataset)
        self._is_full = MaskFlags.all_valid in dataset.mask_flag_enums[self._masks[0] - 1]

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.place.size

    @property
    def bands(self) -> list[int]:
        """The numbers of the bands, from 1, without alpha."""
        return [number for number in range(1, len(self.colors) + 1) if number not in self.alpha]

    @property
    def nodata(self) -> float | None:
        """The value of pixels without data, as the file says; None if it says none."""
        nodata: float | None = self._dataset.nodata
        return nodata

    @property
    def palette(self) -> Pixels | None:
        """The colours of the values of a single band, uint8 (256 or 65,536, 3); None for bands that hold samples."""
        is_index = self.dtype in (np.uint8, np.uint16)
        if len(self.bands) != 1 or not is_index or self.colors[self.bands[0] - 1] != ColorInterp.palette.name:
            return None
        colors = np.zeros((1 << 8 * self.dtype.itemsize, 3), np.uint8)
        for value, color in self._dataset.colormap(self.bands[0]).items():
            colors[value] = color[:3]
        return colors

    def full(self, number: int) -> int:
        """The largest value that samples of a band can have, such as 15 for 4 bits; 1 for floating-point samples."""
        dtype = np.dtype(self._dataset.dtypes[number - 1])
        if dtype.kind == "f":
            return 1
        tag: str = self._dataset.tags(number, ns="IMAGE_STRUCTURE").get("NBITS", "")
        return (1 << int(tag)) - 1 if tag.isdecimal() else int(np.iinfo(dtype).max)

    @property
    def has_overviews(self) -> bool:
        return bool(self._dataset.overviews(1))

    def read(self, window: Window, bands: Sequence[int], alpha: Sequence[int] | None = None) -> tuple[Samples, Mask]:
        """Samples (bands, height, width) of a window inside the scene, and which pixels have data, bool (height, width).

        A pixel has no data where nodata, alpha or a mask band says so, and where a sample of these bands is not finite. alpha:
        the bands of alpha that count; None for all that the file calls so. Raises `DamagedScene`.
        """
        with self._reading(window) as options:
            return self._read(bands, alpha, **options)

    def has_data(self, window: Window, alpha: Sequence[int] | None = None) -> bool:
        """Whether nodata, alpha or a mask band leave any pixel of a window. alpha: as in `read`. Raises `DamagedScene`."""
        if self._is_full and not (self.alpha if alpha is None else alpha):
            return True
        with self._reading(window) as options:
            return bool(self._mask(alpha, **options).any())

    def read_reduced(self, size: Size, bands: Sequence[int], alpha: Sequence[int] | None = None) -> tuple[Samples, Mask]:
        """The whole scene at a smaller (height, width), from its overviews where it has some: samples and mask as `read`.

        Each pixel is one of the scene, or of an overview. Raises `DamagedScene`.
        """
        with self._reading():
            return self._read(bands, alpha, out_shape=size)

    def _read(self, bands: Sequence[int], alpha: Sequence[int] | None, **options: Any) -> tuple[Samples, Mask]:
        """Samples with black as 0, also of a file that stores white as 0 (TIFF's WhiteIsZero), and which pixels have data."""
        samples, mask = self._samples(bands, **options), self._mask(alpha, **options)
        if samples.dtype.kind == "f":
            mask &= np.isfinite(samples).all(0)
        return np.subtract(samples.dtype.type(self.full(1)), samples) if self._is_inverted else samples, mask

    def _samples(self, bands: Sequence[int], **options: Any) -> Samples:
        """Samples (bands, height, width) in one type. options: of rasterio, for one band."""
        if len(set(self._dataset.dtypes)) > 1:  # as a VRT has them
            return np.stack([self._dataset.read(number, **options).astype(self.dtype) for number in bands])
        if shape := options.get("out_shape"):
            options["out_shape"] = (len(bands), *shape)
        elif self.dtype == np.uint8:  # the network's pixels have their bands side by side
            window = options["window"]
            options["out"] = np.moveaxis(np.empty((window.height, window.width, len(bands)), np.uint8), 2, 0)
        samples: Samples = self._dataset.read(list(bands), **options)
        return samples

    def _mask(self, alpha: Sequence[int] | None, **options: Any) -> Mask:
        """Which pixels have data. rasterio's `dataset_mask` looks at the last of four bands alone, alpha or not."""
        mask: Mask = self._dataset.read_masks(self._masks[0], **options) > 0
        for number in self._masks[1:]:
            mask |= self._dataset.read_masks(number, **options) > 0
        for number in self.alpha if alpha is None else alpha:
            mask &= self._dataset.read(number, **options) > 0
        return mask

    def pieces(self, window: Window) -> Iterator[Window]:
        """The window in pieces of whole blocks, row by row: each block of the file is in as few pieces as possible.

        A piece has at most `PIECE_COLUMNS` columns, unless a block has more.
        """
        rows, columns = self.block
        width = max(columns, PIECE_COLUMNS // columns * columns)
        for top, bottom in steps(window.top, window.top + window.height, rows):
            for left, right in steps(window.left, window.left + window.width, width):
                yield Window(top, left, bottom - top, right - left)

    @contextmanager
    def _reading(self, window: Window | None = None) -> Iterator[dict[str, RasterioWindow]]:
        """Options of rasterio for a window, or for the whole. Raises `DamagedScene` if the block cannot read it."""
        top, left, height, width = window or (0, 0, *self.size)
        try:
            yield {"window": RasterioWindow(left, top, width, height)} if window else {}
        except RasterioError as error:
            at = f"pixels {left}, {top} to {left + width}, {top + height} (column, row)" if window else "an overview of it"
            raise DamagedScene(f"{self.name}: {at} cannot be read: {gdal_reason(error)}") from error


@contextmanager
def open_scene(source: str | bytes, drivers: Sequence[str] = DRIVERS, name: str = "") -> Iterator[Scene]:
    """Opens a scene: a path or an address that GDAL understands, or a file's bytes.

    drivers: GDAL's names of the formats that are read. name: for messages; by default the path. Raises `SceneError` for what is
    not read. What a file names is no network address and no file elsewhere; a file whose name ends in .vrt may name rasters
    below its folder.
    """
    label = name or (source if isinstance(source, str) else "the scene")
    environment = GDAL_SETTINGS | {"CPL_VSIL_CURL_CHUNK_SIZE": 1 << 20}
    if isinstance(source, str) and "://" in source:
        environment |= address_settings(os.environ) | {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
    else:
        environment["CPL_VSIL_CURL_ALLOWED_FILENAME"] = "none"  # no address at all, should a way to one be overlooked
    with rasterio.Env(**environment), open_raster(source, drivers, label) as dataset:
        try:
            _check(dataset, label)
            scene = Scene(label, dataset)
        except Exception as error:  # of types that are not public, such as for ground control points in an .aux.xml
            if isinstance(source, bytes) or isinstance(error, (ImageError, MemoryError)):
                raise
            raise DamagedScene(f"{' with '.join([label, *dataset.files[1:]])} cannot be read: {gdal_reason(error)}") from error
        yield scene


def address_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The endpoint for `s3://` that `AWS_ENDPOINT_URL` names, as GDAL's settings: it reads other variables than AWS's tools.

    Buckets are in the path, as with the other objects of the command line. Empty if `AWS_S3_ENDPOINT`, GDAL's own variable, is
    in the environment: then GDAL reads all of its variables itself.
    """
    address = environment.get("AWS_ENDPOINT_URL", "")
    if not address or "AWS_S3_ENDPOINT" in environment:
        return {}
    scheme, _, host = address.rpartition("://")
    return {
        "AWS_S3_ENDPOINT": host.rstrip("/"),
        "AWS_HTTPS": "NO" if scheme.lower() == "http" else "YES",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }


def _check(dataset: DatasetReader, name: str) -> None:
    """Raises `SceneError` for what cannot be segmented."""
    if dataset.subdatasets and not dataset.count:
        raise SceneError(f"{name} holds {len(dataset.subdatasets)} rasters and is none itself; give one of them")
    if not 1 <= dataset.count <= MOST_BANDS:
        raise SceneError(f"{name} has {dataset.count} bands; 1 to {MOST_BANDS} are read")
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        raise SceneError(f"{name} has complex samples ({dataset.dtypes[0]}); write their amplitudes to a file first")
    if _is_inverted(dataset) and not all(np.dtype(dtype).kind == "u" for dtype in dataset.dtypes):
        raise SceneError(f"{name} stores white as its least value, as {dataset.dtypes[0]}; write it with black as 0 first")
    _check_tables(dataset.files)
    rows, columns = dataset.block_shapes[0]
    size = rows * columns * sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
    if size > MOST_BLOCK_BYTES:
        raise SceneError(
            f"{name} has blocks of {columns}x{rows} pixels, {size / 1e6:.0f} MB each, which GDAL decodes whole; write it in "
            "tiles first: gdal_translate -co TILED=YES -co BIGTIFF=IF_SAFER"
        )


def _check_tables(paths: Sequence[str]) -> None:
    """Raises `DamagedScene` if a TIFF among these files lacks strips or tiles. Only files of this machine are looked at."""
    for path in filter(os.path.isfile, paths):
        with open(path, "rb") as file:
            if file.read(4) in TIFF:
                try:
                    check_tables(file)
                except ImageError as error:
                    raise DamagedScene(f"{path}: {error}") from error


def _files(dataset: DatasetReader) -> Iterator[str]:
    """The files of this machine that a raster's pixels come from: its own, those beside it, and those that a VRT names."""
    for name in dataset.files:
        if dataset.driver == VRT and name != dataset.name:
            with rasterio.open(name) as nested:
                yield from _files(nested)
        elif os.path.isfile(name) and not name.endswith(".ovr"):
            yield name


def _tie(dataset: DatasetReader) -> str:
    """What a raster without a transform has instead, one of `WARPS`; empty if there is nothing."""
    ties = (dataset.gcps[0], dataset.tags(ns="RPC")) if dataset.transform.is_identity else ()
    return next(compress(WARPS, ties), "")


def _is_inverted(dataset: DatasetReader) -> bool:
    """Whether the file stores white as 0 without a palette that says so. GDAL gives such a palette to files of one bit."""
    is_white_zero: bool = dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
    return is_white_zero and ColorInterp(dataset.colorinterp[0]) is not ColorInterp.palette


def _mask_numbers(dataset: DatasetReader) -> list[int]:
    """The bands whose masks say together which pixels have data, apart from alpha: those with data in any of these bands."""
    flags = {number: each for number, each in enumerate(dataset.mask_flag_enums, 1) if MaskFlags.alpha not in each}
    of_all = [number for number, each in flags.items() if MaskFlags.all_valid in each or MaskFlags.per_dataset in each]
    return of_all[:1] or list(flags)


def steps(first: int, last: int, step: int) -> Iterator[tuple[int, int]]:
    """The range from first to last, cut at multiples of step."""
    while first < last:
        end = min(last, (first // step + 1) * step)
        yield first, end
        first = end

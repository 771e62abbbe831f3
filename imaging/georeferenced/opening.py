"""Opens rasters with GDAL, such that a file leads to no network, no pipe, and no folder but its own.

GDAL opens the files that a raster names, and those beside it, with any of its drivers. So they are checked before it does.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from xml.etree import ElementTree

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from imaging.georeferenced.errors import SceneError, gdal_reason
from imaging.georeferenced.local_files import check_files, check_system, list_names, read_head

UNKNOWN_FORMAT = "not recognized as being in a supported file format"  # GDAL's words for a file of another format
VRT = "VRT"
VRT_HEAD = b"<VRTDataset"
HFA_HEAD = b"EHFA_HEADER_TAG"
MAGIC = (b"II*\0", b"II+\0", b"MM\0*", b"MM\0+", b"\0\0\0\x0cjP  ", b"\xffO\xffQ", HFA_HEAD, b"\x89PNG", b"\xff\xd8\xff")
"""How TIFF, JPEG 2000, HFA, PNG and JPEG begin."""
OTHER_HEADS = (VRT_HEAD, b"<GDALTileIndexDataset", b"gdal_streamed_alg")
"""What GDAL looks for anywhere in a head, so that a JPEG's comment may have it: formats that name other files."""
WORDS = """
VRTDataset rasterXSize rasterYSize subClass SRS dataAxisToSRSAxisMapping coordinateEpoch GeoTransform GCPList GCP Id Info Pixel
Line X Y Z Projection Metadata domain MDI key MaskBand OverviewList resampling BlockXSize BlockYSize VRTRasterBand
VRTSourcedRasterBand dataType band blockXSize blockYSize Description UnitType Offset Scale ColorInterp CategoryNames Category
ColorTable Entry c1 c2 c3 c4 NoDataValue HideNoDataValue Histograms HistItem HistMin HistMax BucketCount IncludeOutOfRange
Approximate HistCounts Overview SimpleSource ComplexSource AveragedSource NoDataFromMaskSource SourceFilename relativeToVRT
shared SourceBand SourceProperties RasterXSize RasterYSize DataType SrcRect DstRect xOff yOff xSize ySize NODATA
MaskValueThreshold RemappedValue UseMaskBand ScaleOffset ScaleRatio LUT Exponent SrcMin SrcMax DstMin DstMax Clamp
ColorTableComponent
"""
"""The elements, attributes and classes that are read: they name no file but as `SOURCE`, and run no code."""
KNOWN = frozenset(WORDS.split())
SOURCE = "SourceFilename"


@contextmanager
def open_raster(source: str | bytes, drivers: Sequence[str], name: str) -> Iterator[DatasetReader]:
    """Opens a path, an address that GDAL understands, or a file's bytes, with the first of GDAL's drivers that reads it.

    VRTs are files whose name ends in .vrt. name: for messages. Raises `SceneError`.
    """
    if source == b"":
        raise SceneError(f"{name} is not read as a scene: it has no bytes")
    others = [driver for driver in drivers if driver != VRT]
    if isinstance(source, str) and "://" not in source:
        source = LocalRasters(others).check(Path(os.path.abspath(source)))
        if isinstance(source, bytes):
            others = [VRT] if VRT in drivers else []
    if isinstance(source, bytes):
        with MemoryFile(source) as file, _opened(file.open, others, name) as dataset:
            yield dataset
    else:
        with _opened(partial(rasterio.open, source), others, name) as dataset:
            yield dataset


class LocalRasters:
    """Checks rasters of this machine before GDAL opens them. drivers: GDAL's names of the formats, without VRT."""

    def __init__(self, drivers: Sequence[str]) -> None:
        self._drivers = drivers
        self._names = cache(list_names)
        self._source = cache(self._check_source)

    def check(self, path: Path) -> str | bytes:
        """The path of a raster, or a VRT that has only what was checked. Raises `SceneError`."""
        beside = check_files(path, self._names)
        for other in beside:
            ending = other.suffix.lower()
            if ending in (".ovr", ".msk") or (ending == ".aux" and read_head(other).startswith(HFA_HEAD)):
                self._check_raster(other)
        if VRT_HEAD not in read_head(path):
            return str(path)
        if path.suffix.lower() != ".vrt":
            raise SceneError(f"{path} is not read as a scene: it holds a VRT, and is not named .vrt")
        if mask := next((other for other in beside if other.name.lower() == f"{path.name}.msk".lower()), None):
            raise SceneError(f"{path} is not read with {mask.name} beside it; write the mask into the VRT")
        try:
            return os.fsencode(self._checked_vrt(path))
        except RecursionError as error:
            raise SceneError(f"{path} names VRTs that name each other without an end") from error

    def _checked_vrt(self, path: Path) -> str:
        """The VRT in our own words, which have nothing but what was checked.

        Raises `SceneError` for unknown elements, and for names that lead out of the VRT's folder, links followed.
        """
        try:
            root = ElementTree.fromstring(path.read_bytes())  # noqa: S314  expat limits entities, and opens none
        except ElementTree.ParseError as error:
            raise SceneError(f"{path} is no VRT that is read: {error}") from error
        for element in root.iter():
            words = {element.tag, *element.attrib, element.get("subClass", "VRTDataset")}
            if unknown := (words - KNOWN) | ({SOURCE} & element.attrib.keys()):
                raise SceneError(f"{path}: {min(unknown)} in a VRT is not read; write a GeoTIFF of it with gdal_translate")
            check_system(" ".join([element.text or "", *element.attrib.values()]), str(path))
            if element.tag == SOURCE:
                folder, name = path.parent if element.get("relativeToVRT", "0") != "0" else "", (element.text or "").strip()
                file = Path(os.path.abspath(os.path.join(folder, name)))
                if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(path.parent)):
                    raise SceneError(f"{path} names {name[:100]!r}, which is not below its folder; copy the rasters there")
                element.text = self._source(file)
                element.attrib.clear()
        return ElementTree.tostring(root, "unicode")

    def _check_source(self, path: Path) -> str:
        """What GDAL opens for a raster that a VRT names: its path, or the text of a nested VRT."""
        result = self.check(path)
        if isinstance(result, str):
            self._check_raster(path)
        return os.fsdecode(result)

    def _check_raster(self, path: Path) -> None:
        """Raises `SceneError` for a raster that GDAL would open with other drivers than these, or that names others."""
        head = read_head(path)
        if not head.startswith(MAGIC) or any(other in head for other in OTHER_HEADS):
            raise SceneError(f"{path} is no TIFF, JPEG 2000, HFA, PNG or JPEG; write it as a GeoTIFF with gdal_translate")
        with _opened(partial(rasterio.open, path), self._drivers, str(path)):
            pass


def _opened(open_with: Callable[..., DatasetReader], drivers: Sequence[str], name: str) -> DatasetReader:
    """The dataset, opened by the first driver that reads it. Raises `SceneError` with the reason of the one that knows it."""
    reasons = []
    for driver in drivers:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                dataset = open_with(driver=driver)
        except RasterioError as error:
            reasons.append(gdal_reason(error))
        else:
            _check_names(dataset, name)
            return dataset
    reason = next((each for each in reasons if UNKNOWN_FORMAT not in each), reasons[0] if reasons else "it is a VRT")
    raise SceneError(f"{name} is not read as a scene ({', '.join(drivers)}): {reason}")


def _check_names(dataset: DatasetReader, name: str) -> None:
    """Raises `SceneError` for a raster that names files elsewhere. GDAL has not opened them yet."""
    if overviews := dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE"):
        raise SceneError(f"{name} names a file of overviews, {overviews!r}; build them again with gdaladdo")
    if dataset.crs:
        check_system(dataset.crs.to_wkt(), name)
    for other in dataset.files if dataset.driver == "HFA" else []:
        folders = {os.path.dirname(os.path.realpath(each)) for each in (other, dataset.name)}
        if len(folders) > 1 or not os.path.isfile(other):
            raise SceneError(f"{name} names {other!r}, which is no file beside it; write it as a GeoTIFF with gdal_translate")

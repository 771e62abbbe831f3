"""Opens rasters with GDAL, such that a file leads to no network, no pipe, and no folder but its own.

GDAL opens the files that a raster names, and those beside it, with any of its drivers. So they are checked before it does.
"""

from __future__ import annotations

import mmap
import os
import re
import signal
import threading
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import rasterio
from rasterio.errors import NodataShadowWarning, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from imaging.errors import ImageError
from imaging.formats.signatures import JPEG, PNG, TIFF
from imaging.formats.tiff import system_words
from imaging.georeferenced.errors import DamagedScene, SceneError, gdal_reason

UNKNOWN_FORMAT = "not recognized as being in a supported file format"  # GDAL's words for a file of another format
VRT = "VRT"
VRT_HEAD = b"<VRTDataset"
HFA_HEAD = b"EHFA_HEADER_TAG"
MAGIC = (b"II*\0", b"II+\0", b"MM\0*", b"MM\0+", b"\0\0\0\x0cjP  ", b"\xffO\xffQ", HFA_HEAD, PNG[:4], JPEG)
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
HEAD_BYTES = 1024  # that GDAL looks at to choose a driver
NO_FILE = r"@null\b(?!,)"
GRIDS = re.compile(
    rf'PARAMETERFILE|PROJ4_GRIDS(?!\W+{NO_FILE})|grids\s*=\s*(?!{NO_FILE})|"BoundCRS"|tinshift|defmodel|'
    r"\binit\s*=\s*(?!(epsg|esri):)|GEOID_?MODEL\W+(name\W+)?PROJ\b", re.IGNORECASE,
)  # fmt: skip
"""What names a file in the words of a coordinate system, or of an operation between two."""
JSON_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
GRIDS_IN_BYTES = re.compile(rb"4_[Gg][Rr][Ii][Dd][Ss]\W+(?!@null\b(?!,)).{0,40}|tinshift|defmodel", re.DOTALL)
"""The same in a file of another format than TIFF, whose words may lie anywhere."""
TEXTS = (".aux.xml", ".hdr", ".prj")
"""Endings of files beside a file that say its coordinate system."""


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """In this block, Ctrl-C ends the process: GDAL's readers of vectors hold the interpreter, for as long as a view runs.

    For what leaves nothing half done. Does nothing on other threads than the main one, or if Ctrl-C is ignored.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


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
        for other in (path, *beside):
            _check_grids(other)
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
    ignore_warnings()
    for driver in drivers:
        try:
            dataset = open_with(driver=driver)
        except RasterioError as error:
            reasons.append(gdal_reason(error))
        else:
            _check_names(dataset, name)
            return dataset
    other = "it is in another format" if reasons else "it is a VRT"
    reason = next((each for each in reasons if UNKNOWN_FORMAT not in each), other)
    raise SceneError(f"{name} is not read as a scene ({', '.join(drivers)}): {reason}")


def _check_grids(path: Path) -> None:
    """Raises `SceneError` for a raster whose coordinate system names a file: GDAL looks at it when it opens the raster."""
    words = ""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if head[:4] in TIFF:
            try:
                words = system_words(file)
            except (ImageError, KeyError, TypeError, OverflowError) as error:
                raise DamagedScene(f"{path}: {error}") from error
        elif head.startswith(MAGIC):
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                match = GRIDS_IN_BYTES.search(content)
                words = f"PROJ{match[0].decode('ascii', 'replace')}" if match else ""
    check_system(words, str(path))


def ignore_warnings() -> None:
    """Ignores that a raster lies nowhere, or has nodata and alpha, which both count here.

    The filters stay for the process's life: `catch_warnings` would undo those that other threads set.
    """
    for category in (NotGeoreferencedWarning, NodataShadowWarning):
        warnings.simplefilter("ignore", category)


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


def check_files(path: Path, names: Callable[[Path], dict[str, list[str]]]) -> list[Path]:
    """Checks a file and those beside it that have its name with another ending, and gives these.

    names: lists a folder, as `list_names`. Raises `SceneError` for a pipe or a device, for which GDAL would wait, and for a
    coordinate system that names a file.
    """
    if not path.is_file():
        raise SceneError(f"{path} is {'no regular file' if path.exists() else 'not there'}; give a file on this machine")
    prefix = f"{path.stem}.".lower()
    similar = names(path.parent)[_key(path.name)]
    beside = [path.parent / name for name in similar if name.lower().startswith(prefix) and name != path.name]
    if other := next((each for each in beside if each.exists() and not (each.is_file() or each.is_dir())), None):
        raise SceneError(f"{path} is not read: {other}, which goes with it, is no regular file; remove it")
    for other in beside:
        if other.name.lower().endswith(TEXTS):
            check_system(unescape(other.read_text("utf-8", "replace")), str(other))
    return [each for each in beside if each.is_file()]


def list_names(folder: Path) -> dict[str, list[str]]:
    """The names in a folder, by what is before their first dot in small letters."""
    names: dict[str, list[str]] = defaultdict(list)
    for name in os.listdir(folder):
        names[_key(name)].append(name)
    return names


def _key(name: str) -> str:
    return name.lower().partition(".")[0]


def read_head(path: Path) -> bytes:
    """The first bytes of a regular file."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def check_system(words: str, name: str) -> None:
    """Raises `SceneError` if the words of a coordinate system name a file of shifts, which PROJ would open."""
    words = JSON_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), words)
    if match := GRIDS.search(words):
        text = words[match.start() : match.start() + 80].split("\n")[0]
        raise SceneError(f"{name} names a file in its coordinate system ({text!r}); give it another system")

"""Reads VRTs, rasters of GDAL's that are made of others: those below the VRT's own folder alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from rasterio.crs import CRS
from rasterio.errors import CRSError

from imaging.georeferenced.errors import SceneError
from imaging.georeferenced.local_files import check_system

WORDS = """
VRTDataset VRTWarpedDataset VRTPansharpenedDataset rasterXSize rasterYSize subClass SRS dataAxisToSRSAxisMapping coordinateEpoch
GeoTransform GCPList GCP Id Info Pixel Line X Y Z Projection Metadata domain MDI key MaskBand OverviewList resampling BlockXSize
BlockYSize VRTRasterBand VRTSourcedRasterBand VRTWarpedRasterBand VRTPansharpenedRasterBand dataType band blockXSize blockYSize
Description UnitType Offset Scale ColorInterp CategoryNames Category ColorTable Entry c1 c2 c3 c4 NoDataValue HideNoDataValue
Histograms HistItem HistMin HistMax BucketCount IncludeOutOfRange Approximate HistCounts Overview SimpleSource ComplexSource
AveragedSource NoDataFromMaskSource KernelFilteredSource SourceFilename relativeToVRT shared SourceBand SourceProperties
RasterXSize RasterYSize DataType SrcRect DstRect xOff yOff xSize ySize NODATA MaskValueThreshold RemappedValue UseMaskBand
ScaleOffset ScaleRatio LUT Exponent SrcMin SrcMax DstMin DstMax Clamp ColorTableComponent Kernel normalized Size Coefs
GDALWarpOptions WarpMemoryLimit ResampleAlg WorkingDataType Option name SourceDataset Transformer ApproxTransformer MaxError
BaseTransformer GenImgProjTransformer SrcGeoTransform SrcInvGeoTransform DstGeoTransform DstInvGeoTransform ReprojectTransformer
ReprojectionTransformer SourceSRS TargetSRS Options BandList BandMapping src dst SrcNoDataReal SrcNoDataImag DstNoDataReal
DstNoDataImag SrcAlphaBand DstAlphaBand PansharpeningOptions Algorithm AlgorithmOptions Weights Resampling NumThreads BitDepth
NoData SpatialExtentAdjustment PanchroBand SpectralBand dstBand
"""
"""The elements, attributes and classes that are read: they name no file but as one of `SOURCES`, and run no code."""
KNOWN = frozenset(WORDS.split())
SOURCES = {"SourceFilename", "SourceDataset"}
SYSTEMS = {"SourceSRS", "TargetSRS"}
"""Where GDAL takes a coordinate system for the name of a file or an address if it is no WKT."""


def checked_vrt(path: Path, source: Callable[[Path], str]) -> str:
    """The VRT in our own words, which have nothing but what was checked.

    source: checks a raster that the VRT names, and gives what GDAL opens instead. Raises `SceneError` for unknown elements, and
    for names that lead out of the VRT's folder, links followed.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())  # noqa: S314  expat limits entities, and opens none
        for element in root.iter():
            if element.tag in SYSTEMS:
                CRS.from_wkt(element.text or "")
    except (ElementTree.ParseError, CRSError) as error:
        raise SceneError(f"{path} is no VRT that is read: {error}") from error
    for element in root.iter():
        words = {element.tag, *element.attrib, element.get("subClass", "VRTDataset")}
        if unknown := (words - KNOWN) | ((SOURCES | SYSTEMS) & element.attrib.keys()):
            raise SceneError(f"{path}: {min(unknown)} in a VRT is not read; write a GeoTIFF of it with gdal_translate")
        check_system(" ".join([element.text or "", *element.attrib.values()]), str(path))
        if element.tag in SOURCES:
            folder, name = path.parent if element.get("relativeToVRT", "0") != "0" else "", (element.text or "").strip()
            file = Path(os.path.abspath(os.path.join(folder, name)))
            if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(path.parent)):
                raise SceneError(f"{path} names {name[:100]!r}, which is not below its folder; copy the rasters there")
            element.text = source(file)
            element.attrib.clear()
    return ElementTree.tostring(root, "unicode")

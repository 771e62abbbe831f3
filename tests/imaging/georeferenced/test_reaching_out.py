"""A raster or a vector file leads to no network, no pipe and no file elsewhere; good VRTs are read as GDAL reads them.

Without the checks, GDAL asks the server or waits for the pipe.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image
from rasterio.enums import Resampling

from imaging.georeferenced.errors import DamagedScene, SceneError, VectorError
from imaging.georeferenced.place import Window
from imaging.georeferenced.scene import DRIVERS, SAFE_DRIVERS, open_scene
from imaging.georeferenced.vectors import read_features
from tests.support.http_servers import Handler, LoopbackServer, running
from tests.support.images import make_photo
from tests.support.imaging.scenes import source, vrt, write_scene

PHOTO = np.maximum(make_photo(96, 160), 1)
WHOLE = Window(0, 0, 96, 160)


@dataclass
class Outside:
    """Where hostile files lead: a server that counts what is asked of it, a pipe that nobody writes, and a raster elsewhere."""

    address: str
    folder: Path
    requests: list[str] = field(default_factory=list)

    @property
    def pipe(self) -> str:
        return str(self.folder / "pipe")

    @property
    def raster(self) -> str:
        return str(self.folder / "other.tif")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    class Counting(Handler):
        def get(self) -> None:
            place.requests.append(self.path)
            self.answer(404, b"")

        post = get

    folder = tmp_path / "outside"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    write_scene(folder / "other.tif", PHOTO)
    with running(LoopbackServer(Counting)) as server:
        place = Outside(server.url, folder)
        yield place
    assert place.requests == []


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def wms(address: str) -> str:
    return escaped(f"<GDAL_WMS><Service name='TMS'><ServerUrl>{address}/${{z}}</ServerUrl></Service></GDAL_WMS>")


def overviews(name: str) -> str:
    return f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{name}</MDI></Metadata>'


GRID = "+proj=longlat +ellps=intl +no_defs +nadgrids="
BELOW = "not below its folder"
VRTS: dict[str, tuple[Callable[[Outside], str], str]] = {
    "vsicurl": (lambda o: vrt(source(f"/vsicurl/{o.address}/a.tif", relative=False)), BELOW),
    "http": (lambda o: vrt(source(f"{o.address}/a.tif", relative=False)), BELOW),
    "WMS": (lambda o: vrt(source(wms(o.address), relative=False)), BELOW),
    "connection": (lambda o: vrt(source("vrt://a.tif", relative=False)), BELOW),
    "pipe": (lambda o: vrt(source(o.pipe, relative=False)), BELOW),
    "pipe below": (lambda o: vrt(source("below.tif")), "no regular file"),
    "absolute": (lambda o: vrt(source(o.raster, relative=False)), BELOW),
    "above": (lambda o: vrt(source("../outside/other.tif")), BELOW),
    "link": (lambda o: vrt(source("link.tif")), BELOW),
    "link beside a linked folder": (lambda o: vrt(source("linked/../link.tif")), BELOW),
    "complex": (lambda o: vrt(source(o.raster, relative=False, kind="ComplexSource")), BELOW),
    "kernel": (lambda o: vrt(source(o.raster, relative=False, kind="KernelFilteredSource")), "KernelFilteredSource"),
    "overview": (lambda o: vrt(source("good.tif") + source(o.raster, relative=False, kind="Overview")), BELOW),
    "mask": (
        lambda o: vrt(source("good.tif"), before=f"<MaskBand><VRTRasterBand>{source(o.raster)}</VRTRasterBand></MaskBand>"),
        BELOW,
    ),
    "nested": (lambda o: vrt(source("nested.vrt")), BELOW),
    "circle": (lambda o: vrt(source("a.vrt")), "without an end"),
    "VRT in a JPEG": (lambda o: vrt(source("comment.jpg")), "holds a VRT"),
    "tile index in a JPEG": (lambda o: vrt(source("index.jpg")), "is no TIFF"),
    "no raster": (lambda o: vrt(source("text.tif")), "is no TIFF"),
    "overviews of a source": (lambda o: vrt(source("overviews.tif")), "overviews"),
    "raw": (lambda o: vrt(f"<SourceFilename>{o.raster}</SourceFilename>", of_band=' subClass="VRTRawRasterBand"'), "VRTRaw"),
    "array": (lambda o: vrt(f"<ArraySource><SingleSourceArray>{o.raster}</SingleSourceArray></ArraySource>"), "ArraySource"),
    "attribute": (lambda o: vrt(f'<SimpleSource SourceFilename="{o.raster}"/>'), "SourceFilename"),
    "python": (
        lambda o: vrt("<PixelFunctionLanguage>Python</PixelFunctionLanguage>", of_band=' subClass="VRTDerivedRasterBand"'),
        "VRTDerivedRasterBand",
    ),
    "warped": (
        lambda o: vrt(
            before=f"<GDALWarpOptions><SourceDataset>{o.raster}</SourceDataset></GDALWarpOptions>",
            attributes=' subClass="VRTWarpedDataset"',
        ),
        "VRTWarpedDataset",
    ),
    "pansharpened": (
        lambda o: vrt(
            before=f"<PansharpeningOptions>{source(o.raster, kind='PanchroBand')}</PansharpeningOptions>",
            attributes=' subClass="VRTPansharpenedDataset"',
        ),
        "VRTPansharpenedDataset",
    ),
    "overviews": (lambda o: vrt(source("good.tif"), before=overviews(o.pipe)), "overviews"),
    "grid": (lambda o: vrt(source("good.tif"), before=f"<SRS>{GRID}{o.pipe}</SRS>"), "coordinate system"),
    "system of a warp": (
        lambda o: vrt(before=f"<GDALWarpOptions><SourceSRS>{o.address}/srs</SourceSRS></GDALWarpOptions>"), "GDALWarpOptions"
    ),
    "system in an attribute": (
        lambda o: vrt(before=f'<ReprojectionTransformer TargetSRS="{o.address}/srs"/>'), "ReprojectionTransformer"
    ),
    "no XML": (lambda o: "<VRTDataset", "is no VRT"),
    "entity": (lambda o: f'<!DOCTYPE a [<!ENTITY e SYSTEM "{o.pipe}">]>{vrt(source("&e;"))}', "undefined entity"),
}  # fmt: skip


def name_overviews(path: Path, name: str) -> None:
    write_scene(path, PHOTO)
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=name)


def read(scene: str | bytes, drivers: tuple[str, ...] = DRIVERS) -> np.ndarray:
    """All samples (bands, height, width) of a scene; reads it reduced too, as percentiles do."""
    with open_scene(scene, drivers) as file:
        file.read_reduced((12, 20), file.bands)
        return file.read(WHOLE, file.bands)[0]


@pytest.mark.parametrize("name", VRTS)
def test_a_vrt_leads_to_rasters_below_its_folder_alone(outside: Outside, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "scene"
    folder.mkdir()
    write_scene(folder / "good.tif", PHOTO)
    os.mkfifo(folder / "below.tif")
    (folder / "link.tif").symlink_to(outside.raster)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "linked").symlink_to(folder / "deep" / "er")
    (folder / "nested.vrt").write_text(vrt(source(outside.raster, relative=False)))
    (folder / "text.tif").write_text("<GDAL_WMS/>")
    for file, comment in (("comment", vrt(source(outside.pipe, relative=False))), ("index", "<GDALTileIndexDataset/>")):
        Image.fromarray(PHOTO).save(folder / f"{file}.jpg", comment=comment)
    name_overviews(folder / "overviews.tif", f"/vsicurl/{outside.address}/a.tif")
    write, message = VRTS[name]
    (folder / "a.vrt").write_text(write(outside))
    with pytest.raises(SceneError, match=message):
        read(str(folder / "a.vrt"))


def test_a_vrt_is_read_from_a_file_of_that_name_alone(tmp_path: Path) -> None:
    write_scene(tmp_path / "good.tif", PHOTO)
    text = vrt(source("good.tif"))
    (tmp_path / "a.tif").write_text(text)
    with pytest.raises(SceneError, match=r"holds a VRT, and is not named \.vrt"):
        read(str(tmp_path / "a.tif"))
    with pytest.raises(SceneError, match="not read as a scene"):
        read(text.encode())
    (tmp_path / "b.VRT").write_bytes((tmp_path / "good.tif").read_bytes())
    assert (read(str(tmp_path / "b.VRT")) == np.moveaxis(PHOTO, 2, 0)).all()  # the bytes decide


def test_good_vrts_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "Übersicht & more"
    (folder / "below").mkdir(parents=True)
    hole = np.zeros((96, 160), bool)
    hole[10:30, 40:80] = True
    write_scene(folder / "left.tif", PHOTO[:, :80], mask=~hole[:, :80])
    write_scene(folder / "below" / "right.tif", PHOTO[:, 80:], mask=~hole[:, 80:])
    whole = write_scene(folder / "below" / "whole.tif", PHOTO)
    Image.fromarray(PHOTO).save(folder / "photo.png")
    monkeypatch.chdir(folder)
    rectangle = 'yOff="0" xSize="80" ySize="96"/>'
    halves = "".join(
        source(name, more=f'<SrcRect xOff="0" {rectangle}<DstRect xOff="{left}" {rectangle}', kind=kind)
        for name, left, kind in (("left.tif", 0, "SimpleSource"), ("below/right.tif", 80, "ComplexSource"))
    )
    mask = halves.replace("<SourceBand>1<", "<SourceBand>mask,1<")
    place = "<SRS>EPSG:32632</SRS><GeoTransform>448000,0.5,0,5412000,0,-0.5</GeoTransform>"
    texts = {
        "mosaic": vrt(
            halves, halves.replace("<SourceBand>1<", "<SourceBand>2<"),
            before=f'{place}<MaskBand><VRTRasterBand dataType="Byte">{mask}</VRTRasterBand></MaskBand>',
        ),
        "nodata": vrt(f"<NoDataValue>0</NoDataValue><ColorInterp>Gray</ColorInterp>{source('photo.png')}", before=place),
        "absolute": vrt(source(escaped(whole), relative=False)),
        "working folder": vrt(source("below/whole.tif", relative=False)),
        "nested": vrt(source("mosaic.vrt")),
        "overview": vrt(source("below/whole.tif") + source("below/whole.tif", kind="Overview")),
    }  # fmt: skip
    for name, text in texts.items():
        (folder / f"{name}.vrt").write_text(text, encoding="utf-8")
        with open_scene(str(folder / f"{name}.vrt")) as scene:
            samples, valid = scene.read(WHOLE, [1])
            assert (samples[0] == PHOTO[:, :, 0]).all(), name
            assert (valid == ~hole).all() if name == "mosaic" else valid.all()
    with open_scene(str(folder / "mosaic.vrt")) as scene:
        assert scene.bands == [1, 2]
        assert scene.place.to_map([[0, 0]]).tolist() == [[448000, 5412000]]


PIPES = (
    "a.tif", "a.tif.ovr", "A.TIF.OVR", "a.tif.msk", "a.tif.aux.xml", "a.tfw", "a.wld", "a.xml", "a.aux", "a.tif.msk.ovr",
    "a.hdr",
)  # fmt: skip


@pytest.mark.parametrize("name", PIPES)
def test_no_scene_is_a_pipe_or_lies_beside_one(tmp_path: Path, name: str) -> None:
    path = write_scene(tmp_path / "a.tif", PHOTO)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(SceneError, match="no regular file"):
        read(path)


@pytest.mark.parametrize("name", ["a.tif.ovr", "A.TIF.OVR", "a.tif.msk", "a.aux"])
def test_rasters_beside_a_scene_lead_nowhere(outside: Outside, tmp_path: Path, name: str) -> None:
    path = write_scene(tmp_path / "a.tif", PHOTO)
    text = vrt(source(f"/vsicurl/{outside.address}/a.tif", relative=False))
    (tmp_path / name).write_text(f"EHFA_HEADER_TAG{text}" if name == "a.aux" else text)
    with pytest.raises(SceneError, match=r"is no TIFF|holds a VRT"):
        read(path)


@pytest.mark.parametrize("of_bytes", [False, True])
@pytest.mark.parametrize("kind", ["address", "pipe", "other"])
def test_overviews_that_a_tiff_names_are_not_opened(outside: Outside, tmp_path: Path, kind: str, *, of_bytes: bool) -> None:
    names = {"address": f"/vsicurl/{outside.address}/a.tif", "pipe": outside.pipe, "other": outside.raster}
    name_overviews(tmp_path / "a.tif", names[kind])
    scene = tmp_path / "a.tif"
    with pytest.raises(SceneError, match="names a file of overviews"):
        read(scene.read_bytes() if of_bytes else str(scene), SAFE_DRIVERS)


WKT = (
    'PROJCS["{name}",GEOGCS["x",DATUM["y",SPHEROID["intl",6378388,297]{grid}],PRIMEM["Greenwich",0],UNIT["degree",0.0174]],'
    'PROJECTION["Transverse_Mercator"],PARAMETER["central_meridian",9],PARAMETER["scale_factor",1],UNIT["metre",1]]'
)


def wkt(o: Outside, word: str = "PROJ4_GRIDS") -> str:
    return WKT.format(name="a", grid=f',EXTENSION["{word}","{o.pipe}"]')


SIDE_WORDS = (
    "overviews", "grid", "escaped grid", "second grid", "WKT", "small", "PROJJSON", "escaped JSON", "init", "triangles", "geoid"
)  # fmt: skip


@pytest.mark.parametrize("kind", SIDE_WORDS)
def test_what_side_files_name_is_not_opened(outside: Outside, tmp_path: Path, kind: str) -> None:
    path = write_scene(tmp_path / "a.tif", PHOTO, crs=None)
    address = f"/vsicurl/{outside.address}/a"
    grid = f"<SRS>{GRID}{outside.pipe}</SRS>"
    system = {"type": "BoundCRS", "transformation": {"parameters": [{"name": "difference file", "value": outside.pipe}]}}
    triangles = f"+proj=tinshift +file={outside.pipe}"
    text = {
        "overviews": overviews(address), "grid": grid, "escaped grid": grid.replace("nadgrids", "nad&#103;rids"),
        "second grid": grid.replace("nadgrids=", "nadgrids=@null,"), "WKT": f"<SRS>{escaped(wkt(outside))}</SRS>",
        "small": f"<SRS>{escaped(wkt(outside, 'proj4_grids'))}</SRS>", "PROJJSON": f"<SRS>{json.dumps(system)}</SRS>",
        "escaped JSON": f"<SRS>{json.dumps(system)}</SRS>".replace("CRS", r"C\u0052S"),
        "init": f"<SRS>+init={outside.pipe}:a</SRS>",
        "triangles": f"<SRS>{escaped(wkt(outside, 'PROJ4').replace(outside.pipe, triangles))}</SRS>",
        "geoid": f'<SRS>VERTCRS["a",VDATUM["b"],CS[vertical,1],AXIS["h",up],GEOIDMODEL["PROJ {outside.pipe}"]]</SRS>',
    }[kind]  # fmt: skip
    (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset>{text}</PAMDataset>")
    with pytest.raises(SceneError, match=r"names a file (of overviews|in its coordinate system)"):
        read(path)


@pytest.mark.parametrize("driver", ["GTiff", "HFA"])
def test_a_grid_in_a_raster_s_own_system_is_not_opened(outside: Outside, tmp_path: Path, driver: str) -> None:
    """GDAL would wait for the pipe when it opens the raster. The system is written over one with a long name."""
    path, kinds = tmp_path / "a.tif", {"GEOTIFF_KEYS_FLAVOR": "ESRI_PE"} if driver == "GTiff" else {}
    write_scene(path, PHOTO, driver=driver, crs=WKT.format(name="z" * 200, grid=""), **kinds)
    data = path.read_bytes()
    start = data.index(b"PROJCS[")
    end = data.index(b"]]", data.index(b"UNIT[", data.index(b"PARAMETER[", start))) + 2
    path.write_bytes(data[:start] + wkt(outside).encode().ljust(end - start) + data[end:])
    with pytest.raises(SceneError, match="names a file in its coordinate system"):
        read(str(path))


def test_side_files_of_a_scene_are_read(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", PHOTO, crs=None, transform=None)
    (tmp_path / "a.tfw").write_text("0.5\n0\n0\n-0.5\n448000.25\n5411999.75\n")
    system = 'LOCAL_CS["here",UNIT["metre",1],EXTENSION["PROJ4","+proj=merc +nadgrids=@null"],EXTENSION["PROJ4_GRIDS","@null"]]'
    (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset><SRS>{escaped(system)}</SRS></PAMDataset>")
    (tmp_path / "a.aux").write_text("of LaTeX")
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2], Resampling.nearest)
    assert (tmp_path / "a.tif.ovr").exists()
    with open_scene(path) as scene:
        assert scene.has_overviews
        assert scene.place.to_map([[0, 0]]).tolist() == [[448000, 5412000]]
        assert (scene.read(WHOLE, [1])[0][0] == PHOTO[:, :, 0]).all()


def test_an_erdas_file_reads_the_samples_beside_it_alone(outside: Outside, tmp_path: Path) -> None:
    path = tmp_path / "name.img"
    place = {"crs": "EPSG:32632", "transform": Affine(1, 0, 9, 0, -1, 9)}
    facts = {"height": 96, "width": 160, "count": 1, "dtype": "uint8"} | place
    with rasterio.open(path, "w", driver="HFA", USE_SPILL="YES", **facts) as file:
        file.write(PHOTO[:, :, 0], 1)
    assert (read(str(path))[0] == PHOTO[:, :, 0]).all()
    (tmp_path / "name.ige").unlink()
    os.mkfifo(tmp_path.parent / "x.ige")
    path.write_bytes(path.read_bytes().replace(b"name.ige", b"../x.ige"))
    try:
        with pytest.raises(SceneError, match="no file beside it"):
            read(str(path))
    finally:
        (tmp_path.parent / "x.ige").unlink()


SQUARE = shapely.box(8, 48, 8.1, 48.1)


def geojson(crs: object = None, of_geometry: object = None, key: str = "crs") -> str:
    geometry = json.loads(shapely.to_geojson(SQUARE)) | ({key: of_geometry} if of_geometry else {})
    features = [{"type": "Feature", "properties": {"class": "a", "crs": "EPSG:1"}, "geometry": geometry}]
    return json.dumps({"type": "FeatureCollection", "features": features} | ({key: crs} if crs else {}))


def link(address: str) -> object:
    return {"type": "link", "properties": {"href": f"{address}/crs", "type": "proj4"}}


def ogr_vrt(o: Outside) -> str:
    layer = f"<SrcDataSource>/vsicurl/{o.address}/a.geojson</SrcDataSource><SrcLayer>a</SrcLayer>"
    return f"<OGRVRTDataSource><OGRVRTLayer name='a'>{layer}</OGRVRTLayer></OGRVRTDataSource>"


UTM_NAME, WEB_NAME = ({"type": "name", "properties": {"name": f"EPSG:{code}"}} for code in (32632, 3857))
VECTORS: dict[str, tuple[Callable[[Outside], str], str]] = {
    "OGR VRT": (ogr_vrt, "no vector"),
    "OGR VRT in a GeoPackage's head": (lambda o: f"{'<!--':68}GPKG-->{ogr_vrt(o)}", "no vector"),
    "OGR VRT in a GeoJSON": (lambda o: f'{{"type":"FeatureCollection","name":"{ogr_vrt(o)}","features":[]}}', "no vector"),
    "OGR VRT in a FlatGeobuf's head": (lambda o: f"fgb\x03fgb\x01{ogr_vrt(o)}", "no vector"),
    "WFS": (lambda o: f"<OGRWFSDataSource><URL>{o.address}/wfs</URL></OGRWFSDataSource>", "no vector"),
    "CSV": (lambda o: "class,WKT\n", "no vector"),
    "pipeline": (
        lambda o: json.dumps({"type": "gdal_streamed_alg", "command_line": f"gdal vector pipeline ! read {o.pipe}"}),
        "no vector",
    ),
    "link": (lambda o: geojson(link(o.address)), "read as a name"),
    "link of a geometry": (lambda o: geojson(of_geometry=link(o.address)), "read as a name"),
    "url": (lambda o: geojson({"type": "URL", "properties": {"url": f"{o.address}/crs"}}), "read as a name"),
    "link in capitals": (lambda o: geojson(link(o.address), key="CRS"), "read as a name"),
    "link of a geometry in capitals": (lambda o: geojson(of_geometry=link(o.address), key="CRS"), "read as a name"),
    "two types": (lambda o: geojson({"Type": "link", "type": "name", "properties": {"href": f"{o.address}/crs"}}), "as a name"),
    "grid": (lambda o: geojson({"type": "name", "properties": {"name": f"{GRID}{o.pipe}"}}), "coordinate system"),
    "grid in capitals": (lambda o: geojson({"type": "name", "properties": {"NAME": f"{GRID}{o.pipe}"}}), "coordinate system"),
    "name in a text": (lambda o: geojson("EPSG:32632"), "read as a name, got"),
    "name in a geometry": (lambda o: geojson(of_geometry=UTM_NAME, key="CRS"), "feature 0 has a crs of its own.*EPSG:32632"),
    "names that differ": (lambda o: geojson(WEB_NAME, UTM_NAME), "feature 0 has a crs of its own"),
    "name below an empty one": (
        lambda o: geojson(of_geometry=UTM_NAME).replace('"Feature",', '"Feature", "crs": "",'),
        "feature 0 has a crs of its own",
    ),
    "name in a Geometry": (lambda o: geojson(of_geometry=UTM_NAME).replace('"geometry"', '"Geometry"'), "feature 0 has a crs"),
    "two names": (lambda o: geojson(UTM_NAME).replace('"crs"', '"CRS": null, "crs"'), "has crs twice"),
    "name in a collection": (
        lambda o: json.dumps({"type": "GeometryCollection", "geometries": [{"type": "Point", "crs": UTM_NAME}]}),
        "feature 0 has a crs of its own",
    ),
    "properties": (
        lambda o: json.dumps({"type": "Feature", "geometry": None, "properties": dict.fromkeys(map(str, range(5001)))}),
        "more than 5,000 different properties",
    ),
    "no JSON": (lambda o: "{", "no GeoJSON"),
    "deep": (lambda o: '{"a":' * 100_000, "no GeoJSON"),
}  # fmt: skip


@pytest.mark.parametrize("ending", ["geojson", "gpkg"])
@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_file_leads_nowhere(outside: Outside, tmp_path: Path, name: str, ending: str) -> None:
    write, message = VECTORS[name]
    (tmp_path / f"a.{ending}").write_text(write(outside))
    with pytest.raises(VectorError, match=message):
        read_features(tmp_path / f"a.{ending}")


@pytest.mark.parametrize("ending", [".shx", ".dbf", ".prj", ".cpg", ".shp"])
def test_pipes_of_a_shapefile_are_refused(tmp_path: Path, ending: str) -> None:
    path = write_square(tmp_path / "a.shp", "ESRI Shapefile")
    path.with_suffix(ending).unlink()
    os.mkfifo(path.with_suffix(ending))
    with pytest.raises(VectorError, match="no regular file"):
        read_features(path)


@pytest.mark.parametrize("driver", ["GPKG", "GeoJSON", "ESRI Shapefile", "FlatGeobuf"])
def test_good_vector_files_are_read(tmp_path: Path, driver: str) -> None:
    endings = {"GPKG": "gpkg", "GeoJSON": "geojson", "ESRI Shapefile": "shp", "FlatGeobuf": "fgb"}
    features = read_features(write_square(tmp_path / f"a.{endings[driver]}", driver), field="class")
    assert (features.values, features.geometries[0].equals(SQUARE)) == (["a"], True)


def test_a_crs_by_name_is_read(tmp_path: Path) -> None:
    (tmp_path / "both.json").write_text(geojson(UTM_NAME, UTM_NAME))
    assert read_features(tmp_path / "both.json").crs.to_epsg() == 32632
    text = geojson({"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}})
    (tmp_path / "a.json").write_text("\ufeff" + text.replace('"EPSG:1"', '{"name": "of an attribute"}'))
    assert read_features(tmp_path / "a.json").crs.to_epsg() == 32632


def write_square(path: Path, driver: str) -> Path:
    outlines = np.array([shapely.to_wkb(SQUARE)], object)
    pyogrio.raw.write(
        path, outlines, [np.array(["a"], object)], ["class"], driver=driver, geometry_type="Polygon", crs="EPSG:4326"
    )  # fmt: skip
    return path


def test_a_grid_in_a_geopackage_is_not_opened(outside: Outside, tmp_path: Path) -> None:
    path = write_square(tmp_path / "a.gpkg", "GPKG")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE gpkg_spatial_ref_sys SET definition = ?, organization = 'NONE'", (" " * 4090 + wkt(outside),))
    with pytest.raises(VectorError, match="names a file in its coordinate system"):
        read_features(path)


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 1 AS fid, class, geom FROM a, n WHERE i < 0"
READERS = {
    "fcn-import": "vectors.read_features(path, 'b', 'class')",
    "fcn-segment": "layers.layer_key(path, 'b')",
}


@pytest.mark.parametrize("command", READERS)
def test_ctrl_c_ends_the_reading_of_a_view_without_an_end(tmp_path: Path, command: str) -> None:
    path = write_square(tmp_path / "a.gpkg", "GPKG")
    with closing(sqlite3.connect(path)) as database, database:
        for table in ("gpkg_contents", "gpkg_geometry_columns"):
            database.execute(f"CREATE TEMP TABLE t AS SELECT * FROM {table}")
            database.execute("UPDATE t SET table_name = 'b'")
            with suppress(sqlite3.OperationalError):
                database.execute("UPDATE t SET identifier = 'b'")
            database.execute(f"INSERT INTO {table} SELECT * FROM t")
            database.execute("DROP TABLE t")
        database.execute(f"CREATE VIEW b AS {ENDLESS}")
    code = f"from imaging.georeferenced import layers, vectors; from pathlib import Path; path = Path({str(path)!r}); print(1, "
    process = subprocess.Popen([sys.executable, "-c", f"{code}flush=True); {READERS[command]}"], stdout=subprocess.PIPE)
    with process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(20) in (-signal.SIGINT, 130)
        finally:
            process.kill()


def test_a_damaged_side_file_is_named(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", PHOTO, crs=None, transform=None)
    (tmp_path / "a.tif.aux.xml").write_text('<PAMDataset><GCPList Projection=""><GCP Id="" Pixel="a"/></GCPList></PAMDataset>')
    with pytest.raises(DamagedScene, match=r"a\.tif with .*a\.tif\.aux\.xml cannot be read: GCP"), open_scene(path):
        pass

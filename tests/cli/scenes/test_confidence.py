"""`--format confidence` and `--min-confidence`: those of the whole scene in memory, and of a photo, from each way in."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.features import rasterize

from imaging.classes import VOID
from imaging.rendering import Rendering
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from tests.support.cli.folders import Segment
from tests.support.images import make_photo
from tests.support.imaging.scenes import UTM, north_up, write_scene

PHOTO = make_photo(900, 310)
TILE = ("--tile", "128")
LEAST = 0.35


def answer(segmenter: Segmenter, scene: str, **rendering: Any) -> bytes:
    """What `/segment` answers for a scene as a whole."""
    data, options = Path(scene).read_bytes(), Options(tile=(128, 128), side="native", rendering=Rendering(**rendering))
    return segmenter.segment(data, segmenter.plan(data, options)).body


@pytest.mark.parametrize("extra", [[], ["--cog"]])
def test_confidence_is_that_of_a_photo_and_the_file_says_what_it_is(
    run: Segment, segmenter: Segmenter, tmp_path: Path, extra: list[str]
) -> None:
    scene, out = write_scene(tmp_path / "a.tif", PHOTO, tiled=True), tmp_path / "conf.tif"
    assert run(scene, "-o", out, *TILE, "--format", "confidence", *extra) == 0
    with rasterio.open(out) as file:
        values = file.read(1)
        assert (file.dtypes, file.nodata, file.descriptions) == (("uint8",), 0, ("confidence",))
        assert (file.crs.to_string(), file.transform, file.shape) == (UTM, north_up(), (900, 310))
        assert file.colorinterp[0].name == "gray"
        assert file.tags(1)["MEANING"] == "255 x the probability of each pixel's class; 0 where the scene has no data"
        assert file.overviews(1) == [2]
    photo = np.asarray(Image.open(BytesIO(answer(segmenter, scene, format="confidence"))))
    assert (values == photo).all()
    assert len(np.unique(values)) > 20


def test_0_is_where_there_is_no_data_alone(run: Segment, segmenter: Segmenter, tmp_path: Path) -> None:
    mask = np.ones((900, 310), bool)
    mask[100:400, 50:250] = False
    scene, out = write_scene(tmp_path / "a.tif", PHOTO, mask=mask), tmp_path / "conf.tif"
    assert run(scene, "-o", out, *TILE, "--format", "confidence") == 0
    with rasterio.open(out) as file:
        values, has_data = file.read(1), file.read_masks(1) > 0
    pixels = np.where(mask[:, :, None], PHOTO, np.array(segmenter.manifest.preprocessing.neutral, np.uint8))
    whole = segmenter(pixels, Options(tile=(128, 128), side="native", rendering=Rendering("confidence"))).confidence
    assert whole is not None
    assert (values == np.where(mask, whole, 0)).all()
    assert (has_data == mask).all()


def test_less_sure_pixels_are_void_in_each_output_and_in_the_line_of_areas(
    run: Segment, segmenter: Segmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_scene(tmp_path / "a.tif", PHOTO)
    outs = [word for name in ("out.tif", "out.gpkg") for word in ("-o", str(tmp_path / name))]
    assert run(scene, *outs, *TILE, "--min-confidence", str(LEAST), "--classes", "0,1,2,3") == 0
    with rasterio.open(tmp_path / "out.tif") as file:
        ids, transform = file.read(1), file.transform
    with rasterio.open(BytesIO(answer(segmenter, scene, format="geotiff", min_confidence=LEAST))) as file:
        assert (ids == file.read(1)).all()
    assert 0 < (ids == VOID).sum() < ids.size
    words = re.search(r"; unsure or without data ([.0-9]+)$", capsys.readouterr().err.strip())
    assert words
    assert float(words[1]) == pytest.approx((ids == VOID).sum() * 0.25e-4, rel=0.01)
    facts, _, geometry, columns = pyogrio.raw.read(tmp_path / "out.gpkg")
    values = columns[facts["fields"].tolist().index("class_id")].tolist()
    shapes = zip(map(shapely.from_wkb, geometry), values, strict=True)
    assert (rasterize(shapes, ids.shape, fill=VOID, transform=transform) == ids).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "a.tif", "--format", "png"], "--format png is not for scenes; give --format geotiff or --format confidence"),
        (["-o", "a.gpkg", "--format", "confidence"], "--format is not for -o a.gpkg: it applies to rasters, .tif"),
        (["-o", "a.tif", "--format", "confidence", "--min-confidence", "0.5"], "--format confidence has none; leave"),
        (["-o", "a.tif", "--format", "confidence", "--style"], "--style is for classes and polygons"),
    ],
)
def test_what_confidence_lacks_is_said_in_a_line(
    run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str],
    message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(write_scene(Path("scene.tif"), PHOTO[:40, :40]), *words) == 2
    assert message in capsys.readouterr().err

"""`--format confidence` and `--min-confidence`: those of the whole scene in memory, and of a photo, from each way in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
from rasterio.io import MemoryFile

from cli.local import Network
from cluster.scenes import join, plan_parts, segment_part
from imaging.classes import VOID
from imaging.rendering import Rendering
from model.inference.plan import Options
from model.inference.scenes.request import SceneRequest
from model.inference.segmenter import Segmenter
from tests.support.cli.folders import Segment
from tests.support.images import make_photo
from tests.support.imaging.scenes import UTM, north_up, write_scene

PHOTO = make_photo(900, 310)
TILE = ("--tile", "128")
LEAST = 0.35


@pytest.fixture(scope="module")
def answer(segmenter: Segmenter) -> Callable[..., bytes]:
    """What `/segment` answers for a scene as a whole."""

    def segment(scene: str, **rendering: Any) -> bytes:
        data = Path(scene).read_bytes()
        options = Options(tile=(128, 128), side="native", rendering=Rendering(**rendering))
        return segmenter.segment(data, segmenter.plan(data, options)).body

    return segment


def opened(data: bytes) -> Any:
    with MemoryFile(data) as memory, memory.open(driver="GTiff") as file:
        return file.read(1)


@pytest.mark.parametrize("extra", [[], ["--cog"]])
def test_confidence_is_that_of_a_photo_and_the_file_says_what_it_is(
    run: Segment, answer: Callable[..., bytes], tmp_path: Path, extra: list[str]
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
    photo = np.asarray(Image.open(BytesIO(answer(scene, format="confidence"))))
    assert (values == photo).all()
    assert len(np.unique(values)) > 20


def test_0_is_where_there_is_no_data_alone(run: Segment, segmenter: Segmenter, tmp_path: Path) -> None:
    mask = np.ones((900, 310), bool)
    mask[100:400, 50:250] = False
    scene, out = write_scene(tmp_path / "a.tif", PHOTO, mask=mask), tmp_path / "conf.tif"
    assert run(scene, "-o", out, *TILE, "--format", "confidence") == 0
    with rasterio.open(out) as file:
        values, has_data = file.read(1), file.read_masks(1) > 0
    filled = np.where(mask[:, :, None], PHOTO, np.array(segmenter.manifest.preprocessing.neutral, np.uint8))
    whole = segmenter(filled, Options(tile=(128, 128), side="native", rendering=Rendering("confidence"))).confidence
    assert whole is not None
    assert (values == np.where(mask, whole, 0)).all()
    assert (has_data == mask).all()


def test_less_sure_pixels_are_void_in_each_output(run: Segment, answer: Callable[..., bytes], tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "a.tif", PHOTO)
    outs = [word for name in ("out.tif", "out.gpkg") for word in ("-o", str(tmp_path / name))]
    assert run(scene, *outs, *TILE, "--min-confidence", str(LEAST), "--classes", "0,1,2,3") == 0
    with rasterio.open(tmp_path / "out.tif") as file:
        ids, transform = file.read(1), file.transform
    assert (ids == opened(answer(scene, format="geotiff", min_confidence=LEAST))).all()
    assert 0 < (ids == VOID).sum() < ids.size
    facts, _, geometry, columns = pyogrio.raw.read(tmp_path / "out.gpkg")
    values = columns[facts["fields"].tolist().index("class_id")].tolist()
    shapes = zip(map(shapely.from_wkb, geometry), values, strict=True)
    assert (rasterize(shapes, ids.shape, fill=VOID, transform=transform) == ids).all()


def test_resume_goes_on_with_another_form_of_the_same_rows(
    run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, out = write_scene(tmp_path / "a.tif", PHOTO), tmp_path / "out.tif"
    words = (scene, "-o", out, *TILE, "--min-confidence", str(LEAST))

    def failing(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("imaging.georeferenced.raster.RasterioWindow", failing)
        assert run(*words) == 2
    assert "are kept in" in capsys.readouterr().err
    for more in (("--format", "confidence"), ("--min-confidence", "0.8")):
        assert run(*words[:-2], *more, "--resume") == 0
        assert run(*words[:-2], *more, "--resume") == 0
        assert "is done and up to date" in capsys.readouterr().err


@pytest.mark.parametrize("form", [{"format": "confidence"}, {"min_confidence": LEAST}])
def test_parts_of_a_cluster_give_the_bytes_of_one_machine(
    run: Segment, narrow_file: Path, tmp_path: Path, form: dict[str, Any]
) -> None:
    scene, out = write_scene(tmp_path / "a.tif", PHOTO), tmp_path / "one.tif"
    words = [word for name, value in form.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert run(scene, "-o", out, "--tile", "64", *words) == 0
    request = SceneRequest(scene, str(tmp_path / "parts.tif"), tile=(64, 64), **form)
    parts = plan_parts(request, Network(str(narrow_file), "openvino", "cpu", "float32", 1, "auto"), 1)
    for index in range(len(parts.spans)):
        segment_part(replace(request), parts, index)
    join(request, parts)
    assert Path(request.out).read_bytes() == out.read_bytes()


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

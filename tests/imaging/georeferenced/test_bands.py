"""Bands are chosen by number or colour; one scale for the whole scene turns their samples to 8 bits."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.enums import ColorInterp

from imaging.band_scale import BandScale, parse_bands, parse_scale
from imaging.georeferenced import bands as module
from imaging.georeferenced.bands import choose_bands
from imaging.georeferenced.errors import SceneError, SceneParameter
from imaging.georeferenced.place import Window
from imaging.georeferenced.scene import open_scene
from imaging.georeferenced.whole import OF_IMAGES
from tests.support.images import make_photo
from tests.support.imaging.scenes import write_scene

PHOTO = make_photo(96, 160)
WHOLE = Window(0, 0, 96, 160)
TWELVE = make_photo(96, 160, 1).astype(np.uint16) * 16
INFRARED = np.maximum(PHOTO[:, :, 1], 1)
INFRARED[:30] = 0  # water
OPACITY = np.full((96, 160), 255, np.uint8)
OPACITY[:30], OPACITY[30:33] = 0, [[60], [120], [200]]  # with a soft edge


def test_bytes_stay_and_colours_are_found_where_the_file_names_them(tmp_path: Path) -> None:
    colors = [ColorInterp.undefined, ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    path = write_scene(tmp_path / "a.tif", np.dstack([PHOTO[:, :, :1], PHOTO[:, :, ::-1]]), colors=colors)
    with open_scene(path) as scene:
        assert choose_bands(scene).numbers == (4, 3, 2)
        assert (choose_bands(scene).read(scene, WHOLE)[0] == PHOTO).all()
        assert choose_bands(scene, (1, 4, 3), channels=3).describe() == "1, 4, 3"


def test_a_single_band_is_grey_and_a_palette_gives_its_colours(tmp_path: Path) -> None:
    grey = write_scene(tmp_path / "grey.tif", PHOTO[:, :, 0])
    with open_scene(grey) as scene:
        assert (choose_bands(scene).read(scene, WHOLE)[0] == PHOTO[:, :, :1]).all()
    colormap = {value: (value, 255 - value, 7, 255) for value in range(256)}
    for dtype in (np.uint8, np.uint16):
        indices = PHOTO[:, :, 0].astype(dtype)
        with open_scene(write_scene(tmp_path / "p.tif", indices, photometric="palette", colormap=colormap)) as scene:
            assert choose_bands(scene).read(scene, WHOLE)[0][3, 4].tolist() == [PHOTO[3, 4, 0], 255 - PHOTO[3, 4, 0], 7]


@pytest.mark.parametrize(
    ("kind", "numbers", "channels", "expected", "alpha", "is_told"),
    [
        ("infrared", None, 3, (1, 2, 3), (), True),
        ("infrared", (1, 2, 3), 3, (1, 2, 3), (), False),
        ("infrared", (1, 2, 3, 4), 4, (1, 2, 3, 4), (), False),
        ("infrared", None, 4, (1, 2, 3, 4), (), True),
        ("grey and infrared", None, 3, (1, 1, 1), (), True),
        ("opacity", None, 3, (1, 2, 3), (4,), False),
        ("opacity", (1, 2, 3), 3, (1, 2, 3), (4,), False),
        ("opacity", (4, 1, 2), 3, (4, 1, 2), (), False),
        ("opacity, float", None, 3, (1, 2, 3), (4,), False),
        ("grey and opacity", None, 3, (1, 1, 1), (2,), False),
        ("infrared and opacity", (4, 1, 2), 3, (4, 1, 2), (5,), False),
        ("a mostly empty scene", None, 3, (1, 2, 3), (4,), False),
    ],
)  # fmt: skip
def test_what_the_user_says_and_what_the_values_are_win_over_the_name_alpha(
    tmp_path: Path, kind: str, numbers: tuple[int, ...] | None, channels: int, expected: tuple[int, ...],
    alpha: tuple[int, ...], is_told: bool,
) -> None:  # fmt: skip
    extra = [INFRARED] * ("infrared" in kind) + [OPACITY] * ("opacity" in kind)
    if kind == "a mostly empty scene":
        extra = [np.where(np.arange(160) < 150, 0, 255).astype(np.uint8) * np.ones((96, 1), np.uint8)]
    colors = PHOTO[:, :, :1] if "grey" in kind else PHOTO
    samples = np.dstack([colors, *extra])
    names = [ColorInterp.gray] if "grey" in kind else [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    names += [ColorInterp.alpha] * len(extra)
    if "float" in kind:
        samples = samples.astype(np.float32) / 255
    with open_scene(write_scene(tmp_path / "a.tif", samples, colors=names)) as scene:
        bands = choose_bands(scene, numbers, channels=channels)
        pixels, valid = bands.read(scene, WHOLE, fill=0)
    assert (bands.numbers, bands.alpha) == (expected, alpha)
    assert (valid == (samples[:, :, alpha[0] - 1] > 0 if alpha else True)).all()
    if samples.dtype == np.uint8:
        assert (pixels == samples[:, :, np.array(expected) - 1] * valid[:, :, None]).all()
    assert ("which the file calls alpha" in bands.remark) == is_told
    if is_told:
        first, last = ("1", "1,2") if "grey" in kind else ("1,2,3", "1,2,3,4")
        assert f"--bands {first} leaves it out, --bands {last} shows it" in bands.remark


@pytest.mark.parametrize("extra", [[], [OPACITY]], ids=["alone", "with opacity"])
def test_of_two_bands_none_is_chosen_unless_one_is_alpha(tmp_path: Path, extra: list[npt.NDArray[np.uint8]]) -> None:
    names = [ColorInterp.gray, ColorInterp.undefined, *[ColorInterp.alpha for _ in extra]]
    path = write_scene(tmp_path / "a.tif", np.dstack([PHOTO[:, :, :2], *extra]), colors=names)
    with open_scene(path) as scene:
        with pytest.raises(SceneError, match=r"has 2 bands, .*; give --bands 1 for one as grey, or --bands 1,2,2 for both"):
            choose_bands(scene)
        assert choose_bands(scene, (1,)).numbers == (1, 1, 1)
        assert choose_bands(scene, (1, 2, 2)).numbers == (1, 2, 2)
        with pytest.raises(SceneError, match=r"has 2 bands, .*; send one of them: gdal_translate -b 1"):
            choose_bands(scene, advice=OF_IMAGES)


@pytest.mark.parametrize("bits", [2, 4, 7])
def test_samples_of_few_bits_reach_white(tmp_path: Path, bits: int) -> None:
    most = 2**bits - 1
    with open_scene(write_scene(tmp_path / "a.tif", PHOTO // 2 ** (8 - bits), nbits=bits)) as scene:
        bands = choose_bands(scene)
        pixels, _ = bands.read(scene, WHOLE)
    assert (pixels == np.rint(PHOTO // 2 ** (8 - bits) * (255 / most))).all()
    assert bands.describe().startswith(f"1 (0 to {most})")


@pytest.mark.parametrize("samples", [PHOTO[:, :, 0], PHOTO[:, :, 0].astype(np.uint16) * 257, PHOTO[:, :, 0] // 16])
def test_white_that_is_stored_as_zero_is_seen_as_white(tmp_path: Path, samples: npt.NDArray[np.integer]) -> None:
    bits = {"nbits": 4} if samples.max() < 16 else {}
    most = 15 if bits else np.iinfo(samples.dtype).max
    path = write_scene(tmp_path / "a.tif", most - samples, photometric="miniswhite", **bits)
    with open_scene(path) as scene:
        assert (scene.read(WHOLE, [1])[0][0] == samples).all()
        assert (scene.read_reduced((96, 160), [1])[0][0] == samples).all()


@pytest.mark.parametrize("options", [{"nbits": 12}, {}, {"compress": "lzw", "predictor": 2}])
def test_one_scale_for_the_whole_scene(tmp_path: Path, options: dict[str, object]) -> None:
    path = write_scene(tmp_path / "a.tif", TWELVE, tiled=True, blockxsize=32, blockysize=32, **options)
    with open_scene(path) as scene:
        bands = choose_bands(scene)
        assert bands.scales is not None
        for band, scale in enumerate(bands.scales):
            assert [scale.least, scale.most] == np.percentile(TWELVE[:, :, band], [2, 98]).tolist()
        pixels, _ = bands.read(scene, WHOLE)
        part, _ = bands.read(scene, Window(37, 41, 20, 30))
    assert (part == pixels[37:57, 41:71]).all()
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert bands.describe().startswith(f"1 ({bands.scales[0].least:g} to ")


def test_pixels_without_data_do_not_count_for_the_scale(tmp_path: Path) -> None:
    samples = TWELVE.astype(np.float32) + 100
    samples[:40] = -9999
    samples[50, 60] = np.nan
    with open_scene(write_scene(tmp_path / "a.tif", samples, nodata=-9999)) as scene:
        bands = choose_bands(scene)
        assert bands.scales is not None
        assert bands.scales[0].least >= 100
        assert bands.read(scene, WHOLE)[0][50, 60].tolist()[0] in range(256)
    empty = write_scene(tmp_path / "b.tif", np.full((9, 9), 7, np.uint16), nodata=7)
    with open_scene(empty) as scene, pytest.raises(SceneError, match="nodata is 7; give --scale"):
        choose_bands(scene)


def test_a_large_scene_without_overviews_is_sampled_by_spots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE_PIXELS", 1000)
    monkeypatch.setattr(module, "SPOT_SIDE", 16)
    with open_scene(write_scene(tmp_path / "a.tif", TWELVE)) as scene:
        bands = choose_bands(scene)
        assert bands.scales is not None
        for band, scale in enumerate(bands.scales):
            least, most = np.percentile(TWELVE[:, :, band], [2, 98])
            assert abs(scale.least - least) + abs(scale.most - most) < 0.1 * (most - least)


@pytest.mark.parametrize(
    ("scale", "units", "words"),
    [
        ("0,4080", (1, 0), ""),
        ("0,1", (1, 0), "the scale 0 to 1 gives nearly all samples of band 1, 2, 3 few shades: they reach from"),
        ("5000,9000", (1, 0), "few shades"),
        ("-9,-2", (1, 0), "few shades"),
        ("0,1000000", (1, 0), "few shades"),
        ("0,1000000", (1e-4, 0), "few shades"),
        ("0,0.4", (1e-4, 0), "!give 0,4000"),
        ("-0.2,0.2", (1e-4, -0.2), "!give 0,4000"),
        ("0,400000", (100, 0), "!give 0,4000"),
        ("0,4000", (1e-4, 0), ""),
        ("0,1", (math.nan, 0), "few shades"),
        ("0,1", (1e-4, math.nan), "few shades"),
        ("-0.4,0", (-1e-4, 0), "few shades"),
    ],
)
def test_a_scale_beside_nearly_all_samples_is_told_and_one_in_the_file_s_units_is_refused(
    tmp_path: Path, scale: str, units: tuple[float, float], words: str
) -> None:
    samples = TWELVE.copy()
    samples[:30] = 0  # a black border
    path = write_scene(tmp_path / "a.tif", samples)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = [units[0]] * 3, [units[1]] * 3
    with open_scene(path) as scene:
        if words.startswith("!"):
            with pytest.raises(SceneParameter, match=words[1:]):
                choose_bands(scene, None, parse_scale(scale))
        else:
            remark = choose_bands(scene, None, parse_scale(scale)).remark
            assert words in remark
            assert bool(words) == bool(remark)


def test_a_scale_maps_its_ends_and_clips() -> None:
    values = np.array([-5, 10, 60, 110, 5000], np.int32)
    assert BandScale(10, 110).apply(values).tolist() == [0, 0, 128, 255, 255]
    assert BandScale(0, 1).apply(np.array([np.nan, np.inf, -np.inf, 0.5])).tolist() == [0, 255, 0, 128]


RAMP = np.linspace(0, 1, 96 * 160).reshape(96, 160)
EXTREMES = {
    "uint32": 2**32 - 256 + np.rint(RAMP * 255).astype(np.uint32),
    "int32 from end to end": (RAMP * (2**32 - 1) - 2**31).astype(np.int32),
    "from end to end": (RAMP - 0.5) * 2 * np.finfo(np.float64).max,
    "denormal": (RAMP * 1e-40).astype(np.float32),
}
EQUAL = [np.finfo(np.float32).max, np.finfo(np.float64).min, np.uint32(2**32 - 1)]
EXTREMES |= {f"equal {value}": np.full((96, 160), value) for value in EQUAL}


@pytest.mark.parametrize("name", EXTREMES)
def test_samples_of_any_size_reach_from_black_to_white_and_equal_ones_are_black(tmp_path: Path, name: str) -> None:
    with open_scene(write_scene(tmp_path / "a.tif", EXTREMES[name])) as scene:
        pixels, valid = choose_bands(scene).read(scene, WHOLE)
    assert valid.all()
    is_equal = name.startswith("equal")
    ramp = np.clip((RAMP - 0.02) / 0.96, 0, 1) * 255
    assert np.abs(pixels[:, :, 0] - ramp * (not is_equal)).max() <= 1.5 * (not is_equal)


def test_texts_are_parsed_or_refused() -> None:
    assert parse_bands("4, 3,2") == (4, 3, 2)
    assert parse_scale("0,3000") == BandScale(0, 3000)
    for text in ("", "0", "1;2", "1,,2", "-1"):
        with pytest.raises(ValueError, match="bands must be"):
            parse_bands(text)
    for text in ("", "5", "3,1", "nan,1", "1,2,3", "0,inf"):
        with pytest.raises(ValueError, match="scale must be"):
            parse_scale(text)


@pytest.mark.parametrize(
    ("numbers", "channels", "message"),
    [((1, 2, 9), 3, "no band 9: it has the bands 1, 2, 3"), ((1, 2), 3, "sees 3 bands, and 2"), (None, 5, "has 3 bands")],
)
def test_bands_that_do_not_fit_are_refused(tmp_path: Path, numbers: tuple[int, ...], channels: int, message: str) -> None:
    with open_scene(write_scene(tmp_path / "a.tif", PHOTO)) as scene, pytest.raises(SceneError, match=message):
        choose_bands(scene, numbers, channels=channels)

"""Cut-outs of drawn photos: what is opaque, whose colours it has, and that the edge follows the photo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from common.arrays import Mask
from imaging import cutout
from imaging.cutout import cut_out, cutout_file, parse_color
from imaging.encoding import ImageFormat
from imaging.regions import Regions
from imaging.runs import column_runs
from tests.support.images import Pixels, open_image

BACKGROUND, DISC = (40, 90, 60), (200, 150, 90)


def disc(size: tuple[int, int]) -> Mask:
    """A disc in the middle of an image."""
    y, x = np.mgrid[: size[0], : size[1]]
    inside: Mask = np.hypot(y - size[0] / 2 + 0.5, x - size[1] / 2 + 0.5) < min(size) / 3
    return inside


def photo_of(inside: Mask) -> Pixels:
    noise = np.random.default_rng(0).integers(-8, 9, (*inside.shape, 3))
    return (np.where(inside[..., None], DISC, BACKGROUND) + noise).astype(np.uint8)


def seen_in_cells(inside: Mask, cell: int) -> Pixels:
    """255 x the share of the cells that lies inside, interpolated between them: what a coarse network could say."""
    mask = Image.fromarray(inside.astype(np.uint8) * np.uint8(255))
    cells = mask.resize((max(1, mask.width // cell), max(1, mask.height // cell)), Image.Resampling.BOX)
    return np.asarray(cells.resize(mask.size, Image.Resampling.BILINEAR))


def cut(photo: Pixels, foreground: Pixels, cell: float) -> Pixels:
    """The RGBA pixels of the cut-out of class 1, which is where it is more probable than not."""
    picture = cut_out(photo, (foreground > 127).astype(np.uint8), {1}, foreground, cell)
    assert picture.mode == "RGBA"
    return np.asarray(picture)


def error(opacity: Pixels, inside: Mask) -> float:
    return float(np.abs(opacity / 255 - inside).mean())


@pytest.mark.parametrize(("size", "cell"), [((160, 200), 8), ((300, 240), 20), ((1200, 900), 60)], ids=str)
def test_the_edge_follows_the_photo_more_closely_than_the_cells(size: tuple[int, int], cell: int) -> None:
    inside = disc(size)
    foreground = np.roll(seen_in_cells(inside, cell), cell // 3, 1)  # and the network is a third of a cell off
    opacity = cut(photo_of(inside), foreground, cell)[..., 3]
    hard = (foreground > 127).astype(np.uint8) * np.uint8(255)
    assert error(opacity, inside) < 0.6 * error(hard, inside)
    assert error(opacity, inside) < 0.6 * error(foreground, inside)


def test_opaque_pixels_have_the_photos_colours_and_transparent_ones_are_black() -> None:
    inside = disc((160, 200))
    photo = photo_of(inside)
    result = cut(photo, seen_in_cells(inside, 8), 8)
    opacity = result[..., 3]
    assert np.array_equal(result[opacity == 255][:, :3], photo[opacity == 255])
    assert not result[opacity == 0].any()
    y, x = np.mgrid[:160, :200]
    distance = np.abs(np.hypot(y - 79.5, x - 99.5) - 160 / 3)
    assert np.array_equal(opacity[distance > 30] == 255, inside[distance > 30])
    assert set(np.unique(opacity[distance > 30])) == {0, 255}


def test_soft_pixels_have_the_objects_colours() -> None:
    inside = Image.fromarray(disc((160, 200)).astype(np.uint8) * np.uint8(255)).filter(ImageFilter.GaussianBlur(3))
    share = np.asarray(inside)[..., None] / 255
    photo = np.rint(share * DISC + (1 - share) * BACKGROUND).astype(np.uint8)
    result = cut(photo, np.asarray(inside.filter(ImageFilter.GaussianBlur(4))), 8)
    soft = (result[..., 3] > 20) & (result[..., 3] < 235)
    assert soft.sum() > 300
    off, photo_off = (np.abs(colors[soft].astype(int) - DISC).mean() for colors in (result[..., :3], photo))
    assert off < 0.5 * photo_off


def test_a_probability_far_from_the_border_does_not_count() -> None:
    inside = disc((160, 200))
    foreground = seen_in_cells(inside, 8).copy()
    foreground[:10, :10], foreground[75:85, 95:105] = 120, 135
    opacity = cut(photo_of(inside), foreground, 8)[..., 3]
    assert not opacity[:10, :10].any()
    assert (opacity[75:85, 95:105] == 255).all()


def test_a_region_smaller_than_a_cell_has_no_hard_edge() -> None:
    foreground = np.full((160, 200), 100, np.uint8)
    foreground[78:82, 98:102] = 135
    opacity = cut(np.full((160, 200, 3), 90, np.uint8), foreground, 16)[..., 3]
    assert opacity.max() < 100
    steps = np.abs(np.diff(opacity.astype(int), axis=1))
    assert steps.max() < 30


def test_specks_of_the_background_that_look_like_the_object_are_cut_away() -> None:
    inside = disc((160, 200))
    photo = photo_of(inside)
    specks = ~inside & (np.random.default_rng(1).random(inside.shape) < 0.03)
    photo[specks] = DISC
    opacity = cut(photo, seen_in_cells(inside, 8), 8)[..., 3]
    for lowest in (1, 64, 128):
        assert len(Regions(column_runs((opacity >= lowest).astype(np.uint8)), [1])) == 1


def test_where_the_photo_has_no_edge_the_opacity_is_soft() -> None:
    foreground = seen_in_cells(disc((160, 200)), 16)
    opacity = cut(np.full((160, 200, 3), 90, np.uint8), foreground, 16)[..., 3]
    assert ((opacity > 50) & (opacity < 200)).sum() > 100


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 2), (33, 65)], ids=str)
@pytest.mark.parametrize("value", [0, 255])
def test_without_a_border_all_is_opaque_or_nothing_is(size: tuple[int, int], value: int) -> None:
    photo = np.random.default_rng(0).integers(1, 256, (*size, 3), np.uint8)
    result = cut(photo, np.full(size, value, np.uint8), 8)
    assert (result[..., 3] == value).all()
    assert np.array_equal(result[..., :3], photo if value else np.zeros_like(photo))


@pytest.mark.parametrize(("size", "cell"), [((160, 200), 8), ((410, 333), 31)], ids=str)
def test_tiles_change_no_opacity(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], cell: int) -> None:
    inside = disc(size)
    photo, foreground = photo_of(inside), seen_in_cells(inside, cell)
    whole = cut(photo, foreground, cell)
    monkeypatch.setattr(cutout, "TILE", 40)
    assert np.abs(cut(photo, foreground, cell)[..., 3].astype(int) - whole[..., 3]).max() <= 1  # by rounding


def picture(inside: Mask, **form: Any) -> tuple[Image.Image, tuple[int, int, int, int] | None]:
    foreground = seen_in_cells(inside, 8)
    whole = cut_out(photo_of(inside), (foreground > 127).astype(np.uint8), {1}, foreground, 8)
    form = {"image_format": "png", "crop": False, "background": None, "profile": None} | form
    data, box = cutout_file(whole, **form)
    image = open_image(data)
    image.load()
    return image, box


def test_a_crop_is_the_part_of_the_whole_in_which_something_is_left() -> None:
    inside = disc((160, 200))
    whole, box = picture(inside)
    crop_picture, same = picture(inside, crop=True)
    assert box is not None
    left, top, width, height = box
    assert box == same
    assert whole.getchannel("A").getbbox() == (left, top, left + width, top + height)
    assert np.array_equal(np.asarray(whole)[top : top + height, left : left + width], np.asarray(crop_picture))


def test_without_an_object_there_is_no_box_and_a_crop_is_the_whole() -> None:
    image, box = picture(np.zeros((30, 40), np.bool_), crop=True)
    assert (image.size, image.getextrema()[3], box) == ((40, 30), (0, 0), None)


def test_a_webp_has_the_same_opacity_and_nearly_the_same_colours() -> None:
    inside = disc((160, 200))
    png, webp = (np.asarray(picture(inside, image_format=format)[0]) for format in ("png", "webp"))
    assert np.array_equal(png[..., 3], webp[..., 3])
    opaque = png[..., 3] == 255
    assert np.abs(png[opaque].astype(int) - webp[opaque]).mean() < 6


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
def test_a_background_lies_below_the_object(format: ImageFormat) -> None:
    inside = disc((160, 200))
    rgba, on_color = picture(inside)[0], picture(inside, image_format=format, background="#0ac81e")[0]
    expected = Image.new("RGB", rgba.size, (10, 200, 30))
    expected.paste(rgba, mask=rgba.getchannel("A"))
    assert (on_color.mode, on_color.format) == ("RGB", format.upper())
    assert np.abs(np.asarray(on_color).astype(int) - np.asarray(expected)).mean() < (0.5 if format == "png" else 6)


def test_a_colour_has_three_or_six_digits_or_a_name() -> None:
    assert parse_color("#F0a") == "#ff00aa"
    assert parse_color("#FFcc00") == "#ffcc00"
    assert parse_color("White") == "#ffffff"
    for text in ("#ffff", "ffcc00", "#ffcc0g", "#ffcc000", "nocolour", ""):
        with pytest.raises(ValueError, match="is no colour; give #rrggbb"):
            parse_color(text)

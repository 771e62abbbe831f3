"""Overlays: colours, outlines and names on the photo, and where names stand on a class map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from common.arrays import Mask
from imaging.encoding import ImageFormat
from imaging.overlay import MOST_NAMES, Name, overlay_picture, place_names
from imaging.palette import display_palette
from model.labels import voc_labels
from tests.support.images import Pixels, make_photo, open_image

LABELS = voc_labels()
PALETTE, NAMES = display_palette(LABELS.classes), {label.id: label.name for label in LABELS.classes}
ALL = range(256)
ANIMALS = {1: "cat", 2: "dog", 3: "person"}


def rgb(data: bytes) -> Pixels:
    return np.asarray(open_image(data).convert("RGB"))


def blocks(height: int = 60, width: int = 90, side: int = 30) -> Pixels:
    """A class map of squares of different classes."""
    rows, columns = np.arange(height) // side, np.arange(width) // side
    return (1 + (rows[:, None] * 3 + columns) % 5).astype(np.uint8)


def inner(class_map: Pixels, distance: int = 4) -> Mask:
    """The pixels (H, W) whose surroundings, up to this distance, are all of one class."""
    side = 2 * distance + 1
    same: Mask = ndimage.minimum_filter(class_map, side) == ndimage.maximum_filter(class_map, side)
    return same


def test_an_overlay_goes_from_the_photo_to_the_colors() -> None:
    class_map = blocks()
    photo, colors, inside = make_photo(60, 90), np.asarray(PALETTE, np.uint8)[class_map], inner(class_map)
    pictures = {alpha: rgb(overlay_picture(photo, class_map, PALETTE, alpha, ALL)) for alpha in (0.0, 0.25, 1.0)}
    assert inside.mean() > 0.4
    assert np.array_equal(pictures[0.0][inside], photo[inside])
    assert np.array_equal(pictures[1.0][inside], colors[inside])
    assert np.abs(pictures[0.25] - (0.75 * photo + 0.25 * colors))[inside].max() <= 1.5


@pytest.mark.parametrize("photo", [np.zeros((60, 90, 3), np.uint8), np.full((60, 90, 3), 255, np.uint8)], ids=["dark", "light"])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_borders_show_on_dark_and_on_light_photos(photo: Pixels, alpha: float) -> None:
    class_map = blocks()
    overlay = rgb(overlay_picture(photo, class_map, PALETTE, alpha, ALL)).astype(int)
    across = overlay[15, 26:35].sum(1) / 3  # over the border between two squares
    assert across.max() > 200
    assert across.max() - across.min() > 100
    assert np.array_equal(overlay[15, 5:25], np.repeat(overlay[15, 5:6], 20, 0))


def test_an_overlay_leaves_the_photo_where_a_class_is_not_wanted() -> None:
    photo, class_map = make_photo(60, 90), blocks()
    overlay = rgb(overlay_picture(photo, class_map, PALETTE, 1.0, {2}))
    far = inner((class_map == 2).astype(np.uint8)) & (class_map != 2)
    assert far.mean() > 0.4
    assert np.array_equal(overlay[far], photo[far])  # with no outline between two classes that are not shown
    assert np.array_equal(rgb(overlay_picture(photo, class_map, PALETTE, 1.0, {9}, names=NAMES)), photo)
    assert np.array_equal(rgb(overlay_picture(photo, np.full_like(class_map, 2), PALETTE, 0.0, {2})), photo)


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_bands_of_an_overlay_change_no_byte(image_format: ImageFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, class_map = make_photo(150, 40), blocks(150, 40, 11)
    whole = overlay_picture(photo, class_map, PALETTE, 0.6, ALL, image_format, NAMES)
    monkeypatch.setattr("imaging.overlay.BAND_PIXELS", 120)
    monkeypatch.setattr("imaging.overlay.LEAST_ROWS", 7)
    assert overlay_picture(photo, class_map, PALETTE, 0.6, ALL, image_format, NAMES) == whole
    assert open_image(whole).format == image_format.upper()
    assert open_image(whole).size == (40, 150)


def test_lines_grow_with_the_image() -> None:
    widths = []
    for side in (200, 4000):
        class_map = np.repeat(np.array([[1, 2]], np.uint8), side // 2, 1).repeat(8, 0)
        overlay = rgb(overlay_picture(np.zeros((8, side, 3), np.uint8), class_map, PALETTE, 0.0, ALL))
        widths.append((overlay[4].sum(1) > 300).sum())
    assert 0 < 3 * widths[0] <= widths[1]


def test_names_change_the_picture_where_their_boxes_are() -> None:
    photo, class_map = make_photo(200, 300), np.zeros((200, 300), np.uint8)
    class_map[40:160, 60:240] = 8
    plain, with_names = (rgb(overlay_picture(photo, class_map, PALETTE, 0.5, {8}, names=names)) for names in (None, NAMES))
    rows, columns = np.nonzero((plain != with_names).any(2))
    assert 90 < rows.min() < 100 < rows.max() < 110  # the middle of the region
    assert 60 + 40 < columns.min() < columns.max() < 240 - 40  # 60 pixels from each edge, as far as from top and bottom
    inside = with_names[rows.min() + 4 : rows.max() - 3, columns.min() + 4 : columns.max() - 3].reshape(-1, 3)
    assert (inside == PALETTE[8]).all(1).mean() > 0.4
    assert (inside < 15).all(1).mean() > 0.02  # its ink


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 5)])
def test_the_smallest_images_have_overlays_without_names(shape: tuple[int, int]) -> None:
    class_map = np.full(shape, 3, np.uint8)
    overlay = rgb(overlay_picture(make_photo(*shape), class_map, PALETTE, 1.0, ALL, names=NAMES))
    assert np.array_equal(overlay, np.asarray(PALETTE, np.uint8)[class_map])


def middle(name: Name) -> tuple[float, float]:
    left, top, right, bottom = name.box
    return (left + right) / 2, (top + bottom) / 2


def paint(height: int, width: int, *boxes: tuple[int, int, int, int, int]) -> Pixels:
    """A class map of zeros with rectangles (id, left, top, right, bottom)."""
    class_map = np.zeros((height, width), np.uint8)
    for id, left, top, right, bottom in boxes:
        class_map[top:bottom, left:right] = id
    return class_map


def test_a_region_has_its_name_at_its_most_inner_point() -> None:
    # a square of 100 with a bar of 20 to the right: the mean of its pixels lies off the middle of the square
    names = place_names(paint(300, 400, (1, 50, 100, 150, 200), (1, 150, 140, 390, 160)), ALL, ANIMALS)
    assert [(name.id, name.text) for name in names] == [(1, "cat")]
    assert middle(names[0]) == pytest.approx((100, 150), abs=4)


def test_each_region_of_a_class_has_a_name_and_the_largest_come_first() -> None:
    class_map = paint(300, 400, (1, 20, 20, 80, 80), (2, 200, 20, 380, 180), (1, 20, 200, 140, 290), (3, 300, 250, 303, 253))
    names = place_names(class_map, ALL, ANIMALS)
    assert [name.id for name in names] == [2, 1, 1]  # the person of 3 pixels is thinner than a line of text
    assert [middle(name)[1] > 150 for name in names[1:]] == [True, False]
    assert [name.id for name in place_names(class_map, ALL, {2: "dog"})] == [2]
    assert place_names(class_map, ALL, {}) == []


@pytest.mark.parametrize("text", ["猫", "Ğ", "a\nb", "", " ", "cat" * 80, "\x1b[31m"])
def test_what_cannot_be_written_is_replaced_by_the_class_id(text: str) -> None:
    names = place_names(paint(200, 300, (7, 50, 50, 250, 150)), ALL, {7: text})
    assert [name.text for name in names] == ["7"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3)), st.integers(1, 60))
def test_boxes_lie_inside_and_never_overlap(small: Pixels, side: int) -> None:
    class_map = np.kron(small, np.ones((side, side), np.uint8))
    names = place_names(class_map, ALL, ANIMALS)
    painted_over = np.zeros(class_map.shape, np.uint8)
    for name in names:
        left, top, right, bottom = name.box
        assert 0 <= left < right <= class_map.shape[1]
        assert 0 <= top < bottom <= class_map.shape[0]
        painted_over[top:bottom, left:right] += 1
        assert name.font.getlength(name.text) < right - left
    assert painted_over.max(initial=0) <= 1
    assert names == [] or len({name.font.size for name in names}) == 1


def test_the_number_of_names_has_a_bound() -> None:
    squares = np.kron((np.indices((60, 60)).sum(0) % 2).astype(np.uint8), np.ones((64, 64), np.uint8))
    assert len(place_names(squares, ALL, {0: "a", 1: "b"})) <= MOST_NAMES


@pytest.mark.parametrize("shape", [(3000, 3000), (1, 100_000), (100_000, 2)])
def test_noise_has_no_names(shape: tuple[int, int]) -> None:
    assert place_names(np.random.default_rng(0).integers(0, 4, shape, np.uint8), ALL, ANIMALS) == []

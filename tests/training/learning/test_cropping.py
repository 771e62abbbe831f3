"""Crops keep every pixel on its label, whatever their place and turn."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from training.learning.cropping import Cropper
from training.learning.recipe import Recipe

VOID = 255


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def pair(ids: Tensor) -> tuple[Tensor, Tensor]:
    """An image whose grey is the id, and the mask of these ids (H, W)."""
    mask = ids.to(torch.uint8)[None]
    return mask.expand(3, -1, -1).contiguous(), mask


def crops(ids: Tensor, count: int, class_id: int | None = None, **changes: object) -> list[tuple[Tensor, Tensor]]:
    cropper = Cropper(Recipe.model_validate(changes), VOID)
    return [cropper(*pair(ids), class_id) for _ in range(count)]


def test_without_turns_a_crop_is_a_window_and_every_place_occurs() -> None:
    ids = torch.arange(30).reshape(5, 6)
    windows = {int(mask[0, 0, 0]) for image, mask in crops(ids, 200, crop=(3, 4)) if torch.equal(image[0], mask[0])}
    assert windows == {0, 1, 2, 6, 7, 8, 12, 13, 14}
    ((_, mask),) = crops(ids, 1, crop=(3, 4))
    assert torch.equal(mask[0] - mask[0, 0, 0], torch.tensor([[0, 1, 2, 3], [6, 7, 8, 9], [12, 13, 14, 15]]))


def test_what_lies_outside_repeats_the_edge_and_is_void() -> None:
    ids = torch.arange(30).reshape(5, 6)
    ((image, mask),) = crops(ids, 1, crop=(7, 9))
    rows, columns = torch.arange(7).clamp(max=4), torch.arange(9).clamp(max=5)
    assert torch.equal(image[0], ids[rows][:, columns])
    assert torch.equal(mask[0, :5, :6], ids)
    assert (mask != VOID).sum() == 30


def test_quarter_turns_are_of_90_180_and_270_degrees() -> None:
    ids = torch.arange(64).reshape(8, 8)
    expected = [torch.rot90(ids, turns) for turns in (1, 2, 3)]
    counts = [0, 0, 0]
    for image, mask in crops(ids, 60, crop=(8, 8), quarter_turns=1.0):
        assert torch.equal(image[0], mask[0])
        counts[[torch.equal(mask[0], each) for each in expected].index(True)] += 1
    assert min(counts) > 8
    for image, mask in crops(torch.arange(240).reshape(12, 20), 9, crop=(6, 10), quarter_turns=0.7):
        assert (image.shape, mask.shape) == ((3, 6, 10), (1, 6, 10))
        assert not (mask == VOID).any()
    same_count = sum(torch.equal(mask[0], ids) for _, mask in crops(ids, 100, crop=(8, 8), quarter_turns=0.5))
    assert 30 < same_count < 70


def test_rotation_is_up_to_its_angle_in_both_directions() -> None:
    """The angle is that of the border between a left and a right half."""
    ids = torch.zeros(200, 200)
    ids[:, 100:] = 1
    angles = []
    for _, mask in crops(ids, 60, crop=(100, 200), rotation=30.0):
        borders = (mask[0] == 0).sum(1).float()  # the pixels left of the border and not void, from the middle rows
        left = (mask[0] == VOID).logical_and(torch.arange(200) < 100).sum(1)
        borders = borders + left
        angles.append(math.degrees(math.atan(float(borders[70] - borders[30]) / 40)))
    assert max(map(abs, angles)) <= 31
    assert min(angles) < -15
    assert max(angles) > 15
    assert sum(abs(angle) < 10 for angle in angles) > 5


def test_rotation_keeps_every_pixel_on_its_label() -> None:
    blocks = torch.randint(0, 4, (10, 10)).repeat_interleave(16, 0).repeat_interleave(16, 1)
    for image, mask in crops(60 * blocks, 20, crop=(48, 64), rotation=45.0):
        is_labelled = mask != VOID
        # bilinear pixels at borders of blocks lie between ids
        assert ((image[:1].int() - mask.int()).abs()[is_labelled] <= 30).float().mean() > 0.95
        assert (image[:1] == mask)[is_labelled].float().mean() > 0.8
    # the corners show what lies around the crop
    around = crops(torch.arange(200).repeat(200, 1), 40, crop=(20, 20), rotation=40.0)
    assert sum(not (mask == VOID).any() for _, mask in around) > 20


@pytest.mark.parametrize("place", [(0, 0), (59, 79)])
@pytest.mark.parametrize("changes", [{}, {"rotation": 45.0}, {"quarter_turns": 0.7, "rotation": 15.0}], ids=str)
def test_a_crop_holds_a_pixel_of_the_class_it_is_asked_for(place: tuple[int, int], changes: dict[str, float]) -> None:
    ids = torch.zeros(60, 80)
    ids[place] = 3
    # a thin rotated pixel can fall between two of the grid: then the crop is not rotated
    for _, mask in crops(ids, 40, class_id=3, crop=(16, 24), **changes):
        assert (mask == 3).any()
    assert sum(bool((mask == 3).any()) for _, mask in crops(ids, 40, crop=(16, 24), **changes)) < 25


def test_the_pixel_of_the_class_lies_anywhere_in_the_crop() -> None:
    ids = torch.zeros(100, 100)
    ids[50, 50] = 3
    places = torch.stack([(mask[0] == 3).nonzero()[0] for _, mask in crops(ids, 200, class_id=3, crop=(16, 24))])
    assert places.amin(0).tolist() == [0, 0]
    assert places.amax(0).tolist() == [15, 23]
    assert places.float().mean(0).tolist() == pytest.approx([7.5, 11.5], abs=1.5)

"""Image and mask stay together under every transform, and each draw is decided by seed, epoch and index."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from imaging.decoding import Limits, decode
from imaging.decoding import scale as resize
from model.labels import numbered_labels
from tests.support.images import make_photo
from tests.support.training.data_sets import write_camvid, write_frame
from training.data.split import get_split
from training.learning.augmentation import AugmentedSplit, RareFrames, combine_seeds, rare_classes, rare_line, scale_warning
from training.learning.recipe import Recipe
from training.survey.records import survey_all

LABELS = numbered_labels(["a", "b", "c", "d"])
STILL = {"scales": (1.0, 1.0), "flip": 0.0, "color": 0.0}


def augment(root: Path, **options: Any) -> AugmentedSplit:
    """The folder's frames; if it has none, two of 48x64 in blocks of 8, whose grey is 60 x class id."""
    if not root.joinpath("train").exists():
        blocks = np.random.default_rng(3).integers(0, 4, (2, 6, 8), dtype=np.uint8)
        write_camvid(root, {str(i): np.kron(ids, np.ones((8, 8), np.uint8)) for i, ids in enumerate(blocks)})
    recipe = Recipe(**({"crop": (40, 40), "color": 0.0, "scales_of": "file"} | options))
    return AugmentedSplit(survey_all([get_split(root, "train", LABELS)])[0], recipe)


def columns(root: Path, *frames: list[int]) -> Path:
    """A folder of frames of 8x8 whose columns hold these ids."""
    return write_camvid(root, {str(at): np.resize(np.array(ids, np.uint8), (8, 8)) for at, ids in enumerate(frames)})


def write_photo(root: Path, height: int, width: int, ids: npt.NDArray[np.uint8], ending: str = "jpg") -> None:
    write_frame(root / "train" / f"a.{ending}", root / "trainannot" / "a.png", ids, make_photo(height, width))


@pytest.mark.parametrize(("option", "axis"), [("flip", 1), ("vertical_flip", 0)])
def test_flips_mirror_image_and_mask(tmp_path: Path, option: str, axis: int) -> None:
    plain, flips = (augment(tmp_path, crop=(48, 64), **(STILL | {option: share})) for share in (0.0, 1.0))
    assert torch.equal(plain[0, 0][0].flip(axis + 1), flips[0, 0][0])
    assert torch.equal(plain[0, 0][1].flip(axis), flips[0, 0][1])
    assert not torch.equal(plain[0, 0][0], flips[0, 0][0])


def test_values_that_are_off_draw_no_random_numbers(tmp_path: Path) -> None:
    """So the crops of a recipe stay the same when a new version can do more."""
    data = augment(tmp_path, scales=(1.0, 1.0), color=0.3, hue=0.1)
    expected = v2.Compose([v2.RandomCrop((40, 40)), v2.RandomHorizontalFlip(0.5), v2.ColorJitter(0.3, 0.3, 0.3, 0.1)])
    for key in [(0, 0), (0, 1), (5, 1)]:
        image = tv_tensors.Image(torch.from_numpy(data.split.image(key[1]).copy()).permute(2, 0, 1))
        mask = tv_tensors.Mask(torch.from_numpy(data.split.mask(key[1]).copy())[None])
        torch.manual_seed(combine_seeds(data.recipe.seed, *key))
        torch.rand(())  # the scale
        image, mask = expected(image, mask)
        assert torch.equal(data[key][0], image)
        assert torch.equal(data[key][1], mask[0].long())


@pytest.mark.parametrize("scale", [0.5, 1.25])
def test_scaling_keeps_image_and_mask_together(tmp_path: Path, scale: float) -> None:
    data = augment(tmp_path, crop=(24, 24), scales=(scale, scale), flip=0.5)
    agreement = np.zeros((5, 5))
    for epoch in range(8):
        image, mask = data[epoch, 0]
        shown_classes = (image[0].float() / 60).round().long()
        for down, right in np.ndindex(5, 5):
            crop = mask[down : down + 20, right : right + 20]
            agreement[down, right] += (shown_classes[2:22, 2:22] == crop).float().mean().item() / 8
    assert np.unravel_index(agreement.argmax(), agreement.shape) == (2, 2)
    assert agreement[2, 2] > 0.8


@pytest.mark.parametrize("options", [{"color": 0.5}, {"hue": 0.5}, {"gamma": 1.0}, {"blur": 1.0}, {"jpeg": 1.0}], ids=str)
def test_color_and_quality_change_the_image_alone(tmp_path: Path, options: dict[str, float]) -> None:
    write_photo(tmp_path, 48, 64, np.random.default_rng(0).integers(0, 4, (48, 64), dtype=np.uint8), "png")
    plain, variant = (augment(tmp_path, **(STILL | changes)) for changes in ({}, options))
    (image, mask), (other, other_mask) = plain[0, 0], variant[0, 0]
    assert torch.equal(mask, other_mask)
    assert other.dtype == torch.uint8
    assert other.shape == image.shape
    assert not torch.equal(image, other)
    assert (image.float() - other.float()).abs().mean() < 80


def test_epochs_and_seeds_draw_differently_and_leave_the_global_generator_alone(tmp_path: Path) -> None:
    data, other = augment(tmp_path), augment(tmp_path, seed=1)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    images = [data[3, 0][0], data[4, 0][0], other[3, 0][0]]
    assert torch.equal(torch.rand(3), expected)
    assert all(not torch.equal(a, b) for i, a in enumerate(images) for b in images[:i])


def test_large_jpegs_are_reduced_as_the_service_reduces_them(tmp_path: Path) -> None:
    size = (48, 64)
    write_photo(tmp_path, 96, 128, np.zeros((96, 128), np.uint8))
    data = augment(tmp_path, crop=size, **(STILL | {"scales": (0.5, 0.5)}))
    service_pixels = decode(data.split.file(0), Limits(), size)
    for _ in range(2):  # from the file, and from what is kept of it
        assert np.array_equal(data[0, 0][0].permute(1, 2, 0).numpy(), service_pixels)
    assert not np.array_equal(service_pixels, resize(decode(data.split.file(0), Limits()), size))


def test_the_share_of_crops_with_a_rare_class_is_the_recipe_s(tmp_path: Path) -> None:
    root = columns(tmp_path, [0, 1], [0, 1, 0, 1, 0, 1, 0, 2], [0, 0, 0, 0, 0, 0, 0, 3])
    data, none = (augment(root, crop=(8, 8), rare_share=share, **STILL) for share in (0.33, 0.0))
    crops = [data[epoch, 0][1] for epoch in range(300)]  # the frame of index 0 shows no rare class
    assert 70 < sum(bool((crop > 1).any()) for crop in crops) < 130
    assert all((none[epoch, 0][1] < 2).all() for epoch in range(20))


def test_processes_share_the_frames_that_have_a_place(tmp_path: Path) -> None:
    data = augment(columns(tmp_path, [0], [1], [2]), crop=(8, 8), **STILL)
    (survey,) = survey_all([data.split])
    some = AugmentedSplit(survey, data.recipe, 3 + 2 * 4 * 8 * 8)  # three marks, and pixels and mask of two frames
    worker = pickle.loads(pickle.dumps(some))  # as a data loader passes it to a process
    frames = [some[0, index][0] for index in range(3)]
    for frame in data.split.frames:
        frame.image.unlink()
    assert all(torch.equal(worker[0, index][0], frames[index]) for index in range(2))
    with pytest.raises(FileNotFoundError):
        worker[0, 2]


@pytest.mark.parametrize(("height", "width"), [(24, 32), (480, 640)])
def test_scales_are_of_the_size_at_which_the_service_works(tmp_path: Path, height: int, width: int) -> None:
    quarters = np.array([[0, 1], [2, 3]], np.uint8)
    write_photo(tmp_path, height, width, np.kron(quarters, np.ones((height // 2, width // 2), np.uint8)))
    data = augment(tmp_path, scales_of="side", side=(64, 64), crop=(48, 64), **STILL)
    image, mask = data[0, 0]
    service_pixels = decode(data.split.file(0), Limits(), (48, 64)).astype(int)
    assert np.abs(image.permute(1, 2, 0).numpy() - service_pixels).max() <= 1
    assert np.array_equal(mask, np.kron(quarters, np.ones((24, 32))))


def test_crops_at_scales_that_the_service_does_not_work_at_are_told() -> None:
    recipe = Recipe(scales=(0.5, 2.0), scales_of="file", side=(512, 512))
    assert [scale_warning(longer, recipe) for longer in (256, 400, 1024)] == ["", "", ""]
    warning = scale_warning(4000, recipe)
    assert "4000 pixels long, to 2000 to 8000 pixels, but the service scales them to 512 to 512" in warning
    assert "--set 'scales_of=\"side\"' --set 'scales=[0.7,1.4]'" in warning
    assert scale_warning(4000, Recipe(scales=(0.09, 0.18), scales_of="file", side=(512, 512))) == ""
    assert "to 64 to 256 pixels" in scale_warning(128, recipe)
    assert "to 1024 to 2048 pixels" in scale_warning(100, Recipe(scales=(2.0, 4.0), side=(512, 512)))


@pytest.mark.parametrize(
    ("pixels", "rare"), [([900, 100], [1]), ([900, 0, 40, 10], [3]), ([70, 5, 70], [1]), ([70, 70, 70], []), ([0, 0], [])]
)
def test_classes_below_the_median_are_rare(pixels: list[int], rare: list[int]) -> None:
    assert rare_classes(np.array(pixels)) == rare


def test_each_rare_class_is_drawn_as_often_and_each_of_its_frames(tmp_path: Path) -> None:
    some, few = [0, 1, 0, 1, 0, 1, 0, 2], [0, 0, 0, 0, 0, 0, 0, 3]
    (survey,) = survey_all([get_split(columns(tmp_path, [0, 1], some, few, [0, 1], some), "train", LABELS)])
    frames = RareFrames(survey, 1.0)
    assert rare_line(survey, 0.33) == "rare_share: 33% of the crops show a pixel of a rare class: c, d"
    torch.manual_seed(0)
    draws = [frames.draw() for _ in range(400)]
    counts = {draw: draws.count(draw) for draw in set(draws)}
    assert set(counts) == {(2, 1), (2, 4), (3, 2)}
    assert 160 < counts[3, 2] < 240
    assert 70 < counts[2, 1] < 130

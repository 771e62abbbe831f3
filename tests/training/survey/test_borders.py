"""Masks that were swapped are told by where their borders lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.support.images import make_photo
from training.commands.check import main
from training.data.demo import write_demo_data
from training.survey.photos import mean_colors
from training.survey.placement import border_cells, edge_cells, swapped

REMARK = "pairs of masks fit each other's image better than their own"


def edges_of(*photos: npt.NDArray[np.uint8]) -> list[str]:
    return [edge_cells(mean_colors(photo)) for photo in photos]


def swap(first: Path, other: Path) -> None:
    first_bytes = first.read_bytes()
    first.write_bytes(other.read_bytes())
    other.write_bytes(first_bytes)


@pytest.mark.parametrize("pair", [("train_002", "train_005"), ("train_007", "val_001")])
def test_swapped_masks_are_told_by_name(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one split, and between splits; nothing is said of the masks as they were drawn."""
    write_demo_data(tmp_path, train=12, val=4)
    assert main([str(tmp_path)]) == 0
    assert REMARK not in capsys.readouterr().out
    masks = [tmp_path / "SegmentationClass" / f"{name}.png" for name in pair]
    swap(*masks)
    assert main([str(tmp_path)]) == 0
    assert f"1 {REMARK}, as if they were swapped: {masks[0]} and {masks[1]}\n" in capsys.readouterr().out


def test_several_pairs_and_images_of_any_size(tmp_path: Path) -> None:
    write_demo_data(tmp_path, train=12, val=0)
    photos = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "JPEGImages").iterdir())]
    masks = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "SegmentationClass").iterdir())]
    masks[1], masks[4], masks[6], masks[8] = masks[4], masks[1], masks[8], masks[6]
    large = [np.asarray(Image.fromarray(mask).resize((500, 300), Image.Resampling.NEAREST)) for mask in masks]
    assert sorted(swapped(edges_of(*photos), [*map(border_cells, large)])) == [(1, 4), (6, 8)]


def test_frames_without_borders_or_edges_say_nothing() -> None:
    flat, photo = np.full((40, 50, 3), 90, np.uint8), make_photo(40, 50)
    half = np.zeros((40, 50), np.uint8)
    half[:, 20:] = 1
    edges, borders = edges_of(flat, photo), [border_cells(half), border_cells(np.zeros_like(half))]
    assert swapped(edges, borders) == []
    assert swapped([], []) == []

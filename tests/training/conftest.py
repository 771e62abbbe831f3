"""Small data sets in both layouts, and a recipe that trains in a few seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import nn

from model.architecture import Architecture
from model.networks.builder import build_network
from model.preprocessing import Preprocessing
from tests.training.runs import Make
from training.data.datasets import Split, get_split
from training.data.demo import write_demo_data
from training.data.label_files import read_labels
from training.learning.recipe import make_recipe
from training.learning.run import Run
from training.learning.teacher import Teacher

TINY_RECIPE = """
variant = "fcn8s"
backbone = "mobilenet_v2"
output_stride = 16
head = "pooled"
head_width = 16
width = 0.1
epochs = 4
batch = 4
crop = [64, 64]
scales = [0.8, 1.25]
learning_rate = 3e-3
head_factor = 1.0
warmup = 2
ema = 0.9
autocast = "none"
side = [96, 96]
"""


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VOCdevkit folder of 16 + 4 generated images, with `classes.json`."""
    folder = tmp_path_factory.mktemp("shapes")
    write_demo_data(folder, train=16, val=4)
    return folder


@pytest.fixture(scope="session")
def shapes_split(shapes: Path) -> Split:
    return get_split(shapes, "train", read_labels(str(shapes / "classes.json")))


@pytest.fixture
def tiny_recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_RECIPE)
    return path


@pytest.fixture
def make_run(shapes_split: Split, tiny_recipe: Path, tmp_path: Path) -> Make:
    """Makes a run on the generated shapes; keyword arguments change its recipe."""

    def make(name: str = "run", teacher: bool = False, dropout: bool = False, **changes: Any) -> Run:
        recipe = make_recipe(tiny_recipe, {"epochs": 2} | changes)
        torch.manual_seed(recipe.seed)
        net = build_network(recipe.architecture(4))
        if dropout:
            net.head = nn.Sequential(net.head, nn.Dropout2d(0.5))
        other = Architecture("fcn8s", "mobilenet_v2", 4, 16, "fc", 16, 0.1)
        frozen = Teacher(build_network(other), (1.0,)) if teacher else None
        return Run(net, shapes_split, recipe, Preprocessing(side=recipe.side), tmp_path / name, torch.device("cpu"), frozen)

    return make


@pytest.fixture
def arguments(shapes: Path, narrow_file: Path) -> list[str]:
    names = ["--data", shapes, "--labels", shapes / "classes.json", "--weights", narrow_file]
    return [str(name) for name in names] + ["--tile", "64", "--device", "cpu", "--precision", "float32", "--runtime", "torch"]


def write_frame(image: Path, mask: Path, ids: npt.NDArray[np.uint8], pixels: npt.NDArray[np.uint8] | None = None) -> None:
    """One labelled image; grey pixels of 60 x id where none are given."""
    shown = np.dstack([ids.astype(np.int64) * 60 % 256] * 3).astype(np.uint8) if pixels is None else pixels
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(shown).save(image)
    Image.fromarray(ids).save(mask)


def write_voc(root: Path, frames: dict[str, npt.NDArray[np.uint8]], split: str = "train") -> Path:
    """A VOC2012 folder; gives the root."""
    for name, ids in frames.items():
        write_frame(root / "JPEGImages" / f"{name}.png", root / "SegmentationClass" / f"{name}.png", ids)
    listing = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("".join(f"{name}\n" for name in frames))
    return root


def write_camvid(root: Path, frames: dict[str, npt.NDArray[np.uint8]], split: str = "train") -> Path:
    """A CamVid folder in the SegNet tutorial's layout; gives the root."""
    for name, ids in frames.items():
        write_frame(root / split / f"{name}.png", root / f"{split}annot" / f"{name}.png", ids)
    return root

"""Small data sets in both layouts, and a recipe that trains in a few seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from model.architecture import Architecture
from model.networks.builder import build_network
from model.preprocessing import Preprocessing
from tests.support.training.coco import Import
from tests.support.training.invocations import split_of_shapes
from tests.support.training.runs import TINY_RECIPE, Make
from training.commands.import_labels import main as import_labels
from training.data.demo import write_demo_data
from training.data.split import Split
from training.learning.recipe import make_recipe
from training.learning.run import Run
from training.learning.teacher import Teacher
from training.reporting.curves import Curves
from training.survey.records import Survey, survey_all


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VOCdevkit folder that lists 8 + 4 generated images, with `classes.json`."""
    folder = tmp_path_factory.mktemp("shapes")
    write_demo_data(folder, train=16, val=4)
    names = folder / "ImageSets" / "Segmentation" / "train.txt"
    names.write_text("".join(names.read_text().splitlines(keepends=True)[:8]))  # more would teach the tests nothing
    return folder


@pytest.fixture(scope="session")
def shapes_split(shapes: Path) -> Split:
    return split_of_shapes(shapes, split="train")


@pytest.fixture(scope="session")
def shapes_survey(shapes_split: Split) -> Survey:
    return survey_all([shapes_split])[0]


@pytest.fixture
def tiny_recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_RECIPE)
    return path


@pytest.fixture
def make_run(shapes_survey: Survey, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a run on the generated shapes; keyword arguments change its recipe. Its curves are drawn only with `draws`."""
    plot = Curves.plot

    def make(name: str = "run", teacher: bool = False, dropout: bool = False, draws: bool = False, **changes: Any) -> Run:
        monkeypatch.setattr(Curves, "plot", plot if draws else lambda _: None)  # drawing takes longer than the training
        recipe = make_recipe(tiny_recipe, {"epochs": 2} | changes)
        torch.manual_seed(recipe.seed)
        net = build_network(recipe.architecture(4))
        if dropout:
            net.head = nn.Sequential(net.head, nn.Dropout2d(0.5))
        other = Architecture("fcn8s", "mobilenet_v2", 4, 16, "fc", 16, 0.1)
        frozen = Teacher(build_network(other), (1.0,)) if teacher else None
        return Run(net, shapes_survey, recipe, Preprocessing(side=recipe.side), tmp_path / name, torch.device("cpu"), frozen)

    return make


@pytest.fixture
def arguments(shapes: Path, narrow_file: Path) -> list[str]:
    names = ["--data", shapes, "--labels", shapes / "classes.json", "--weights", narrow_file]
    return [str(name) for name in names] + ["--tile", "64", "--device", "cpu", "--precision", "float32", "--runtime", "torch"]


@pytest.fixture
def run_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Import:
    def run(export: Path, *options: str, status: int = 0) -> str:
        assert import_labels([str(export), "--out", str(tmp_path / "data"), *options]) == status
        printed = capsys.readouterr()
        return printed.err if status else printed.out

    return run

"""What the charts of failures count, on maps whose answers are known, and the report on the tiny network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.narrow import randomise
from benchmarks.studies.failures import draw, rare, sizes
from model.inference.plan import Options
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.labels import voc_labels
from model.manifest import Manifest
from model.metrics import ConfusionMatrix
from model.networks.builder import build
from model.networks.servable import half_tensors
from model.preprocessing import Preprocessing
from model.weights_file import Weights
from tests.support.images import make_photo
from tests.support.training.data_sets import write_frame
from training.data.split import Split
from training.scoring.evaluate import predictions
from training.survey.datasets import get_split


def test_sizes_are_of_the_labelled_part_and_iou_of_each_class_in_it() -> None:
    truth = np.array([[0, 0, 1, 1], [2, 2, 255, 255]], np.uint8)
    class_map = np.array([[0, 1, 1, 1], [2, 0, 2, 1]], np.uint8)
    assert list(sizes(truth, class_map, 3, skip_background=False)) == [
        (pytest.approx(2 / 6), pytest.approx(1 / 3)),
        (pytest.approx(2 / 6), pytest.approx(2 / 3)),
        (pytest.approx(2 / 6), pytest.approx(1 / 2)),
    ]
    assert len(list(sizes(truth, class_map, 3, skip_background=True))) == 2


def test_the_chart_is_a_png_of_classes_and_sizes(tmp_path: Path) -> None:
    matrix = ConfusionMatrix(3)
    matrix.counts[:] = [[5, 1, 0], [0, 4, 0], [2, 0, 2]]
    data = draw(matrix, ["a", "b", "c"], [[], [0.1, 0.3], [0.5], [], [], [], [1.0]])
    (tmp_path / "chart.png").write_bytes(data)
    with Image.open(tmp_path / "chart.png") as chart:
        assert chart.format == "PNG"


@pytest.fixture
def voc_split(tmp_path: Path) -> Split:
    for index in range(3):
        ids = np.full((64, 96), 7, np.uint8)
        write_frame(tmp_path / "val" / f"{index}.png", tmp_path / "valannot" / f"{index}.png", ids, make_photo(64, 96, index))
    return get_split(tmp_path, "val", voc_labels())


def voc_segmenter(bias: int) -> Segmenter:
    """A narrow network of VOC's classes that favours one of them."""
    net = randomise(build("fcn8s", "mobilenet_v2", 21, output_stride=16, head_width=16, width=0.1)).eval()
    net.get_parameter("score_fr.bias").data[bias] += 1000
    manifest = Manifest(net.architecture, voc_labels(), Preprocessing(side=(64, 96)), "none")
    return Segmenter(TorchRuntime(Weights("narrow", "", manifest, half_tensors(net)), "cpu", threads=1))


def test_rare_classes_are_reported_where_the_start_finds_them(voc_split: Split) -> None:
    car, chair = voc_segmenter(7), voc_segmenter(9)
    assert rare(voc_split, car, car) == {"car": {"frames": 3, "iou": 1.0, "start_iou": 1.0, "agreement": 1.0}}
    assert rare(voc_split, chair, car) == {"car": {"frames": 3, "iou": 0.0, "start_iou": 1.0, "agreement": 0.0}}
    assert rare(voc_split, car, chair)["chair"] == {"frames": 3, "iou": None, "start_iou": 0.0, "agreement": 0.0}


def test_predictions_are_those_that_are_served(voc_split: Split) -> None:
    pairs = list(predictions(voc_segmenter(9), voc_split, Options(), quiet=True))
    assert len(pairs) == 3
    assert all((class_map == 9).all() and (truth == 7).all() for truth, class_map in pairs)

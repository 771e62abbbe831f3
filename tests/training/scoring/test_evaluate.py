"""Scores of the served path against a confusion matrix made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from imaging.decoding import Limits, decode, scale
from model.inference.plan import Options
from model.inference.runtime import Runtime
from model.inference.segmenter import Segmenter
from model.weights_file import Weights
from tests.support.images import make_photo
from tests.support.training.data_sets import write_frame
from tests.support.training.invocations import evaluate
from training.data.class_mapping import parse_class_mapping
from training.data.split import Split, get_split
from training.scoring.evaluate import conditions, table
from training.scoring.metrics import ConfusionMatrix

OPTIONS = Options(tile=(64, 64), overlap=0.25, side=96)


@pytest.fixture(scope="module")
def segmenter(runtime: Runtime) -> Segmenter:
    return Segmenter(runtime)


@pytest.fixture(scope="module")
def split(narrow: Weights, tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Three photos of several sizes with random blocks as labels, some of them void."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(5)
    for index, (height, width) in enumerate([(50, 70), (96, 33), (61, 61)]):
        ids = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (height // 10 + 1, width // 10 + 1))
        ids = np.kron(ids, np.ones((10, 10), np.uint8))[:height, :width]
        pixels = make_photo(height, width, seed=index)
        write_frame(root / "val" / f"{index}.png", root / "valannot" / f"{index}.png", np.ascontiguousarray(ids), pixels)
    return get_split(root, "val", narrow.manifest.labels)


def predictions(segmenter: Segmenter, split: Split, options: Options = OPTIONS) -> list[npt.NDArray[np.uint8]]:
    """The class maps of the served path, walked here step by step."""
    maps = []
    for frame in split.frames:
        image = decode(frame.image.read_bytes(), Limits())
        plan = segmenter.plan_size((image.shape[0], image.shape[1]), options)
        maps.append(segmenter.infer(scale(image, plan.tile_plan.size), plan).class_map)
    return maps


def counted(split: Split, maps: list[npt.NDArray[np.uint8]], classes: int, merge: Sequence[int]) -> list[list[int]]:
    counts = [[0] * classes for _ in range(classes)]
    for index, class_map in enumerate(maps):
        for label, predicted in zip(split.mask(index).ravel().tolist(), class_map.ravel().tolist(), strict=True):
            if label < classes:
                counts[label][merge[predicted]] += 1
    return counts


@pytest.mark.parametrize("options", [OPTIONS, Options()], ids=["side 96", "the service's defaults"])
def test_the_matrix_is_the_one_counted_by_hand(segmenter: Segmenter, split: Split, options: Options) -> None:
    counts = evaluate(segmenter, split, options).counts
    assert counts.tolist() == counted(split, predictions(segmenter, split, options), 4, range(4))
    assert np.count_nonzero(counts.sum(0)) > 1


def test_a_mapping_merges_labels_and_predictions_alike(segmenter: Segmenter, split: Split) -> None:
    mapped = replace(split, mapping=parse_class_mapping("1=1,*=0", split.labels))
    matrix = evaluate(segmenter, mapped, OPTIONS)
    assert matrix.counts.tolist() == counted(mapped, predictions(segmenter, split), 2, [0, 1, 0, 0])


def test_the_conditions_say_how_it_was_measured(segmenter: Segmenter) -> None:
    text = conditions(segmenter, Options(tile=(64, 96), overlap=0.5, blend="hann"))
    assert text.startswith("side auto (64-128), tile 64x96, overlap 0.5, blend hann; cpu float32, ")
    assert conditions(segmenter, OPTIONS).startswith("side 96 (96), ")


def test_the_table_has_a_row_a_class_and_the_means() -> None:
    matrix = ConfusionMatrix(np.array([[75, 25, 0], [0, 50, 0], [0, 0, 0]]))
    assert table(matrix, ["ground", "car", "never"]).splitlines() == [
        "class                      IoU  accuracy       pixels",
        "ground                   0.750     0.750          100",
        "car                      0.667     1.000           50",
        "never                      nan       nan            0",
        "mean IoU                 0.708",
        "pixel accuracy           0.833",
        "mean accuracy            0.875",
        "frequency-weighted IoU   0.722",
    ]

"""What a network in training scores on val: counts as `fcn-evaluate` finds them, and the cross-entropy of the same pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.harness.narrow import narrow_net
from model.inference.plan import Options
from model.weights_file import Weights
from tests.support.training.invocations import evaluate
from tests.support.variants import long
from training.data.class_mapping import ClassMapping, identity_mapping, parse_class_mapping
from training.data.label_files import read_labels
from training.data.split import Split
from training.learning.validation import Scorer, cross_entropy_sum
from training.scoring.evaluate import snapshot_segmenter
from training.survey.datasets import get_split

LOGITS = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.randint(0, 4, (6, 5), generator=torch.Generator().manual_seed(1)).byte()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # several wait for each other where the cores are busy


@pytest.fixture
def validation(shapes: Path) -> Split:
    return get_split(shapes, "val", read_labels(str(shapes / "classes.json")))


def loss_by_hand(narrow: Weights, split: Split, mapping: ClassMapping) -> float:
    """The mean cross-entropy over all pixels, of whole frames' logits in float64."""
    segmenter = snapshot_segmenter(narrow_net(), narrow.manifest, "cpu")
    losses = []
    for index in range(len(split.frames)):
        plan = segmenter.plan(split.file(index), Options())
        rows = list(segmenter.rows(split.image(index), plan))
        logits = np.concatenate([part for some in rows for _, part in some.logits()], 1).astype(np.float64)
        truth = split.mask(index)
        probabilities = np.exp(logits) / np.exp(logits).sum(0)
        summed = np.stack([probabilities[mapping.table[:4] == label].sum(0) for label in range(len(split.labels))])
        of_labels = np.take_along_axis(summed, np.where(truth == 255, 0, truth)[None].astype(int), 0)[0]
        losses.append(-np.log(of_labels[truth != 255]))
    return float(np.concatenate(losses).mean())


@pytest.mark.parametrize("score_map", ["0=0,*=1", *long("0=0,1=1,2=2,3=3")])
def test_one_pass_gives_the_scores_of_the_served_path_and_its_loss(
    narrow: Weights, shapes: Path, validation: Split, score_map: str
) -> None:
    manifest = replace(narrow.manifest, labels=validation.labels)
    mapping = parse_class_mapping(score_map, validation.labels)
    split = get_split(shapes, "val", validation.labels, mapping)
    scorer = Scorer(manifest, split, mapping, "cpu")
    scores = scorer(narrow_net())
    expected = evaluate(snapshot_segmenter(narrow_net(), manifest, "cpu"), split, Options())
    assert np.array_equal(scorer.matrix.counts, expected.counts)
    assert list(scores) == ["mean_iou", "val_loss", *(f"iou/{name}" for name in split.labels.names)]
    assert scores["mean_iou"] == expected.mean_iou
    ious = [scores[f"iou/{name}"] for name in split.labels.names]
    assert ious == [None if np.isnan(iou) else iou for iou in expected.iou]
    assert scores["val_loss"] == pytest.approx(loss_by_hand(narrow, split, mapping), rel=1e-4)
    assert torch.get_num_threads() == 1  # no more than the training's


def test_a_class_that_val_does_not_show_has_no_iou(narrow: Weights, shapes: Path, validation: Split) -> None:
    same = parse_class_mapping("0=0,1=1,2=2,3=3", validation.labels)
    without = replace(same, table=np.where(same.table == 1, 0, same.table).astype(np.uint8))
    split = get_split(shapes, "val", validation.labels, without)
    assert Scorer(narrow.manifest, split, identity_mapping(split.labels), "cpu")(narrow_net())["iou/circle"] is None


def test_the_loss_is_torchs_and_void_does_not_count() -> None:
    table = torch.arange(4).byte()
    expected = F.cross_entropy(LOGITS[None], LABELS[None].long(), reduction="sum").item()
    assert cross_entropy_sum(LOGITS, LABELS, table) == pytest.approx(expected, rel=1e-5)
    void = LABELS.clone()
    void[:3] = 255
    expected = F.cross_entropy(LOGITS[None, :, 3:], LABELS[None, 3:].long(), reduction="sum").item()
    assert cross_entropy_sum(LOGITS, void, table) == pytest.approx(expected, rel=1e-5)
    assert cross_entropy_sum(LOGITS, torch.full_like(LABELS, 255), table) == 0

"""Scores on val: of a network in training, as `fcn-evaluate` finds them; of its start, by names; and the comparison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F

from benchmarks.harness.narrow import narrow_net
from model.inference.plan import Options
from model.labels import LabelSet, numbered_labels
from model.weights_file import Weights
from tests.support.training.invocations import evaluate, split_of_shapes
from tests.support.variants import long
from training.data.class_mapping import ClassMapping, identity_mapping, parse_class_mapping
from training.data.network_classes import NEW, match_rows
from training.data.split import Split
from training.learning.starts import read_start
from training.learning.validation import Scorer, StartScore, comparison_line, cross_entropy_sum, score_start, start_table
from training.scoring.changes import Change
from training.scoring.evaluate import snapshot_segmenter
from training.scoring.intervals import Interval
from training.scoring.metrics import ious

LOGITS = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.randint(0, 4, (6, 5), generator=torch.Generator().manual_seed(1)).byte()


def change_of(mean: Interval) -> Change:
    """A change of classes that enough frames show."""
    return Change([], mean, {}, mean)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # several wait for each other where the cores are busy


def scorer_of(narrow: Weights, split: Split, labels: LabelSet | None = None, mapping: ClassMapping | None = None) -> Scorer:
    """The scorer of a network of these classes, by default the split's."""
    mapping = mapping or identity_mapping(split.labels)
    return Scorer(replace(narrow.manifest, labels=labels or split.labels), split, mapping, "cpu")


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
def test_one_pass_gives_the_scores_of_the_served_path_and_its_loss(narrow: Weights, shapes: Path, score_map: str) -> None:
    labels = split_of_shapes(shapes).labels
    mapping, split = parse_class_mapping(score_map, labels), split_of_shapes(shapes, score_map)
    scorer = scorer_of(narrow, split, labels, mapping)
    scores = scorer(narrow_net())
    expected = evaluate(snapshot_segmenter(narrow_net(), scorer.manifest, "cpu"), split, Options())
    assert np.array_equal(scorer.matrix.counts, expected.counts)
    assert list(scores) == ["mean_iou", "val_loss", *(f"iou/{name}" for name in split.labels.names)]
    assert scores["mean_iou"] == expected.mean_iou
    class_scores = [scores[f"iou/{name}"] for name in split.labels.names]
    assert class_scores == [None if np.isnan(iou) else iou for iou in expected.iou]
    assert scores["val_loss"] == pytest.approx(loss_by_hand(narrow, split, mapping), rel=1e-4)
    assert torch.get_num_threads() == 1  # no more than the training's


def test_a_class_that_val_does_not_show_has_no_iou(narrow: Weights, shapes: Path) -> None:
    split = split_of_shapes(shapes)
    without = replace(split.mapping, table=np.where(split.mapping.table == 1, 0, split.mapping.table).astype(np.uint8))
    assert scorer_of(narrow, replace(split, mapping=without))(narrow_net())["iou/circle"] is None


def test_the_loss_is_torchs_and_void_does_not_count() -> None:
    table = torch.arange(4).byte()
    expected = F.cross_entropy(LOGITS[None], LABELS[None].long(), reduction="sum").item()
    assert cross_entropy_sum(LOGITS, LABELS, table) == pytest.approx(expected, rel=1e-5)
    void = LABELS.clone()
    void[:3] = 255
    expected = F.cross_entropy(LOGITS[None, :, 3:], LABELS[None, 3:].long(), reduction="sum").item()
    assert cross_entropy_sum(LOGITS, void, table) == pytest.approx(expected, rel=1e-5)
    assert cross_entropy_sum(LOGITS, torch.full_like(LABELS, 255), table) == 0


def start_score(file: Path, narrow: Weights, scorer: Scorer) -> StartScore | None:
    rows = match_rows(scorer.manifest.labels.names, narrow.manifest.labels.names)
    return score_start(read_start(str(file)), rows, scorer)


@pytest.fixture(scope="module")
def own_counts(shapes: Path, narrow: Weights) -> npt.NDArray[np.int64]:
    """What `fcn-evaluate` counts for the narrow network with its own classes, (4, 4)."""
    return evaluate(snapshot_segmenter(narrow_net(), narrow.manifest, "cpu"), split_of_shapes(shapes), Options()).counts


def test_known_classes_in_another_order_are_scored_as_they_are_served(
    shapes: Path, narrow_file: Path, narrow: Weights, own_counts: npt.NDArray[np.int64]
) -> None:
    split = split_of_shapes(shapes, "square=square,background=background,triangle=triangle,circle=circle")
    scorer = scorer_of(narrow, split)
    bar = start_score(narrow_file, narrow, scorer)
    assert bar is not None
    order = [narrow.manifest.labels.names.index(name) for name in split.labels.names]
    expected = own_counts[order][:, order]
    assert np.array_equal(bar.counts.sum(0)[:4, :4], expected)
    assert not bar.counts[:, 4].any()
    assert (bar.class_ids, bar.is_complete) == ((0, 1, 2, 3), True)
    assert bar.interval.value == pytest.approx(np.nanmean(ious(expected)))
    facts = bar.to_dict()
    assert (facts["classes"], facts["frames"]) == (split.labels.names, 4)
    assert facts["iou"] == [None if np.isnan(v) else pytest.approx(v, abs=1e-6) for v in ious(expected)]
    assert "classes that it knows" not in bar.line()
    # an equal network is neither above nor below
    assert bar.against(bar.counts[:, :4, :4]).mean.value == 0
    wrong = np.zeros_like(bar.counts[:, :4, :4])
    for index in range(4):
        wrong[:, index, (index + 1) % 4] = bar.counts[:, index].sum(1)
    assert bar.against(wrong).mean.value == pytest.approx(-bar.interval.value)


def test_a_start_that_knows_a_part_is_scored_on_the_pixels_of_that_part(
    shapes: Path, narrow_file: Path, narrow: Weights, own_counts: npt.NDArray[np.int64]
) -> None:
    split = split_of_shapes(shapes, "background=background,circle=circle,square=star,triangle=star")
    bar = start_score(narrow_file, narrow, scorer_of(narrow, split))
    assert bar is not None
    assert (bar.class_ids, bar.is_complete) == ((0, 1), False)
    own = own_counts[:2]
    known = np.stack([own[:, 0] + own[:, 2] + own[:, 3], own[:, 1]], 1)  # its squares and triangles are the data's background
    assert bar.interval.value == pytest.approx(np.nanmean(ious(known)))
    assert bar.to_dict()["classes"] == ["background", "circle"]
    assert "over the 2 of 3 classes that it knows" in bar.line()


def test_a_start_of_other_names_or_of_none_is_no_bar(shapes: Path, narrow_file: Path, narrow: Weights) -> None:
    split = split_of_shapes(shapes, "background=ground,circle=ball,*=box")
    assert start_score(narrow_file, narrow, scorer_of(narrow, split)) is None
    assert score_start(read_start("none"), (0, 1, 2, 3), scorer_of(narrow, split_of_shapes(shapes))) is None


def test_a_score_map_counts_a_class_as_known_if_all_its_parts_are(
    shapes: Path, narrow_file: Path, narrow: Weights, own_counts: npt.NDArray[np.int64]
) -> None:
    labels = numbered_labels(["background", "circle", "star", "triangle"])
    to_score = parse_class_mapping("background=ground,circle=thing,star=thing,triangle=ground", labels)
    split = split_of_shapes(shapes, "background=ground,circle=thing,square=thing,triangle=ground")
    bar = start_score(narrow_file, narrow, scorer_of(narrow, split, labels, to_score))
    assert bar is not None
    assert (bar.names, bar.class_ids, bar.is_complete) == (("ground", "thing"), (0,), False)
    ground = own_counts[0] + own_counts[3]  # its squares are the data's background, and its triangles are ground
    assert bar.counts.sum(0)[0].tolist() == [ground[0] + ground[2] + ground[3], ground[1], 0]


def test_a_class_that_the_data_lacks_is_background_or_outside() -> None:
    assert start_table(4, (NEW, 3), ["Background", "cat"])[:5].tolist() == [0, 0, 0, 1, 2]
    assert start_table(3, (2, 0), ["cat", "dog"])[:4].tolist() == [1, 2, 0, 2]


def test_pixels_outside_of_val_s_classes_are_missed(
    shapes: Path, narrow_file: Path, narrow: Weights, own_counts: npt.NDArray[np.int64]
) -> None:
    """The data has no background, so a start that says background there has found nothing."""
    bar = start_score(narrow_file, narrow, scorer_of(narrow, split_of_shapes(shapes, "circle=circle,square=square")))
    assert bar is not None
    assert np.array_equal(bar.counts.sum(0)[:2, 2], own_counts[1:3][:, [0, 3]].sum(1))
    assert bar.counts[:, :2].sum() == own_counts[1:3].sum()


ALONE = Interval(0.068, 0.067, 0.069)  # of all classes, where a bench in four frames makes it


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_of(Interval(0.03, 0.01, 0.05)), "the network is better than the start: +0.0300 mean IoU, 95% interval +0.0100"),
        (change_of(Interval(-0.03, -0.05, -0.01)), "the network is below the start: -0.0300"),
        (change_of(Interval(0.03, -0.01, 0.05)), "the network is not better than the start by more than its interval: +0.0300"),
        (change_of(Interval(-0.01, -0.03, 0.01)), "the network is below the start, by less than its interval: -0.0100"),
        (Change([], ALONE, {1: 4}, None), "whether the network is better than the start is open: +0.0680"),
        (Change([], ALONE, {1: 4}, Interval(0.0, 0.0, 0.0)), "whether the network is better than the start is open: +0.0680"),
        (Change([], ALONE, {1: 4}, Interval(0.002, 0.001, 0.003)), "the network is better than the start: +0.0020"),
    ],
)
def test_the_comparison_is_in_words(change: Change, words: str) -> None:
    line = comparison_line("the network", change, 12, ["ground", "bench"])
    assert line.startswith(words)
    assert "on the same 12 frames of val" in line
    assert ("without the classes that fewer than 5 frames show, bench (4)" in line) == bool(change.few)


def test_a_verdict_gives_the_figure_with_the_classes_of_few_frames_beside_its_own() -> None:
    line = comparison_line("the network", Change([], ALONE, {1: 4}, Interval(0.002, 0.001, 0.003)), 12, ["ground", "bench"])
    assert line.endswith("; with them +0.0680")


def test_a_start_of_whose_classes_val_shows_none_is_no_bar(narrow_file: Path, narrow: Weights, shapes: Path) -> None:
    split = split_of_shapes(shapes)
    unlabelled = replace(split, mapping=replace(split.mapping, table=np.full(256, 255, np.uint8)))
    assert start_score(narrow_file, narrow, scorer_of(narrow, unlabelled)) is None

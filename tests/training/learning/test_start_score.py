"""The start's score on val, by names of classes, and the comparison with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.inference.plan import Options
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.labels import numbered_labels
from model.metrics import ious
from model.networks.servable import load_network
from model.weights_file import Weights
from tests.support.training.invocations import evaluate
from training.data.class_mapping import identity_mapping, parse_class_mapping
from training.data.label_files import read_labels
from training.data.network_classes import NEW, match_rows
from training.data.split import Split
from training.learning.validation import Scorer, StartScore, comparison_line, score_start, start_table
from training.scoring.intervals import Counts, Interval
from training.survey.datasets import get_split


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # several wait for each other where the cores are busy


def val(shapes: Path, mapping: str | None = None) -> Split:
    labels = read_labels(str(shapes / "classes.json"))
    return get_split(shapes, "val", labels, parse_class_mapping(mapping, labels) if mapping else None)


def scorer_of(narrow: Weights, split: Split) -> Scorer:
    """The scorer of a network that has the split's classes."""
    return Scorer(replace(narrow.manifest, labels=split.labels), split, identity_mapping(split.labels), "cpu")


def score(file: Path, narrow: Weights, split: Split) -> StartScore | None:
    rows = match_rows(split.labels.names, narrow.manifest.labels.names)
    return score_start(str(file), rows, scorer_of(narrow, split))


def counts_of(narrow: Weights, shapes: Path) -> np.ndarray:
    """What `fcn-evaluate` counts for the narrow network with its own classes, (4, 4)."""
    return evaluate(Segmenter(TorchRuntime(narrow, "cpu", "float32")), val(shapes), Options()).counts


def test_known_classes_in_another_order_are_scored_as_they_are_served(shapes: Path, narrow_file: Path, narrow: Weights) -> None:
    split = val(shapes, "square=square,background=background,triangle=triangle,circle=circle")
    order = [narrow.manifest.labels.names.index(name) for name in split.labels.names]
    bar = score(narrow_file, narrow, split)
    assert bar is not None
    expected = counts_of(narrow, shapes)[order][:, order]
    assert np.array_equal(bar.counts.sum(0)[:4, :4], expected)
    assert not bar.counts[:, 4].any()
    assert (bar.class_ids, bar.is_complete) == ((0, 1, 2, 3), True)
    assert bar.interval.value == pytest.approx(np.nanmean(ious(expected)))
    facts = bar.facts()
    assert (facts["classes"], facts["frames"]) == (split.labels.names, 4)
    assert facts["iou"] == [None if np.isnan(v) else pytest.approx(v, abs=1e-6) for v in ious(expected)]
    assert "on val" in bar.line()
    assert "classes that it knows" not in bar.line()


def test_a_start_that_knows_a_part_is_scored_on_the_pixels_of_that_part(
    shapes: Path, narrow_file: Path, narrow: Weights
) -> None:
    split = val(shapes, "background=background,circle=circle,square=star,triangle=star")
    bar = score(narrow_file, narrow, split)
    assert bar is not None
    assert (bar.class_ids, bar.is_complete) == ((0, 1), False)
    own = counts_of(narrow, shapes)[:2]
    known = np.stack([own[:, 0] + own[:, 2] + own[:, 3], own[:, 1]], 1)  # its squares and triangles are the data's background
    assert bar.interval.value == pytest.approx(np.nanmean(ious(known)))
    assert bar.facts()["classes"] == ["background", "circle"]
    assert "over the 2 of 3 classes that it knows" in bar.line()


def test_a_start_of_other_names_or_of_none_is_no_bar(shapes: Path, narrow_file: Path, narrow: Weights) -> None:
    split = val(shapes, "background=ground,circle=ball,*=box")
    assert score(narrow_file, narrow, split) is None
    assert score_start("none", (0, 1, 2, 3), scorer_of(narrow, val(shapes))) is None


def test_a_score_map_counts_a_class_as_known_if_all_its_parts_are(shapes: Path, narrow_file: Path, narrow: Weights) -> None:
    labels = numbered_labels(["background", "circle", "star", "triangle"])
    to_score = parse_class_mapping("background=ground,circle=thing,star=thing,triangle=ground", labels)
    split = val(shapes, "background=ground,circle=thing,square=thing,triangle=ground")
    scorer = Scorer(replace(narrow.manifest, labels=labels), split, to_score, "cpu")
    bar = score_start(str(narrow_file), match_rows(labels.names, narrow.manifest.labels.names), scorer)
    assert bar is not None
    assert (bar.names, bar.class_ids, bar.is_complete) == (("ground", "thing"), (0,), False)
    own = counts_of(narrow, shapes)
    own[:, 0] += own[:, 2] + own[:, 3]  # its squares are the data's background, and its triangles are ground
    ground = own[0] + own[3]
    assert bar.counts.sum(0)[0].tolist() == [ground[0], ground[1], 0]


def test_a_class_that_the_data_lacks_is_background_or_outside() -> None:
    assert start_table(4, (NEW, 3), ["Background", "cat"])[:5].tolist() == [0, 0, 0, 1, 2]
    assert start_table(3, (2, 0), ["cat", "dog"])[:4].tolist() == [1, 2, 0, 2]


def test_pixels_outside_of_val_s_classes_are_missed(shapes: Path, narrow_file: Path, narrow: Weights) -> None:
    """The data has no background, so a start that says background there has found nothing."""
    split = val(shapes, "circle=circle,square=square")
    bar = score(narrow_file, narrow, split)
    assert bar is not None
    own = counts_of(narrow, shapes)
    index = [narrow.manifest.labels.names.index(name) for name in split.labels.names]
    others = [i for i in range(4) if i not in index]
    assert np.array_equal(bar.counts.sum(0)[:2, 2], own[index][:, others].sum(1))
    assert bar.counts[:, :2].sum() == own[index].sum()


def test_a_network_equal_to_its_start_is_neither_above_nor_below(shapes: Path, narrow_file: Path, narrow: Weights) -> None:
    split = val(shapes)
    bar = score(narrow_file, narrow, split)
    scorer = scorer_of(narrow, split)
    scorer(load_network(narrow))
    assert bar is not None
    assert scorer.counts is not None
    assert bar.against(scorer.counts).value == 0
    wrong = np.zeros_like(scorer.counts)
    for index in range(4):
        wrong[:, index, (index + 1) % 4] = scorer.counts[:, index].sum(1)
    assert bar.against(wrong).value == pytest.approx(-bar.interval.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Interval(0.03, 0.01, 0.05), "is better than the start: +0.0300 mean IoU, 95% interval +0.0100 to +0.0500"),
        (Interval(0.03, -0.01, 0.05), "is not better than the start by more than its interval: +0.0300"),
        (Interval(-0.01, -0.03, 0.01), "is below the start, by less than its interval: -0.0100"),
        (Interval(-0.05, float("nan"), float("nan")), "is below the start: -0.0500 mean IoU, without an interval"),
    ],
)
def test_the_comparison_is_in_words(change: Interval, words: str) -> None:
    line = comparison_line("the trained network", change, 12)
    assert line.startswith(f"the trained network {words}")
    assert line.endswith("on the same 12 frames of val")


def frames_of(*ious: tuple[int, int]) -> Counts:
    """A frame of 100 pixels for each pair: the class that it shows, and how many of its pixels are right; of two classes."""
    counts = np.zeros((len(ious), 2, 3), np.int64)
    for index, (label, right) in enumerate(ious):
        counts[index, label, label], counts[index, label, 1 - label] = right, 100 - right
    return counts


def bar_of(counts: Counts) -> StartScore:
    return StartScore("start", np.pad(counts, ((0, 0), (0, 1), (0, 0))), ("ground", "bench"), (0, 1))


def test_a_verdict_does_not_rest_on_a_class_of_one_frame() -> None:
    ground = [(0, 90 + index % 3) for index in range(20)]
    bar, ours = bar_of(frames_of(*ground, (1, 90))), frames_of(*ground, (1, 30))[..., :2]
    assert bar.against(ours).high < 0  # the interval alone says "below the start"
    few = bar.deciding_few(ours)
    assert few == {"bench": 1}
    line = comparison_line("the network", bar.against(ours), 21, few)
    assert "is open" in line
    assert "fewer than 5 frames show: bench (1)" in line
    assert bar.deciding_few(frames_of(*[(0, 40)] * 20, (1, 30))[..., :2]) == {}  # the other class says the same
    frequent = [*ground, *[(1, 90)] * 6]
    assert bar_of(frames_of(*frequent)).deciding_few(frames_of(*ground, *[(1, 30)] * 6)[..., :2]) == {}

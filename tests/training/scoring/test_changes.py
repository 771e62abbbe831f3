"""Changes of scores on the same frames: what is sure, and what classes decide that few frames show."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.scoring.changes import Change, compare, difference_table, signed
from training.scoring.intervals import Interval
from training.scoring.metrics import ConfusionMatrix, Counts

NAMES = ["ground", "car", "bench"]


def scored(ground: int, car: int, bench: int, frames: int = 20, benches: int = 4) -> Counts:
    """Frames that show ground and car, the first `benches` of them bench too; of 1000 pixels of each, so many are right.

    They differ by up to 9 pixels from frame to frame, in any two networks alike.
    """
    counts = np.zeros((frames, 3, 3), np.int64)
    for index in range(frames):
        for class_id, right in enumerate((ground, car, bench)):
            if class_id < 2 or index < benches:
                pixels = right + index % 10
                counts[index, class_id, class_id], counts[index, class_id, (class_id + 1) % 2] = pixels, 1000 - pixels
    return counts


def row(table: str, name: str) -> str:
    (line,) = (line for line in table.split("\n") if line.startswith(name))
    return line


THEIRS = scored(ground=800, car=800, bench=600)


@pytest.mark.parametrize(
    ("ours", "is_sure", "is_open"),
    [
        (scored(800, 800, 800), False, True),  # bench alone
        (scored(802, 802, 800), True, False),  # the others too, by less
        (scored(850, 850, 500), True, False),  # bench is worse, and does not change the sign
        (scored(790, 790, 800), False, True),  # the others are worse
        (scored(800, 800, 600), False, False),
        (scored(800, 800, 800)[:1], False, True),  # no class is left
    ],
    ids=["few", "both", "few against", "others against", "equal", "one frame"],
)
def test_a_change_is_sure_only_without_the_classes_of_few_frames(ours: Counts, is_sure: bool, is_open: bool) -> None:
    change = compare(ours, THEIRS[: len(ours)])
    assert (change.is_sure, change.is_open) == (is_sure, is_open)
    assert change.few == ({2: 4} if len(ours) > 1 else {0: 1, 1: 1, 2: 1})
    assert math.isnan(change.classes[2].low)


def test_the_figure_of_the_other_classes_is_not_made_by_few_frames() -> None:
    change = compare(scored(802, 802, 800), THEIRS)
    assert change.mean.low > 0.05
    assert change.frequent is not None
    assert 0 < change.frequent.value < 0.01
    without = [counts[:, :2] for counts in (scored(802, 802, 800), THEIRS)]
    scores = [ConfusionMatrix(np.pad(counts.sum(0), ((0, 1), (0, 0)))).mean_iou for counts in without]
    assert change.frequent.value == pytest.approx(scores[0] - scores[1])
    enough = compare(scored(800, 800, 800, benches=5), scored(800, 800, 600, benches=5))
    assert enough.frequent == enough.mean
    assert (enough.is_sure, enough.few) == (True, {})


def test_the_table_has_a_star_for_what_is_sure_and_says_which_classes_few_frames_show() -> None:
    ours = scored(800, 800, 800)
    change = compare(ours, THEIRS)
    assert change.mean.low > 0.05  # the interval alone would have a star
    table = difference_table(ours, THEIRS, change, NAMES)
    assert "*" not in row(table, "mean IoU")
    assert row(table, "bench").endswith("too few frames")
    assert row(table, "without").startswith("without the classes that fewer than 5 frames show, bench (4): +0.00")
    ours = scored(850, 850, 800)
    table = difference_table(ours, THEIRS, compare(ours, THEIRS), NAMES)
    assert all(row(table, name).endswith(" *") for name in ("ground", "car", "mean IoU"))
    frequent = scored(800, 800, 800, benches=20), scored(800, 800, 600, benches=20)
    table = difference_table(*frequent, compare(*frequent), NAMES)
    assert row(table, "mean IoU").endswith(" *")
    assert "without" not in table


def test_a_weights_file_holds_both_figures() -> None:
    facts = compare(scored(802, 802, 800), THEIRS).to_dict(NAMES)
    assert facts["mean_iou"] > 0.05
    assert facts["without_few"].startswith("without the classes that fewer than 5 frames show, bench (4): +0.00")
    assert set(compare(THEIRS[4:], THEIRS[4:]).to_dict(NAMES)) == {"mean_iou", "mean_iou_95"}


def test_changes_are_in_words() -> None:
    assert signed(Interval(-0.05, float("nan"), float("nan"))) == "-0.0500 mean IoU, without an interval"
    alone = Change([], Interval(0.03, 0.01, 0.05), {0: 1}, None)
    assert alone.frequent_text() == "no class is left"
    assert signed(alone.mean) == "+0.0300 mean IoU, 95% interval +0.0100 to +0.0500"

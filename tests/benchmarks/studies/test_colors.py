"""The study of the distances between classes' colours."""

from __future__ import annotations

import pytest

from benchmarks.studies.colors import distances, least_distance, main
from imaging.palette import VISIONS
from model.labels import voc_labels


def test_black_white_and_grey_are_as_far_apart_as_their_lightness() -> None:
    assert least_distance([(0, 0, 0), (255, 255, 255)], "normal") == pytest.approx(1, abs=1e-3)
    assert least_distance([(0, 0, 0), (255, 255, 255), (128, 128, 128)], "protanopia") == pytest.approx(0.4, abs=0.01)
    assert least_distance([(9, 9, 9), (0, 200, 0), (9, 9, 9)], "normal") == 0


def test_it_prints_a_row_for_each_label_set_and_vision(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == 4 * len(VISIONS)
    for row, (vision, display, own) in zip(rows, distances(voc_labels()), strict=False):
        assert row == f"| VOC, 21 classes | {vision} | {display:.3f} | {own:.3f} |"

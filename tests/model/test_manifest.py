"""Temperatures by precision, and when measured scores allow int8."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from model.architecture import Architecture
from model.labels import numbered_labels
from model.manifest import INT8_SCORES, Manifest, scored_in
from model.preprocessing import Preprocessing

PLAIN = Manifest(Architecture("fcn8s", "mobilenet_v2", 3), numbered_labels(["a", "b", "c"]), Preprocessing(), "none")


def score(mean: float, *iou: float | None) -> dict[str, Any]:
    return {"mean_iou": mean, "iou": list(iou)}


def measured(full: dict[str, Any], quantised: dict[str, Any], error: float | None = 0.01) -> Manifest:
    """A manifest with one score in both precisions, and int8's calibration error."""
    training = {} if error is None else {"calibration_int8": {"ece_after": error}}
    return replace(PLAIN, scores={"val": full, scored_in("val", "int8"): quantised}, training=training)


FULL = score(0.7, 0.9, 0.5)
INT8 = {
    "small losses": (FULL, score(0.699, 0.895, 0.503), 0.01, True),
    "a class lost much": (FULL, score(0.71, 0.95, 0.47), 0.01, False),
    "the mean lost much": (FULL, score(0.6969, 0.9, 0.5), 0.01, False),
    "at the edge": (FULL, score(0.6971, 0.9, 0.4901), 0.012, True),
    "badly calibrated": (FULL, FULL, 0.0121, False),
    "uncalibrated": (FULL, FULL, None, False),
    "absent": (score(0.7, 0.9, None), score(0.7, 0.9, None), 0.0, True),
}


@pytest.mark.parametrize(("full", "quantised", "error", "allowed"), INT8.values(), ids=INT8)
def test_int8_is_allowed_where_it_costs_next_to_nothing(
    full: dict[str, Any], quantised: dict[str, Any], error: float | None, allowed: bool
) -> None:
    assert measured(full, quantised, error).allows_int8("vnni") is allowed


def test_int8_is_not_allowed_without_a_score_in_both_precisions() -> None:
    training = {"calibration_int8": {"ece_after": 0.0}}
    assert not replace(PLAIN, training=training).allows_int8("vnni")
    assert not replace(PLAIN, training=training, scores={"val": score(0.7, 0.7)}).allows_int8("vnni")
    assert not replace(PLAIN, training=training, scores={"val, int8": score(0.7, 0.7)}).allows_int8("vnni")
    other = {"val": score(0.7, 0.7), "test, int8": score(0.7, 0.7)}
    assert not replace(PLAIN, training=training, scores=other).allows_int8("vnni")


def test_each_kind_of_processor_is_judged_by_its_own_score() -> None:
    manifest = measured(score(0.7, 0.7), score(0.7, 0.7))
    assert (manifest.allows_int8("vnni"), manifest.allows_int8("avx2")) == (True, False)
    for mean, allowed in ((0.699, True), (0.69, False)):
        both = replace(manifest, scores={**manifest.scores, scored_in("val", INT8_SCORES["avx2"]): score(mean, 0.7)})
        assert (both.allows_int8("vnni"), both.allows_int8("avx2")) == (True, allowed)
        assert set(both.without("int8").scores) == {"val"}


def test_the_first_pair_of_scores_decides() -> None:
    good, bad = (score(0.7, 0.7), score(0.7, 0.7)), (score(0.7, 0.7), score(0.6, 0.6))
    for first, second, allowed in ((good, bad, True), (bad, good, False)):
        manifest = measured(*first)
        more = {"test": second[0], "test, int8": second[1]}
        assert replace(manifest, scores={**manifest.scores, **more}).allows_int8("vnni") is allowed


def test_a_precision_without_a_temperature_of_its_own_has_float32s() -> None:
    both = replace(PLAIN, temperatures={"float32": 1.25, "int8": 1.5})
    assert [both.temperature(p) for p in ("float32", "int8", "bfloat16")] == [1.25, 1.5, 1.25]
    assert PLAIN.temperature("int8") is None
    assert "calibration" not in PLAIN.to_json()
    assert Manifest.from_json(both.to_json()) == both

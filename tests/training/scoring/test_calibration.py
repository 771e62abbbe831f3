"""Temperature and expected calibration error on data whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imaging.rendering import Rendering
from model.inference.plan import Options
from model.inference.runtime import Runtime
from model.inference.segmenter import Segmenter
from training.data.label_files import read_labels
from training.data.split import Split, get_split
from training.scoring.calibration import (
    STEP,
    Calibration,
    Sample,
    calibrate,
    errors_of_answers,
    expected_calibration_error,
    fit_temperature,
    gather,
    joined,
)
from training.scoring.split_score import fit_and_print_temperature


def drawn(temperature: float, pixels: int = 60_000) -> Sample:
    """Labels drawn from softmax(logits / temperature): that temperature is the right one."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(pixels, 5, generator=generator) * 4
    labels = torch.multinomial((logits / temperature).softmax(1), 1, generator=generator)[:, 0]
    return Sample(logits, labels)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_temperature_that_the_labels_were_drawn_with_has_no_error(temperature: float) -> None:
    sample = drawn(temperature)
    assert fit_temperature(sample) == pytest.approx(temperature, rel=0.05)
    assert expected_calibration_error(sample, temperature) < 0.01
    assert expected_calibration_error(sample, 1.0) > 0.05


def test_bins_weigh_by_their_pixels() -> None:
    """Half the pixels at 0.6, all right; half at 0.9, all wrong: 0.5 * 0.4 + 0.5 * 0.9."""
    confidence = torch.tensor([0.6] * 10 + [0.9] * 10)
    logits = torch.stack([confidence, 1 - confidence], 1).log()
    labels = torch.tensor([0] * 10 + [1] * 10)
    assert expected_calibration_error(Sample(logits, labels), 1.0) == pytest.approx(0.65, abs=1e-6)


@pytest.fixture
def split(shapes: Path) -> Split:
    return get_split(shapes, "val", read_labels(str(shapes / "classes.json")))


def test_the_error_of_answers_is_that_of_the_served_confidence_maps(runtime: Runtime, split: Split) -> None:
    segmenter, options = Segmenter(runtime), Options(tile=(64, 64))
    samples = gather(segmenter, split, options)
    answered, exact = errors_of_answers(samples, segmenter.temperature)
    assert exact == pytest.approx(expected_calibration_error(joined(samples), segmenter.temperature), abs=1e-6)
    confidence, correct = [], []
    for index in range(4):
        labels = split.mask(index)[::STEP, ::STEP]
        served = segmenter(split.file(index), replace(options, rendering=Rendering("confidence")))
        assert served.confidence is not None
        labelled = labels != split.labels.ignore_index
        confidence.append(served.confidence[::STEP, ::STEP][labelled] / 255)
        correct.append(served.class_map[::STEP, ::STEP][labelled] == labels[labelled])
    bins = np.minimum((np.concatenate(confidence) * 15).astype(int), 14)
    differences = [np.bincount(bins, values, 15) for values in (np.concatenate(confidence), np.concatenate(correct))]
    assert answered == pytest.approx(np.abs(differences[0] - differences[1]).sum() / len(bins), abs=1e-3)


def test_each_block_is_checked_at_the_temperature_of_the_others() -> None:
    """Two blocks that are each wrong at the other's temperature: what was fitted on both would look right."""
    one, other = drawn(0.5, 10_000), drawn(3.0, 10_000)
    result = calibrate([one, other])
    assert (result.frames, result.blocks) == (2, 2)
    assert result.temperature == pytest.approx(fit_temperature(joined([one, other])), abs=1e-3)
    assert result.ece_before == pytest.approx(expected_calibration_error(joined([one, other]), 1.0), abs=1e-4)
    wrong = joined([Sample(one.logits / 3.0, one.labels), Sample(other.logits / 0.5, other.labels)])
    assert result.ece_after == pytest.approx(expected_calibration_error(wrong, 1.0), abs=0.01)
    assert result.ece_after > 2 * expected_calibration_error(joined([one, other]), result.temperature)


def test_blocks_are_made_of_consecutive_frames_with_labels() -> None:
    """As where a data set labels only some frames of each video: a block without labels could not be checked."""
    frames = [drawn(2.0, pixels=count) for count in (0, 0, 300, 0, 200, 100, 0, 400, 150, 0, 250)]
    one, two, three, four, five, six = (frame for frame in frames if len(frame.labels))
    assert calibrate(frames) == replace(calibrate([one, joined([two, three]), four, joined([five, six])]), frames=6)


@pytest.mark.parametrize("pixels", [[], [300], [0, 300, 0, 0]])
def test_one_frame_with_labels_is_too_few(pixels: list[int]) -> None:
    frames = [drawn(2.0, count) for count in pixels]
    with pytest.raises(
        ValueError, match=f"one to fit on and one to check on; got {min(1, sum(pixels))} of {len(pixels)} frames"
    ):
        calibrate(frames)


@pytest.mark.parametrize(("label", "edge"), [(0, 20.0), (1, 0.05)])
def test_logits_that_are_always_wrong_or_right_end_at_an_edge(label: int, edge: float) -> None:
    sample = Sample(torch.tensor([[0.0, 5.0]]).expand(100, 2), torch.full((100,), label))
    temperature = fit_temperature(sample)
    assert temperature == pytest.approx(edge, rel=1e-3)
    assert Calibration(temperature, 1, 1, 0.0, 0.0).is_at_limit
    assert not Calibration(1.3, 1, 1, 0.0, 0.0).is_at_limit


def test_a_temperature_that_its_own_check_finds_worse_than_none_is_not_stored(
    split: Split, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two blocks whose temperatures lie on both sides of 1: each is checked at the other's."""
    samples = [drawn(0.5, 5000), drawn(2.0, 5000)]
    fit = calibrate(samples)
    assert fit.ece_after > fit.ece_before
    assert fit.is_worse
    assert fit.stored == replace(fit, temperature=1.0, ece_after=fit.ece_before)
    assert fit_and_print_temperature(split, samples) == fit.stored
    assert "its own check finds it worse than none, so it is not stored" in capsys.readouterr().out
    good = calibrate([drawn(2.0, 5000), drawn(2.0, 5000)])
    assert not good.is_worse
    assert good.stored == good

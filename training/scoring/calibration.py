"""Calibration of confidence: the expected calibration error, and the temperature that reduces it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from imaging.rendering import Rendering
from model.inference.segmenter import Options, Segmenter
from training.data.datasets import Split

BINS = 15
BLOCKS = 4  # of frames; each is checked at the temperature fitted on the others
RANGE = (0.05, 20.0)  # of temperatures that are tried
STEP = 4  # only every fourth pixel per axis counts, since neighbours are nearly equal


@dataclass(frozen=True)
class Sample:
    """Logits (P, C) of the served path at labelled pixels, and the pixels' labels (P)."""

    logits: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Calibration:
    """A temperature fitted on all frames, and the expected calibration error without and with temperature scaling.

    ece_before: over all frames at temperature 1. ece_after: over all frames, each block at the temperature fitted on the
    other blocks.
    """

    temperature: float
    frames: int
    blocks: int
    ece_before: float
    ece_after: float

    @property
    def at_the_edge(self) -> bool:
        """Whether the temperature lies at an end of `RANGE`: the logits are never wrong, or do not depend on the labels."""
        return not 1.01 * RANGE[0] < self.temperature < 0.99 * RANGE[1]


def calibrate(segmenter: Segmenter, split: Split, options: Options) -> Calibration:
    """Fits one temperature on the split, and checks it on blocks of consecutive frames.

    Blocks are consecutive because neighbouring frames of a video are alike: alternating frames would be checked on nearly the
    frames of the fit. Raises `ValueError` for a single frame, and without labelled pixels.
    """
    count = len(split.frames)
    if count < 2:
        raise ValueError(f"calibration needs two frames at least, one to fit on and one to check on; got {count}")
    return fit_and_check([gather(segmenter, split, options, indices) for indices in cut_blocks(count)], count)


def fit_and_check(blocks: Sequence[Sample], frames: int) -> Calibration:
    """Fits a temperature on all blocks, and checks each block at the temperature fitted on the others."""
    other_blocks = [joined([*blocks[:index], *blocks[index + 1 :]]) for index in range(len(blocks))]
    held_out = [scaled(block, fit_temperature(others)) for block, others in zip(blocks, other_blocks, strict=True)]
    everything = joined(blocks)
    return Calibration(
        temperature=round(fit_temperature(everything), 4),
        frames=frames,
        blocks=len(blocks),
        ece_before=round(expected_calibration_error(everything, 1.0), 5),
        ece_after=round(expected_calibration_error(joined(held_out), 1.0), 5),
    )


def cut_blocks(count: int) -> list[range]:
    """Splits `count` frame indices into `BLOCKS` consecutive ranges of about equal length; fewer if there are fewer frames."""
    blocks = min(BLOCKS, count)
    return [range(count * index // blocks, count * (index + 1) // blocks) for index in range(blocks)]


def joined(samples: Sequence[Sample]) -> Sample:
    """One sample with the pixels of all samples."""
    return Sample(torch.cat([sample.logits for sample in samples]), torch.cat([sample.labels for sample in samples]))


def scaled(sample: Sample, temperature: float) -> Sample:
    """The sample with its logits divided by this temperature."""
    return Sample(sample.logits / temperature, sample.labels)


def gather(segmenter: Segmenter, split: Split, options: Options, indices: range) -> Sample:
    """The labelled pixels of these frames, every `STEP`th pixel per axis, with their logits on the served path."""
    logits, labels = [], []
    for index in tqdm(indices, desc="gathering logits", unit="image", leave=False):
        data, mask = split.file(index), torch.from_numpy(split.mask(index).copy())
        plan = segmenter.plan(data, options)
        row_groups = segmenter.rows(segmenter.decode(data, plan), plan)
        parts = [torch.from_numpy(part.logits()) for rows in row_groups for part in rows.parts()]
        sampled_logits = torch.cat(parts, 1).permute(1, 2, 0)[::STEP, ::STEP]
        sampled_mask = mask[::STEP, ::STEP]
        labelled = sampled_mask != split.labels.ignore_index
        logits.append(sampled_logits[labelled].clone())
        labels.append(sampled_mask[labelled].long())
    return Sample(torch.cat(logits), torch.cat(labels))


def fit_temperature(sample: Sample) -> float:
    """The temperature with the least negative log-likelihood (Guo et al. 2017, section 4.2), by bisection of its slope.

    The negative log-likelihood is convex in the inverse temperature, so its slope changes sign at most once. If it does not
    change sign within `RANGE`, the result is an end of `RANGE`. Raises `ValueError` without labelled pixels.
    """
    if not len(sample.labels):
        raise ValueError("no labelled pixel to fit a temperature on")
    low, high = 1 / RANGE[1], 1 / RANGE[0]
    for _ in range(40):
        middle = sqrt(low * high)
        low, high = (middle, high) if _slope(sample, middle) <= 0 else (low, middle)
    return 1 / sqrt(low * high)


def _slope(sample: Sample, inverse: float) -> float:
    """The derivative of the mean negative log-likelihood with respect to the inverse temperature."""
    expected = (F.softmax(sample.logits * inverse, 1) * sample.logits).sum(1)
    actual = sample.logits.gather(1, sample.labels[:, None])[:, 0]
    return float((expected - actual).double().mean())


def expected_calibration_error(sample: Sample, temperature: float) -> float:
    """The mean distance between confidence and accuracy over `BINS` equal bins, weighted by pixels (Guo et al. 2017)."""
    confidence, predicted = F.softmax(sample.logits / temperature, 1).max(1)
    return _error_of(confidence, predicted == sample.labels)


def errors_of_answers(segmenter: Segmenter, split: Split, options: Options) -> tuple[float, float]:
    """The expected calibration error at the file's temperature: first of the answered confidence, then of the exact softmax.

    They differ because answers interpolate confidence between cells that agree on a class (`model.inference.upsampling`).
    """
    options = replace(options, rendering=Rendering("confidence"))
    answered: list[Tensor] = []
    exact: list[Tensor] = []
    correct: list[Tensor] = []
    for index in tqdm(range(len(split.frames)), desc="comparing confidence", unit="image", leave=False):
        sample = gather(segmenter, split, options, range(index, index + 1))
        confidence = segmenter(split.file(index), options).confidence
        assert confidence is not None
        labelled = split.mask(index)[::STEP, ::STEP] != split.labels.ignore_index
        answered.append(torch.from_numpy(confidence[::STEP, ::STEP][labelled]).double() / 255)
        highest, predicted = F.softmax(sample.logits / segmenter.temperature, 1).max(1)
        exact.append(highest)
        correct.append(predicted == sample.labels)
    return _error_of(torch.cat(answered), torch.cat(correct)), _error_of(torch.cat(exact), torch.cat(correct))


def _error_of(confidence: Tensor, correct: Tensor) -> float:
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    sums = [torch.zeros(BINS, dtype=torch.float64).index_add_(0, bins, values.double()) for values in (confidence, correct)]
    return float((sums[0] - sums[1]).abs().sum() / len(correct))

"""Calibration of confidence: the expected calibration error, and the temperature that reduces it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import sqrt

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from training.data.split import Split
from training.scoring.evaluate import served_frames

BINS = 15
BLOCKS = 4  # of frames; each is checked at the temperature fitted on the others
RANGE = (0.05, 20.0)  # of temperatures that are tried
STEP = 4  # only every fourth pixel per axis counts, since neighbours are nearly equal


@dataclass(frozen=True)
class Sample:
    """Logits (P, C) of the served path at labelled pixels, and the pixels' labels (P).

    confidence: the confidence (P) that the service answers for the same pixels at the file's temperature, 0 to 1; empty if not
    known.
    """

    logits: Tensor
    labels: Tensor
    confidence: Tensor = field(default_factory=lambda: torch.empty(0))


@dataclass(frozen=True)
class Calibration:
    """A temperature fitted on all frames with labels, and the expected calibration error without and with temperature scaling.

    ece_before: over all frames at temperature 1. ece_after: over all frames, each block at the temperature fitted on the
    other blocks.
    """

    temperature: float
    frames: int
    blocks: int
    ece_before: float
    ece_after: float

    @property
    def is_at_limit(self) -> bool:
        """Whether the temperature lies at an end of `RANGE`: the logits are never wrong, or do not depend on the labels."""
        return not 1.01 * RANGE[0] < self.temperature < 0.99 * RANGE[1]

    @property
    def is_worse(self) -> bool:
        """Whether the check finds a larger error with temperatures of the other blocks than without any."""
        return self.ece_after > self.ece_before

    @property
    def stored(self) -> Calibration:
        """What a weights file stores: this calibration, or temperature 1 with its error if this one is worse."""
        return replace(self, temperature=1.0, ece_after=self.ece_before) if self.is_worse else self


def calibrate(samples: Sequence[Sample]) -> Calibration:
    """Fits one temperature on the samples of frames, and checks each block at the temperature fitted on the others.

    There are up to `BLOCKS` blocks of about equal numbers of frames. They are consecutive because neighbouring frames of a
    video are alike: alternating frames would be checked on nearly the frames of the fit. Frames without labelled pixels do not
    count. Raises `ValueError` for fewer than two frames with labels.
    """
    frames = [sample for sample in samples if len(sample.labels)]
    if len(frames) < 2:
        raise ValueError(
            f"calibration needs two frames with labels at least, one to fit on and one to check on; got {len(frames)} of "
            f"{len(samples)} frames"
        )
    number = min(BLOCKS, len(frames))
    ends = [len(frames) * index // number for index in range(number + 1)]
    blocks = [joined(frames[start:end]) for start, end in pairwise(ends)]
    scaled_blocks = []
    for index, block in enumerate(blocks):
        temperature_of_others = fit_temperature(joined([*blocks[:index], *blocks[index + 1 :]]))
        scaled_blocks.append(replace(block, logits=block.logits / temperature_of_others))
    everything = joined(blocks)
    return Calibration(
        temperature=round(fit_temperature(everything), 4),
        frames=len(frames),
        blocks=len(blocks),
        ece_before=round(expected_calibration_error(everything, 1.0), 5),
        ece_after=round(expected_calibration_error(joined(scaled_blocks), 1.0), 5),
    )


def joined(samples: Sequence[Sample]) -> Sample:
    """One sample with the pixels of all samples."""
    parts = zip(*((sample.logits, sample.labels, sample.confidence) for sample in samples), strict=True)
    return Sample(*map(torch.cat, parts))


def gather(segmenter: Segmenter, split: Split, options: Options) -> list[Sample]:
    """The labelled pixels of each frame, every `STEP`th pixel per axis, with their logits on the served path.

    Runs the network once for each frame. Raises `DataError` naming an image that cannot be decoded.
    """
    samples = []
    for _, ids, plan, pixels in served_frames(segmenter, split, options):
        mask = torch.from_numpy(ids[::STEP, ::STEP].copy())
        logits, confidence = [], np.empty(plan.size, np.uint8)
        for rows in segmenter.rows(pixels, plan):
            rows.class_ids_and_confidence(segmenter.temperature, confidence[rows.pixel_rows])
            logits += [torch.from_numpy(part) for _, part in rows.logits()]
        sampled_logits = torch.cat(logits, 1).permute(1, 2, 0)[::STEP, ::STEP]
        is_labelled = mask != split.labels.ignore_index
        frame_confidence = torch.from_numpy(confidence[::STEP, ::STEP].copy())[is_labelled].double() / 255
        samples.append(Sample(sampled_logits[is_labelled].clone(), mask[is_labelled].long(), frame_confidence))
    return samples


def fit_temperature(sample: Sample) -> float:
    """The temperature with the least negative log-likelihood (Guo et al. 2017, section 4.2), by bisection of its slope.

    The negative log-likelihood is convex in the inverse temperature, so its slope changes sign at most once. If it does not
    change sign within `RANGE`, the result is an end of `RANGE`. There must be labelled pixels.
    """
    low, high = 1 / RANGE[1], 1 / RANGE[0]
    for _ in range(40):
        middle = sqrt(low * high)
        low, high = (middle, high) if _slope(sample, middle) <= 0 else (low, middle)
    return 1 / sqrt(low * high)


def _slope(sample: Sample, inverse: float) -> float:
    """The derivative of the mean negative log-likelihood with respect to the inverse temperature."""
    mean = (F.softmax(sample.logits * inverse, 1) * sample.logits).sum(1)
    actual = sample.logits.gather(1, sample.labels[:, None])[:, 0]
    return float((mean - actual).double().mean())


def expected_calibration_error(sample: Sample, temperature: float) -> float:
    """The mean distance between confidence and accuracy over `BINS` equal bins, weighted by pixels (Guo et al. 2017)."""
    confidence, classes = F.softmax(sample.logits / temperature, 1).max(1)
    return _error_of(confidence, classes == sample.labels)


def errors_of_answers(samples: Sequence[Sample], temperature: float) -> tuple[float, float]:
    """The expected calibration error at the file's temperature: first of the answered confidence, then of the exact softmax.

    They differ because answers interpolate confidence between cells that agree on a class (`model.inference.upsampling`).
    """
    everything = joined(samples)
    correct = everything.logits.argmax(1) == everything.labels
    return _error_of(everything.confidence, correct), expected_calibration_error(everything, temperature)


def _error_of(confidence: Tensor, correct: Tensor) -> float:
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    sums = [torch.zeros(BINS, dtype=torch.float64).index_add_(0, bins, values.double()) for values in (confidence, correct)]
    return float((sums[0] - sums[1]).abs().sum() / len(correct))

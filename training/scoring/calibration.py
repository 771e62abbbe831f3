"""Whether confidence means what it says: expected calibration error, and the temperature that mends it."""

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
BLOCKS = 4  # of frames, each checked at the temperature of the others
RANGE = (0.05, 20.0)  # of the temperatures that are looked for
STEP = 4  # pixels between those that are looked at, per axis: neighbours tell the same


@dataclass(frozen=True)
class Sample:
    """Logits (P, C) of the served path at labelled pixels, and their labels (P)."""

    logits: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Calibration:
    """A temperature fitted on all frames, and the expected calibration error over them without and with one.

    The error with it is that of each block of frames at the temperature fitted on the other blocks.
    """

    temperature: float
    frames: int
    blocks: int
    ece_before: float
    ece_after: float

    @property
    def at_the_edge(self) -> bool:
        """Whether no temperature within `RANGE` was best: the logits tell nothing, or are never wrong."""
        return not 1.01 * RANGE[0] < self.temperature < 0.99 * RANGE[1]


def calibrate(segmenter: Segmenter, split: Split, options: Options) -> Calibration:
    """Fits one temperature on the split, and checks it on blocks of frames that lie together in the list.

    Frames of a video resemble those around them: every second one would be checked on what it was fitted on. Raises
    `ValueError` for a single frame, and without labelled pixels.
    """
    count = len(split.frames)
    if count < 2:
        raise ValueError(f"calibration needs two frames at least, one to fit on and one to check on; got {count}")
    return fit_and_check([gather(segmenter, split, options, some) for some in cut_blocks(count)], count)


def fit_and_check(blocks: Sequence[Sample], frames: int) -> Calibration:
    """The temperature of all blocks, and the error of each at that of the others."""
    others = [joined([*blocks[:index], *blocks[index + 1 :]]) for index in range(len(blocks))]
    held_out = [scaled(block, fit_temperature(rest)) for block, rest in zip(blocks, others, strict=True)]
    everything = joined(blocks)
    before, after = (expected_calibration_error(sample, 1.0) for sample in (everything, joined(held_out)))
    return Calibration(round(fit_temperature(everything), 4), frames, len(blocks), round(before, 5), round(after, 5))


def cut_blocks(count: int) -> list[range]:
    """So many frames in `BLOCKS` runs of about one length, fewer where there are fewer frames."""
    blocks = min(BLOCKS, count)
    return [range(count * index // blocks, count * (index + 1) // blocks) for index in range(blocks)]


def joined(samples: Sequence[Sample]) -> Sample:
    """The pixels of all of them."""
    return Sample(torch.cat([sample.logits for sample in samples]), torch.cat([sample.labels for sample in samples]))


def scaled(sample: Sample, temperature: float) -> Sample:
    """The pixels with their logits divided by this temperature."""
    return Sample(sample.logits / temperature, sample.labels)


def gather(segmenter: Segmenter, split: Split, options: Options, indices: range) -> Sample:
    """The split's labelled pixels on a grid of `STEP`, with the logits that the served path gives them."""
    logits, labels = [], []
    for index in tqdm(indices, desc="gathering logits", unit="image", leave=False):
        data, mask = split.file(index), torch.from_numpy(split.mask(index).copy())
        plan = segmenter.plan(data, options)
        rows_of_all = segmenter.rows(segmenter.decode(data, plan), plan)
        parts = [torch.from_numpy(part.logits()) for rows in rows_of_all for part in rows.parts()]
        whole = torch.cat(parts, 1).permute(1, 2, 0)[::STEP, ::STEP]
        picked = mask[::STEP, ::STEP]
        labelled = picked != split.labels.ignore_index
        logits.append(whole[labelled].clone())
        labels.append(picked[labelled].long())
    return Sample(torch.cat(logits), torch.cat(labels))


def fit_temperature(sample: Sample) -> float:
    """The temperature of least negative log-likelihood (Guo et al. 2017, section 4.2), by bisection of its slope.

    In the inverse temperature the likelihood is convex, so that its slope changes sign once; where it does not, as for
    logits that tell nothing, an end of `RANGE` is given. Raises `ValueError` without labelled pixels.
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
    """The mean distance of confidence and accuracy over bins of equal width, weighed by pixels (Guo et al. 2017)."""
    confidence, predicted = F.softmax(sample.logits / temperature, 1).max(1)
    return _error_of(confidence, predicted == sample.labels)


def errors_of_answers(segmenter: Segmenter, split: Split, options: Options) -> tuple[float, float]:
    """The expected calibration error at the file's temperature: of confidence as it is answered, and of every pixel's softmax.

    Answers interpolate confidence between cells that agree on a class (`model.inference.upsampling`).
    """
    options = replace(options, rendering=Rendering("confidence"))
    answered: list[Tensor] = []
    exact: list[Tensor] = []
    correct: list[Tensor] = []
    for index in tqdm(range(len(split.frames)), desc="comparing confidence", unit="image", leave=False):
        sample = gather(segmenter, split, options, range(index, index + 1))
        data = split.file(index)
        plan = segmenter.plan(data, options)
        confidence = segmenter.infer(segmenter.decode(data, plan), plan).confidence
        assert confidence is not None
        labelled = split.mask(index)[::STEP, ::STEP] != split.labels.ignore_index
        answered.append(torch.from_numpy(confidence[::STEP, ::STEP][labelled]).double() / 255)
        highest, predicted = F.softmax(sample.logits / segmenter.temperature, 1).max(1)
        exact.append(highest)
        correct.append(predicted == sample.labels)
    return _error_of(torch.cat(answered), torch.cat(correct)), _error_of(torch.cat(exact), torch.cat(correct))


def _error_of(confidence: Tensor, correct: Tensor) -> float:
    index = (confidence * BINS).long().clamp(max=BINS - 1)
    totals = [torch.zeros(BINS, dtype=torch.float64).index_add_(0, index, v.double()) for v in (confidence, correct)]
    return float((totals[0] - totals[1]).abs().sum() / len(correct))

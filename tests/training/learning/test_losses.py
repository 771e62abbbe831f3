"""Losses against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from training.learning.losses import cross_entropy, distillation, lovasz_softmax, median_frequency_weights, soft_dice

LOGITS = torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(0)) * 3
MASKS = torch.randint(0, 4, (2, 6, 5), generator=torch.Generator().manual_seed(1))


HALF_VOID = MASKS.index_fill(1, torch.arange(3), 255)
"""The masks with void in their upper half."""


def test_void_pixels_count_neither_in_the_sum_nor_in_the_mean() -> None:
    assert torch.allclose(cross_entropy(LOGITS, MASKS, 255, None), F.cross_entropy(LOGITS, MASKS))
    expected = F.cross_entropy(LOGITS[:, :, 3:], MASKS[:, 3:])
    assert torch.allclose(cross_entropy(LOGITS, HALF_VOID, 255, None), expected)


def test_nothing_labelled_costs_nothing_and_has_no_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = cross_entropy(logits, torch.full_like(MASKS, 11), 11, None)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_class_weights_weigh_each_pixel_and_the_mean_is_over_pixels() -> None:
    weights = torch.tensor([1.0, 2.0, 0.0, 0.5])
    per_pixel = F.cross_entropy(LOGITS, MASKS, reduction="none") * weights[MASKS]
    assert torch.allclose(cross_entropy(LOGITS, MASKS, 255, weights), per_pixel.mean())


def test_distillation_is_the_mean_divergence_per_pixel() -> None:
    assert distillation(LOGITS + 7, LOGITS.log_softmax(1)).item() == pytest.approx(0, abs=1e-6)
    student, teacher = LOGITS, LOGITS.roll(1, 1)
    p, q = teacher.softmax(1), student.softmax(1)
    assert torch.allclose(distillation(student, teacher.log_softmax(1)), (p * (p / q).log()).sum(1).mean(), atol=1e-5)


def test_median_frequency_weights() -> None:
    pixels = np.array([24, 8, 4, 0])
    assert torch.allclose(median_frequency_weights(pixels, 1.0), torch.tensor([4 / 12, 1, 2, 2]))
    assert torch.allclose(median_frequency_weights(pixels, 0.5), torch.tensor([4 / 12, 1, 2, 2]).sqrt())
    assert torch.equal(median_frequency_weights(pixels, 0.0), torch.ones(4))


def soft(masks: torch.Tensor, confidence: float) -> torch.Tensor:
    """Logits that give the mask's class about this probability."""
    rest = (1 - confidence) / 3
    return torch.where(F.one_hot(masks, 4).movedim(-1, 1).bool(), confidence, rest).log()


def test_lovasz_is_one_minus_the_mean_iou_for_certain_predictions() -> None:
    masks, predictions = MASKS, MASKS.roll(1, 2)
    ious = [((masks == c) & (predictions == c)).sum() / ((masks == c) | (predictions == c)).sum() for c in range(4)]
    loss = lovasz_softmax(soft(predictions, 1 - 1e-9), masks, 255, step=1)
    assert loss.item() == pytest.approx(1 - float(torch.stack(ious).mean()), abs=1e-5)
    assert lovasz_softmax(soft(masks, 1 - 1e-9), masks, 255, step=1).item() == pytest.approx(0, abs=1e-6)


def test_lovasz_leaves_void_and_absent_classes_out() -> None:
    masks = MASKS.masked_fill(MASKS == 3, 255)
    logits = LOGITS.masked_fill(masks[:, None] == 255, 50.0)
    expected = lovasz_softmax(LOGITS, masks, 255, step=1)
    assert lovasz_softmax(logits, masks, 255, step=1).item() == pytest.approx(expected.item())
    assert lovasz_softmax(LOGITS, torch.full_like(MASKS, 255), 255).item() == 0


def test_lovasz_on_a_grid_sees_a_part_of_the_pixels() -> None:
    torch.manual_seed(0)
    whole = lovasz_softmax(LOGITS, MASKS, 255, step=1)
    parts = torch.stack([lovasz_softmax(LOGITS, MASKS, 255, step=2) for _ in range(60)])
    assert 1 < len(parts.unique()) <= 4
    assert parts.mean().item() == pytest.approx(whole.item(), abs=0.15)


def test_a_part_of_a_batch_is_divided_by_the_labels_of_all() -> None:
    masks = torch.stack([HALF_VOID[0], MASKS[1]])
    divisor = (masks != 255).sum()
    parts = [cross_entropy(LOGITS[i : i + 1], masks[i : i + 1], 255, None, divisor) for i in (0, 1)]
    assert torch.allclose(parts[0] + parts[1], cross_entropy(LOGITS, masks, 255, None))


def dice_by_definition(logits: torch.Tensor, masks: torch.Tensor) -> float:
    """The mean over the shown classes of 1 - 2|PG| / (|P| + |G|), over both crops at once, in float64."""
    inside = masks.numpy() != 255
    p, truth = logits.double().softmax(1).movedim(1, -1).numpy()[inside], masks.numpy()[inside]
    dice = [2 * p[truth == i, i].sum() / (p[:, i].sum() + (truth == i).sum()) for i in np.unique(truth)]
    return 1 - float(np.mean(dice))


def test_the_dice_loss_is_its_formula() -> None:
    for masks in (MASKS, HALF_VOID.masked_fill(HALF_VOID == 3, 0)):  # without class 3, which then costs nothing of its own
        assert soft_dice(LOGITS, masks, 255).item() == pytest.approx(dice_by_definition(LOGITS, masks), rel=1e-5)


@pytest.mark.parametrize(("size", "void"), [(0.0, "none"), (1.0, "half"), (1e4, "all")])
def test_gradients_of_the_dice_loss_are_finite_and_void_has_none(size: float, void: str) -> None:
    logits = (size * LOGITS).bfloat16().requires_grad_()
    masks = {"none": MASKS, "half": HALF_VOID, "all": torch.full_like(MASKS, 255)}[void]
    value = soft_dice(logits, masks, 255)
    value.backward()
    assert logits.grad is not None
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad.movedim(1, -1)[masks == 255].any()
    assert (value.item() == 0) == (void == "all")

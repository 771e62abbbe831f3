"""What a training learns from sets that label some classes: the loss, shares of a mixture, a teacher, and from end to end."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from benchmarks.harness.narrow import narrow_net
from model.weights_file import load_weights
from tests.support.training.data_sets import FOUR
from tests.training.data.test_sets import SOME, write_set
from training.commands.train import main
from training.data.demo import write_demo_data
from training.data.masks import open_mask
from training.data.split import get_split
from training.learning.augmentation import AugmentedSplit
from training.learning.distributed import World
from training.learning.loading import EpochBatches
from training.learning.losses import UNLABELLED, cross_entropy, distillation, lovasz_softmax, soft_dice
from training.learning.recipe import Recipe
from training.learning.teacher import Teacher
from training.survey.records import survey_all

LOGITS = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(0)) * 3
LABELLED = torch.tensor([[True] * 4, [False, False, True, False], [False, True, True, False]])
MASKS = torch.randint(0, 4, (3, 6, 5), generator=torch.Generator().manual_seed(1))
for crop in (1, 2):  # of the second and the third set
    MASKS[crop] = torch.where(LABELLED[crop][MASKS[crop]], MASKS[crop], UNLABELLED + crop)
MASKS[:, 0] = 255


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 3.0, 0.25]])
def test_a_pixel_without_label_costs_the_sum_of_what_its_set_does_not_label(weights: list[float] | None) -> None:
    p = LOGITS.double().softmax(1).numpy()
    total, number = 0.0, 0
    for n, y, x in np.ndindex(*MASKS.shape):
        label = int(MASKS[n, y, x])
        if label == 255:
            continue
        number += 1
        ids = [label] if label < 4 else [each for each in range(4) if not LABELLED[label - UNLABELLED, each]]
        weight = min(weights[each] for each in ids) if weights else 1.0
        total -= weight * np.log(sum(p[n, each, y, x] for each in ids))
    tensor = None if weights is None else torch.tensor(weights)
    assert cross_entropy(LOGITS, MASKS, 255, tensor, labelled=LABELLED).item() == pytest.approx(total / number, rel=1e-5)


def test_the_loss_of_sure_networks_is_finite_with_its_gradient() -> None:
    """A labelled class at 1e4 above all others: the sum of the others' probabilities is 0 in any float."""
    logits = torch.zeros(3, 4, 6, 5).index_fill(1, torch.tensor(2), 1e4).requires_grad_()
    loss = cross_entropy(logits, MASKS, 255, None, labelled=LABELLED)
    loss.backward()
    assert loss.isfinite()
    assert loss > 1000
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_other_losses_see_a_labelled_class_alone_where_there_is_no_label() -> None:
    """The Dice loss by its formula; the Lovasz loss is 0 for a network that is right on the labelled class."""
    p, inside = LOGITS[1].softmax(0)[2], MASKS[1] != 255
    truth = (MASKS[1] == 2)[inside]
    expected = 1 - 2 * p[inside][truth].sum() / (p[inside].sum() + truth.sum())
    assert soft_dice(LOGITS[1:2], MASKS[1:2], 255, LABELLED).item() == pytest.approx(expected.item(), rel=1e-5)
    right = torch.where(F.one_hot(MASKS[1:2].clamp(max=3), 4).movedim(3, 1).bool(), 50.0, 0.0)
    assert lovasz_softmax(right, MASKS[1:2], 255, LABELLED, step=1).item() == pytest.approx(0, abs=1e-6)
    wrong = torch.zeros_like(right).index_fill(1, torch.tensor(2), 50.0)
    assert lovasz_softmax(wrong, MASKS[1:2], 255, LABELLED, step=1).item() > 0.5


def test_an_epoch_has_the_shares_of_its_weights_and_shows_the_frames_of_a_set_evenly() -> None:
    sets = [(1.0, range(30)), (0.5, range(30, 34)), (0.5, range(34, 50))]
    sampler = EpochBatches(50, Recipe(batch=8, epoch_crops=80, seed=3), World(), sets)
    numbers = []
    for epoch in range(2):
        sampler.epoch = epoch
        order = [index for batch in sampler for _, index in batch]
        assert len(order) == 80
        seen = Counter(order)
        assert [sum(seen[at] for at in indices) for _, indices in sets] == [40, 20, 20]
        for _, indices in sets:
            assert max(seen[at] for at in indices) - min(seen[at] for at in indices) <= 1
        assert order == [index for batch in sampler for _, index in batch]
        assert len({at // 10 for at in np.flatnonzero(np.isin(order, range(30, 34)))}) > 5  # mixed, not one after the other
        numbers.append(order)
    assert numbers[0] != numbers[1]


def test_a_crop_names_its_set_at_pixels_without_label(tmp_path: Path) -> None:
    write_set(tmp_path / "a", {"a": np.full((40, 40), 3, np.uint8)})
    write_set(tmp_path / "b", {"b": np.kron(SOME, np.ones((20, 20), np.uint8))}, "2")
    (tmp_path / "sets.toml").write_text('[a]\nsplit="train"\n[b]\nsplit="train"\nweight=3\n')
    data = AugmentedSplit(survey_all([get_split(tmp_path, "train", FOUR)])[0], Recipe(crop=(64, 64)))
    assert data.sets == [(1, [0]), (3, [1])]
    assert set(data[0, 0][1].unique().tolist()) <= {3, 255}
    shown = {number for epoch in range(8) for number in data[epoch, 1][1].unique().tolist()}
    assert shown == {2, 255, UNLABELLED + 1}


def test_where_the_teacher_is_sure_of_a_labelled_class_a_pixel_without_label_is_void() -> None:
    net = narrow_net()
    teacher = Teacher(net, (1.0,))
    images = torch.rand(2, 3, 61, 83, generator=torch.Generator().manual_seed(0)) * 2 - 1
    said = teacher.log_probabilities(images)
    labelled = torch.tensor([[True] * 4, [False, True, True, False]])
    level = float((said.exp()[:, 1] + said.exp()[:, 2]).median())
    masks = torch.full((2, 61, 83), UNLABELLED + 1)
    masks[..., :40] = 1
    result = teacher.void_where_sure(masks, said, 255, labelled, torch.tensor([1.0, level]))
    is_sure = said.exp()[:, 1] + said.exp()[:, 2] > level
    assert is_sure[..., :5].any()  # a label is kept
    assert torch.equal(result[..., :40], masks[..., :40])
    assert torch.equal(result[:, :: teacher.stride, 40 :: teacher.stride] == 255, is_sure[..., 5:])
    assert is_sure[..., 5:].any()
    assert torch.equal(teacher.void_where_sure(masks, said, 255, labelled, torch.tensor([1.0, 1.0])), masks)


def test_a_teacher_may_teach_at_some_pixels() -> None:
    teacher, where = LOGITS.roll(1, 1).log_softmax(1), MASKS >= UNLABELLED
    p, q = teacher.exp(), LOGITS.softmax(1)
    per_pixel = (p * (p / q).log()).sum(1)
    assert torch.allclose(distillation(LOGITS, teacher, where), per_pixel[where].sum() / where.numel(), atol=1e-5)


def train(data: Path, recipe: Path, out: Path, *extra: str) -> int:
    names = ["--data", data, "--recipe", recipe, "--out", out, "--threads", "1", "--device", "cpu", "--epochs", "1"]
    return main([*map(str, names), *extra])


@pytest.mark.long
def test_a_mixture_is_trained_from_end_to_end(tmp_path: Path, tiny_recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shapes of all classes beside those of which one class is labelled, with a network of the same kind as teacher."""
    for name in ("all", "one"):
        write_demo_data(tmp_path / "data" / name, train=12, val=4)
    shutil.copy(tmp_path / "data" / "all" / "classes.json", tmp_path / "data")
    for path in (tmp_path / "data" / "one" / "SegmentationClass").iterdir():
        ids = open_mask(path).pixels
        Image.fromarray(np.where((ids == 1) | (ids == 255), ids, 0).astype(np.uint8)).save(path)
    (tmp_path / "data" / "one" / "labelled.txt").write_text("1")
    (tmp_path / "data" / "sets.toml").write_text("[all]\n[one]\nweight = 0.5\nvoid_above = 0.9\n")
    teach = ["--set", "teacher_weight=0.5", "--set", "teacher_where='unlabelled'"]
    assert train(tmp_path / "data", tiny_recipe, tmp_path / "out") == 2
    assert "one has void_above 0.9, which needs a teacher; give --teacher FILE" in capsys.readouterr().err
    assert train(tmp_path / "data" / "all", tiny_recipe, tmp_path / "first") == 0
    teach += ["--teacher", str(tmp_path / "first" / "fcn.safetensors")]
    assert train(tmp_path / "data" / "all", tiny_recipe, tmp_path / "out", *teach) == 2
    assert "teacher_where is 'unlabelled', but every set labels all classes" in capsys.readouterr().err
    share = ["--set", "start_share=0.5"]
    assert train(tmp_path / "data", tiny_recipe, tmp_path / "out", *teach, *share) == 2
    assert "start_share is 0.5, but the start lacks" in capsys.readouterr().err
    share += ["--start", teach[-1], "--set", "lovasz_weight=0.2"]
    assert train(tmp_path / "data", tiny_recipe, tmp_path / "out", *teach, *share) == 0
    (facts,) = load_weights(tmp_path / "out" / "fcn.safetensors").manifest.scores.values()
    assert facts["classes"][-1] == "another class"
    assert facts["iou"][-1] is None

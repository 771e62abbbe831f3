"""Which weights a training ends with: its own, or the start's where it made them worse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.harness.narrow import narrow_net
from model.networks.fcn import FCN
from model.networks.servable import half_tensors
from model.weights_file import Weights, load_weights, save_weights
from training.commands.train_weights import TrainingWeights, save_better
from training.data.class_mapping import identity_mapping
from training.data.label_files import read_labels
from training.data.network_classes import match_rows
from training.learning.checkpoint import Progress
from training.learning.validation import Scorer, StartScore, score_start
from training.survey.datasets import get_split


def constant() -> FCN:
    """A network that says the last class everywhere."""
    net = narrow_net()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.startswith("score_"):
                parameter.zero_()
        net.get_parameter("score_fr.bias")[-1] = 9.0
    return net


@pytest.fixture
def weights(shapes: Path, narrow: Weights, tmp_path: Path) -> TrainingWeights:
    torch.set_num_threads(1)
    split = get_split(shapes, "val", read_labels(str(shapes / "classes.json")))
    manifest = replace(narrow.manifest, training={"notes": []}, scores={})
    return TrainingWeights(
        tmp_path, "mine", manifest, Scorer(narrow.manifest, split, identity_mapping(split.labels), "cpu"), "shapes"
    )


def bar(file: Path, narrow: Weights, shapes: Path) -> StartScore | None:
    split = get_split(shapes, "val", read_labels(str(shapes / "classes.json")))
    rows = match_rows(split.labels.names, narrow.manifest.labels.names)
    return score_start(str(file), rows, Scorer(narrow.manifest, split, identity_mapping(split.labels), "cpu"))


def end(weights: TrainingWeights, net: FCN) -> list[str]:
    """Ends a training of three epochs with this network; the start is the narrow one."""
    weights.scorer(net)
    return save_better(net, weights.manifest_at(Progress(epoch=3)), weights, lambda: (narrow_net(), []))


def test_a_network_below_its_start_stays_beside_it(
    weights: TrainingWeights, narrow_file: Path, narrow: Weights, shapes: Path
) -> None:
    weights = replace(weights, bar=bar(narrow_file, narrow, shapes))
    assert weights.bar is not None
    lines = end(weights, constant())
    kept, trained = load_weights(weights.final), load_weights(weights.beside)
    assert weights.trained == weights.beside
    (kept_score,), (trained_score,) = kept.manifest.scores.values(), trained.manifest.scores.values()
    assert kept_score["mean_iou"] == pytest.approx(weights.bar.interval.value, abs=1e-6)
    assert trained_score["mean_iou"] < kept_score["mean_iou"]
    against = trained.manifest.training["against_start"]
    assert against["mean_iou"] == pytest.approx(trained_score["mean_iou"] - kept_score["mean_iou"], abs=2e-6)
    assert (kept.manifest.training["epochs"], trained.manifest.training["epochs"]) == (0, 3)
    assert "against_start" not in kept.manifest.training
    assert "The weights are those of" in kept.manifest.training["notes"][-1]
    assert (kept.tensors["score_fr.bias"] == narrow.tensors["score_fr.bias"]).all()
    assert "is open" in lines[0]  # val has four frames
    assert f"{weights.final} holds the weights of the start" in lines[1]
    assert str(weights.beside) in lines[1]
    assert "label more photos" in lines[1]


def test_a_network_above_its_start_is_the_file(
    weights: TrainingWeights, narrow: Weights, narrow_file: Path, shapes: Path, tmp_path: Path
) -> None:
    save_weights(tmp_path / "constant.safetensors", half_tensors(constant()), narrow.manifest)
    weights = replace(weights, bar=bar(tmp_path / "constant.safetensors", narrow, shapes))
    weights.beside.write_bytes(b"of an earlier training")
    lines = end(weights, narrow_net())
    assert len(lines) == 1
    assert "start" in lines[0]
    assert not weights.beside.exists()
    assert weights.trained == weights.final
    manifest = load_weights(weights.final).manifest
    assert manifest.training["epochs"] == 3
    assert manifest.training["against_start"]["mean_iou"] > 0


def test_a_network_below_a_start_that_knows_a_part_is_told_and_saved(
    weights: TrainingWeights, narrow_file: Path, narrow: Weights, shapes: Path
) -> None:
    part = bar(narrow_file, narrow, shapes)
    assert part is not None
    weights = replace(weights, bar=replace(part, class_ids=(0, 1, 2)))
    lines = end(weights, constant())
    assert "is open" in lines[0]  # val has four frames
    assert "over the classes that the start knows" in lines[1]
    assert not weights.beside.exists()
    assert load_weights(weights.final).manifest.training["epochs"] == 3


def test_rows_of_the_start_that_score_less_than_the_training_are_not_kept(
    weights: TrainingWeights, narrow_file: Path, narrow: Weights, shapes: Path
) -> None:
    """The start's other classes may score as background what its rows of the data's classes cannot."""
    weights = replace(weights, bar=bar(narrow_file, narrow, shapes))
    weights.scorer(constant())
    before = weights.mean_iou
    lines = save_better(constant(), weights.manifest_at(Progress(epoch=3)), weights, lambda: (constant(), []))
    assert "scores more by the classes that the data lacks" in lines[1]
    assert not weights.beside.exists()
    assert weights.mean_iou == before
    assert load_weights(weights.final).manifest.training["epochs"] == 3

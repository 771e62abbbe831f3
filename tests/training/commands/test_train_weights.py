"""The weights that `fcn-train` leaves: at any time, after Ctrl-C, of the best epoch, or of a start that it made worse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.harness.narrow import narrow_net
from model.networks.fcn import FCN
from model.networks.servable import half_tensors
from model.weights_file import Weights, load_weights, save_weights
from tests.support.training.invocations import on_shapes, score_matrix, split_of_shapes
from training.commands.train import main
from training.commands.train_weights import TrainingWeights, save_result
from training.data.class_mapping import identity_mapping
from training.learning.checkpoint import Progress
from training.learning.run import Trainer
from training.learning.starts import read_start
from training.learning.validation import Scorer, score_start


def equal(first: Weights, second: Weights) -> bool:
    return all(np.array_equal(first.tensors[name], second.tensors[name]) for name in first.tensors)


@pytest.fixture
def falling(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the second scored epoch and later ones, the network in training finds one rare class everywhere."""
    calls = []
    score = Scorer.__call__

    def spoiled(self: Scorer, net: FCN) -> Mapping[str, float | None]:
        calls.append(net)
        if len(calls) > 1 and net.training:
            with torch.no_grad():
                net.score_fr.weight.zero_()
                net.score_fr.bias.copy_(torch.arange(4.0))
        return score(self, net)

    monkeypatch.setattr(Scorer, "__call__", spoiled)


@pytest.mark.usefixtures("falling")
@pytest.mark.long
def test_a_training_without_gain_ends_with_the_best_epoch(
    shapes: Path, tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--epochs", "30", "--evaluate-every", "1", "--stop-after", "2", "--set", "ema=0.0", "--set", "learning_rate=1e-6"]
    assert main(on_shapes(shapes, tiny_recipe, tmp_path / "out", *flags)) == 0
    final, last, best = (load_weights(tmp_path / "out" / f"fcn{kind}.safetensors") for kind in ("", "-last", "-best"))
    epochs = [weights.manifest.training["epochs"] for weights in (final, last, best)]
    assert epochs[0] == epochs[2] < epochs[1] < 30
    assert equal(final, best)
    assert not equal(final, last)
    assert best.manifest.scores[next(iter(best.manifest.scores))]["mean_iou"] == pytest.approx(
        score_matrix(best, shapes).mean_iou, abs=0.02
    )
    assert f"epoch {epochs[2]} of {epochs[1]} was the best; its weights are kept" in capsys.readouterr().out
    ((name, score),) = final.manifest.scores.items()
    assert score["mean_iou"] == best.manifest.scores[name]["mean_iou"] > last.manifest.scores[name]["mean_iou"]
    assert f"| best epoch | {epochs[2]} |" in (tmp_path / "out" / "fcn.md").read_text()


def test_ctrl_c_before_the_first_epoch_leaves_no_weights_of_an_earlier_training(
    shapes: Path, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else they would be told as those of this one."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "train_one_epoch", interrupt)
    (tmp_path / "fcn-best.safetensors").write_bytes(b"of another training")
    assert main(on_shapes(shapes, tiny_recipe, tmp_path)) == 130
    assert not list(tmp_path.glob("*.safetensors"))
    assert "fcn-train: stopped; the same command begins again" in capsys.readouterr().err.splitlines()[-1]


def test_a_training_that_cannot_begin_ends_before_its_start_is_scored(
    shapes: Path, tiny_recipe: Path, narrow_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    assert main(on_shapes(shapes, tiny_recipe, tmp_path, "--start", str(narrow_file))) == 2
    told = capsys.readouterr()
    assert "checkpoint.pt" in told.err.splitlines()[-1]
    assert "untrained, has a mean IoU" not in told.out


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
def make_weights(shapes: Path, narrow: Weights, narrow_file: Path, tmp_path: Path) -> Callable[..., TrainingWeights]:
    """Makes the files of a training whose start is this file, or the narrow network."""
    torch.set_num_threads(1)
    split = split_of_shapes(shapes)

    def make(start: Path = narrow_file) -> TrainingWeights:
        scorer = Scorer(narrow.manifest, split, identity_mapping(split.labels), "cpu")
        manifest = replace(narrow.manifest, training={"notes": []}, scores={})
        start_score = score_start(read_start(str(start)), (0, 1, 2, 3), scorer)
        return TrainingWeights(tmp_path, "mine", manifest, scorer, "shapes", start_score)

    return make


def test_the_last_epoch_s_weights_are_written_with_or_without_a_score_and_the_best_one_s_beside(
    make_weights: Callable[..., TrainingWeights],
) -> None:
    weights, net = make_weights(), narrow_net()
    weights.scorer(net)
    for epoch, is_best in ((1, True), (2, False), (3, None)):
        weights.save(net, Progress(epoch), is_best)
        last, best = (load_weights(path).manifest for path in (weights.path("-last"), weights.path("-best")))
        assert (last.training["epochs"], bool(last.scores)) == (epoch, is_best is not None)
        assert (best.training["epochs"], bool(best.scores)) == (1, True)


def end(weights: TrainingWeights, net: FCN, start: Callable[[], FCN] = narrow_net) -> list[str]:
    """Ends a training of three epochs with this network; gives the lines of text."""
    weights.scorer(net)
    return save_result(net, weights.manifest_at(Progress(epoch=3)), weights, lambda: (start(), []))


def test_a_network_below_its_start_stays_beside_it(make_weights: Callable[..., TrainingWeights], narrow: Weights) -> None:
    weights = make_weights()
    assert weights.start_score is not None
    lines = end(weights, constant())
    kept, trained = load_weights(weights.path()), load_weights(weights.path("-trained"))
    assert weights.trained_path == weights.path("-trained")
    (kept_score,), (trained_score,) = kept.manifest.scores.values(), trained.manifest.scores.values()
    assert kept_score["mean_iou"] == pytest.approx(weights.start_score.interval.value, abs=1e-6)
    assert trained_score["mean_iou"] < kept_score["mean_iou"]
    against = trained.manifest.training["against_start"]
    assert against["mean_iou"] == pytest.approx(trained_score["mean_iou"] - kept_score["mean_iou"], abs=2e-6)
    assert (kept.manifest.training["epochs"], trained.manifest.training["epochs"]) == (0, 3)
    assert "against_start" not in kept.manifest.training
    assert "The weights are those of" in kept.manifest.training["notes"][-1]
    assert (kept.tensors["score_fr.bias"] == narrow.tensors["score_fr.bias"]).all()
    assert "is open" in lines[0]  # val has four frames
    assert lines[1].startswith(f"{weights.path()} holds the weights of the start")
    assert f"is {weights.trained_path}; label more photos" in lines[1]


def test_a_network_above_its_start_is_the_file(
    make_weights: Callable[..., TrainingWeights], narrow: Weights, tmp_path: Path
) -> None:
    save_weights(tmp_path / "constant.safetensors", half_tensors(constant()), narrow.manifest)
    weights = make_weights(tmp_path / "constant.safetensors")
    weights.path("-trained").write_bytes(b"of an earlier training")
    (line,) = end(weights, narrow_net())
    assert "start" in line
    assert not weights.path("-trained").exists()
    assert weights.trained_path == weights.path()
    manifest = load_weights(weights.path()).manifest
    assert manifest.training["epochs"] == 3
    assert manifest.training["against_start"]["mean_iou"] > 0


@pytest.mark.parametrize(
    ("class_ids", "start", "words"),
    [
        ((0, 1, 2), narrow_net, "over the classes that the start knows"),
        # its other classes may score as background what its rows of the data's classes cannot
        ((0, 1, 2, 3), constant, "scores more only because its classes that the data lacks"),
    ],
    ids=["knows a part", "its rows score less"],
)
def test_a_network_below_a_start_that_cannot_be_kept_is_told_and_saved(
    make_weights: Callable[..., TrainingWeights], class_ids: tuple[int, ...], start: Callable[[], FCN], words: str
) -> None:
    weights = make_weights()
    assert weights.start_score is not None
    weights = replace(weights, start_score=replace(weights.start_score, class_ids=class_ids))
    lines = end(weights, constant(), start)
    assert "is open" in lines[0]  # val has four frames
    assert words in lines[1]
    assert not weights.path("-trained").exists()
    (score,) = load_weights(weights.path()).manifest.scores.values()
    assert weights.scorer.matrix.mean_iou == pytest.approx(score["mean_iou"], abs=1e-6)
    assert load_weights(weights.path()).manifest.training["epochs"] == 3

"""`fcn-train` leaves weights at any time: after scored epochs, after Ctrl-C, and when the score no longer rises."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.inference.runtimes.openvino_runtime import read_export
from model.networks.fcn import FCN
from model.weights_file import Weights, load_weights
from tests.support.training.invocations import on_shapes, score_matrix
from training.commands.export import main as export
from training.commands.train import main
from training.learning.validation import Scorer


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


def interrupt_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raises KeyboardInterrupt as Ctrl-C does, after so many epochs."""
    from training.learning.run import Trainer

    one_epoch = Trainer.train_one_epoch

    def interrupted(self: Trainer, epoch: int, *args: Any) -> tuple[float, float]:
        if epoch == epochs:
            raise KeyboardInterrupt
        return one_epoch(self, epoch, *args)

    monkeypatch.setattr(Trainer, "train_one_epoch", interrupted)


@pytest.mark.long
def test_ctrl_c_leaves_weights_of_the_last_finished_epoch_and_says_where(
    shapes: Path, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_after(3, monkeypatch)
    command = on_shapes(shapes, tiny_recipe, tmp_path / "out", "--evaluate-every", "2", "--epochs", "9")
    assert main(command) == 130
    last, best = tmp_path / "out" / "fcn-last.safetensors", tmp_path / "out" / "fcn-best.safetensors"
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"fcn-train: stopped; the same command resumes after the last finished epoch ({tmp_path / 'out'}); "
        f"weights so far: {best}, {last}"
    )
    assert load_weights(last).manifest.training["epochs"] == 3
    assert load_weights(last).manifest.scores == {}
    assert load_weights(best).manifest.training["epochs"] == 2
    assert load_weights(best).manifest.scores
    assert export(["--weights", str(last)]) == 0
    assert read_export(last.with_suffix(".onnx")).master_sha256 == load_weights(last).sha256


def test_weights_of_an_earlier_training_are_removed(
    shapes: Path, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "fcn-best.safetensors").write_bytes(b"of another training")
    interrupt_after(0, monkeypatch)
    assert main(on_shapes(shapes, tiny_recipe, out)) == 130
    assert not list(out.glob("*.safetensors"))
    assert "begins again" in capsys.readouterr().err

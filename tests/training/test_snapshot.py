"""A network in training, seen as the file that would be written of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from model.predictor import Predictor
from model.weights_file import Weights, load_weights, save_weights
from tests.conftest import make_photo, narrow_net
from training.snapshot import snapshot_predictor


def test_a_snapshot_predicts_what_the_written_file_predicts(narrow: Weights, tmp_path: Path) -> None:
    net = narrow_net(head="pooled")
    manifest = replace(narrow.manifest, architecture=net.architecture)
    save_weights(tmp_path / "net.safetensors", net, manifest)
    tile = make_photo(64, 96)
    written = Predictor(load_weights(tmp_path / "net.safetensors"), "cpu").logits([tile])
    assert torch.equal(snapshot_predictor(net, manifest, "cpu").logits([tile]), written)
    assert written.std() > 0


def test_a_snapshot_leaves_the_network_training(narrow: Weights) -> None:
    net = narrow_net().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    snapshot_predictor(net, narrow.manifest, "cpu").logits([make_photo(32, 32)])
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())

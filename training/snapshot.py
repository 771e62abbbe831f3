"""A network in training, as the weights file that would be written of it."""

from __future__ import annotations

import torch

from model.fcn import FCN
from model.predictor import Predictor
from model.weights_file import Manifest, Weights


def snapshot(net: FCN, manifest: Manifest, name: str = "in training") -> Weights:
    """The network's weights, rounded to float16 as the file rounds them."""
    state = net.state_dict()
    halves = {n: t.detach().cpu().to(torch.float16 if t.is_floating_point() else t.dtype) for n, t in state.items()}
    return Weights(name, "", manifest, halves)


def snapshot_predictor(net: FCN, manifest: Manifest, device: str) -> Predictor:
    return Predictor(snapshot(net, manifest), device)

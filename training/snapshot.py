"""A network in training, as the weights file that would be written of it."""

from __future__ import annotations

from model.fcn import FCN
from model.predictor import Predictor
from model.weights_file import Manifest, Weights, half_tensors


def snapshot_predictor(net: FCN, manifest: Manifest, device: str) -> Predictor:
    """The network's predictor, its tensors rounded to float16 as the file rounds them."""
    return Predictor(Weights("in training", "", manifest, half_tensors(net)), device)

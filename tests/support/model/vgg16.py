"""VGG16's convolutions without its classifier."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import torchvision
from torch import nn


def convolutions(weights: None = None) -> Any:
    """As torchvision's `vgg16`, with `features` alone: the classifier's 120 million numbers take seconds to be drawn."""
    with torch.device("meta"):
        features = torchvision.models.vgg16(weights=weights).features
    features.to_empty(device="cpu")
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    return SimpleNamespace(features=features)

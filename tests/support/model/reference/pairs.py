"""Each reference with the arguments that build ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from model.networks.builder import build
from model.networks.fcn import FCN
from tests.support.model.reference import book, learned, pointwise, released


@dataclass(frozen=True)
class Pair:
    """A reference with the arguments of `build` for ours, and the parameters that the source has with so many classes."""

    reference: Callable[[int], nn.Module]
    names: dict[str, str]
    classes: int
    parameters: int
    options: dict[str, Any] = field(default_factory=dict)

    def ours(self) -> FCN:
        """Our network without storage."""
        with torch.device("meta"):
            return build(num_classes=self.classes, **self.options)

    def theirs(self) -> nn.Module:
        """The reference without storage."""
        with torch.device("meta"):
            return self.reference(self.classes)


PAPER = {"backbone": "vgg16", "head": "fc", "head_width": 4096, "decoder": "padded"}
AT_ONCE = PAPER | {"variant": "fcn8s", "score_scales": (0.01, 0.0001)}
BOOK = {"variant": "fcn32s", "backbone": "resnet18", "head": "none", "decoder": "transposed"}
LEARNED = {"variant": "fcn16s", "backbone": "vgg16", "head": "none", "decoder": "learned"}
SHARED = {"backbone": "vgg16", "head": "conv1x1", "head_width": 4096, "decoder": "shared", "dropout": 0.0}
PAIRS = {
    "released 32s": Pair(released.FCN32s, released.NAMES32, 21, 136_152_917, PAPER | {"variant": "fcn32s"}),
    "released 16s": Pair(released.FCN16s, released.NAMES16, 21, 134_815_994, PAPER | {"variant": "fcn16s"}),
    "released 8s": Pair(released.FCN8s, released.NAMES8, 21, 134_489_759, PAPER | {"variant": "fcn8s"}),
    "released 8s at once": Pair(released.FCN8sAtOnce, released.NAMES8, 21, 134_489_759, AT_ONCE),
    "book": Pair(book.ResNet18FCN32s, book.NAMES, 21, 12_993_642, BOOK),
    "learned": Pair(learned.LearnedFCN16s, learned.NAMES, 12, 18_644_076, LEARNED),
    "pointwise": Pair(pointwise.PointwiseFCN8s, pointwise.NAMES8, 12, 33_665_468, SHARED | {"variant": "fcn8s"}),
    "pointwise 16s": Pair(pointwise.PointwiseFCN16s, pointwise.NAMES16, 12, 33_690_032, SHARED | {"variant": "fcn16s"}),
    "pointwise 32s": Pair(pointwise.PointwiseFCN32s, pointwise.NAMES32, 12, 33_793_880, SHARED | {"variant": "fcn32s"}),
}

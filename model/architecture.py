"""The description of a network: the arguments of `model.networks.builder.build`, which a weights file stores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from model.preprocessing import MOST_BANDS, RGB, without_defaults

VARIANTS = ("fcn32s", "fcn16s", "fcn8s")
BACKBONES = ("mobilenet_v2", "mobilenet_edgetpu", "vgg16", "resnet18")
TIMM = "timm/"
"""Prefix of backbones that are encoders of timm: `timm/NAME`."""
HEADS = ("none", "fc", "conv1x1", "pooled")
DECODERS = ("aligned", "padded", "interpolated", "transposed", "learned", "shared")
OUTPUT_STRIDES = (16, 32)
DROPOUT = 0.5  # of the paper
MOST_SCORES = 1024  # of all classes
Grid = Literal["corner", "half_pixel"]
"""Where a cell of logits lies in its stride x stride pixels: on the first pixel, or in the middle."""


def first_centre(stride: int, grid: Grid) -> float:
    """The position of the first cell's centre, in pixels of the working size from the first pixel's centre."""
    return 0.0 if grid == "corner" else (stride - 1) / 2


class ArchitectureError(ValueError):
    """The description of a network that cannot be built."""


@dataclass(frozen=True)
class Architecture:
    """Arguments of `build`. Raises `ArchitectureError` for a combination that cannot be built.

    variant: `fcn32s`, `fcn16s` or `fcn8s`, by the stride of the finest skip (Long, Shelhamer & Darrell 2015).
    backbone: one of `BACKBONES`, or `timm/NAME`, an encoder of timm (decoder `aligned` only; building it needs timm).
    output_stride: stride of the backbone's last stage; 16 dilates that stage instead of striding.
    head: `none`; `fc` (VGG16's fc6 and fc7 as convolutions, or one 1x1 convolution elsewhere); `conv1x1` (two 1x1
        convolutions, conv6 and conv7); `pooled` (a 1x1 convolution beside the global mean, then a projection: DeepLabv3's head
        without its dilated branches, Chen et al. 2017, section 3.3).
    head_width: channels of the head's convolutions.
    width: multiplier of the backbone's channels (`mobilenet_v2` only).
    skip_width: 0 for the paper's linear score layers on the skips; else the channels of two convolutions before them.
    decoder: how maps become logits. `aligned`: upsampled on the backbone's grid; this is the one that is served. `padded`: the
        paper's padding and crops (VGG16 only). `interpolated`: resized to each skip. `transposed`: FCN-32s with one learnable
        transposed convolution (kernel 64, stride 32, padding 16). `learned`: batch-normalised transposed convolutions over
        features. `shared`: on VGG16; its steps of 2x share one learnable transposed convolution, and its scores have a ReLU.
    score_scales: factors for pool4 and pool3 before their score layers (decoder `padded` only).
    dropout: probability of both dropouts of the heads `fc` on VGG16 and `conv1x1`; they are active in training alone. Other
        heads have none.
    bands: of the images, 3 to 16.
    class_scores: for each class, the number of its scores; its logit is the log of the sum of their exponentials, so that their
        probabilities add up (decoder `aligned` only). Empty: one score a class.
    """

    variant: str
    backbone: str
    num_classes: int
    output_stride: int = 32
    head: str = "fc"
    head_width: int = 256
    width: float = 1.0
    skip_width: int = 0
    decoder: str = "aligned"
    score_scales: tuple[float, float] = (1.0, 1.0)
    dropout: float = DROPOUT
    bands: int = len(RGB)
    class_scores: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _one_of("variant", self.variant, VARIANTS)
        if not re.fullmatch(f"{TIMM}[a-z0-9_]+", self.backbone):
            _one_of("backbone", self.backbone, (*BACKBONES, f"{TIMM}NAME"))
        _one_of("head", self.head, HEADS)
        _one_of("decoder", self.decoder, DECODERS)
        _one_of("output_stride", self.output_stride, OUTPUT_STRIDES)
        for name in ("score_scales", "class_scores"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON and TOML give a list
        if not 1 <= self.num_classes <= 255:
            raise ArchitectureError(f"num_classes must be 1 to 255 (ids are 8-bit and 255 is void), got {self.num_classes}")
        if not len(RGB) <= self.bands <= MOST_BANDS:
            raise ArchitectureError(f"bands must be {len(RGB)} to {MOST_BANDS}, got {self.bands}")
        if self.head_width < 1:
            raise ArchitectureError(f"head_width must be at least 1, got {self.head_width}")
        if self.skip_width < 0:
            raise ArchitectureError(f"skip_width must be 0 (linear scores) or a number of channels, got {self.skip_width}")
        if self.width <= 0 or (self.width != 1.0 and self.backbone != "mobilenet_v2"):
            raise ArchitectureError(f"width must be 1.0 on {self.backbone} and positive on mobilenet_v2, got {self.width}")
        if not 0 <= self.dropout < 1:
            raise ArchitectureError(f"dropout must be a probability from 0 to below 1, got {self.dropout}")
        if self.dropout not in (0, DROPOUT) and not self.has_dropout:
            raise ArchitectureError(f"dropout is for the heads fc on vgg16 and conv1x1, got {self.dropout} with {self.head}")
        if self.backbone == "mobilenet_edgetpu" and self.output_stride != 16:
            raise ArchitectureError(f"mobilenet_edgetpu has output_stride 16 alone, got {self.output_stride}")
        if self.class_scores and (
            len(self.class_scores) != self.num_classes
            or not all(type(number) is int and number >= 1 for number in self.class_scores)
            or sum(self.class_scores) > MOST_SCORES
        ):
            raise ArchitectureError(
                f"class_scores must be whole numbers from 1 for each of {self.num_classes} classes, at most {MOST_SCORES} in "
                f"all, got {str(self.class_scores)[:60]}"
            )
        self._check_decoder()

    @property
    def num_scores(self) -> int:
        """The channels of the score layers."""
        return sum(self.class_scores) or self.num_classes

    @property
    def has_dropout(self) -> bool:
        """Whether the head has dropouts."""
        return self.head == "conv1x1" or (self.head, self.backbone) == ("fc", "vgg16")

    def _check_decoder(self) -> None:
        """Raises `ArchitectureError` for arguments that the decoder does not support."""
        needs: dict[str, dict[str, object]] = {
            "aligned": {},
            "padded": {"backbone": "vgg16", "head": "fc", "output_stride": 32},
            "interpolated": {},
            "transposed": {"variant": "fcn32s", "output_stride": 32},
            "learned": {"output_stride": 32},
            "shared": {"backbone": "vgg16", "head": "conv1x1", "output_stride": 32, "skip_width": 0},
        }
        if self.backbone.startswith(TIMM) and self.decoder != "aligned":
            raise ArchitectureError(f"{self.backbone} needs the decoder aligned, got {self.decoder}")
        for name, need in needs[self.decoder].items():
            if (value := getattr(self, name)) != need:
                raise ArchitectureError(f"the decoder {self.decoder} needs {name} {need}, got {value}")
        if self.decoder != "padded" and self.score_scales != (1.0, 1.0):
            raise ArchitectureError(f"score_scales are for the decoder padded, got {self.score_scales} with {self.decoder}")
        if self.decoder != "aligned" and self.class_scores:
            raise ArchitectureError(f"class_scores are for the decoder aligned, got {self.class_scores} with {self.decoder}")
        if self.decoder == "learned" and self.skip_width:
            raise ArchitectureError(f"the decoder learned adds skips as they are: skip_width must be 0, got {self.skip_width}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """The architecture with these arguments; unknown or missing names raise `ArchitectureError`."""
        known_names = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known_names):
            raise ArchitectureError(f"unknown architecture arguments {unknown}; known are {sorted(known_names)}")
        try:
            return cls(**values)
        except TypeError as error:
            raise ArchitectureError(f"incomplete architecture {dict(values)}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """The arguments, as a weights file has them: `bands` and `class_scores` only if they are not the defaults."""
        return without_defaults(self, "bands", "class_scores")


def _one_of(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ArchitectureError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")

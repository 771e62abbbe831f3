"""Networks that resize scores instead of cropping them, and the one that upsamples in a single step."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from model.architecture import Architecture
from model.networks.fcn import FCN
from model.networks.heads import skip_score
from model.networks.padded import set_bilinear


class InterpolatedFCN(FCN):
    """An FCN whose scores are interpolated to the size of each skip before the sum, and to the image's at the end.

    So any size works, odd ones too, without crops and without weights in the upsampling. With head `conv1x1` it is a
    changed form of `SharedFCN`: the same backbone and score layers, but no ReLU on scores, bilinear interpolation in place
    of the transposed convolutions, and poolings that round up. Interpolation to a size that is no multiple shifts scores
    by up to half a cell.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        stride8, stride16, _ = self.backbone.channels
        self.score_fr = nn.Conv2d(self.head_channels, architecture.num_classes, 1)
        self.score_pool4 = skip_score(stride16, architecture) if architecture.variant != "fcn32s" else None
        self.score_pool3 = skip_score(stride8, architecture) if architecture.variant == "fcn8s" else None

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, 3, H, W), for every H and W from 1."""
        features = self.backbone(images)
        scores: Tensor = self.score_fr(self.head(features.last))
        for score, skip in ((self.score_pool4, features.stride16), (self.score_pool3, features.stride8)):
            if score is not None:
                scores = _resize(scores, skip) + score(skip)
        return _resize(scores.float(), images)


class TransposedFCN(FCN):
    """An FCN-32s with one learnable transposed convolution of kernel 64, stride 32 and padding 16, set to bilinear.

    After *Dive into Deep Learning* (Zhang et al. 2023, section 14.11), which puts it on ResNet-18; sizes that are no
    multiple of 32 are cut at the far edges. The kernel is one for cells in the middle of their 32 pixels, and ResNet-18's
    lie on the first: as in the book, logits start 15.5 pixels too far right and down, and training has to make up for it.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        classes = architecture.num_classes
        self.score_fr = nn.Conv2d(self.head_channels, classes, 1)
        self.upscore = nn.ConvTranspose2d(classes, classes, 64, stride=32, padding=16)
        set_bilinear(self.upscore)

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, 3, H, W), for every H and W from 1."""
        height, width = images.shape[-2:]
        full: Tensor = self.upscore(self.score_fr(self.head(self.backbone(images).last)))
        return full[..., :height, :width].float()


def _resize(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)

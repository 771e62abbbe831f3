"""Networks that resize scores instead of cropping them, and a network that upsamples in a single step."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from model.architecture import Architecture
from model.networks.fcn import FCN
from model.networks.heads import skip_score
from model.networks.padded import set_bilinear


class InterpolatedFCN(FCN):
    """An FCN whose scores are interpolated to the size of each skip before the sum, and finally to the image's size.

    So it accepts any image size, and its upsampling needs no crops and has no weights. Interpolation to a size that is not a
    multiple of the map's size shifts scores by up to half a cell. With head `conv1x1` it is a variant of `SharedFCN`: the
    backbone and score layers are the same, but scores have no ReLU, bilinear interpolation replaces the transposed
    convolutions, and poolings round up.
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
    """An FCN-32s with one learnable transposed convolution of kernel 64, stride 32 and padding 16, which starts as bilinear.

    After *Dive into Deep Learning* (Zhang et al. 2023, section 14.11), which uses ResNet-18. For sizes that are not multiples
    of 32, the logits are cut at the right and bottom edges. The kernel is meant for cells in the middle of their 32 pixels,
    but ResNet-18's cells lie on the first pixel. So, as in the book, untrained logits lie 15.5 pixels too far right and down,
    and training has to correct this.
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
    """The maps at the height and width of `like`, by bilinear interpolation."""
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)

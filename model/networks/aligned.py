"""The network that is served. Scores at strides 32, 16 and 8 are upsampled on the backbone's grid and summed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.architecture import Architecture
from model.networks.fcn import FCN
from model.networks.heads import skip_score
from model.networks.upsampling import BilinearConvTranspose2d, FixedUpsample


class AlignedFCN(FCN):
    """FCN-32s, 16s or 8s (Long, Shelhamer & Darrell 2015, section 4.2). Layers have the names of the published models.

    Skip scores start at zero, so a finer net starts with the outputs of the coarser one. The 2x upsamplings are learnable and
    start as bilinear; the final upsampling is fixed. With output stride 16 the coarse scores already have stride 16.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        channels, grid = architecture.num_scores, self.backbone.grid
        self.grid = grid
        stride8, stride16, _ = self.backbone.channels
        self.score_fr = nn.Conv2d(self.head_channels, channels, 1)
        has_16, has_8 = architecture.variant != "fcn32s", architecture.variant == "fcn8s"
        self.upscore2 = BilinearConvTranspose2d(channels, 2, grid) if has_16 and architecture.output_stride == 32 else None
        self.score_pool4 = skip_score(stride16, architecture) if has_16 else None
        self.upscore_pool4 = BilinearConvTranspose2d(channels, 2, grid) if has_8 else None
        self.score_pool3 = skip_score(stride8, architecture) if has_8 else None
        self.score_stride = 8 if has_8 else 16 if has_16 else architecture.output_stride
        self.upscore_final = FixedUpsample(self.score_stride, grid)

    def scores(self, images: Tensor) -> Tensor:
        """Scores (N, classes, ceil(H/stride), ceil(W/stride)) of normalised images; the stride is `score_stride`."""
        features = self.backbone(images)
        scores: Tensor = self.score_fr(self.head(features.last))
        if self.score_pool4 is not None:
            scores = _fuse(scores, self.upscore2, self.score_pool4(features.stride16))
        if self.score_pool3 is not None:
            scores = _fuse(scores, self.upscore_pool4, self.score_pool3(features.stride8))
        return _of_classes(scores, self.architecture.class_scores)

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, 3, H, W), for every H and W from 1."""
        height, width = images.shape[-2:]
        return self.upscore_final.upsample(self.scores(images), (height, width))


def _of_classes(scores: Tensor, numbers: tuple[int, ...]) -> Tensor:
    """The classes' logits (N, classes, H, W) of scores (N, channels, H, W): numbers of channels that belong to each class."""
    if not numbers:
        return scores
    parts = torch.split(scores, list(numbers), 1)
    return torch.cat([part if part.shape[1] == 1 else part.logsumexp(1, keepdim=True) for part in parts], 1)


def _fuse(coarse: Tensor, upsampling: BilinearConvTranspose2d | None, fine: Tensor) -> Tensor:
    """The sum of both scores at the size of `fine`. upsampling: None where they have one size already."""
    if upsampling is None:
        return coarse + fine
    height, width = fine.shape[-2:]
    return upsampling.upsample(coarse, (height, width)) + fine

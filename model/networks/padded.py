"""The networks as the paper's authors released them: the image is padded by 100 pixels, and crops remove the padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.architecture import Architecture
from model.networks.fcn import FCN
from model.networks.heads import FullyConvolutionalHead, skip_score
from model.networks.upsampling import bilinear_kernel

PADDING = 100
# offsets of crops, in cells of the cropped map: of a skip's scores, by the skip's stride; of the final map, by the net's stride
SKIP_CROPS = {16: 5, 8: 9}
FINAL_CROPS = {32: 19, 16: 27, 8: 31}


class PaddedFCN(FCN):
    """FCN-32s, 16s or 8s on VGG16 (Long, Shelhamer & Darrell 2015), with the paddings and crops of its released models.

    The first convolution pads by 100 pixels and fc6 does not pad, so every image size from 1x1 gives a score. Upsamplings are
    dense transposed convolutions from classes to classes, which start as bilinear. The final one is frozen, as in the paper;
    in the released models the 2x ones are frozen too. Skips are multiplied by `score_scales` before their score layers; the
    paper's training in one go needs these factors.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        classes = architecture.num_classes
        first = self.backbone.get_submodule("features.0")
        fc6 = self.head.get_submodule("fc6")
        assert isinstance(first, nn.Conv2d)
        assert isinstance(fc6, nn.Conv2d)
        first.padding, fc6.padding = (PADDING, PADDING), (0, 0)
        assert isinstance(self.head, FullyConvolutionalHead)
        self.score_fr = nn.Conv2d(self.head_channels, classes, 1)
        nn.init.zeros_(self.score_fr.weight)
        self.stride = int(architecture.variant.removeprefix("fcn").removesuffix("s"))
        self.upscore2: nn.ConvTranspose2d | None = None
        self.upscore_pool4: nn.ConvTranspose2d | None = None
        if self.stride <= 16:
            self.upscore2 = _bilinear(classes, 2)
            self.score_pool4 = skip_score(self.backbone.channels[1], architecture)
        if self.stride == 8:
            self.upscore_pool4 = _bilinear(classes, 2)
            self.score_pool3 = skip_score(self.backbone.channels[0], architecture)
        # the name differs by variant, so that a finer net that starts from a coarser one does not load its final upsampling
        self.final_name = {32: "upscore", 16: "upscore16", 8: "upscore8"}[self.stride]
        self.add_module(self.final_name, _bilinear(classes, self.stride).requires_grad_(False))

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, 3, H, W), for every H and W from 1."""
        features = self.backbone(images)
        pool4_scale, pool3_scale = self.architecture.score_scales
        scores: Tensor = self.score_fr(self.head(features.last))
        if self.upscore2 is not None:
            scores = _sum(self.upscore2(scores), self.score_pool4(features.stride16 * pool4_scale), SKIP_CROPS[16])
        if self.upscore_pool4 is not None:
            scores = _sum(self.upscore_pool4(scores), self.score_pool3(features.stride8 * pool3_scale), SKIP_CROPS[8])
        full: Tensor = self.get_submodule(self.final_name)(scores)
        height, width = images.shape[-2:]
        return _crop(full, FINAL_CROPS[self.stride], (height, width)).float()


def _sum(coarse: Tensor, fine: Tensor, offset: int) -> Tensor:
    """The coarse map plus the fine one, which is cropped to its size."""
    height, width = coarse.shape[-2:]
    return coarse + _crop(fine, offset, (height, width))


def _crop(maps: Tensor, offset: int, size: tuple[int, int]) -> Tensor:
    return maps[..., offset : offset + size[0], offset : offset + size[1]]


def _bilinear(classes: int, stride: int) -> nn.ConvTranspose2d:
    """A transposed convolution that upsamples each class bilinearly by `stride`."""
    layer = nn.ConvTranspose2d(classes, classes, 2 * stride, stride, bias=False)
    set_bilinear(layer)
    return layer


def set_bilinear(layer: nn.ConvTranspose2d) -> None:
    """Sets a dense transposed convolution of kernel 2 x stride to bilinear upsampling of each class."""
    with torch.no_grad():
        layer.weight.zero_()
        classes = range(layer.in_channels)
        layer.weight[classes, classes] = bilinear_kernel(layer.stride[0], "half_pixel")

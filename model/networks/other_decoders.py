"""Networks with decoders that are not served: the paper's own, scores that are resized, and learned upsampling."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from model.architecture import Architecture
from model.networks.fcn import FCN
from model.networks.heads import skip_score
from model.networks.upsampling import set_bilinear

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
        for layer, padding in ((self.backbone.get_submodule("features.0"), PADDING), (self.head.get_submodule("fc6"), 0)):
            assert isinstance(layer, nn.Conv2d)
            layer.padding = (padding, padding)
        self.score_fr = nn.Conv2d(self.head_channels, classes, 1)
        nn.init.zeros_(self.score_fr.weight)
        self.stride = _stride(architecture)
        stride8, stride16, _ = self.backbone.channels
        self.upscore2 = _bilinear(classes, 2) if self.stride < 32 else None
        self.score_pool4 = skip_score(stride16, architecture) if self.stride < 32 else None
        self.upscore_pool4 = _bilinear(classes, 2) if self.stride == 8 else None
        self.score_pool3 = skip_score(stride8, architecture) if self.stride == 8 else None
        # the name differs by variant, so that a finer net that starts from a coarser one does not load its final upsampling
        self.final_name = {32: "upscore", 16: "upscore16", 8: "upscore8"}[self.stride]
        self.add_module(self.final_name, _bilinear(classes, self.stride).requires_grad_(False))

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, 3, H, W), for every H and W from 1."""
        features = self.backbone(images)
        pool4_scale, pool3_scale = self.architecture.score_scales
        scores: Tensor = self.score_fr(self.head(features.last))
        if self.upscore2 is not None and self.score_pool4 is not None:
            scores = _sum(self.upscore2(scores), self.score_pool4(features.stride16 * pool4_scale), SKIP_CROPS[16])
        if self.upscore_pool4 is not None and self.score_pool3 is not None:
            scores = _sum(self.upscore_pool4(scores), self.score_pool3(features.stride8 * pool3_scale), SKIP_CROPS[8])
        full: Tensor = self.get_submodule(self.final_name)(scores)
        height, width = images.shape[-2:]
        return _crop(full, FINAL_CROPS[self.stride], (height, width)).float()


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
                scores = _resize(scores, skip, "bilinear") + score(skip)
        return _resize(scores.float(), images, "bilinear")


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
        set_bilinear(self.upscore, "half_pixel")

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, 3, H, W), for every H and W from 1."""
        height, width = images.shape[-2:]
        full: Tensor = self.upscore(self.score_fr(self.head(self.backbone(images).last)))
        return full[..., :height, :width].float()


class SharedFCN(FCN):
    """FCN-32s, 16s or 8s on VGG16 with 1x1 conv6 and conv7. Its upsampling is learned from random kernels.

    Each score passes through a ReLU. The steps of 2x of FCN-16s and 8s use the same transposed convolution, of kernel 2 and
    stride 2. The last step uses one whose kernel and stride are the network's: 32, 16 or 8. Both have a bias. Poolings round
    down, so maps have floor(side / stride) cells. Nearest-neighbour interpolation resizes each upsampled map to the next map's
    size, which it already has for sides that are multiples of 32.
    """

    least_side = 32

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        classes = architecture.num_classes
        stride8, stride16, _ = self.backbone.channels
        for layer in self.backbone.modules():
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = False
        # scores start at random: at zero, where the other networks' scores start, the ReLU would pass no gradient
        self.score_fr = nn.Conv2d(self.head_channels, classes, 1)
        stride = _stride(architecture)
        self.score_pool4 = nn.Conv2d(stride16, classes, 1) if stride < 32 else None
        self.score_pool3 = nn.Conv2d(stride8, classes, 1) if stride == 8 else None
        if stride < 32:
            self.upscore2 = nn.ConvTranspose2d(classes, classes, 2, stride=2)
        # the name differs by variant, so that a finer net that starts from a coarser one does not load its final upsampling
        self.final_name = f"upscore{stride}"
        self.add_module(self.final_name, nn.ConvTranspose2d(classes, classes, stride, stride=stride))

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, 3, H, W), for every H and W from 32.

        Smaller images raise `ValueError`.
        """
        height, width = images.shape[-2:]
        if height < self.least_side or width < self.least_side:
            raise ValueError(
                f"the decoder shared needs images of at least {self.least_side}x{self.least_side} pixels, "
                f"got {height}x{width} (height x width); enlarge or pad them"
            )
        features = self.backbone(images)
        scores = self.score_fr(self.head(features.last)).relu()
        for score, skip in ((self.score_pool4, features.stride16), (self.score_pool3, features.stride8)):
            if score is not None:
                scores = _resize(self.upscore2(scores), skip, "nearest") + score(skip).relu()
        return _resize(self.get_submodule(self.final_name)(scores), images, "nearest").float()


class LearnedDecoderFCN(FCN):
    """An encoder, and a decoder of five 3x3 transposed convolutions of stride 2, each with ReLU and batch norm.

    It sums features instead of scores: FCN-16s adds the backbone's map of stride 16 after the first transposed convolution,
    FCN-8s also the map of stride 8 after the second one. A 1x1 convolution at full resolution classifies the pixels. All
    kernels start at random and are learned, which Long, Shelhamer & Darrell 2015, section 3.3, mention as a possibility.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        stride8, stride16, _ = self.backbone.channels
        second = stride8 if architecture.variant == "fcn8s" else stride16 // 2
        widths = [self.head_channels, stride16, second, *(max(8, second >> step) for step in (1, 2, 3))]
        self.steps = nn.ModuleList(_Step(before, after) for before, after in pairwise(widths))
        self.score = nn.Conv2d(widths[-1], architecture.num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, 3, H, W), for every H and W from 1."""
        features = self.backbone(images)
        variant = self.architecture.variant
        skips = [None if variant == "fcn32s" else features.stride16, features.stride8 if variant == "fcn8s" else None]
        maps = self.head(features.last)
        for step, skip in zip(self.steps, [*skips, None, None, None], strict=True):
            maps = step(maps, skip)
        height, width = images.shape[-2:]
        logits: Tensor = self.score(maps[..., :height, :width])
        return logits.float()


class _Step(nn.Module):
    """Doubles the resolution. A skip is added after the ReLU and before the batch norm."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
        self.bn = nn.BatchNorm2d(after)

    def forward(self, maps: Tensor, skip: Tensor | None) -> Tensor:
        maps = self.deconv(maps).relu()
        if skip is not None:
            maps = maps[..., : skip.shape[2], : skip.shape[3]] + skip
        result: Tensor = self.bn(maps)
        return result


def _stride(architecture: Architecture) -> int:
    """The stride of the scores, by the variant's name."""
    return int(architecture.variant.removeprefix("fcn").removesuffix("s"))


def _resize(maps: Tensor, like: Tensor, mode: str) -> Tensor:
    """The maps at the height and width of `like`. mode: of `interpolate`, `bilinear` or `nearest`."""
    return F.interpolate(maps, size=like.shape[-2:], mode=mode)


def _sum(coarse: Tensor, fine: Tensor, offset: int) -> Tensor:
    """The coarse map plus the fine one, which is cropped to its size."""
    height, width = coarse.shape[-2:]
    return coarse + _crop(fine, offset, (height, width))


def _crop(maps: Tensor, offset: int, size: tuple[int, int]) -> Tensor:
    return maps[..., offset : offset + size[0], offset : offset + size[1]]


def _bilinear(classes: int, stride: int) -> nn.ConvTranspose2d:
    """A transposed convolution that upsamples each class bilinearly by `stride`."""
    layer = nn.ConvTranspose2d(classes, classes, 2 * stride, stride, bias=False)
    set_bilinear(layer, "half_pixel")
    return layer

"""FCN-32s, 16s and 8s whose steps of 2x share one learned transposed convolution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from model.architecture import Architecture
from model.networks.fcn import FCN


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
        self.score_pool4: nn.Conv2d | None = None
        self.score_pool3: nn.Conv2d | None = None
        stride = 32
        if architecture.variant != "fcn32s":
            self.score_pool4 = nn.Conv2d(stride16, classes, 1)
            stride = 16
        if architecture.variant == "fcn8s":
            self.score_pool3 = nn.Conv2d(stride8, classes, 1)
            stride = 8
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
                scores = _resize(self.upscore2(scores), skip) + score(skip).relu()
        return _resize(self.get_submodule(self.final_name)(scores), images).float()


def _resize(maps: Tensor, like: Tensor) -> Tensor:
    """The maps at the height and width of `like`, by nearest neighbours."""
    return F.interpolate(maps, size=like.shape[-2:], mode="nearest")

"""The frozen network whose probabilities a student learns to match."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from model.architecture import first_centre
from model.networks.aligned import AlignedFCN
from model.networks.fcn import FCN
from training.learning.losses import UNLABELLED, set_of_crop


class Teacher:
    """Gives a frozen network's class probabilities, averaged over scales and left-right flips of its input.

    Raises `ValueError` for a network whose decoder is not `aligned`.
    """

    def __init__(self, net: FCN, scales: tuple[float, ...]) -> None:
        if not isinstance(net, AlignedFCN):
            raise ValueError(f"a teacher must have the decoder aligned, got {net.architecture.decoder}")
        self.net = net.eval().requires_grad_(False)
        self.scales = scales
        self.stride = net.upscore_final.stride

    @torch.no_grad()
    def log_probabilities(self, images: Tensor) -> Tensor:
        """Log of the mean probabilities (N, C, ceil(H/stride), ceil(W/stride)) for normalised images (N, 3, H, W).

        They belong to the pixels whose rows and columns are multiples of the teacher's stride.
        """
        total = torch.zeros((), device=images.device)
        for scale in self.scales:
            height, width = (round(side * scale) for side in images.shape[-2:])
            inputs = F.interpolate(images, size=(height, width), mode="bilinear")
            for flip in (False, True):
                scores = self.net.scores(inputs.flip(3) if flip else inputs)
                total = total + self._at_pixels(scores.float(), images, scale, flip).softmax(1)
        return (total / (2 * len(self.scales))).clamp(min=1e-8).log()

    def void_where_sure(
        self, masks: Tensor, log_probabilities: Tensor, ignore_index: int, labelled: Tensor, void_above: Tensor
    ) -> Tensor:
        """The masks (N, H, W), void at pixels without a label that seem to have one.

        Those are pixels where the summed probability of the classes that the crop's set labels exceeds its `void_above` (K,).
        labelled: bool (K, C). The crops are of sets that label some classes. log_probabilities: of `log_probabilities`.
        """
        sets, (height, width) = set_of_crop(masks), masks.shape[-2:]
        probability = (log_probabilities.exp() * labelled[sets][..., None, None]).sum(1, keepdim=True)
        # from the pixels at multiples of the stride to those between them; what lies behind the last is as the last
        sides = [(cells - 1) * self.stride + 1 for cells in probability.shape[-2:]]
        probability = F.interpolate(probability, size=sides, mode="bilinear", align_corners=True)
        probability = F.pad(probability, (0, width - sides[1], 0, height - sides[0]), mode="replicate")[:, 0]
        return masks.masked_fill((masks >= UNLABELLED) & (probability > void_above[sets][:, None, None]), ignore_index)

    def _at_pixels(self, scores: Tensor, images: Tensor, scale: float, flip: bool) -> Tensor:
        """Samples the scores of the scaled images bilinearly at the original images' pixels, one pixel every stride.

        flip: whether the scaled images were flipped left to right.
        """
        height, width = images.shape[-2:]
        ys = torch.arange(0, height, self.stride, device=images.device)
        xs = torch.arange(0, width, self.stride, device=images.device)
        rows = self._cells(ys, scale, scores.shape[-2])
        columns = self._cells(width - 1 - xs if flip else xs, scale, scores.shape[-1])
        grid = torch.stack([columns[None, :].expand(len(rows), -1), rows[:, None].expand(-1, len(columns))], -1)
        grids = grid.expand(len(images), -1, -1, -1)
        return F.grid_sample(scores, grids, mode="bilinear", padding_mode="border", align_corners=True)

    def _cells(self, pixels: Tensor, scale: float, cells: int) -> Tensor:
        """Positions of pixels on an axis of the score map, from -1 (first cell) to 1 (last cell).

        cells: the number of cells along the axis.
        """
        final = self.net.upscore_final
        position = ((pixels + 0.5) * scale - 0.5 - first_centre(final.stride, final.grid)) / final.stride
        return 2 * position / max(1, cells - 1) - 1

"""Networks as they are served and exported: they map pixels to logits, batch norm is folded, and scores may be stitched."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.architecture import ArchitectureError, Grid
from model.manifest import WeightsError
from model.networks.aligned import AlignedFCN
from model.networks.builder import build_network
from model.networks.fcn import FCN
from model.networks.timm_backbone import TimmBackbone
from model.networks.upsampling import FixedUpsample
from model.preprocessing import Preprocessing
from model.weights_file import Weights


def load_network(weights: Weights) -> FCN:
    """Builds the network and loads the file's tensors, in float32 and evaluation mode.

    Raises `WeightsError` if tensors are missing, unknown, of another shape or not finite, and if the network cannot be built,
    as with an encoder of timm where timm is missing.
    """
    try:
        net = build_network(weights.manifest.fcn)
    except ArchitectureError as error:
        raise WeightsError(f"{weights.name}: {error}") from error
    state = net.state_dict()
    if difference := sorted(set(state) ^ set(weights.tensors)):
        raise WeightsError(f"{weights.name}: {len(difference)} tensors are missing or unknown, {difference[0]} first")
    for name, tensor in state.items():
        if tuple(tensor.shape) != weights.tensors[name].shape:
            shapes = f"{tuple(tensor.shape)}, got {weights.tensors[name].shape}"
            raise WeightsError(f"{weights.name}: {name} must have shape {shapes}")
    net.load_state_dict({name: torch.tensor(values, dtype=state[name].dtype) for name, values in weights.tensors.items()})
    if culprit := _overflowing(net):
        raise WeightsError(
            f"{weights.name}: {culprit} holds infinity or NaN, so that the network answers nothing; train it again"
        )
    return net.eval()


def half_tensors(net: FCN) -> Mapping[str, npt.NDArray[np.generic]]:
    """The network's tensors as a weights file stores them: floats in float16, integers unchanged.

    A tensor with a value beyond float16's range, such as a variance of 100,000, is stored in float32. Raises `WeightsError`,
    which names the tensor, for infinity or NaN.
    """
    return {name: _stored(name, tensor.detach().cpu()) for name, tensor in net.state_dict().items()}


def _stored(name: str, tensor: Tensor) -> npt.NDArray[np.generic]:
    """One tensor as `half_tensors` gives it."""
    if not tensor.is_floating_point():
        return tensor.numpy()
    if not torch.isfinite(tensor).all():
        raise WeightsError(
            f"{name} holds infinity or NaN, so that the network answers nothing: train anew with a lower learning_rate, "
            "or begin from another start"
        )
    half = tensor.to(torch.float16)
    return (half if torch.isfinite(half).all() else tensor.to(torch.float32)).numpy()


def _overflowing(net: nn.Module) -> str | None:
    """The name of the first tensor that is not finite; None if all are finite."""
    return next((name for name, tensor in net.state_dict().items() if not torch.isfinite(tensor).all()), None)


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Maps uint8 pixels (N, bands, H, W) to normalised float32 images, keeping the memory layout."""
    mean, std = (
        torch.tensor(values, device=images.device).view(1, -1, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )
    return images.float() * (preprocessing.scale / std) - mean / std


class ServableNetwork(nn.Module):
    """Maps uint8 pixels (N, height, width, bands), sides multiples of 32, to float32 logits (N, classes, rows, columns).

    stride: pixels per cell of the logits. grid: where in those pixels the cell lies. dtype: of the network's weights and
    computation. shifts: shift-and-stitch runs per axis; 1 for none. Raises `WeightsError` for tensors that do not fit or are
    beyond float16's range, and `ValueError` for a network that shift-and-stitch does not support.
    """

    stride: int
    grid: Grid
    factor: Tensor
    shift: Tensor

    def __init__(self, weights: Weights, dtype: torch.dtype = torch.float32, shifts: int = 1) -> None:
        super().__init__()
        net = load_network(weights)
        fold_batch_norm(net)
        scorer = ShiftAndStitch(net, shifts) if shifts != 1 else net
        self.stride, self.grid = scorer.score_stride, scorer.grid
        self.net: nn.Module = scorer.to(dtype)
        if dtype == torch.float16 and (name := _overflowing(self.net)):
            raise WeightsError(f"{weights.name}: {name} is beyond float16's range; serve it in float32 or bfloat16")
        self.dtype = dtype
        preprocessing = weights.manifest.preprocessing
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
        self.register_buffer("factor", preprocessing.scale / std)
        self.register_buffer("shift", mean / std)
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        images = pixels.permute(0, 3, 1, 2).float() * self.factor - self.shift
        logits: Tensor = self.net.scores(images.to(self.dtype))  # type: ignore[operator]
        return logits.float()


def fold_batch_norm(net: nn.Module) -> None:
    """Folds each batch norm into the convolution directly before it in the same parent module.

    Changes the network in place; the batch norm becomes an identity. The network must be in evaluation mode. Encoders of timm
    stay as they are: their batch norms hold activations, and their modules need not run in the order of their names.
    """
    foreign = {id(module) for each in net.modules() if isinstance(each, TimmBackbone) for module in each.modules()}
    for parent in net.modules():
        if id(parent) in foreign:
            continue
        previous: tuple[str, nn.Module] | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and previous and isinstance(previous[1], nn.Conv2d):
                setattr(parent, previous[0], fuse_conv_bn_eval(previous[1], child))
                setattr(parent, name, nn.Identity())
            previous = name, child


class ShiftAndStitch(nn.Module):
    """Interlaces a network's scores from shifts^2 runs to `shifts` times their resolution, and upsamples them bilinearly.

    After Long, Shelhamer & Darrell 2015, section 3.2. For an FCN-32s the result equals that of the same filters applied
    densely (à trous: strides removed, filters dilated), except for the padding at the image's border. It costs shifts^2 times
    as much as one run. Raises `ValueError` for a decoder other than `aligned`, for shifts that do not divide the scores'
    stride, and for shifts equal to the stride on a half-pixel grid.
    """

    def __init__(self, net: FCN, shifts: int) -> None:
        super().__init__()
        if not isinstance(net, AlignedFCN):
            raise ValueError(f"shift-and-stitch needs the decoder aligned, got {net.architecture.decoder}")
        stride = net.score_stride
        if shifts < 1 or stride % shifts:
            raise ValueError(f"shifts must divide the scores' stride of {stride}, got {shifts}")
        if shifts == stride and net.backbone.grid == "half_pixel":
            raise ValueError(f"cells of this backbone lie between pixels: shifts must be below {stride}, got {shifts}")
        self.net, self.shifts, self.step = net, shifts, stride // shifts
        # on a half-pixel grid the first fine cell lies before the first coarse cell
        self.first = 0 if net.backbone.grid == "corner" else -(stride - self.step) // 2
        self.score_stride, self.grid = self.step, net.grid
        self.upscore_final = FixedUpsample(self.step, net.grid)

    def scores(self, images: Tensor) -> Tensor:
        """Scores (N, classes, shifts * ceil(H/stride), shifts * ceil(W/stride)) of normalised images (N, 3, H, W)."""
        offsets = [self.first + index * self.step for index in range(self.shifts)]
        rows = [torch.stack([self.net.scores(_shifted(images, dy, dx)) for dx in offsets], -1) for dy in offsets]
        grid = torch.stack(rows, 3)
        count, classes, height, _, width, _ = grid.shape
        return grid.reshape(count, classes, height * self.shifts, width * self.shifts)

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, 3, H, W)."""
        height, width = images.shape[-2:]
        return self.upscore_final.upsample(self.scores(images), (height, width))


def _shifted(images: Tensor, dy: int, dx: int) -> Tensor:
    """The images from pixel (dy, dx) on, at the same size. Outside the images their edges are repeated."""
    height, width = images.shape[-2:]
    images = F.pad(images, (max(0, -dx), max(0, dx), max(0, -dy), max(0, dy)), mode="replicate")
    top, left = max(0, dy), max(0, dx)
    return images[..., top : top + height, left : left + width]

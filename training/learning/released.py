"""Tensors of the FCNs on VGG16 that were released for Caffe, by their layers' names there, as pytorch-fcn keeps them.

Such a file has `conv1_1.weight` to `conv5_3.bias`, `fc6`, `fc7`, `score_fr`, and for its variant `score_pool4`, `score_pool3`,
`upscore`, `upscore2`, `upscore_pool4`, `upscore16`, `upscore8`. Its networks read BGR pixels, 0 to 255, less the mean of each
channel.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from model.networks.fcn import FCN
from model.preprocessing import Preprocessing

# the mean pixel of the networks' training images, as RGB (the released nets' input layers name it as BGR)
PREPROCESSING = Preprocessing(mean=(122.67891434, 116.66876762, 104.00698793), std=(1.0, 1.0, 1.0), scale=1.0)
STAGES = (2, 2, 3, 3, 3)  # convolutions of VGG16's stages; a pooling follows each stage
FIRST = "conv1_1.weight"


def is_released(state: Mapping[str, Tensor]) -> bool:
    """Whether these are tensors of a released FCN, by their names."""
    return {FIRST, "fc6.weight", "score_fr.weight"} <= set(state)


def our_tensors(net: FCN, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The released tensors under our names, for RGB images.

    Caffe's older files have biases of (1, 1, 1, channels), and fc6 and fc7 as (1, 1, outputs, inputs): they are reshaped.

    Raises `ValueError` if a tensor of VGG16, fc6 or fc7 is missing or has another shape, and for another backbone or head.
    """
    names = {"fc6": "head.fc6", "fc7": "head.fc7"} | _convolutions()
    network = net.state_dict()
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        layer, _, kind = name.rpartition(".")
        ours = f"{names.get(layer, layer)}.{kind}"
        own_tensor = network.get(ours)
        has_numbers = own_tensor is not None and own_tensor.numel() == tensor.numel()
        tensors[ours] = tensor.reshape(own_tensor.shape) if own_tensor is not None and has_numbers else tensor
    first = f"{names['conv1_1']}.weight"
    tensors[first] = tensors[first].flip(1)
    tensor_names = [f"{ours}.{kind}" for ours in names.values() for kind in ("weight", "bias")]
    layers = {ours: layer for layer, ours in names.items()}
    for name in tensor_names:
        layer, _, kind = name.rpartition(".")
        if name not in network:
            raise ValueError(
                f"a released FCN needs backbone vgg16 and head fc, got {net.architecture.backbone} and {net.architecture.head}"
            )
        if name not in tensors:
            raise ValueError(f"the file lacks {layers[layer]}.{kind} of a released FCN")
        if network[name].shape != tensors[name].shape:
            shapes = f"{tuple(network[name].shape)}, got {tuple(tensors[name].shape)}"
            raise ValueError(f"{layers[layer]}.{kind} must have shape {shapes}")
    return tensors


def _convolutions() -> dict[str, str]:
    """Our names of VGG16's convolutions by the released ones."""
    names, index = {}, 0
    for stage, convolutions in enumerate(STAGES, 1):
        for number in range(1, convolutions + 1):
            names[f"conv{stage}_{number}"] = f"backbone.features.{index}"
            index += 2  # a ReLU follows
        index += 1
    return names

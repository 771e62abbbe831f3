"""Builds networks from their arguments, and loads published backbones into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.client import HTTPException
from pickle import UnpicklingError
from typing import Any

from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, ResNet18_Weights, VGG16_Weights, get_model

from common.printable import first_line
from model.architecture import Architecture
from model.networks.aligned import AlignedFCN
from model.networks.fcn import FCN
from model.networks.other_decoders import InterpolatedFCN, LearnedDecoderFCN, PaddedFCN, SharedFCN, TransposedFCN
from model.networks.timm_backbone import TimmBackbone, flat_name

MEMBERS: dict[str, type[FCN]] = {
    "aligned": AlignedFCN,
    "padded": PaddedFCN,
    "interpolated": InterpolatedFCN,
    "transposed": TransposedFCN,
    "learned": LearnedDecoderFCN,
    "shared": SharedFCN,
}
PUBLISHED = {
    "mobilenet_v2": MobileNet_V2_Weights.IMAGENET1K_V2,
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "vgg16": VGG16_Weights.IMAGENET1K_V1,
}


def build(variant: str, backbone: str, num_classes: int, **options: Any) -> FCN:
    """Builds an untrained network, in training mode. The arguments are those of `Architecture`.

    Raises `ArchitectureError` for a combination that cannot be built.
    """
    return build_network(Architecture(variant=variant, backbone=backbone, num_classes=num_classes, **options))


def build_network(architecture: Architecture) -> FCN:
    """Builds an untrained network of this architecture, in training mode."""
    return MEMBERS[architecture.decoder](architecture)


def load_published_backbone(net: FCN) -> None:
    """Downloads torchvision's ImageNet weights into the backbone.

    Raises `ValueError` if torchvision has none for it, and if they cannot be downloaded, or read from torch's cache.
    """
    name = net.architecture.backbone
    if name not in PUBLISHED:
        raise ValueError(f"torchvision publishes no weights of {name}; start from a file, or from none")
    try:
        state = get_model(name, weights=PUBLISHED[name]).state_dict()
    except (OSError, HTTPException, RuntimeError, EOFError, UnpicklingError) as error:
        advice = f"download {PUBLISHED[name].url}, also on another machine, and give the file: --start FILE"
        raise ValueError(f"torchvision's weights of {name} cannot be read ({first_line(error)}); {advice}") from error
    load_classifier(net, state)


def load_classifier(net: FCN, state: Mapping[str, Tensor]) -> None:
    """Loads a classifier's state dict into the backbone, and VGG16's fc6 and fc7 into the head if it takes them.

    state: of torchvision's classifier, or of timm's for an encoder of timm. Tensors of other layers are unused.

    Raises `ValueError` if a needed tensor is missing or has another shape.
    """
    if isinstance(net.backbone, TimmBackbone):
        _load_common(net.backbone.encoder, state, flat_name, net.architecture.backbone)
        return
    _load_common(net.backbone, state, _name_of_torchvision, net.architecture.backbone)
    if takes_classifier(net):
        net.head.load_state_dict(_fully_convolutional(state))


def takes_classifier(net: FCN) -> bool:
    """Whether the head is VGG16's fc6 and fc7 at their published width."""
    architecture = net.architecture
    return (architecture.backbone, architecture.head, architecture.head_width) == ("vgg16", "fc", 4096)


def _name_of_torchvision(name: str) -> str:
    return name.replace("stem.0.", "conv1.", 1).replace("stem.1.", "bn1.", 1)


def _load_common(module: nn.Module, state: Mapping[str, Tensor], common_name: Callable[[str], str], owner: str) -> None:
    """Loads the module's tensors from a state dict whose names agree with its own in their common names.

    Batch norm's counters of batches may be missing in it. owner: of the tensors, for the error.
    """
    by_name = {common_name(name): tensor for name, tensor in state.items()}
    tensors = module.state_dict()
    gaps = [name for name in tensors if common_name(name) not in by_name and not name.endswith("num_batches_tracked")]
    if gaps:
        raise ValueError(f"the file lacks {len(gaps)} tensors of a {owner}, {gaps[0]} first")
    values = {name: by_name.get(common_name(name), tensor) for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if values[name].shape != tensor.shape:
            raise ValueError(f"{name} must have shape {tuple(tensor.shape)}, got {tuple(values[name].shape)}")
    module.load_state_dict(values)


def _fully_convolutional(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """VGG16's two fully connected layers as convolutions (Long et al. 2015, section 3.1)."""
    names = [f"classifier.{index}.{kind}" for index in (0, 3) for kind in ("weight", "bias")]
    if gaps := [name for name in names if name not in state]:
        raise ValueError(f"the file lacks {gaps[0]}, which becomes part of the head; give a file of the whole classifier")
    return {
        "fc6.weight": state["classifier.0.weight"].view(4096, 512, 7, 7),
        "fc6.bias": state["classifier.0.bias"],
        "fc7.weight": state["classifier.3.weight"].view(4096, 4096, 1, 1),
        "fc7.bias": state["classifier.3.bias"],
    }

"""What a training starts from: published backbones, other networks' tensors, or our own weights files."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model.builder import PUBLISHED, load_classifier, load_published_backbone, takes_classifier
from model.fcn import FCN
from model.preprocessing import Preprocessing
from model.weights_file import WeightsError, find_weights, load_weights


def load_start(net: FCN, start: str) -> list[str]:
    """Loads what fits from `none`, `imagenet` (torchvision's hub), a safetensors or .pth file, or a name in `weights/`.

    Understood are our own files, torchvision classifiers, and networks of `features.*` with `head.*` (DeepLabv3's
    image pooling, 1x1 branch, projection and logits). Score layers of another number of classes stay new. Gives the
    names of the tensors that stay new. Raises `ValueError` where the file holds nothing of the backbone.
    """
    if start == "none":
        return sorted(net.state_dict())
    if start == "imagenet":
        load_published_backbone(net)
        return _others(net)
    state = _read(_find(start))
    if not any(name.startswith(("head.", "backbone.")) for name in state):
        load_classifier(net, state)
        return _others(net)
    return _load_fitting(net, {_our_name(name): tensor for name, tensor in state.items()}, start)


def start_preprocessing(net: FCN, start: str) -> Preprocessing:
    """How pixels were fed to what the training starts from.

    As our own files say; torchvision's way for `imagenet` and for .pth files; `x / 127.5 - 1` for other safetensors.
    """
    if start == "none":
        return Preprocessing()
    if start == "imagenet" or _find(start).suffix == ".pth":
        transforms = PUBLISHED[net.architecture.backbone].transforms()
        return Preprocessing(mean=tuple(transforms.mean), std=tuple(transforms.std))
    try:
        return load_weights(_find(start)).manifest.preprocessing
    except WeightsError:
        return Preprocessing()


def _find(start: str) -> Path:
    """The file of this path, or the weights file of this name."""
    return Path(start) if Path(start).exists() or Path(start).suffix else find_weights(start)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".pth":
        try:
            state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, UnpicklingError, KeyError, EOFError) as error:
            raise ValueError(f"{path} is not a state dict: {error}") from error
        if not isinstance(state, dict):
            raise ValueError(f"{path} must hold a state dict, got {type(state).__name__}")
        return state
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error


def _our_name(name: str) -> str:
    if name.startswith("features."):
        return f"backbone.{name}"
    return name.replace("head.logits.", "score_fr.")


def _load_fitting(net: FCN, state: dict[str, Tensor], start: str) -> list[str]:
    own = net.state_dict()
    fitting = {n: t.to(own[n].dtype) for n, t in state.items() if n in own and own[n].shape == t.shape}
    if not any(name.startswith("backbone.") for name in fitting):
        raise ValueError(f"{start} holds no tensor of a {net.architecture.backbone} of width {net.architecture.width}")
    net.load_state_dict(fitting, strict=False)
    return sorted(name for name in set(own) - set(fitting) if not name.endswith("num_batches_tracked"))


def _others(net: FCN) -> list[str]:
    """What a classifier's file does not fill."""
    filled = ("backbone.", "head.") if takes_classifier(net) else ("backbone.",)
    return sorted(name for name in net.state_dict() if not name.startswith(filled))

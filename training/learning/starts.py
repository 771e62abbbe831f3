"""Starting points of a training: published backbones, tensors of other networks, and our own weights files.

A released FCN is one of the FCNs on VGG16 that were released for Caffe. Its file has Caffe's names of the layers, which
pytorch-fcn keeps: `conv1_1.weight` to `conv5_3.bias`, `fc6`, `fc7`, `score_fr`, and for its variant `score_pool4`,
`score_pool3`, `upscore`, `upscore2`, `upscore_pool4`, `upscore16`, `upscore8`. The network reads BGR pixels, 0 to 255, less the
mean of each channel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import product
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from model.architecture import TIMM
from model.manifest import WeightsError
from model.networks.builder import PUBLISHED, load_classifier, load_published_backbone, takes_classifier
from model.networks.fcn import FCN
from model.networks.timm_backbone import TimmBackbone, encoder_normalisation
from model.preprocessing import Preprocessing
from model.weights_file import Weights, damaged, find_weights, parse_weights
from training.data.network_classes import NEW
from training.data.problems import first_names
from training.learning.caffe_model import parse_caffe_model
from training.learning.checkpoint import UNREADABLE
from training.learning.start_scores import score_tensors

CAFFE = ".caffemodel"
PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt")
NESTED_KEYS = ("state_dict", "model_state_dict", "model")  # keys under which other trainers put a network's tensors
WRAPPER_PREFIX = "module."  # of every name in a network that was trained on several GPUs
# the mean pixel of the images on which the released FCNs were trained, as RGB (their input layers name it as BGR)
RELEASED_PREPROCESSING = Preprocessing(mean=(122.67891434, 116.66876762, 104.00698793), std=(1.0, 1.0, 1.0), scale=1.0)
STAGES = (2, 2, 3, 3, 3)  # numbers of convolutions in VGG16's stages; a pooling follows each stage


@dataclass(frozen=True, eq=False)
class Start:
    """What a training begins with. `read_start` makes it; the file is not read again.

    name: `none`, `imagenet`, or the file's path or name. sha256: of the file; `name` without a file. path: of the file.
    tensors: of the file, by name. weights: the file's content, if it is a weights file of ours.
    """

    name: str
    sha256: str
    path: Path | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    weights: Weights | None = None

    def load(self, net: FCN, rows: Sequence[int] = ()) -> list[str]:
        """Loads the tensors that fit into the network. Returns the sorted names of the network's tensors that stay new.

        A tensor of which a part stays new counts as new. rows: for each score of the network, a row of the start's score
        layers, or `NEW`. Without rows, score layers with another number of classes stay new.

        Raises `ValueError` if the file holds no tensor of the backbone, and if the rows do not fit.
        """
        if self.name == "none":
            return sorted(net.state_dict())
        if self.name == "imagenet":
            load_published_backbone(net)
            return _not_in_classifier(net)
        if is_released(self.tensors):
            return _load_matches(net, released_tensors(net, self.tensors), self.name, rows)
        # timm names the heads of its classifiers `head.`, too
        our_prefixes = ("backbone.",) if isinstance(net.backbone, TimmBackbone) else ("head.", "backbone.")
        if not any(name.startswith(our_prefixes) for name in self.tensors):
            load_classifier(net, self.tensors)
            return _not_in_classifier(net)
        our_tensors = {_our_name(net, name): tensor for name, tensor in self.tensors.items()}
        return _load_matches(net, our_tensors, self.name, rows)

    def preprocessing(self, backbone: str) -> Preprocessing:
        """The preprocessing with which the start was trained, for a network with this backbone.

        - `none`: the default `Preprocessing`
        - our own weights files: what they state
        - released FCNs: the mean pixel of their training
        - other files for an encoder of timm: what timm states for its default weights
        - `imagenet` and files of torch.save: that of torchvision's weights. Raises `ValueError` if torchvision has none
        - other files: `x / 127.5 - 1`, or `x / 128 - 1` for MobileNet-EdgeTPU
        """
        if self.name == "none":
            return Preprocessing()
        if self.weights:
            return self.weights.manifest.preprocessing
        if is_released(self.tensors):
            return RELEASED_PREPROCESSING
        if self.path and backbone.startswith(TIMM):
            mean, std = encoder_normalisation(backbone.removeprefix(TIMM))
            return Preprocessing(mean=mean, std=std)
        if self.path is None or self.path.suffix in PICKLE_SUFFIXES:
            if backbone not in PUBLISHED:
                raise ValueError(f"torchvision publishes no weights of {backbone}; start from a file, or from none")
            transforms = PUBLISHED[backbone].transforms()
            return Preprocessing(mean=tuple(transforms.mean), std=tuple(transforms.std))
        return Preprocessing((1.0,) * 3, (1.0,) * 3, 1 / 128) if backbone == "mobilenet_edgetpu" else Preprocessing()


def read_start(name: str) -> Start:
    """Reads and checks a start's file.

    name: `none`, `imagenet` (torchvision's hub), the path of a safetensors, caffemodel or PyTorch file (`PICKLE_SUFFIXES`), or
        a name in `weights/`. A file may be one of ours, a torchvision classifier, timm's classifier for an encoder of timm, a
        released FCN, or a network with our names for the backbone's tensors and `head.*` (DeepLabv3's image pooling, 1x1
        branch, projection and logits).

    Raises `ValueError`, which names the file, if the file cannot be read, or holds infinity or NaN.
    """
    if name in ("none", "imagenet"):
        return Start(name, name)
    path = Path(name) if Path(name).exists() or Path(name).suffix else find_weights(name)
    weights = None
    try:
        data = path.read_bytes()
        if path.suffix in PICKLE_SUFFIXES:
            tensors = _unpickled(path, data)
        elif path.suffix == CAFFE:
            tensors = parse_caffe_model(path, data)
        else:
            try:
                weights = parse_weights(path, data)
                tensors = {each: torch.from_numpy(values) for each, values in weights.tensors.items()}
            except WeightsError:  # of another program, or damaged
                tensors = load(data)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise damaged(path, error) from error
    if culprit := next((each for each, tensor in tensors.items() if not torch.isfinite(tensor).all()), None):
        raise ValueError(f"{name}: {culprit} holds infinity or NaN; give another --start")
    return Start(name, hashlib.sha256(data).hexdigest(), path, tensors, weights)


def _unpickled(path: Path, data: bytes) -> dict[str, Tensor]:
    """The tensors of a file of torch.save, at its top or under a key of `NESTED_KEYS`; names lose `WRAPPER_PREFIX`."""
    try:
        state = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        kind = type(error).__name__  # torch's own message explains how to execute the file's code
        raise ValueError(
            f"{path} is not a state dict ({kind}): damaged, or more than tensors; save torch.save(network.state_dict(), FILE)"
        ) from error
    for part in NESTED_KEYS:
        state = state[part] if isinstance(state, Mapping) and isinstance(state.get(part), Mapping) else state
    if not isinstance(state, Mapping):
        raise ValueError(f"{path} must hold a state dict, got {type(state).__name__}")
    tensors = {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"{path} must hold a state dict; it has no tensors by name: {first_names(state, 5)}")
    is_wrapped = all(name.startswith(WRAPPER_PREFIX) for name in tensors)
    return {name.removeprefix(WRAPPER_PREFIX) if is_wrapped else name: tensor for name, tensor in tensors.items()}


def _our_name(net: FCN, name: str) -> str:
    """Our name of a tensor of another network, which may leave out `backbone.`, and may name the score layer `head.logits`."""
    if name.partition(".")[0] in dict(net.backbone.named_children()):
        return f"backbone.{name}"
    return name.replace("head.logits.", "score_fr.")


def _load_matches(net: FCN, state: Mapping[str, Tensor], start: str, rows: Sequence[int]) -> list[str]:
    """Loads the tensors whose names and shapes match. Returns the sorted names of the network's tensors that stay new."""
    network, scores = net.state_dict(), score_tensors(net, state, rows)
    state = {**state, **scores}
    matches = {n: t.to(network[n].dtype) for n, t in state.items() if n in network and network[n].shape == t.shape}
    if not any(name.startswith("backbone.") for name in matches):
        raise ValueError(f"{start} holds no tensor of a {net.architecture.backbone} of width {net.architecture.width}")
    net.load_state_dict(matches, strict=False)
    new = set(network) - set(matches) | (set(scores) if NEW in rows else set())
    return sorted(name for name in new if not name.endswith("num_batches_tracked"))


def _not_in_classifier(net: FCN) -> list[str]:
    """The sorted names of the network's tensors that a classifier's file lacks."""
    prefixes = ("backbone.", "head.") if takes_classifier(net) else ("backbone.",)
    return sorted(name for name in net.state_dict() if not name.startswith(prefixes))


def is_released(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors of a released FCN, by their names."""
    return {"conv1_1.weight", "fc6.weight", "score_fr.weight"} <= set(state)


def released_tensors(net: FCN, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a released FCN under our names, for RGB images.

    Caffe's older files have biases of (1, 1, 1, channels), and fc6 and fc7 as (1, 1, outputs, inputs): they are reshaped.

    Raises `ValueError` if a tensor of VGG16, fc6 or fc7 is missing or has another shape, and for another backbone or head.
    """
    backbone, head = net.architecture.backbone, net.architecture.head
    if (backbone, head) != ("vgg16", "fc"):
        raise ValueError(f"a released FCN needs backbone vgg16 and head fc, got {backbone} and {head}")
    convolutions = [f"conv{stage}_{number}" for stage, count in enumerate(STAGES, 1) for number in range(1, count + 1)]
    places = [place for place, layer in net.backbone.get_submodule("features").named_children() if isinstance(layer, nn.Conv2d)]
    layers = {name: f"backbone.features.{place}" for name, place in zip(convolutions, places, strict=True)}
    layers |= {"fc6": "head.fc6", "fc7": "head.fc7"}
    network, tensors = net.state_dict(), dict[str, Tensor]()
    for name, tensor in state.items():
        layer, _, kind = name.rpartition(".")
        our_name = f"{layers.get(layer, layer)}.{kind}"
        has_same_count = our_name in network and network[our_name].numel() == tensor.numel()
        tensors[our_name] = tensor.reshape(network[our_name].shape) if has_same_count else tensor
    for layer, kind in product(layers, ("weight", "bias")):
        our_name = f"{layers[layer]}.{kind}"
        if our_name not in tensors:
            raise ValueError(f"the file lacks {layer}.{kind} of a released FCN")
        if network[our_name].shape != tensors[our_name].shape:
            shapes = f"{tuple(network[our_name].shape)}, got {tuple(tensors[our_name].shape)}"
            raise ValueError(f"{layer}.{kind} must have shape {shapes}")
    first = f"{layers['conv1_1']}.weight"
    tensors[first] = tensors[first].flip(1)  # BGR becomes RGB
    return tensors

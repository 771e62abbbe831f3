"""A network whose tiles cost almost no time, for benches and tests: made with PyTorch.

`python -m benchmarks.harness.narrow FOLDER` writes its files, for environments without PyTorch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import torch

from model.inference.runtimes.openvino_runtime import read_export
from model.labels import numbered_labels
from model.manifest import Manifest
from model.networks.builder import build
from model.networks.fcn import FCN
from model.networks.servable import half_tensors
from model.preprocessing import Preprocessing
from model.weights_file import find_files, load_weights, save_weights
from training.data.demo import NAMES
from training.publishing.export_files import export_float32
from training.publishing.onnx_files import export_path, write_export

Net = TypeVar("Net", bound=torch.nn.Module)
MEANS = (-0.5855, 1.0933, 0.2839, -0.2198)
"""The narrow network's mean logits over a photo."""


def randomise(net: Net, seed: int = 0) -> Net:
    """Draws scores and batch-norm statistics so that outputs depend on the input, and rounding errors stay small."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_mean"):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
            elif name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.5 + 0.5)
            elif name.startswith("score_"):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.5)
    return net


def narrow_net(**options: object) -> FCN:
    """An FCN-8s on a MobileNetV2 of a tenth of the width, four classes, in evaluation mode."""
    torch.manual_seed(0)
    arguments = {"output_stride": 16, "head": "fc", "head_width": 16, "width": 0.1} | options
    return randomise(build("fcn8s", "mobilenet_v2", len(NAMES), **arguments)).eval()


def write_narrow(path: Path) -> None:
    """The narrow network's master, its float32 export beside it; its advised longer side is 64 to 128."""
    _write(narrow_net(), path)
    export_float32(path)


def write_varied(path: Path, narrow: Path) -> None:
    """The same for the network with all of its classes in most images: its own biases give nearly every pixel one class.

    narrow: the narrow network's master. Its export becomes this one's by another bias, since to export takes many seconds.
    """
    net, name = narrow_net(), "score_pool3.bias"
    with torch.no_grad():
        net.state_dict()[name].sub_(torch.tensor(MEANS))
    _write(net, path)
    weights, source = load_weights(path), find_files(str(narrow)).exports["float32"]
    model, facts = onnx.load(source), read_export(source)
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == f"net.{name}")
    bias.CopyFrom(onnx.numpy_helper.from_array(weights.tensors[name].astype(np.float32), bias.name))
    target = export_path(path, "float32")
    write_export(target, model, weights.manifest, "float32", facts.stride, facts.grid, weights.sha256)


def _write(net: FCN, path: Path) -> None:
    manifest = Manifest(net.architecture, numbered_labels(NAMES), Preprocessing(side=(64, 128)), "Apache-2.0")
    save_weights(path, half_tensors(net), manifest)


if __name__ == "__main__":
    write_narrow(Path(sys.argv[1]) / "narrow.safetensors")

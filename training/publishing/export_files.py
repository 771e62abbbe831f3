"""The float32 export of a master by PyTorch's exporter, and which exports beside a master are of another."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim

from common.printable import first_line
from model.inference.runtimes.openvino_runtime import read_export
from model.networks.servable import ServableNetwork
from model.weights_file import find_files, load_weights
from training.publishing.onnx_files import export_path, write_export
from training.publishing.quantisation import INPUT

OUTPUT = "logits"
EXAMPLE = (1, 96, 128)  # a tile, and its height and width


def missing_packages() -> list[str]:
    """The packages that `export_float32` needs and that are not installed."""
    return [name for name in ("onnx", "onnxscript", "openvino") if find_spec(name) is None]


def export_float32(master: Path) -> Path:
    """Writes the float32 export; gives its path.

    Its input is uint8 pixels (1, height, width, bands); its output is float32 logits (1, classes, rows, columns). Raises
    `ValueError` for a network that torch's exporter cannot convert.
    """
    import onnx

    weights = load_weights(master)
    network = ServableNetwork(weights)
    for module in network.modules():
        if isinstance(module, nn.Hardtanh | nn.ReLU):  # the exporter takes more than twice as long for those in place
            module.inplace = False
    example = torch.zeros((*EXAMPLE, weights.manifest.preprocessing.channels), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                network, (example,), dynamo=True, external_data=False, verbose=False, input_names=[INPUT],
                output_names=[OUTPUT], dynamic_shapes={"pixels": {1: Dim.DYNAMIC, 2: Dim.DYNAMIC}},
            )  # fmt: skip
        except torch.onnx.OnnxExporterError as error:
            raise ValueError(f"{weights.name} cannot be exported; serve it with torch: {first_line(error)}") from error
    assert program is not None
    path, model = export_path(master, "float32"), _without_origins(program.model_proto, onnx)
    write_export(path, model, weights.manifest, "float32", network.stride, network.grid, weights.sha256)
    return path


def remove_stale(master: Path) -> list[Path]:
    """Removes exports beside a master that belong to another master, such as before further training; gives their paths."""
    sha256 = load_weights(master).sha256
    stale = [path for path in find_files(str(master)).exports.values() if read_export(path).master_sha256 != sha256]
    for path in stale:
        path.unlink()
    return stale


def _without_origins(model: Any, onnx: Any) -> Any:
    """Removes the exporter's notes on the origin of each node, which contain paths of this machine."""
    del model.metadata_props[:]
    model.doc_string = ""
    model.graph.doc_string = ""
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del model.graph.metadata_props[:]
    onnx.checker.check_model(model)
    return model

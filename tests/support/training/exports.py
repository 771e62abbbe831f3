"""Exports of other networks than their master's, as quantising with other photographs makes them."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import numpy_helper

from model.networks.servable import ServableNetwork
from model.weights_file import load_weights
from training.publishing.export_files import facts, forget_other_export, write_export
from training.publishing.onnx_files import export_path, network_digest


def write_other(master: Path, precision: str, factor: float) -> Path:
    """Writes an export in this precision: the float32 one, whose score layer is multiplied by `factor`."""
    model = onnx.load(export_path(master, "float32"))
    weight = next(each for each in model.graph.initializer if "score_fr" in each.name and len(each.dims) == 4)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * factor, weight.name))
    forget_other_export(master, precision, network_digest(model))
    weights = load_weights(master)
    return write_export(master, precision, model, facts(weights, ServableNetwork(weights), precision))

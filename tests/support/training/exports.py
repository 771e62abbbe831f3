"""Exports of other networks than their master's, as quantising with other photographs makes them."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import numpy_helper

from training.publishing.onnx_files import export_path
from training.publishing.quantisation import write_int8


def write_other(master: Path, factor: float) -> Path:
    """Writes an export that stands for int8's: the float32 one, whose score layer is multiplied by `factor`."""
    model = onnx.load(export_path(master, "float32"))
    weight = next(each for each in model.graph.initializer if "score_fr" in each.name and len(each.dims) == 4)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * factor, weight.name))
    return write_int8(master, model)

"""The exports of a master: float32 ONNX, int8 by post-training quantisation, and the facts that they hold of the master."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim

from model.inference.runtimes.openvino_runtime import read_export
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.networks.servable import ServableNetwork
from model.weights_file import Weights, find_files, load_weights, save_weights
from training.publishing.card import write_card
from training.publishing.onnx_files import export_facts, export_path, network_digest, write_onnx
from training.publishing.quantisation import FORGOTTEN, INPUT, quantised

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
    example = torch.zeros((*EXAMPLE, weights.manifest.preprocessing.channels), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                network, (example,), dynamo=True, external_data=False, verbose=False, input_names=[INPUT],
                output_names=[OUTPUT], dynamic_shapes={"pixels": {1: Dim.DYNAMIC, 2: Dim.DYNAMIC}},
            )  # fmt: skip
        except torch.onnx.OnnxExporterError as error:
            reason = str(error).strip().splitlines()
            raise ValueError(
                f"{weights.name} cannot be exported; serve it with torch: {reason[0] if reason else error}"
            ) from error
    assert program is not None
    return write_export(master, "float32", _without_origins(program.model_proto, onnx), facts(weights, network, "float32"))


def export_int8(master: Path, folder: Path, *, photos: int, avx2: bool) -> Path:
    """Writes the int8 export of a master's float32 export, as `quantised` makes it; gives its path.

    If the master holds scores and a temperature of another int8 export, they are removed from the master, its card and its
    float32 export. Raises `ValueError` if the folder has no photos, or one that cannot be decoded.
    """
    weights = load_weights(master)
    segmenter = Segmenter(TorchRuntime(weights, "cpu", "float32"))
    network = quantised(export_path(master, "float32"), segmenter, folder, photos=photos, avx2=avx2)
    for path in forget_other_export(master, "int8", network_digest(network)):
        print(f"{path}: {FORGOTTEN}")
    weights = load_weights(master)
    return write_export(master, "int8", network, facts(weights, ServableNetwork(weights), "int8"))


def facts(weights: Weights, network: ServableNetwork, precision: str) -> dict[str, str]:
    """The facts about an export, for its file's metadata."""
    return export_facts(weights.manifest, sha256=weights.sha256, precision=precision, stride=network.stride, grid=network.grid)


def forget_other_export(master: Path, precision: str, digest: str) -> list[Path]:
    """Removes the scores and the temperature of an earlier export in this precision; gives the files that changed.

    digest: of the new export's network. What the master holds of that very network stays.
    """
    weights = load_weights(master)
    manifest = weights.manifest.without(precision)
    if weights.manifest.exports.get(precision) == digest or manifest == weights.manifest:
        return []
    save_weights(master, weights.tensors, manifest)
    write_card(master)
    return [master, master.with_suffix(".md"), *refresh_facts(master, weights.sha256)]


def refresh_facts(master: Path, former: str) -> list[Path]:
    """Writes the master's facts into the exports beside it, such as after a score was recorded; gives their paths.

    The networks do not change. former: the master's sha256 before the change; exports of other masters are left unchanged.
    """
    import onnx

    weights = load_weights(master)
    network = ServableNetwork(weights)
    exports = {p: path for p, path in find_files(str(master)).exports.items() if read_export(path).master_sha256 == former}
    return [
        write_export(master, precision, onnx.load(path), facts(weights, network, precision))
        for precision, path in exports.items()
    ]


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


def write_export(master: Path, precision: str, model: Any, about: dict[str, str]) -> Path:
    """Writes an ONNX model with these facts and its network's digest beside the master, atomically; gives its path."""
    path = export_path(master, precision)
    write_onnx(path, model, about)
    return path

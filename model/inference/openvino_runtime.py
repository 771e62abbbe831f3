"""Runs an exported network on the CPU with OpenVINO."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import openvino

from model.architecture import Grid
from model.inference.cores import available_cores
from model.inference.external_data import has_external_data
from model.inference.merging import Logits
from model.inference.runtime import ModelIdentity, RuntimeUnavailable, Tile
from model.manifest import METADATA_KEY, Manifest, WeightsError

FACTS = (METADATA_KEY, "sha256", "precision", "stride", "grid")
NETWORK_SHA256 = "network_sha256"
# OpenVINO keeps each shape of input's compiled layers, by default 5,000 of them: a gibibyte, once a few clients have asked
# for many sides. A network has some 40 layers, so these are twelve shapes: more than photographs at one side have.
KEPT_LAYERS = 500


@dataclass(frozen=True)
class Export:
    """An exported file: the network as OpenVINO reads it, the file's own sha256, and the facts in its metadata.

    sha256: of the master that it was made from. network_sha256: of the network without the facts; empty in files of before.
    """

    path: Path
    model: Any
    file_sha256: str
    network_sha256: str
    manifest: Manifest
    sha256: str
    precision: str
    stride: int
    grid: Grid

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(".onnx").removesuffix(".int8")


def read_export(path: Path) -> Export:
    """Reads an exported file and its metadata; raises `WeightsError`, also where it keeps tensors in other files."""
    try:
        data = path.read_bytes()
        if has_external_data(data):
            raise WeightsError(f"{path} keeps tensors in other files, which are not read; make it anew with fcn-export")
        model = openvino.Core().read_model(io.BytesIO(data))
        facts = {key: str(model.get_rt_info(["framework", key]).astype(str)) for key in FACTS}
        key = ["framework", NETWORK_SHA256]
        network_sha256 = str(model.get_rt_info(key).astype(str)) if model.has_rt_info(key) else ""
    except WeightsError:
        raise
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{path} is no file of fcn-export: {str(error).strip().splitlines()[-1]}") from error
    try:
        manifest, grid = Manifest.from_json(facts[METADATA_KEY]), cast(Grid, facts["grid"])
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    if manifest.exports.get(facts["precision"], network_sha256) != network_sha256:
        manifest = manifest.without(facts["precision"])
    return Export(
        path, model, hashlib.sha256(data).hexdigest(), network_sha256, manifest, facts["sha256"], facts["precision"],
        int(facts["stride"]), grid,
    )  # fmt: skip


class OpenVINORuntime:
    """An exported network, compiled for the CPU. `logits` may be called by several threads.

    threads: 0 for one a core. All work on one tile, so that bytes are the same alone and in a crowd: a stream for each core
    serves 8 % more images a second to a crowd, and takes nearly twice as long for a lone tile. Each calling thread has an
    inference request of its own, since one that is running refuses a second call. Raises `WeightsError`.
    """

    max_batch: int | None = 1
    concurrency = 1
    device = "cpu"

    def __init__(self, path: Path, threads: int = 0) -> None:
        export = read_export(path)
        self.manifest, self.stride, self.grid = export.manifest, export.stride, export.grid
        self.file_sha256, self.network_sha256 = export.file_sha256, export.network_sha256
        self.identity = ModelIdentity(export.name, export.sha256, "openvino", export.precision)
        options = {
            # float32 is asked for, for int8 files too: OpenVINO would choose bfloat16 by the processor's flags
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": "NO",
            # it looks at the affinity alone, not at a control group's quota
            "INFERENCE_NUM_THREADS": threads or available_cores(),
            "NUM_STREAMS": 1,
            # told by its maintainers: github.com/openvinotoolkit/openvino/issues/23316
            "CPU_RUNTIME_CACHE_CAPACITY": KEPT_LAYERS,
        }
        try:
            self._compiled = openvino.Core().compile_model(export.model, "CPU", options)
        except RuntimeError as error:
            raise RuntimeUnavailable(f"OpenVINO cannot compile {path}: {error}") from error
        # the first array that OpenVINO takes sets up its binding to numpy, which two threads at once would do without end
        openvino.Tensor(np.zeros(1, np.uint8))
        self._own = threading.local()

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        """As `Runtime.logits`: tile by tile, in memory of the caller's own."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        outputs = []
        for tile in tiles:
            self._own.request.infer([np.ascontiguousarray(tile)[None]], share_inputs=True)
            outputs.append(self._own.request.get_output_tensor().data[0].copy())
        return np.stack(outputs) if len(outputs) > 1 else outputs[0][None]

    def describe(self) -> dict[str, str]:
        version = openvino.__version__.split("-")[0]
        facts = {"runtime": "openvino", "version": version, "device": self.device, "precision": self.identity.precision}
        return facts | {"file_sha256": self.file_sha256}

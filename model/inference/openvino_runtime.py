"""Runs an exported network on the CPU with OpenVINO."""

from __future__ import annotations

import hashlib
import io
import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import openvino

from model.architecture import Grid
from model.inference.cores import available_cores, available_memory
from model.inference.external_data import has_external_data
from model.inference.merging import Logits
from model.inference.runtime import ModelIdentity, RuntimeUnavailable, Tile
from model.manifest import METADATA_KEY, Manifest, WeightsError

FACTS = (METADATA_KEY, "sha256", "precision", "stride", "grid")
NETWORK_SHA256 = "network_sha256"
# OpenVINO keeps each shape of input's compiled layers, by default 5,000 of them: a gibibyte, once a few clients have asked
# for many sides. A network has some 40 layers, so these are twelve shapes: more than photographs at one side have.
KEPT_LAYERS = 500
MOST_STREAMS = 8
STREAM_BYTES = 512 << 20  # of the memory that there is; a stream takes some 60 MB, and six more for each shape
log = logging.getLogger("segment")


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

    threads: 0 for one a core. A lone tile has all of them. For a crowd the network is compiled once more, with a stream for
    each core: at most `MOST_STREAMS`, and one for each `STREAM_BYTES` of memory. That is done on a thread of its own, when
    `concurrency` is first asked for so many tiles that it pays. A call that is not alone takes the second one. Equal tiles
    have equal logits, bit for bit, in both: the first tile of each shape is run by both. Where a bit differs, or where
    the second one cannot be compiled, `max_concurrency` becomes 1. Raises `WeightsError` or `RuntimeUnavailable`.
    """

    max_batch: int | None = 1
    device = "cpu"

    def __init__(self, path: Path, threads: int = 0) -> None:
        export = read_export(path)
        self.manifest, self.stride, self.grid = export.manifest, export.stride, export.grid
        self.file_sha256, self.network_sha256 = export.file_sha256, export.network_sha256
        self.identity = ModelIdentity(export.name, export.sha256, "openvino", export.precision)
        self._export = export
        self.threads = threads or available_cores()
        memory = available_memory()
        streams = MOST_STREAMS if memory is None else max(1, memory // STREAM_BYTES)
        self.max_concurrency = min(MOST_STREAMS, self.threads, streams)
        # the one for a lone tile, and once it is compiled the one for a crowd
        self._networks = [CompiledNetwork(export, threads=self.threads, streams=1)]
        # the first array that OpenVINO takes sets up its binding to numpy, which two threads at once would do without end
        openvino.Tensor(np.zeros(1, np.uint8))
        self._lock = threading.Lock()  # guards what follows
        self._calls = 0
        self._compiling = False
        self._compared: set[tuple[int, ...]] = set()

    def concurrency(self, tiles: int) -> int:
        """As `Runtime.concurrency`: half of the streams do no more than one call on all cores, more of them do."""
        if self.max_concurrency == 1 or tiles <= self.max_concurrency / 2:
            return 1
        with self._lock:
            begin, self._compiling = not self._compiling, True
        if begin:
            # no daemon, as the calling thread may be: the interpreter's end waits for it, as OpenVINO cannot be left midway
            threading.Thread(target=self._compile_streams, name="compile-streams", daemon=False).start()
        return self.max_concurrency if len(self._networks) > 1 else 1

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        """As `Runtime.logits`: tile by tile, in memory of the caller's own."""
        with self._lock:
            self._calls += 1
            networks = self._networks[: self._calls]  # a lone call has the first one alone
        try:
            outputs = [self._logits(networks, tile) for tile in tiles]
        finally:
            with self._lock:
                self._calls -= 1
        return np.stack(outputs) if len(outputs) > 1 else outputs[0][None]

    def describe(self) -> dict[str, str]:
        version = openvino.__version__.split("-")[0]
        facts = {"runtime": "openvino", "version": version, "device": self.device, "precision": self.identity.precision}
        return facts | {"file_sha256": self.file_sha256}

    def _compile_streams(self) -> None:
        try:
            self._networks.append(CompiledNetwork(self._export, threads=self.threads, streams=self.max_concurrency))
        except RuntimeUnavailable as error:
            self.max_concurrency = 1
            log.warning("%s: tiles go on one by one, each on all cores: %s", self.identity.name, error)

    def _logits(self, networks: Sequence[CompiledNetwork], tile: Tile) -> Logits:
        """The tile's logits by the last of these networks; by the first one where the tile is the first one of its shape."""
        alone, streams = networks[0], networks[-1]
        logits = streams.logits(tile)
        if streams is alone or tile.shape in self._compared:
            return logits
        expected = alone.logits(tile)
        if expected.tobytes() == logits.tobytes():
            self._compared.add(tile.shape)
        elif streams in self._networks:
            self._networks.remove(streams)
            self.max_concurrency = 1
            log.warning(
                "%s: a tile of %d x %d has other logits on one core than on all (by up to %g): tiles go on one by one, each on "
                "all cores", self.identity.name, *tile.shape[:2], float(np.abs(expected - logits).max()),
            )  # fmt: skip
        return expected


class CompiledNetwork:
    """An export, compiled with so many threads in so many streams. `logits` may be called by several threads."""

    def __init__(self, export: Export, *, threads: int, streams: int) -> None:
        options = {
            # float32 is asked for, for int8 files too: OpenVINO would choose bfloat16 by the processor's flags
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": "NO",
            # it looks at the affinity alone, not at a control group's quota
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            # told by its maintainers: github.com/openvinotoolkit/openvino/issues/23316
            "CPU_RUNTIME_CACHE_CAPACITY": KEPT_LAYERS,
        }
        try:
            self._compiled = openvino.Core().compile_model(export.model, "CPU", options)
        except RuntimeError as error:
            raise RuntimeUnavailable(f"OpenVINO cannot compile {export.path}: {error}") from error
        self.streams = streams
        self._idle: deque[Any] = deque()  # requests; one that is running refuses a second call

    def logits(self, tile: Tile) -> Logits:
        """Float32 logits (classes, rows, columns) of a tile (height, width, 3)."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        request.infer([np.ascontiguousarray(tile)[None]], share_inputs=True)
        logits: Logits = request.get_output_tensor().data[0].copy()
        self._idle.append(request)
        return logits

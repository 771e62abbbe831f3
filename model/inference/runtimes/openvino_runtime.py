"""Runs an exported network on the CPU with OpenVINO."""

from __future__ import annotations

import hashlib
import io
import logging
import re
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
from model.inference.instructions import DECISION, instructions
from model.inference.merging import Logits
from model.inference.runtime import ModelIdentity, Runtime, RuntimeUnavailable, Tile
from model.manifest import METADATA_KEY, Manifest, WeightsError

FACTS = (METADATA_KEY, "sha256", "precision", "stride", "grid")
NETWORK_SHA256 = "network_sha256"
# OpenVINO caches compiled layers for each input shape, by default up to 5,000. They fill a gibibyte after a few clients have
# asked for many sides. A network has about 40 layers, so 500 hold twelve shapes: more than photographs at one side need.
KEPT_LAYERS = 500
LARGE = 1 << 20  # samples of a whole photo whose maps are not kept
MOST_SHAPES = 50  # of whole photos, since a compiled network keeps some 0.2 MB for each, whatever `KEPT_LAYERS` says
MOST_STREAMS = 8
STREAM_BYTES = 512 << 20  # one stream for each 512 MiB of available memory; a stream takes about 60 MB, plus 6 MB a shape
# the key under which a tensor names its file: a field of 8 bytes. Protobuf may write the length in more bytes; and the field's
# number in many ways, since readers drop its upper bits
EXTERNAL_FILE = re.compile(rb"(\x08|\x88\x80*\x00)location")
log = logging.getLogger("segment")


@dataclass(frozen=True)
class Export:
    """An exported file: the network as OpenVINO reads it, and the facts in its metadata.

    file_sha256: of the file itself. network_sha256: of the network without the facts; empty in files written before it was
    recorded. master_sha256: of the master that the file was exported from.
    """

    path: Path
    model: Any
    file_sha256: str
    network_sha256: str
    manifest: Manifest
    master_sha256: str
    precision: str
    stride: int
    grid: Grid

    def facts(self, runtime: str, instructions: str = "") -> dict[str, Any]:
        """The arguments of a `Runtime` of this name that runs it."""
        name = self.path.name.removesuffix(".onnx").removesuffix(".int8")
        identity = ModelIdentity(name, self.master_sha256, runtime, self.precision, instructions)
        of_file = ("file_sha256", "network_sha256", "manifest", "stride", "grid")
        return {"identity": identity} | {fact: getattr(self, fact) for fact in of_file}


def has_external_data(model: bytes) -> bool:
    """Whether a tensor of this ONNX model may keep its values in another file, which a runtime would read, whatever it is.

    True as well if a tensor or an operator is named `location` and nothing else.
    """
    return EXTERNAL_FILE.search(model) is not None


def read_export(path: Path) -> Export:
    """Reads an exported file and its metadata; raises `WeightsError`, also for a file that keeps tensors in other files."""
    try:
        data = path.read_bytes()
        if has_external_data(data):
            raise WeightsError(f"{path} keeps tensors in other files, which are not read; replace it: fcn-export --force")
        model = _read_network(path, data)
        facts = {key: str(model.get_rt_info(["framework", key]).astype(str)) for key in FACTS}
        key = ["framework", NETWORK_SHA256]
        network_sha256 = str(model.get_rt_info(key).astype(str)) if model.has_rt_info(key) else ""
        stride = int(facts["stride"])
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise WeightsError(
            f"{path} is no file of fcn-export: {reason}; fcn-convert makes one of another ONNX network"
        ) from error
    try:
        manifest, grid = Manifest.from_json(facts[METADATA_KEY]), cast(Grid, facts["grid"])
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    if manifest.exports.get(facts["precision"], network_sha256) != network_sha256:
        manifest = manifest.without(facts["precision"])
    return Export(
        path=path,
        model=model,
        file_sha256=hashlib.sha256(data).hexdigest(),
        network_sha256=network_sha256,
        manifest=manifest,
        master_sha256=facts["sha256"],
        precision=facts["precision"],
        stride=stride,
        grid=grid,
    )


def _read_network(path: Path, data: bytes) -> Any:
    """The network of an ONNX file's bytes, as OpenVINO reads it. Raises `WeightsError`."""
    try:
        return openvino.Core().read_model(io.BytesIO(data))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise WeightsError(
            f"{path} is damaged, or no network that OpenVINO reads: {reason}; copy it again, or make it again with fcn-export"
        ) from error


class OpenVINORuntime(Runtime):
    """An exported network, compiled for the CPU. Several threads may call `logits`.

    threads: number of CPU threads; 0 for one per core. The network is compiled up to twice:

    - The first compilation runs a single tile on all threads.
    - The second has a stream for each thread, at most `MOST_STREAMS` and one for each `STREAM_BYTES` of memory. A call that
      overlaps another call uses it. A separate thread compiles it when `concurrency` is first called with enough tiles.

    Both must give bit-identical logits, so the first tile of each shape runs in both. If they differ, or if the second
    compilation fails, `max_concurrency` becomes 1. Raises `WeightsError` or `RuntimeUnavailable`.

    Whole photos run one at a time, in the first. They have any shape: after `MOST_SHAPES`, a separate thread compiles it anew,
    while it goes on. It keeps no request, whose buffers are as large as its photo, nor maps of large ones.
    """

    version = openvino.__version__.split("-")[0]

    def __init__(self, path: Path, threads: int = 0) -> None:
        self._export = export = read_export(path)
        super().__init__(**export.facts("openvino", instructions()))
        DECISION.decide()
        self.threads = threads or available_cores()
        memory = available_memory()
        streams = MOST_STREAMS if memory is None else max(1, memory // STREAM_BYTES)
        self.max_concurrency = min(MOST_STREAMS, self.threads, streams)
        # the compilation for a single tile, then, once it exists, the one with streams
        self._networks = [CompiledNetwork(export, threads=self.threads, streams=1)]
        # the first array initialises OpenVINO's numpy binding; two threads that do so at the same time never finish
        openvino.Tensor(np.zeros(1, np.uint8))
        self._lock = threading.Lock()  # guards `_calls`, `_is_compiling`, `_shapes`
        self._calls = 0
        self._is_compiling = False
        self._compared_shapes: set[tuple[int, ...]] = set()
        self._shapes: set[tuple[int, ...]] = set()  # of whole photos, in this compilation
        if self.manifest.whole:
            self.max_concurrency = 1

    def concurrency(self, tiles: int) -> int:
        """As `Runtime.concurrency`. Streams are faster than one call on all cores only when more than half are in use."""
        if self.max_concurrency == 1 or tiles <= self.max_concurrency / 2:
            return 1
        with self._lock:
            must_compile, self._is_compiling = not self._is_compiling, True
        if must_compile:
            # not a daemon, even if the calling thread is one: the interpreter must wait until OpenVINO has compiled
            threading.Thread(target=self._compile_streams, name="compile-streams", daemon=False).start()
        return self.max_concurrency if len(self._networks) > 1 else 1

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        """As `Runtime.logits`. Runs one tile after another; the result is a copy that the caller owns."""
        with self._lock:
            self._calls += 1
            if self.manifest.whole:
                self._renew(tiles[0].shape)
            networks = self._networks[: 1 if self._calls == 1 else 2]  # streams are for calls that overlap
        try:
            outputs = [self._logits(networks, tile) for tile in tiles]
        finally:
            with self._lock:
                self._calls -= 1
        return np.stack(outputs) if len(outputs) > 1 else outputs[0][None]

    def describe(self) -> dict[str, str]:
        facts = super().describe()
        file_sha256 = facts.pop("file_sha256")
        return facts | {"instructions": self.identity.instructions or "unknown", "file_sha256": file_sha256}

    def _renew(self, shape: tuple[int, ...]) -> None:
        """Has the network compiled anew from the shape of a whole photo on that is one too many. The lock is held."""
        self._shapes.add(shape)
        if len(self._shapes) > MOST_SHAPES and not self._is_compiling:
            self._is_compiling, self._shapes = True, {shape}
            threading.Thread(target=self._compile_anew, name="compile-anew", daemon=False).start()

    def _compile_anew(self) -> None:
        try:
            self._networks = [CompiledNetwork(self._export, threads=self.threads, streams=1)]
        except RuntimeUnavailable as error:  # the next `MOST_SHAPES` shapes try it again
            log.warning("%s: the network, which keeps memory for each shape, stays: %s", self.identity.name, error)
        finally:
            with self._lock:
                self._is_compiling = False

    def _compile_streams(self) -> None:
        try:
            self._networks.append(CompiledNetwork(self._export, threads=self.threads, streams=self.max_concurrency))
        except RuntimeUnavailable as error:
            self.max_concurrency = 1
            log.warning("%s: tiles now run one at a time, each on all cores: %s", self.identity.name, error)

    def _logits(self, networks: Sequence[CompiledNetwork], tile: Tile) -> Logits:
        """The tile's logits from the last of these networks. The first tile of a shape also runs in the first network."""
        single, streams = networks[0], networks[-1]
        logits = streams.logits(tile)
        if streams is single or tile.shape in self._compared_shapes:
            return logits
        reference = single.logits(tile)
        if reference.tobytes() == logits.tobytes():
            self._compared_shapes.add(tile.shape)
            return reference
        with self._lock:
            in_use, self._networks, self.max_concurrency = streams in self._networks, [single], 1
        if in_use:
            log.warning(
                "%s: a tile of %d x %d has other logits in a stream than on all cores (by up to %g): tiles now run one at a "
                "time, each on all cores", self.identity.name, *tile.shape[:2], float(np.abs(reference - logits).max()),
            )  # fmt: skip
        return reference


class CompiledNetwork:
    """An export, compiled with `threads` CPU threads in `streams` streams. Several threads may call `logits`."""

    def __init__(self, export: Export, *, threads: int, streams: int) -> None:
        options = {
            # also for int8 files: by default OpenVINO chooses bfloat16 on processors that support it
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": "NO",
            # set because OpenVINO considers only the CPU affinity, not the control group's quota
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            # recommended by the maintainers: github.com/openvinotoolkit/openvino/issues/23316
            "CPU_RUNTIME_CACHE_CAPACITY": KEPT_LAYERS,
        }
        try:
            self._model = openvino.Core().compile_model(export.model, "CPU", options)
        except RuntimeError as error:
            raise RuntimeUnavailable(f"OpenVINO cannot compile {export.path}: {error}") from error
        self.streams, self._stride, self._keeps_requests = streams, export.stride, export.manifest.whole is None
        self._idle: deque[Any] = deque()  # inference requests that are not running; each runs one call at a time

    def logits(self, tile: Tile) -> Logits:
        """Float32 logits (classes, rows, columns) of a tile (height, width, bands). Raises `MemoryError`."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        request.infer([np.ascontiguousarray(tile)[None]], share_inputs=True)
        output = request.get_output_tensor().data
        # where an allocation failed, a new request gives an empty output, another one that of its last tile, without an error
        cells = tile.shape[0] // self._stride, tile.shape[1] // self._stride
        if not output.size or (self._keeps_requests and output.shape[2:] != cells):
            raise MemoryError(f"there is too little memory for the network on {tile.shape[1]}x{tile.shape[0]} pixels")
        logits: Logits = output[0].copy()
        if self._keeps_requests:
            self._idle.append(request)
        elif tile.size > LARGE:
            self._model.release_memory()  # of maps as large as the photo; one call runs at a time
        return logits

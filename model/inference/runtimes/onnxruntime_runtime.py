"""Runs an exported network with ONNX Runtime: on CUDA for networks that exist as an ONNX file alone, or on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from common.command_line import install_command
from model.inference.cores import available_cores
from model.inference.merging import Logits
from model.inference.runtime import DeviceLost, DeviceOutOfMemory, Runtime, RuntimeUnavailable, Tile
from model.inference.runtimes.openvino_runtime import read_export

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
# as PyTorch computes float32 here: without TensorFloat-32; convolutions are planned without trying all ways for each shape
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
NO_MEMORY = ("failed to allocate memory", "out of memory", "available memory of")
LOST = ("cuda failure", "cudnn failure", "cublas failure")


class ONNXRuntime(Runtime):
    """A float32 export in ONNX Runtime. Several threads may call `logits`; calls run one after another on the device.

    device: `auto`, `cuda`, `cuda:N` or `cpu`. threads: CPU threads; 0 for one per core. Raises `WeightsError` or
    `RuntimeUnavailable`.
    """

    version = onnxruntime.__version__

    def __init__(self, path: Path, device: str = "auto", threads: int = 0) -> None:
        super().__init__(**(export := read_export(path)).facts("onnxruntime"))
        self.device = ("cuda" if sees_gpu() else "cpu") if device == "auto" else device
        self._session = _session(path, self.device, threads or available_cores(), keeps_memory=export.manifest.whole is None)
        self._input = self._session.get_inputs()[0].name

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        """As `Runtime.logits`. Runs one tile after another."""
        with _mapped_errors():
            outputs = [self._session.run(None, {self._input: np.ascontiguousarray(tile)[None]})[0] for tile in tiles]
        return np.concatenate(outputs)


def sees_gpu() -> bool:
    """Whether the installed ONNX Runtime is built for CUDA. Whether the device works shows when a network is loaded."""
    return PROVIDERS["cuda"] in onnxruntime.get_available_providers()


def _session(path: Path, device: str, threads: int, *, keeps_memory: bool) -> Any:
    """A session on this device. Raises `RuntimeUnavailable` if ONNX Runtime would run the network elsewhere.

    keeps_memory: of the CPU, from one call to the next, and a plan of it for each shape.
    """
    kind, _, index = device.partition(":")
    if kind not in PROVIDERS or (index and not (kind == "cuda" and index.isdecimal())):
        raise RuntimeUnavailable(f"ONNX Runtime serves on cuda, cuda:N or cpu, got device {device!r}")
    provider = PROVIDERS[kind]
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeUnavailable(
            f"the installed ONNX Runtime is not built for CUDA; {install_command('onnx-gpu')}, in an environment without the "
            "package onnxruntime"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors alone; they are raised as well
    options.enable_cpu_mem_arena = options.enable_mem_pattern = keeps_memory
    provider_options = CUDA_OPTIONS | {"device_id": index or "0"} if kind == "cuda" else {}
    if kind == "cuda":
        onnxruntime.preload_dlls()  # CUDA's libraries from NVIDIA's packages, where the system has none
    with _mapped_errors(f"ONNX Runtime cannot load {path} on {device}"):
        session = onnxruntime.InferenceSession(path.read_bytes(), options, [(provider, provider_options)])
    if provider not in session.get_providers():  # ONNX Runtime takes the CPU without an error
        raise RuntimeUnavailable(
            f"ONNX Runtime cannot use {device}, see its message above; check the driver and CUDA's libraries"
        )
    return session


@contextmanager
def _mapped_errors(loading: str = "") -> Iterator[None]:
    """Maps ONNX Runtime's errors, whose classes have no common base, by their texts.

    loading: what to say of an error that is neither of memory nor of a device, which then is `RuntimeUnavailable`.
    """
    try:
        yield
    except Exception as error:
        text = str(error).lower()
        if any(phrase in text for phrase in NO_MEMORY):
            raise DeviceOutOfMemory("the device's memory is full") from error
        if any(phrase in text for phrase in LOST):
            raise DeviceLost(f"the device has failed: {error}") from error
        if loading:
            raise RuntimeUnavailable(f"{loading}: {error}") from error
        raise

"""Chooses a runtime for a weights file, depending on the machine, the installed packages and the file's exports."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
from pathlib import Path
from typing import Literal, get_args

from common.command_line import install_command
from model.inference.instructions import int8_sums, limit_instructions, measure_instructions
from model.inference.runtime import Runtime, RuntimeUnavailable
from model.manifest import WeightsError
from model.weights_file import WeightsFiles, check_master

RuntimeName = Literal["auto", "openvino", "torch", "onnxruntime"]
Precision = Literal["auto", "float32", "int8", "bfloat16", "float16"]
RUNTIMES: tuple[str, ...] = get_args(RuntimeName)
PRECISIONS: tuple[str, ...] = get_args(Precision)
log = logging.getLogger("segment")
GPU_DRIVERS = (Path("/proc/driver/nvidia/version"), Path("/dev/dxg"))


def load_runtime(
    files: WeightsFiles, runtime: str = "auto", device: str = "auto", precision: str = "auto", threads: int = 0,
    cpu_isa: str = "auto",
) -> Runtime:  # fmt: skip
    """Loads the network of these files on a runtime, device and precision; each may be `auto`.

    `auto` takes the first of these that is possible: torch on an NVIDIA GPU, if torch sees one; ONNX Runtime there, for an
    ONNX file without a master; OpenVINO, if there is an export; torch on the CPU. threads: CPU threads; 0 for one per core.
    cpu_isa: of `CPU_ISAS`, the widest instructions for OpenVINO; the first load of a process decides for all. With `auto`, a
    processor with AMX is measured once. Raises `RuntimeUnavailable` or `WeightsError`.
    """
    if files.master:  # first: neither an export nor PyTorch helps where it is damaged
        check_master(files.master)
    runtime_name = _choose(files, runtime, device, precision)
    if runtime_name == "torch":
        from model.inference.runtimes.torch_runtime import TorchRuntime
        from model.weights_file import load_weights

        assert files.master is not None
        return TorchRuntime(load_weights(files.master), device, precision, threads)
    master, network = _master_sha256(files), _load_export(files, runtime_name, device, precision, threads, cpu_isa)
    if master not in (None, network.identity.sha256):
        raise WeightsError(
            f"the {network.identity.precision} export of {files.name} was made from a master of sha256 "
            f"{network.identity.sha256[:16]}..., the one beside it is {str(master)[:16]}...: make it again (fcn-export "
            f"--weights {files.master} --force), or remove it"
        )
    return network


def _load_export(files: WeightsFiles, runtime: str, device: str, precision: str, threads: int, cpu_isa: str) -> Runtime:
    if runtime == "onnxruntime":
        from model.inference.runtimes.onnxruntime_runtime import ONNXRuntime

        return ONNXRuntime(_export(files, "float32"), device, threads)
    from model.inference.runtimes.openvino_runtime import OpenVINORuntime

    limit_instructions(cpu_isa)  # before the precision is chosen, which depends on it
    path = _export(files, precision)
    if path == files.exports.get("int8"):
        measure_instructions(path, threads)
    return OpenVINORuntime(path, threads)


def _choose(files: WeightsFiles, runtime: str, device: str, precision: str) -> str:
    """`openvino`, `onnxruntime` or `torch`; raises `RuntimeUnavailable` with the reason if it cannot run."""
    if runtime not in RUNTIMES:
        raise RuntimeUnavailable(f"runtime must be one of {', '.join(RUNTIMES)}, got {runtime!r}")
    if precision not in PRECISIONS:
        raise RuntimeUnavailable(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if runtime == "auto":
        runtime = _best_runtime(files, device, precision)
    if problem := _problem(files, runtime, device, precision):
        raise RuntimeUnavailable(problem)
    return runtime


def _best_runtime(files: WeightsFiles, device: str, precision: str) -> str:
    """The runtime for `auto`. It may turn out to be missing."""
    on_cpu, is_float32 = device in ("auto", "cpu"), precision in ("auto", "float32")
    if files.master is None and "float32" in files.exports and is_float32 and device not in ("cpu", "mps"):
        if device != "auto" or _sees_gpu("onnxruntime"):
            return "onnxruntime"
        if _has_gpu():
            log.warning(
                "%s is an ONNX file alone, which runs on the CPU here; to run it on the GPU: %s",
                files.name,
                install_command("onnx-gpu"),
            )
    if not files.exports or precision in ("bfloat16", "float16") or not on_cpu or not _is_installed("openvino"):
        return "torch"
    on_gpu = files.master is not None and device == "auto" and precision != "int8" and _sees_gpu("torch")
    return "torch" if on_gpu else "openvino"


def _problem(files: WeightsFiles, runtime: str, device: str, precision: str) -> str | None:
    """Why a runtime cannot run these files, and what to do; None if it can."""
    is_installed = _is_installed(runtime)
    if runtime == "openvino":
        if device not in ("auto", "cpu"):
            return f"OpenVINO serves on the CPU, got device {device!r}; ask for runtime torch or onnxruntime"
        if precision in ("bfloat16", "float16"):
            return f"OpenVINO serves in float32 or int8, got {precision!r}; ask for runtime torch"
        return None if is_installed else "the package openvino is not installed; pip install openvino, or ask for runtime torch"
    if runtime == "onnxruntime":
        if precision not in ("auto", "float32"):
            return f"ONNX Runtime serves in float32, got {precision!r}; int8 is for OpenVINO, the rest for torch"
        return None if is_installed else f"the package onnxruntime is not installed; for a GPU: {install_command('onnx-gpu')}"
    if precision == "int8":
        return "int8 is for OpenVINO: it needs NAME.int8.onnx beside the weights (fcn-export --int8)"
    if files.master is None:
        return f"runtime torch needs {files.name}.safetensors, and only its export is there"
    exports = ", ".join(files.exports) or "none"
    needs = f"{files.name} needs PyTorch here (device {device}, precision {precision}, exports: {exports})"
    return None if is_installed else f"{needs}; {install_command('torch')}"


def _export(files: WeightsFiles, precision: str) -> Path:
    """The export to run in this precision; raises `RuntimeUnavailable` if it is missing."""
    if precision == "auto":
        precision = "int8" if "int8" in files.exports and ("float32" not in files.exports or _int8_pays(files)) else "float32"
    if precision not in files.exports:
        available = ", ".join(files.exports) or "none"
        raise RuntimeUnavailable(f"{files.name} has no export in {precision} (there: {available}); fcn-export makes one")
    return files.exports[precision]


def _master_sha256(files: WeightsFiles) -> str | None:
    """The sha256 of the master beside the exports; None if there is no master."""
    if files.master is None:
        return None
    try:
        with files.master.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{files.master} cannot be read: {error}") from error


def _int8_pays(files: WeightsFiles) -> bool:
    """Whether int8 is fast on this processor, and the scores in the file show that it loses almost no accuracy here."""
    from model.inference.runtimes.openvino_runtime import read_export

    sums = int8_sums()
    return sums is not None and read_export(files.exports["int8"]).manifest.allows_int8(sums)


def unused_gpu() -> str | None:
    """A message for a machine with an NVIDIA GPU that torch cannot use; None if there is no GPU, or torch can use it."""
    if not _has_gpu() or _sees_gpu("torch"):
        return None
    reason = "CUDA of the installed PyTorch does not see it" if _is_installed("torch") else "PyTorch is not installed"
    return f"there is a GPU, and {reason}; to serve on it: {install_command('torch')}"


def _has_gpu() -> bool:
    """Whether this machine has a driver for an NVIDIA GPU."""
    return any(path.exists() for path in GPU_DRIVERS)


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _sees_gpu(package: str) -> bool:
    """Whether the machine has an NVIDIA GPU that `torch` or `onnxruntime` can use, as far as the package knows.

    Imports torch, which takes seconds, only if a driver is installed.
    """
    if not _has_gpu() or not _is_installed(package):
        return False
    return bool(importlib.import_module(f"model.inference.runtimes.{package}_runtime").sees_gpu())

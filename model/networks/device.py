"""Parses and checks the names of devices and precisions."""

from __future__ import annotations

import re

import torch

NAMES = re.compile(r"cpu|mps|cuda(:(0|[1-9][0-9]?))?")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class DeviceError(ValueError):
    """An unknown or missing device, or an unknown precision."""


def choose_device(name: str) -> torch.device:
    """The device named `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; raises `DeviceError` if torch does not have it.

    `auto` is CUDA if torch sees a GPU, else the CPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not NAMES.fullmatch(name):
        raise DeviceError(f"device must be auto, cpu, cuda, cuda:N or mps, got {name!r}")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"device {name} is not there: torch sees {torch.cuda.device_count()} CUDA devices")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device mps is not there: torch finds no Metal device")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype named `float32`, `bfloat16`, `float16` or `auto`; raises `DeviceError` for another name.

    `auto` is bfloat16 on CUDA devices from Ampere on, else float32.
    """
    if name == "auto":
        native = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else torch.float32
    if name not in DTYPES:
        raise DeviceError(f"precision must be auto, {', '.join(DTYPES)}, got {name!r}")
    return DTYPES[name]


def dtype_name(dtype: torch.dtype) -> str:
    """The dtype's name as in settings, such as `bfloat16`."""
    return str(dtype).removeprefix("torch.")

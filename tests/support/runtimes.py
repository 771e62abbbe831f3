"""The runtimes and devices on which tests are repeated."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

RUNTIMES = ["openvino", pytest.param("torch", marks=pytest.mark.torch)]
ON_EACH_RUNTIME = pytest.mark.parametrize("client", RUNTIMES, indirect=True)
"""Of a test over HTTP whose answer the network's runtime can change; other ones ask the service on OpenVINO alone."""
needs_gpu = pytest.mark.skipif(
    not Path("/proc/driver/nvidia/version").exists() or not find_spec("torch"), reason="needs an NVIDIA GPU and PyTorch"
)
DEVICES = [
    pytest.param("cpu", marks=pytest.mark.torch),
    pytest.param("cuda", marks=[pytest.mark.cuda, pytest.mark.torch, needs_gpu]),
]

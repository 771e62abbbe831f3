"""The narrow network on OpenVINO: the runtime's own part of an image's work is in the parent of the workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.inference.loading import load_runtime
from model.inference.runtime import Runtime
from model.weights_file import find_files


@pytest.fixture(scope="session", params=["openvino", pytest.param("torch", marks=[pytest.mark.torch, pytest.mark.long])])
def runtime(request: pytest.FixtureRequest, narrow_file: Path) -> Runtime:
    """The narrow network in float32 on the CPU; on PyTorch in the long run alone."""
    return load_runtime(find_files(str(narrow_file)), request.param, "cpu", "float32", threads=1)

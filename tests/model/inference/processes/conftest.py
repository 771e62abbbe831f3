"""Workers in front of the narrow network on OpenVINO: the runtime's own part of an image's work is in their parent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from model.inference.loading import load_runtime
from model.inference.runtime import Runtime
from model.weights_file import find_files
from tests.support.model.workers import Asking, asking


@pytest.fixture(scope="session", params=["openvino", pytest.param("torch", marks=[pytest.mark.torch, pytest.mark.long])])
def runtime(request: pytest.FixtureRequest, narrow_file: Path) -> Runtime:
    """The narrow network in float32 on the CPU; on PyTorch in the long run alone."""
    return load_runtime(find_files(str(narrow_file)), request.param, "cpu", "float32", threads=1)


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio alone."""
    return "asyncio"


@pytest.fixture
async def it(runtime: Runtime) -> AsyncIterator[Asking]:
    """Two workers."""
    async with asking(runtime) as instance:
        yield instance


@pytest.fixture
async def one(runtime: Runtime) -> AsyncIterator[Asking]:
    """One worker."""
    async with asking(runtime, 1) as instance:
        yield instance

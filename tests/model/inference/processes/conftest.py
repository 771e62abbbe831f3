"""What the tests of worker processes share. To a worker a runtime is a description; the parent's runtime computes its tiles."""

from __future__ import annotations

import pytest

from model.inference.runtime import Runtime


@pytest.fixture(scope="session")
def runtime(openvino_runtime: Runtime) -> Runtime:
    return openvino_runtime

"""What the tests of the way from pixels to classes share."""

from __future__ import annotations

import pytest

from model.inference.runtime import Runtime
from model.inference.segmenter import Segmenter


@pytest.fixture(scope="module")
def segmenter(runtime: Runtime) -> Segmenter:
    return Segmenter(runtime)

"""The command for scenes with a narrow network that gives every class."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.inference.loading import load_runtime
from model.inference.segmenter import Segmenter
from model.weights_file import find_files


@pytest.fixture(scope="session")
def narrow_file(varied_file: Path) -> Path:
    return varied_file


@pytest.fixture(scope="session")
def segmenter(narrow_file: Path) -> Segmenter:
    return Segmenter(load_runtime(find_files(str(narrow_file)), "openvino", "cpu", "float32", threads=1))

"""Masks read by other libraries: the lines of `docs/index.md` give class ids, and the default mask gives what it says."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imaging.answer import Segmentation, SegmentedImage
from imaging.rendering import Rendering
from model.labels import voc_labels
from tests.support.checkout import ROOT

CLASS_MAP = np.random.default_rng(0).integers(0, 21, (30, 40)).astype(np.uint8)
CLASS_MAP[:3] = 255
MODULES = {"OpenCV": "cv2", "matplotlib": "matplotlib.pyplot", "imageio": "imageio.v3"}
NAMES = {"cv2": "cv2", "matplotlib.pyplot": "plt", "imageio.v3": "imageio"}
TABLE = (ROOT / "docs" / "index.md").read_text().partition("## Reading a mask")[2].partition("## ")[0]
ROWS = re.findall(r"^\| (\w+).*? \| `(.*)` \| (.*) \|$", TABLE, re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the default mask and the grey one, which is the working folder."""
    answer = SegmentedImage(Segmentation(CLASS_MAP), voc_labels(), {}, {})
    for name, rendering in (("mask", Rendering()), ("grey", Rendering("grey"))):
        (tmp_path / f"{name}.png").write_bytes(answer.encode(rendering))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(library: str, code: str) -> Any:
    names: dict[str, Any] = {"np": np, "Image": Image}
    if module := MODULES.get(library):
        pytest.importorskip(module)
        names[NAMES[module]] = importlib.import_module(module)
    return np.asarray(eval(code, names))


def test_the_table_has_a_line_for_each_library() -> None:
    assert [library for library, _, _ in ROWS] == ["Pillow", *MODULES]


@pytest.mark.parametrize(("library", "code", "words"), ROWS, ids=lambda value: value.split()[0])
def test_a_library_reads_class_ids_by_its_line_and_the_default_mask_as_it_says(
    folder: Path, library: str, code: str, words: str
) -> None:
    ids = read(library, code)
    assert ids.dtype == np.uint8
    np.testing.assert_array_equal(ids, CLASS_MAP)
    default = read(library, code.replace("grey.png", "mask.png"))
    assert np.array_equal(default, CLASS_MAP) == words.startswith("class ids")


def test_grey_levels_of_the_palette_are_no_ids(folder: Path) -> None:
    assert not np.array_equal(np.asarray(Image.open("mask.png").convert("L")), CLASS_MAP)
    cv2 = pytest.importorskip("cv2")
    assert not np.array_equal(cv2.imread("mask.png", cv2.IMREAD_GRAYSCALE), CLASS_MAP)
    assert cv2.imread("grey.png").shape == (*CLASS_MAP.shape, 3)
    colors = cv2.imread("mask.png", cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(colors[..., ::-1], np.array(voc_labels().palette, np.uint8)[CLASS_MAP])

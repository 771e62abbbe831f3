"""`fcn-segment`: files, folders and stdin, in the bytes of the corridor."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cli.arguments import parser
from imaging.answer import Answer, Rendering
from imaging.decoding import Limits, decode
from model.predictor import Predictor
from model.segmentation import Options, plan_image, run_in_batches, segment
from model.weights_file import Weights
from tests.cli.files import OTHER, PHOTO, Segment, files_in, written
from tests.conftest import ROOT


@pytest.fixture
def corridor(narrow: Weights) -> Callable[..., bytes]:
    """The corridor of the contract, walked step by step."""
    predictor = Predictor(narrow, "cpu", "float32")

    def corridor(data: bytes, rendering: Rendering, options: Options | None = None) -> bytes:
        image, manifest = decode(data, Limits()), narrow.manifest
        plan = plan_image((image.shape[0], image.shape[1]), options or Options(), manifest.preprocessing.side)
        result = segment(
            image, plan, run_in_batches(predictor), num_classes=len(manifest.labels), grid="corner", temperature=1.0
        )
        answer = Answer.of(result, manifest.labels, narrow.identity, plan.describe(), image)
        return answer.encode(rendering)

    return corridor


@pytest.mark.parametrize("format", ["png", "color", "overlay", "confidence"])
def test_a_file_becomes_the_corridors_bytes(format: Any, run: Segment, corridor: Callable[..., bytes], tmp_path: Path) -> None:
    written(tmp_path, {"photo.png": PHOTO})
    assert run(tmp_path / "photo.png", "-o", tmp_path / "out" / "mask.png", "--format", format, "--alpha", 0.3) == 0
    assert (tmp_path / "out" / "mask.png").read_bytes() == corridor(PHOTO, Rendering(format, alpha=0.3))
    assert files_in(tmp_path / "out") == ["mask.png"]


@pytest.mark.parametrize("mask", ["rle", "png", "array"])
def test_json_is_the_corridors_document(mask: Any, run: Segment, corridor: Callable[..., bytes], tmp_path: Path) -> None:
    written(tmp_path, {"photo.png": PHOTO})
    assert run(tmp_path / "photo.png", "-o", tmp_path / "photo.json", "--format", "json", "--mask", mask) == 0
    data = (tmp_path / "photo.json").read_bytes()
    assert data == corridor(PHOTO, Rendering("json", mask))
    document = json.loads(data)
    assert document["image"] == {"width": 101, "height": 70}
    assert document["model"]["name"] == "narrow"


def test_options_reach_the_corridor(run: Segment, corridor: Callable[..., bytes], tmp_path: Path) -> None:
    written(tmp_path, {"photo.png": PHOTO})
    extra = ["--tile", "64x96", "--overlap", 0.5, "--blend", "hann", "--side", 200, "--format", "json"]
    assert run(tmp_path / "photo.png", "-o", tmp_path / "a.json", *extra) == 0
    options = Options((64, 96), 0.5, "hann", 200)
    assert (tmp_path / "a.json").read_bytes() == corridor(PHOTO, Rendering("json"), options)
    assert json.loads((tmp_path / "a.json").read_bytes())["tiling"]["tiles"] > 1


@pytest.mark.parametrize("side", ["auto", "native", "64"])
def test_the_mask_has_the_images_size_at_every_working_side(side: str, run: Segment, tmp_path: Path) -> None:
    written(tmp_path, {"photo.png": PHOTO})
    assert run(tmp_path / "photo.png", "-o", tmp_path / "mask.png", "--side", side) == 0
    with Image.open(tmp_path / "mask.png") as mask:
        assert (mask.mode, mask.size) == ("P", (101, 70))
        assert np.asarray(mask).max() < 4


def test_threads_are_those_asked_for(run: Segment, tmp_path: Path) -> None:
    written(tmp_path, {"photo.jpg": OTHER})
    torch.set_num_threads(2)
    assert run(tmp_path / "photo.jpg", "-o", tmp_path / "mask.png", "--threads", 1) == 0
    assert torch.get_num_threads() == 1


def test_a_folder_is_mirrored_recursively(run: Segment, corridor: Callable[..., bytes], tmp_path: Path) -> None:
    files = {"a.png": PHOTO, "deep/er/b.JPG": OTHER, "deep/c.jpeg": OTHER, "notes.txt": b"text", "deep/data.json": b"{}"}
    written(tmp_path / "in", files)
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 0
    assert files_in(tmp_path / "out") == ["a.png", "deep/c.png", "deep/er/b.png"]
    assert (tmp_path / "out" / "a.png").read_bytes() == corridor(PHOTO, Rendering())
    assert (tmp_path / "out" / "deep" / "er" / "b.png").read_bytes() == corridor(OTHER, Rendering())


def test_files_and_folders_go_together_into_a_folder(run: Segment, tmp_path: Path) -> None:
    written(tmp_path, {"a.png": PHOTO, "in/b.jpg": OTHER})
    assert run(tmp_path / "a.png", tmp_path / "in", "-o", tmp_path / "out", "--format", "json") == 0
    assert files_in(tmp_path / "out") == ["a.json", "b.json"]


def test_a_file_goes_into_a_folder_under_its_own_name(run: Segment, tmp_path: Path) -> None:
    written(tmp_path, {"photo.jpg": OTHER})
    assert run(tmp_path / "photo.jpg", "-o", tmp_path / "out") == 0
    assert files_in(tmp_path / "out") == ["photo.png"]


def test_stdin_goes_to_stdout(narrow_file: Path, corridor: Callable[..., bytes]) -> None:
    command = [sys.executable, "-m", "cli.main", "-", "-o", "-", "--weights", str(narrow_file)]
    command += ["--device", "cpu", "--dtype", "float32", "--threads", "1"]
    done = subprocess.run(command, input=PHOTO, capture_output=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == corridor(PHOTO, Rendering())


def test_a_file_goes_to_stdout(
    run: Segment, corridor: Callable[..., bytes], tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    written(tmp_path, {"photo.png": PHOTO})
    assert run(tmp_path / "photo.png", "-o", "-", "--format", "json") == 0
    assert capsysbinary.readouterr().out == corridor(PHOTO, Rendering("json"))


def test_the_defaults_are_the_services() -> None:
    args = parser().parse_args(["photo.png", "-o", "mask.png"])
    assert (args.format, args.mask, args.blend, args.side, args.alpha) == ("png", "rle", "mean", "auto", 0.5)
    assert (args.tile, args.overlap, args.max_megapixels) == ((512, 512), 0.25, 100.0)

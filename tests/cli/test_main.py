"""`fcn-segment`: files, folders and stdin, in the bytes of the segmenter."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cli.arguments import options, parser
from cli.main import main
from imaging.decoding import Limits
from imaging.rendering import Rendering
from model.inference.merging import Logits
from model.inference.plan import Options
from model.inference.runtime import Runtime, Tile
from model.inference.segmenter import Segmenter
from model.inference.small_regions import parse_area
from tests.support.checkout import ROOT
from tests.support.cli.commands import command
from tests.support.cli.folders import OTHER, PHOTO, Segment, files_in, write_files

Expected = Callable[[bytes, Options], bytes]


@pytest.fixture(scope="module")
def expected(openvino_runtime: Runtime) -> Expected:
    """The bytes of a segmenter without a command around it."""
    segmenter = Segmenter(openvino_runtime)
    return lambda data, options: segmenter.segment(data, segmenter.plan(data, options)).body


@pytest.mark.parametrize(
    ("arguments", "ending", "options"),
    [
        ("--format cutout --classes circle", "png", Options(rendering=Rendering("cutout", classes=("circle",)))),
        ("--format hf", "json", Options(rendering=Rendering("hf"))),
        (
            "--format overlay --image-format jpeg --classes Circle,3 --palette labels --no-names --width 50 --height 40",
            "jpg",
            Options(
                rendering=Rendering(
                    "overlay", classes=("circle", "3"), palette="labels", names=False, image_format="jpeg", width=50, height=40
                )
            ),
        ),
        (
            "--format json --mask polygons --topology shared --min-area 50 --fill-holes 0.5%",
            "json",
            Options(
                rendering=Rendering("json", "polygons", topology="shared"),
                min_area=parse_area("50"),
                fill_holes=parse_area("0.5%"),
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_parameter_reaches_the_segmenter_here_and_on_a_service(
    arguments: str, ending: str, options: Options, run: Segment, narrow_url: str, expected: Expected, tmp_path: Path
) -> None:
    write_files(tmp_path, {"photo.png": PHOTO})
    here, there = tmp_path / f"here.{ending}", tmp_path / f"there.{ending}"
    assert run(tmp_path / "photo.png", "-o", here, *arguments.split()) == 0
    assert here.read_bytes() == expected(PHOTO, options)
    assert main([str(tmp_path / "photo.png"), "-o", str(there), *arguments.split(), "--server", narrow_url]) == 0
    assert there.read_bytes() == here.read_bytes()


def test_options_reach_the_expected(run: Segment, expected: Expected, tmp_path: Path) -> None:
    write_files(tmp_path, {"photo.png": PHOTO})
    extra = ["--tile", "64x96", "--overlap", 0.5, "--blend", "hann", "--side", 200, "--format", "json"]
    assert run(tmp_path / "photo.png", "-o", tmp_path / "a.json", *extra) == 0
    options = Options(tile=(64, 96), overlap=0.5, blend="hann", side=200, rendering=Rendering("json"))
    assert (tmp_path / "a.json").read_bytes() == expected(PHOTO, options)
    assert json.loads((tmp_path / "a.json").read_bytes())["tiling"]["tiles"] > 1


@pytest.mark.torch
def test_threads_runtime_and_precision_are_those_asked_for(
    run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from model.inference.runtimes.torch_runtime import TorchRuntime

    threads: list[int] = []
    logits = TorchRuntime.logits

    def count_threads(runtime: TorchRuntime, tiles: Sequence[Tile]) -> Logits:
        result = logits(runtime, tiles)
        threads.append(torch.get_num_threads())  # of the thread that runs the network
        return result

    monkeypatch.setattr(TorchRuntime, "logits", count_threads)
    write_files(tmp_path, {"photo.jpg": OTHER})
    torch.set_num_threads(2)
    extra = ["--format", "json", "--runtime", "torch", "--precision", "bfloat16", "--threads", 1]
    assert run(tmp_path / "photo.jpg", "-o", tmp_path / "a.json", *extra) == 0
    assert set(threads) == {1}
    model = json.loads((tmp_path / "a.json").read_bytes())["model"]
    assert (model["name"], model["runtime"], model["precision"]) == ("narrow", "torch", "bfloat16")


def test_a_folder_is_mirrored_recursively(run: Segment, expected: Expected, tmp_path: Path) -> None:
    files = {"a.png": PHOTO, "deep/er/b.JPG": OTHER, "deep/c.jpeg": OTHER, "notes.txt": b"text", "deep/data.json": b"{}"}
    write_files(tmp_path / "in", files)
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 0
    assert files_in(tmp_path / "out") == ["a.png", "deep/c.png", "deep/er/b.png"]
    assert (tmp_path / "out" / "a.png").read_bytes() == expected(PHOTO, Options())
    assert (tmp_path / "out" / "deep" / "er" / "b.png").read_bytes() == expected(OTHER, Options())


def test_stdin_goes_to_stdout(narrow_file: Path, expected: Expected) -> None:
    run = subprocess.run(command(narrow_file, "-", "-o", "-"), input=PHOTO, capture_output=True, cwd=ROOT, check=False)
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout == expected(PHOTO, Options())


def test_the_defaults_are_the_services() -> None:
    args = parser().parse_args(["photo.png", "-o", "mask.png"])
    assert options(args) == Options()
    assert args.max_megapixels == Limits.megapixels

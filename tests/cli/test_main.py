"""`fcn-segment`: files, folders and stdin, in the bytes of the corridor, with errors where they belong."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cli.arguments import parser
from cli.main import main
from imaging.answer import Answer, Rendering
from imaging.decoding import Limits, decode
from model.predictor import Predictor
from model.segmentation import Options, plan_image, run_in_batches, segment
from model.weights_file import Weights
from tests.conftest import encoded, make_photo

ROOT = Path(__file__).parents[2]
Segment = Callable[..., int]
PHOTO = encoded(make_photo(70, 101))
OTHER = encoded(make_photo(40, 33, seed=1), "JPEG")


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    """Puts back the number of threads, which the command sets for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(narrow_file: Path) -> Segment:
    """Runs the command with the narrow network; gives its exit status."""

    def run(*arguments: object) -> int:
        options = ["--weights", str(narrow_file), "--device", "cpu", "--dtype", "float32", "--threads", "1"]
        return main([*map(str, arguments), *options])

    return run


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


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


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


def test_a_broken_file_among_good_ones_is_named_and_the_others_are_done(
    run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"a.png": PHOTO, "b.png": PHOTO[: len(PHOTO) // 2], "c.png": b"", "d.jpg": b"hello", "e.jpg": OTHER}
    written(tmp_path / "in", files)
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 1
    assert files_in(tmp_path / "out") == ["a.png", "e.png"]
    lines = capsys.readouterr().err.splitlines()
    assert lines.pop() == "fcn-segment: 3 of 5 failed"
    for line, name, reason in zip(lines, ("b.png", "c.png", "d.jpg"), ("damaged", "empty", "none of PNG"), strict=True):
        assert line.startswith(f"fcn-segment: {tmp_path / 'in' / name}: ")
        assert reason in line


def test_an_image_above_the_limit_fails_with_both_numbers(
    run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, {"photo.png": PHOTO})
    assert run(tmp_path / "photo.png", "-o", tmp_path / "mask.png", "--max-megapixels", 0.001) == 1
    assert "101x70" in (error := capsys.readouterr().err)
    assert "at most 0.001 megapixels" in error
    assert not (tmp_path / "mask.png").exists()


def test_an_array_that_is_too_large_fails_with_a_way_out(
    run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    buffer = io.BytesIO()
    Image.new("1", (2001, 2000)).save(buffer, "PNG")
    written(tmp_path, {"large.png": buffer.getvalue()})
    assert run(tmp_path / "large.png", "-o", tmp_path / "a.json", "--format", "json", "--mask", "array") == 1
    assert "mask=rle or mask=png" in capsys.readouterr().err


def test_an_answer_that_cannot_be_written_is_named(run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, {"photo.png": PHOTO, "file": b""})
    assert run(tmp_path / "photo.png", "-o", tmp_path / "file" / "mask.png") == 1
    assert "photo.png: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "form"),
    [(["a/photo.png", "b/photo.png"], "files"), (["in/photo.png", "in/photo.jpg"], "folder")],
    ids=["two files of one name", "two endings in one folder"],
)
def test_no_answer_overwrites_another(names: list[str], form: str, run: Segment, tmp_path: Path) -> None:
    written(tmp_path, dict(zip(names, (PHOTO, OTHER), strict=True)))
    inputs = [tmp_path / name for name in names] if form == "files" else [tmp_path / "in"]
    status = run(*inputs, "-o", tmp_path / "out")
    assert status == 2 or len(files_in(tmp_path / "out")) == 2


def test_no_answer_overwrites_its_image(run: Segment, tmp_path: Path) -> None:
    written(tmp_path / "in", {"photo.png": PHOTO})
    run(tmp_path / "in", "-o", tmp_path / "in")
    assert (tmp_path / "in" / "photo.png").read_bytes() == PHOTO


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png", "-o", "out"], "no file or folder 'nowhere.png'"),
        (["{photo}", "nowhere", "-o", "out"], "no file or folder 'nowhere'"),
        (["{empty}", "-o", "out"], "no images in "),
        (["{photo}", "{photo}", "-o", "-"], "-o - takes one image"),
        (["{photo}", "-o", "a.png", "--weights", "nothing"], "no weights file 'nothing'"),
        (["{photo}", "-o", "a.png", "--weights", "{photo}"], "is not a safetensors file"),
        (["{photo}", "-o", "a.png", "--device", "abacus"], "device must be auto, cpu"),
        (["{photo}", "-o", "a.png", "--overlap", "0.6"], "overlap must be between 0 and 0.5"),
        (["{photo}", "-o", "a.png", "--overlap", "nan"], "overlap must be between 0 and 0.5"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_start_is_told_with_status_2(
    arguments: list[str], message: str, narrow_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, {"photo.png": PHOTO})
    (tmp_path / "empty").mkdir()
    given = [argument.format(photo=tmp_path / "photo.png", empty=tmp_path / "empty") for argument in arguments]
    weights = [] if "--weights" in given else ["--weights", str(narrow_file)]
    assert main([*given, *weights]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fcn-segment: ")
    assert message in error


@pytest.mark.parametrize(
    "extra",
    [
        ["--format", "gif"],
        ["--mask", "outlines"],
        ["--blend", "max"],
        ["--side", "31"],
        ["--side", "16385"],
        ["--side", "wide"],
        ["--tile", "100"],
        ["--tile", "0"],
        ["--overlap", "half"],
        ["--alpha", "1.5"],
        ["--alpha", "-0.1"],
        ["--alpha", "nan"],
        ["--dtype", "int8"],
        ["--nonsense"],
    ],
    ids=" ".join,
)
def test_bad_arguments_exit_with_status_2_and_are_named(
    extra: list[str], narrow_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, {"photo.png": PHOTO})
    weights = ["--weights", str(narrow_file)]
    status = exit_status(
        [str(tmp_path / "photo.png"), "-o", str(tmp_path / "mask.png"), "--format", "overlay", *weights, *extra]
    )
    assert status == 2
    assert extra[0].lstrip("-") in capsys.readouterr().err


def exit_status(arguments: list[str]) -> object:
    try:
        return main(arguments)
    except SystemExit as leaving:
        return leaving.code


def test_in_and_out_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status([]) == 2
    assert exit_status(["photo.png"]) == 2
    assert "-o" in capsys.readouterr().err


def test_the_defaults_are_the_services() -> None:
    args = parser().parse_args(["photo.png", "-o", "mask.png"])
    assert (args.format, args.mask, args.blend, args.side, args.alpha) == ("png", "rle", "mean", "auto", 0.5)
    assert (args.tile, args.overlap, args.max_megapixels) == ((512, 512), 0.25, 100.0)

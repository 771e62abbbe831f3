"""What `fcn-segment` refuses before it does anything: a line that says what does not go, status 2, and no output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli.folders import PHOTO, Segment, files_in, write_files

NO_NUMBERS = [  # words that argparse or an option's own check refuses, which are named with their option
    ["--format", "gif"], ["--mask", "outlines"], ["--side", "31"], ["--side", "wide"], ["--tile", "100"], ["--tile", "-32"],
    ["--tolerance", "nan"], ["--tolerance", "101"], ["--threads", "-1"], ["--threads", "two"], ["--max-megapixels", "0"],
    ["--max-megapixels", "inf"], ["--min-area", "-5"], ["--fill-holes", "half"], ["--overlap", "0.6"], ["--shard", "3/3"],
    ["--shard", "a/b"], ["--cpu-isa", "AVX3"], ["--nonsense"],
]  # fmt: skip
OF_A_FORMAT = [
    ("--format polygons", "argument --format: 'polygons' is how json and coco write regions: --format json --mask polygons"),
    ("--format overlay --classes circel", "did you mean 'circle'?"),
    ("--classes circle", "--classes applies to --format color, overlay"),
    ("--image-format jpeg", "--image-format applies to"),
    ("--alpha 0.5", "--alpha applies to --format overlay, got --format png; give --format overlay, or leave --alpha"),
    ("--mask polygons", "give --format json --mask polygons, or leave --mask out"),
    ("--format json --probabilities", "--probabilities applies to"),
    ("--format coco --tolerance 1", "with --mask polygons, got --format coco, --mask rle; give --mask polygons"),
    ("--model narrow", "--model chooses a model of a service; give --server URL, or --weights instead"),
    ("--api-key secret", "--api-key is for a service; give --server URL"),
    ("--server http://127.0.0.1:9 --tile 96", "--tile is set by the service"),
    ("--weights nothing", "no weights file 'nothing'"),
    ("--weights list.txt", "'list.txt' is no weights file, whose name ends in .int8.onnx or .onnx or .safetensors; give"),
    ("--weights empty/export.onnx", "export.onnx is damaged, or no network that OpenVINO reads"),
    ("--precision int8", "has no export in int8"),
    ("--runtime openvino --precision bfloat16", "OpenVINO serves in float32 or int8"),
]
OF_TORCH = [
    ("--weights empty/broken.safetensors", "is not a safetensors file"),
    ("--device abacus", "device must be auto, cpu"),
]
OF_PLACES = [
    ("", "-o/--out"),
    ("photo.png", "-o/--out"),
    ("nowhere.png -o out", "no file or folder 'nowhere.png'"),
    ("empty -o out", "no images in "),
    ("photo.png photo.png -o -", "-o - takes one image"),
    ("photo.png --from-file names -o out", "give IN or --from-file, and not both"),
    ("-o out", "give IN or --from-file, and not both"),
    ("--from-file /dev/null -o empty", "no names in /dev/null"),
    ("--from-file list.txt -o out --rank list.txt", "or to that of --from-file; give each its own"),
    ("in -o out --rank r.txt --resume", "--rank orders all images, and --resume skips some"),
    ("in -o out --rank r.txt --shard 0/2", "--rank orders all images, and --shard does a part of them"),
    ("in -o out --rank-by background", "--rank-by says the order of --rank FILE"),
    ("in -o out --rank in", "must be a file or an object"),
    ("in -o out --rank in/0.png", "would overwrite an image"),
    ("in -o out --rank /dev/stdout --json", "--json and --rank /dev/stdout would both"),
    ("in -o - --rank rank.txt --json", "--json and -o - would both"),
    ("in -o out --rank link.txt --results ./rows.jsonl", "-o, --rank and --results would write to one file"),
    ("in -o file/out", "file/out"),
    ("in -o /proc/none", "/proc/none"),
    ("in -o file/one.json --format coco", "file"),
    ("in -o one.json --format coco --shard 0/2", "without --shard; give a folder, such as -o one/"),
    ("in -o s3://bucket/one.json --format coco", "goes to a file on this machine"),
    ("in -o out --rank file/rank.txt", "file/rank.txt"),
    ("in -o out --rank circle", "circle"),
    (f"in -o out --rank {'x' * 256}", "x" * 256),
    ("in -o out --results /proc/none/rows.jsonl", "/proc/none/rows.jsonl"),
    ("in -o out --results folder.jsonl", "folder.jsonl"),
]
CASES: list[tuple[str, str]] = [
    *((" ".join(["photo.png -o mask.png", *words]), words[0].lstrip("-")) for words in NO_NUMBERS),
    *((f"photo.png -o mask.png {words}", message) for words, message in OF_A_FORMAT),
    *OF_PLACES,
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Photos and other things at names that outputs would take; it stays as it is."""
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, {"photo.png": PHOTO, "in/0.png": PHOTO, "list.txt": b"in/0.png\n", "file": b"", "t.parquet": b""})
    write_files(tmp_path / "empty", {"broken.safetensors": b"text", "export.onnx": b"text"})
    Path("folder.jsonl").mkdir()
    Path("circle").symlink_to("circle")
    Path("link.txt").symlink_to("rows.jsonl")
    before = files_in(tmp_path)
    yield tmp_path
    assert files_in(tmp_path) == before


def assert_refused(run: Segment, words: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        status: object = run(*words.split())
    except SystemExit as leaving:
        status = leaving.code
    assert status == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("fcn-segment: ")
    assert message in line
    assert not re.search(r"invalid \w+ value", line)  # argparse's words for a function's name


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("words", "message"), CASES, ids=lambda value: value[:60])
def test_what_does_not_go_is_a_line_before_the_run(
    words: str, message: str, run: Segment, capfd: pytest.CaptureFixture[str]
) -> None:
    assert_refused(run, words, message, capfd)


@pytest.mark.torch
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("words", "message"), OF_TORCH)
def test_so_is_what_torch_does_not_take(words: str, message: str, run: Segment, capfd: pytest.CaptureFixture[str]) -> None:
    assert_refused(run, f"photo.png -o mask.png {words}", message, capfd)


@pytest.mark.usefixtures("folder")
def test_a_table_at_a_name_that_is_taken_is_refused(run: Segment, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow", reason="the extra table is not installed")
    assert_refused(run, "in -o out --results t.parquet", "t.parquet", capfd)

"""`fcn-segment` names what it cannot segment, write or understand, and does the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.main import main
from tests.support.cli.folders import OTHER, PHOTO, Segment, files_in, write_files


def test_a_broken_file_among_good_ones_is_named_and_the_others_are_done(
    run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"a.png": PHOTO, "b.png": PHOTO[: len(PHOTO) // 2], "c.png": b"", "d.jpg": b"hello", "e.jpg": OTHER}
    write_files(tmp_path / "in", files)
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 3
    assert files_in(tmp_path / "out") == ["a.png", "e.png"]
    lines = capsys.readouterr().err.splitlines()
    assert lines.pop() == "fcn-segment: 3 of 5 failed"
    for line, name, reason in zip(lines, ("b.png", "c.png", "d.jpg"), ("damaged", "empty", "none of PNG"), strict=True):
        assert line.startswith(f"fcn-segment: {tmp_path / 'in' / name}: ")
        assert reason in line


def test_an_image_above_the_limit_fails_with_both_numbers(
    run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path, {"photo.png": PHOTO})
    assert run(tmp_path / "photo.png", "-o", tmp_path / "mask.png", "--max-megapixels", 0.001) == 3
    assert "101x70" in (error := capsys.readouterr().err)
    assert "at most 0.001 megapixels" in error
    assert not (tmp_path / "mask.png").exists()


def test_no_answer_overwrites_its_image(run: Segment, tmp_path: Path) -> None:
    write_files(tmp_path / "in", {"photo.png": PHOTO})
    run(tmp_path / "in", "-o", tmp_path / "in")
    assert (tmp_path / "in" / "photo.png").read_bytes() == PHOTO


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png", "-o", "out"], "no file or folder 'nowhere.png'"),
        (["{empty}", "-o", "out"], "no images in "),
        (["{photo}", "{photo}", "-o", "-"], "-o - takes one image"),
        (["{photo}", "--from-file", "names", "-o", "out"], "give IN or --from-file, and not both"),
        (["-o", "out"], "give IN or --from-file, and not both"),
        (["--from-file", "/dev/null", "-o", "{empty}"], "no names in /dev/null"),
        (["{photo}", "-o", "a.png", "--weights", "nothing"], "no weights file 'nothing'"),
        pytest.param(
            ["{photo}", "-o", "a.png", "--weights", "{empty}/broken.safetensors"],
            "is not a safetensors file",
            marks=pytest.mark.torch,
        ),
        (["{photo}", "-o", "a.png", "--weights", "{empty}/export.onnx"], "is no file of fcn-export"),
        pytest.param(["{photo}", "-o", "a.png", "--device", "abacus"], "device must be auto, cpu", marks=pytest.mark.torch),
        (["{photo}", "-o", "a.png", "--precision", "int8"], "has no export in int8"),
        (["{photo}", "-o", "a.png", "--runtime", "openvino", "--precision", "bfloat16"], "OpenVINO serves in float32 or int8"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_start_is_told_with_status_2(
    arguments: list[str], message: str, narrow_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path, {"photo.png": PHOTO})
    write_files(tmp_path / "empty", {"broken.safetensors": b"text", "export.onnx": b"text"})
    command = [argument.format(photo=tmp_path / "photo.png", empty=tmp_path / "empty") for argument in arguments]
    weights = [] if "--weights" in command else ["--weights", str(narrow_file)]
    assert main([*command, *weights]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fcn-segment: ")
    assert message in error


@pytest.mark.parametrize(
    "extra",
    [
        ["--format", "gif"], ["--mask", "outlines"], ["--side", "31"], ["--side", "wide"], ["--tile", "100"], ["--tile", "-32"],
        ["--tolerance", "nan"], ["--tolerance", "101"], ["--threads", "-1"], ["--threads", "two"], ["--max-megapixels", "0"],
        ["--max-megapixels", "inf"], ["--min-area", "-5"], ["--fill-holes", "half"], ["--overlap", "0.6"], ["--shard", "3/3"],
        ["--shard", "a/b"], ["--cpu-isa", "AVX3"], ["--nonsense"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_bad_arguments_exit_with_status_2_and_are_named(extra: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(["photo.png", "-o", "mask.png", *extra]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fcn-segment: ")
    assert extra[0].lstrip("-") in line
    assert not re.search(r"invalid \w+ value", line)  # argparse's words for a function's name


def exit_status(arguments: list[str]) -> object:
    try:
        return main(arguments)
    except SystemExit as leaving:
        return leaving.code


def test_in_and_out_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status([]) == 2
    assert exit_status(["photo.png"]) == 2
    assert [line.count("-o/--out") for line in capsys.readouterr().err.splitlines()] == [1, 1]

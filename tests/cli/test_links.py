"""Names that are no plain files: links, pipes, sockets, empty words, and output names of another kind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT, SEGMENT
from tests.support.cli.folders import PHOTO, Segment, files_in, write_files


def test_what_has_an_image_s_name_and_cannot_be_read_is_a_line(
    run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_files(tmp_path / "in", {"a.png": PHOTO})
    (folder / "broken.png").symlink_to("nowhere.png")
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "link.png").symlink_to("a.png")
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "socket.png"))
    for inputs in ([folder], [folder / "*"]):
        assert run(*inputs, "-o", tmp_path / "out") == 3
        assert files_in(tmp_path / "out") == ["a.png", "link.png"]
        lines = capsys.readouterr().err.splitlines()
        assert lines.pop() == "fcn-segment: 4 of 6 failed"
        for line, name in zip(lines, ("broken", "circle", "pipe", "socket"), strict=True):
            assert line.startswith(f"fcn-segment: {folder / name}.png: ")


@pytest.mark.parametrize("arguments", [["", "-o", "out"], ["photo.png", "", "-o", "out"], ["photo.png", "-o", ""]])
def test_an_empty_name_is_no_folder(
    arguments: list[str], run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path, {"photo.png": PHOTO})
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    assert "a name is empty, perhaps from a variable that is not set" in capsys.readouterr().err
    assert files_in(tmp_path) == ["photo.png"]


def test_the_case_of_an_ending_is_as_given_and_a_folder_may_have_one(run: Segment, tmp_path: Path) -> None:
    write_files(tmp_path, {"photo.png": PHOTO})
    (tmp_path / "folder.png").mkdir()
    assert run(tmp_path / "photo.png", "-o", tmp_path / "MASK.PNG") == 0
    assert run(tmp_path / "photo.png", "-o", tmp_path / "folder.png") == 0
    assert files_in(tmp_path) == ["MASK.PNG", "folder.png/photo.png", "photo.png"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_file_is_no_folder_for_answers(count: int, run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_files(tmp_path, {"in/a.png": PHOTO, "in/b.png": PHOTO, "file": b"mine"})
    inputs = [tmp_path / "in" / name for name in ("a.png", "b.png")[:count]]
    for out in (tmp_path / "file", os.devnull):
        assert run(*inputs, "-o", out) == 2
        assert capsys.readouterr().err == f"fcn-segment: -o {out} is no folder; give one for the answers\n"
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("arguments", "stream", "status", "words"),
    [
        (["{photo}", "-o", "-"], 1, 3, "stdout is closed"),
        (["{photo}", "-o", "{out}", "--json"], 1, 2, "stdout is closed"),
        (["-", "-o", "{out}"], 0, 3, "stdin: it is closed"),
    ],
)
def test_closed_streams_are_told(
    arguments: list[str], stream: int, status: int, words: str, narrow_file: Path, tmp_path: Path
) -> None:
    write_files(tmp_path, {"photo.png": PHOTO})
    photo_arguments = [each.format(photo=tmp_path / "photo.png", out=tmp_path / "mask.png") for each in arguments]
    program = (
        f"import os, sys; os.close({stream}); os.execv(sys.executable, [sys.executable, '-c', {SEGMENT!r}, *sys.argv[1:]])"
    )
    options = ["--weights", str(narrow_file), "--device", "cpu", "--precision", "float32", "--threads", "1"]
    command = [sys.executable, "-c", program, *photo_arguments, *options]
    run = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr.count("\n")) == (status, 1)
    assert words in run.stderr
    assert not (tmp_path / "mask.png").exists()

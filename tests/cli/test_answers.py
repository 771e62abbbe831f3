"""Where answers go: a file, a folder, stdout or a refusal; and how they are written."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cli.answers import STALE_S, STATE, Answers, open_answers
from cli.input import Input


@pytest.mark.parametrize(
    ("out", "suffix", "single", "file"),
    [
        ("-", ".png", True, True),
        ("mask.png", ".png", True, True),
        ("MASK.PNG", ".png", True, True),
        ("picture.jpeg", ".jpg", True, True),
        ("s3://bucket/mask.png", ".png", True, True),
        ("masks", ".png", True, False),
        ("masks.v2", ".png", False, False),
        ("mask.png/", ".png", False, False),
        ("s3://bucket/masks", ".json", False, False),
    ],
)
def test_an_output_is_a_file_or_a_folder(out: str, suffix: str, single: bool, file: bool, tmp_path: Path) -> None:
    assert open_answers(out, suffix, single) == Answers(out, suffix, file)


@pytest.mark.parametrize(
    ("out", "single", "words"),
    [
        ("-", False, "takes one image"),
        ("mask.png", False, "takes one image"),
        ("x.json", False, "takes one image"),
        ("x.json", True, "the answer is a .png file"),
        ("out.jpg", True, "the answer is a .png file"),
        ("s3://bucket/out.webp", True, "the answer is a .png file"),
        (os.devnull, True, "is no folder"),
    ],
)
def test_an_output_that_fits_neither_is_refused(out: str, single: bool, words: str) -> None:
    with pytest.raises(OSError, match=words):
        open_answers(out, ".png", single)


@pytest.mark.parametrize("answer", ["../a", "a/../../b", "a/../b"])
def test_no_name_leads_out_of_the_output_folder(answer: str) -> None:
    image = Input("s3://bucket/a.png", "a.png", answer)
    with pytest.raises(OSError, match="has no place below out"):
        Answers("out", ".png").target(image)


def test_a_killed_runs_partial_files_are_removed_after_a_day(tmp_path: Path) -> None:
    folder = tmp_path / STATE
    folder.mkdir()
    names = ["old.part", "new.part", "old.jsonl"]
    for name in names:
        (folder / name).write_bytes(b"part")
        if name.startswith("old"):
            os.utime(folder / name, (past := time.time() - STALE_S - 1, past))
    Answers(str(tmp_path), ".png").remove_stale()
    assert sorted(path.name for path in folder.iterdir()) == ["new.part", "old.jsonl"]


def test_an_answer_is_whole_or_not_there(tmp_path: Path) -> None:
    answers = Answers(str(tmp_path / "out"), ".png")
    target = answers.target(Input("in/a/1.jpg", "a/1.jpg", "a/1"))
    assert not Path(target).exists()
    answers.write(target, b"mask")
    assert answers.written(target).startswith("4 ")
    assert Path(target).read_bytes() == b"mask"
    assert not list((tmp_path / "out" / STATE).iterdir())

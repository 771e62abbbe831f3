"""`fcn-segment` over many images: patterns, resuming, lines for scripts, completion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli.folders import OTHER, PHOTO, Segment, files_in, write_files


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_resume_leaves_out_what_is_there_and_makes_the_rest(run: Segment, capsys: pytest.CaptureFixture[str]) -> None:
    write_files(Path("in"), {"1.png": PHOTO, "2.png": PHOTO})
    assert run("in", "-o", "out") == 0
    write_files(Path("in"), {"3.png": PHOTO, "4.png": PHOTO})
    inode = Path("out/1.png").stat().st_ino
    assert run("in", "-o", "out", "--resume") == 0
    assert Path("out/1.png").stat().st_ino == inode
    answers = {Path(f"out/{number}.png").read_bytes() for number in range(1, 5)}
    assert len(answers) == 1
    assert "2 skipped" in capsys.readouterr().err
    Path("out/1.png").unlink()
    assert run("in", "-o", "out", "--resume") == 0
    assert files_in(Path("out")) == ["1.png", "2.png", "3.png", "4.png"]
    assert run("in", "-o", "out") == 0
    assert Path("out/2.png").stat().st_ino != inode


def test_resume_does_again_what_would_be_another_answer(run: Segment, capsys: pytest.CaptureFixture[str]) -> None:
    write_files(Path("in"), {"1.png": PHOTO, "2.png": PHOTO})
    assert run("in", "-o", "out", "--side", 64) == 0
    for arguments, line in [
        (["--side", 64], "2 skipped"),
        (["--side", 96], ""),
        (["--side", 96, "--results", "r.jsonl"], "2 skipped"),
        (["--side", 64, "--tile", 64], ""),
        (["--side", 64, "--format", "overlay"], ""),
        (["--side", 64], ""),
    ]:
        assert run("in", "-o", "out", "--resume", *arguments) == 0
        assert line in (messages := capsys.readouterr().err)
        assert ("the last run there had other options" in messages) == (not line)
    write_files(Path("in"), {"2.png": OTHER})
    assert run("in", "-o", "out", "--resume", "--side", 64) == 0
    assert "1 skipped" in capsys.readouterr().err


def test_with_json_each_image_has_a_line_on_stdout(run: Segment, capsys: pytest.CaptureFixture[str]) -> None:
    write_files(Path("in"), {"3.png": PHOTO})
    assert run("in", "-o", "out") == 0
    write_files(Path("in"), {"1.png": PHOTO, "2.png": b"text"})
    assert run("in", "-o", "out", "--json", "--resume") == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    by_source = {line["source"]: line for line in lines}
    statuses = {name: by_source[name]["status"] for name in sorted(by_source)}
    assert statuses == {"in/1.png": "done", "in/2.png": "failed", "in/3.png": "skipped"}
    assert "none of PNG" in by_source["in/2.png"]["error"]
    assert by_source["in/1.png"]["target"] == "out/1.png"
    assert by_source["in/1.png"]["seconds"] > 0

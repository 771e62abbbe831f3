"""Names, files and tables that a run must survive: each is one row or one line, and never another image's answer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli import stores
from cli.table import open_table
from tests.support.cli.folders import OTHER, PHOTO, Segment, files_in, write_files
from tests.support.images import encode, make_photo


def test_a_null_byte_in_a_list_is_one_problem(run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_files(tmp_path / "in", {"a.png": PHOTO, "c.png": OTHER})
    names = tmp_path / "names"
    names.write_bytes(f"{folder}/a.png\n{folder}/a\0b.png\n{folder}/c.png\n".encode())
    assert run("--from-file", names, "-o", tmp_path / "out") == 3
    assert len(files_in(tmp_path / "out")) == 2
    assert "null byte" in capsys.readouterr().err


def test_an_image_of_another_folder_is_another_image(run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also if its name, size and time are the same."""
    for name, seed in (("A", 0), ("B", 1)):
        file = write_files(tmp_path / name, {"x.bmp": encode(make_photo(40, 40, seed=seed), "BMP")}) / "x.bmp"
        os.utime(file, ns=(10**18, 10**18))
    for name, status in (("A", "done"), ("A", "skipped"), ("B", "done"), ("B", "skipped")):
        assert run(tmp_path / name, "-o", tmp_path / "out", "--resume", "--json") == 0
        assert f'"status": "{status}"' in capsys.readouterr().out


def test_what_a_killed_writer_left_is_no_part_of_a_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra table is not installed")
    folder = tmp_path / "t.parquet"
    folder.mkdir()
    (folder / "part-00000-of-00001-aaaaaaaa-0000.parquet.bb.part").write_bytes(b"PAR1")
    open_table(str(folder), resume=True).close()
    (folder / "part-00000-of-00001-aaaaaaaa-0001.parquet").write_bytes(b"")
    with pytest.raises(OSError, match=r"aaaaaaaa-0001\.parquet is no part of a table"):
        open_table(str(folder), resume=True)


def test_no_answer_goes_among_the_journals(run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_files(tmp_path / "in", {".fcn-segment/png-zz/9.png": PHOTO, "a.png": PHOTO})
    assert run(folder, "-o", tmp_path / "out") == 3
    assert "is for journals" in capsys.readouterr().err
    assert files_in(tmp_path / "out") == ["a.png"]


def test_a_file_that_is_too_large_to_be_read_is_one_problem(
    run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stores, "MOST_BYTES", 5000)
    folder = write_files(tmp_path / "in", {"a.png": PHOTO + bytes(50_000), "b.jpg": OTHER})
    assert len(OTHER) < 5000
    assert run(folder, "-o", tmp_path / "out") == 3
    assert "are read" in capsys.readouterr().err
    assert files_in(tmp_path / "out") == ["b.png"]

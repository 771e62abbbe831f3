"""Names of files: those that are not UTF-8, those as long as a file system takes, and those that are no images."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from cli import stores
from cli.answers import Answers
from cli.inputs import list_inputs
from cli.main import main
from cli.table import open_table
from tests.support.checkout import ROOT
from tests.support.cli.commands import command
from tests.support.cli.folders import OTHER, PHOTO, Segment, files_in, write_files
from tests.support.images import encode, make_photo
from tests.support.imaging.samples import with_chunk
from tests.support.variants import long

LATIN1 = os.fsdecode(b"caf\xe9.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an image whose name is Latin-1."""
    try:
        return write_files(tmp_path / "in", {LATIN1: OTHER, "a.png": PHOTO})
    except (OSError, UnicodeError):
        pytest.skip("the file system takes UTF-8 alone")


@pytest.mark.parametrize("server", [False, True], ids=["here", "service"])
def test_a_name_that_is_not_utf_8_is_written_and_told(
    server: bool, folder: Path, run: Segment, narrow_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder.parent / "out"
    arguments = [str(folder), "-o", str(out), "--format", "coco", "--json"]
    assert (main([*arguments, "--server", narrow_url]) if server else run(*arguments)) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [os.fsencode(Path(line["source"]).name) for line in lines] == [b"a.png", b"caf\xe9.jpg"]
    answer = (out / LATIN1).with_suffix(".json")
    assert json.loads(answer.read_bytes())["images"][0]["file_name"] == "caf\ufffd.jpg"


def test_a_terminal_of_ascii_is_told_of_any_name(folder: Path, narrow_file: Path) -> None:
    write_files(folder, {LATIN1: b"text", "Käfer.png": b"text", "two\nlines.png": b"text"})
    variables = {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    arguments = command(narrow_file, folder, "-o", folder.parent / "out", "--json")
    run = subprocess.run(arguments, cwd=ROOT, env=os.environ | variables, capture_output=True, check=False)
    assert (run.returncode, run.stderr.count(b"\n")) == (3, 4), run.stderr
    assert [json.loads(line)["status"] for line in run.stdout.splitlines()].count("failed") == 3
    assert b"Traceback" not in run.stderr


def test_long_names_with_one_start_have_answers_of_their_own(tmp_path: Path) -> None:
    write_files(tmp_path / "in", {"ä" * 125 + f"{i}.jpg": b"" for i in range(3)})
    answers = Answers("out", ".json-lines")
    names = {answers.relative(image) for image in list_inputs([str(tmp_path / "in")], "out")}
    assert len(names) == 3
    assert max(len(os.fsencode(name)) for name in names) <= 255


@pytest.mark.parametrize("inputs", ["in", *long("in/**/*", "in/../in")])
def test_the_output_folder_is_no_input(
    inputs: str, run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "in", {"a.png": PHOTO, "deep/b.jpg": OTHER})
    for extra in ([], ["--resume"]):
        assert run(inputs, "-o", "in/masks", *extra) == 0
        assert files_in(tmp_path / "in") == ["a.png", "deep/b.jpg", "masks/a.png", "masks/deep/b.png"]
    assert "2 skipped" in capsys.readouterr().err


def test_images_of_the_output_folder_that_are_named_are_inputs(run: Segment, tmp_path: Path) -> None:
    write_files(tmp_path / "out", {"a.png": PHOTO, "in/b.png": PHOTO})
    assert run(tmp_path / "out" / "a.png", tmp_path / "out" / "in", "-o", tmp_path / "out", "--format", "json") == 0
    assert files_in(tmp_path / "out") == ["a.json", "a.png", "in/b.json", "in/b.png"]


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


@pytest.mark.parametrize("server", [False, True], ids=["here", "service"])
def test_odd_names_and_odd_files_have_their_answers(
    server: bool, tmp_path: Path, run: Segment, narrow_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also what the answer's remark says is told."""
    open_ended = encode(make_photo(60, 64), "JPEG")[:-2] + b"\0\0\1trailer\xff\xe8" * 9000
    png = with_chunk(encode(make_photo(60, 64)), b"eXIf", b"MM", checksum=0)
    folder = write_files(tmp_path / "in", {'a"b.jpg': open_ended, "c\\d.png": png})
    arguments = [str(folder), "-o", str(tmp_path / "out"), "--format", "coco"]
    assert (main([*arguments, "--server", narrow_url]) if server else run(*arguments)) == 0
    names = [json.loads(path.read_bytes())["images"][0]["file_name"] for path in sorted((tmp_path / "out").glob("*.json"))]
    assert names == ['a"b.jpg', "c\\d.png"]
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "EXIF" in line)
    assert "c\\d.png: EXIF cannot be read" in line

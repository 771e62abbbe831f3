"""Resumed runs, their lines and tables, shards, processes that are killed, and memory that does not grow with the images."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.answers import STATE, open_answers
from cli.input import Input, Shard
from cli.inputs import list_inputs, list_names
from cli.places import names_below, read_whole, write_whole
from cli.report import Result
from cli.resume import Journal
from cli.run import AHEAD, BulkJob, run_all
from imaging.rendering import Rendering
from tests.support.cli.commands import command, environment
from tests.support.cli.folders import OTHER, PHOTO, Segment, files_in, job_of, write_files
from tests.support.images import encode, make_photo
from tests.support.polling import wait_until


class Copying:
    """Answers each image with a mask of a few bytes."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def __call__(self, data: bytes, name: str) -> Result:
        return Result(b"mask")


def test_few_images_are_listed_ahead(tmp_path: Path) -> None:
    write_files(tmp_path / "in", {f"{number:03}.png": PHOTO for number in range(200)})
    job, number = job_of(Copying(), tmp_path / "in", tmp_path / "out"), 0

    def inputs() -> Iterator[Input]:
        nonlocal number
        for image in job.listing:
            number += 1
            yield image

    for index, outcome in enumerate(run_all(job, inputs(), threads=3)):
        assert outcome.status == "done"
        assert number <= index + 3 * AHEAD
    assert (index, number) == (199, 200)


def test_memory_does_not_grow_with_the_number_of_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, {f"{number}.png": PHOTO for number in range(500)})
    blocks = []
    for count in (50, 50, 500):
        Path("names").write_text("".join(f"{number}.png\n" for number in range(count)))
        tracemalloc.start()
        answers = open_answers("out", Rendering(), single=False)
        listing = list_names("names", "out")
        job = BulkJob(Copying(), answers, listing, "s", journal := Journal(answers, "s"))
        for index, outcome in enumerate(run_all(job, listing, threads=1), 1):
            assert outcome.status == "done"
            if index == count:
                blocks.append(len(tracemalloc.take_snapshot().traces))
        journal.close()
        tracemalloc.stop()
    assert blocks[2] < blocks[1] + 300  # a list of 450 outcomes would be more


def put_into_stdin(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_names_come_from_standard_input(
    run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path, {"a.png": PHOTO, "b/c.png": PHOTO, "b/notes.txt": b"text"})
    put_into_stdin(b"a.png\nb/c.png\nb/notes.txt\n", monkeypatch)
    assert run("--from-file", "-", "-o", "out") == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert files_in(tmp_path / "out") == ["a.png", "b/c.png"]


def test_the_table_has_a_row_for_each_image(run: Segment, tmp_path: Path) -> None:
    write_files(tmp_path / "in", {"a.png": PHOTO, "b.png": b"text", "c.jxl": b"text"})
    name = tmp_path / "results.jsonl"
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--results", name) == 3
    rows = {Path(row["name"]).name: row for row in map(json.loads, name.read_text().splitlines())}
    assert (rows["a.png"]["width"], rows["a.png"]["height"]) == (101, 70)
    assert sum(rows["a.png"]["classes"].values()) == pytest.approx(1, abs=1e-5)
    assert 0 < rows["a.png"]["mean_confidence"] <= 1
    assert rows["a.png"]["milliseconds"] > 0
    assert (rows["a.png"]["problem"], len(rows["a.png"]["key"])) == (None, 32)
    assert "none of PNG" in rows["b.png"]["problem"]
    assert "this file is JPEG XL; accepted are PNG" in rows["c.jxl"]["problem"]
    plain = (tmp_path / "out" / "a.png").read_bytes()
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 3
    assert (tmp_path / "out" / "a.png").read_bytes() == plain


def test_a_table_that_begins_later_has_rows_of_skipped_images_once(run: Segment, tmp_path: Path) -> None:
    write_files(tmp_path / "in", {"a.png": PHOTO, "b.png": PHOTO})
    arguments = [tmp_path / "in", "-o", tmp_path / "out", "--resume"]
    assert run(*arguments) == 0
    write_files(tmp_path / "in", {"c.png": PHOTO})
    name = tmp_path / "results.jsonl"
    for _ in range(2):
        assert run(*arguments, "--results", name) == 0
        rows = {Path(row["name"]).name: row for row in map(json.loads, name.read_text().splitlines())}
        assert (len(name.read_text().splitlines()), sorted(rows)) == (3, ["a.png", "b.png", "c.png"])
        assert [rows[each]["width"] for each in sorted(rows)] == [None, None, 101]
        assert all(row["key"] and row["target"] and not row["problem"] for row in rows.values())


def test_stdin_is_never_skipped(run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = set()
    for image in (PHOTO, encode(make_photo(40, 33))):
        put_into_stdin(image, monkeypatch)
        assert run("-", "-o", "out/", "--resume") == 0
        answers.add((tmp_path / "out" / "stdin.png").read_bytes())
    assert len(answers) == 2


@pytest.mark.long
@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_shards_that_are_killed_twice_give_the_bytes_of_one_run(
    kind: str, request: pytest.FixtureRequest, run: Segment, narrow_file: Path, tmp_path: Path
) -> None:
    files = {f"{number % 7}/{number}.png": encode(make_photo(300, 400, seed=number)) for number in range(60)}
    place = str(tmp_path) if kind == "folder" else request.getfixturevalue("bucket")
    for name, data in files.items():
        write_whole(f"{place}/in/{name}", data)
    assert run(f"{place}/in", "-o", tmp_path / "whole") == 0

    def start(index: int) -> subprocess.Popen[bytes]:
        table = ["--results", f"{place}/results.jsonl"]
        arguments = command(narrow_file, f"{place}/in", "-o", f"{place}/out", "--shard", f"{index}/3", "--resume", *table)
        return subprocess.Popen(arguments, env=environment(), cwd=tmp_path, stderr=subprocess.DEVNULL)

    mine = {image.answer_stem for image in list_inputs([f"{place}/in"], f"{place}/out") if Shard(2, 3).holds(image)}
    others = [start(0), start(1)]
    for _ in range(2):
        before = stems(f"{place}/out")
        with start(2) as process:
            wait_until(lambda before=before: bool(mine & stems(f"{place}/out") - before))
            process.kill()
    assert start(2).wait() == 0
    assert [process.wait() for process in others] == [0, 0]
    whole = read_all(str(tmp_path / "whole"))
    assert set(whole) == set(files)
    assert read_all(f"{place}/out") == whole
    rows = [json.loads(line) for part in tables(place) for line in part.splitlines()]
    assert {row["name"].removeprefix(f"{place}/in/") for row in rows} == set(files)


def stems(folder: str) -> set[str]:
    return {name.removesuffix(".png") for name in names_below(folder)}


def read_all(folder: str) -> dict[str, bytes]:
    """The answers below a folder or a URL."""
    return {name: read_whole(f"{folder}/{name}")[0] for name in names_below(folder) if not name.startswith(STATE)}


def tables(place: str) -> list[bytes]:
    return [read_whole(f"{place}/{name}")[0] for name in names_below(place) if name.startswith("results")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_resume_does_again_what_would_be_another_answer(run: Segment, capsys: pytest.CaptureFixture[str]) -> None:
    write_files(Path("in"), {"1.png": PHOTO, "2.png": PHOTO})
    assert run("in", "-o", "out", "--side", 64) == 0
    for arguments, line in [
        (["--side", 64, "--results", "r.jsonl"], "2 skipped"),
        (["--side", 96], ""),
        (["--side", 96, "--format", "overlay"], ""),
        (["--side", 96, "--tile", 64], ""),
    ]:
        assert run("in", "-o", "out", "--resume", *arguments) == 0
        assert line in (messages := capsys.readouterr().err)
        assert ("the last run there had other options" in messages) == (not line)
    write_files(Path("in"), {"2.png": OTHER})
    assert run("in", "-o", "out", "--resume", "--side", 96, "--tile", 64) == 0
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

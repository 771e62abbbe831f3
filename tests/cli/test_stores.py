"""`s3://` as input and output, against moto's server of the S3 interface: listing, answers, resuming, failures."""

from __future__ import annotations

import json
import logging
from itertools import islice
from pathlib import Path

import pytest

from cli.input import Shard
from cli.inputs import list_inputs, list_names
from cli.main import main
from cli.stores import folder_names, read_object, write_object
from cli.table import open_table
from tests.support.cli.folders import OTHER, PHOTO, Segment, files_in, write_files
from tests.support.polling import wait_until


def fill(bucket: str, **objects: bytes) -> None:
    for key, data in objects.items():
        write_object(f"{bucket}/{key}", data)


def test_a_bucket_is_listed_as_a_folder_is(bucket: str, tmp_path: Path) -> None:
    names = ["same.jpg", "same.png", "same-1.jpg", "same/1.jpg", "a b/ü%20.jpg", "c.heic", "notes.txt", "._d.jpg", "e/f/2.png"]
    fill(bucket, **dict.fromkeys((f"in/{name}" for name in names), b"1"))
    write_files(tmp_path / "in", dict.fromkeys(names, b"1"))
    here, there = list(list_inputs([str(tmp_path / "in")], "out")), list(list_inputs([f"{bucket}/in"], f"{bucket}/out"))
    assert {(each.relative, each.answer_stem) for each in there} == {(each.relative, each.answer_stem) for each in here}
    assert len(there) == 7
    matches = list_inputs([f"{bucket}/in/**/*.jpg"], f"{bucket}/out")
    assert {each.relative for each in matches} == {"same.jpg", "same-1.jpg", "same/1.jpg", "a b/ü%20.jpg"}
    assert sorted(folder_names(f"{bucket}/in/same")) == ["1.jpg"]


def test_a_bucket_is_listed_a_page_at_a_time(
    bucket: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "100")  # of the server's pages
    monkeypatch.setattr("cli.stores.PAGE", 100)
    fill(bucket, **{f"{number:05}.jpg": b"1" for number in range(150)})
    with caplog.at_level(logging.INFO, "werkzeug"):
        listing = iter(list_inputs([bucket], "out"))
        before = pages(caplog)
        assert len(list(islice(listing, 10))) == 10
        assert pages(caplog) - before < 2
        assert len(list(listing)) == 140
        wait_until(lambda: pages(caplog) - before == 2)  # the server logs a request after its answer


def pages(caplog: pytest.LogCaptureFixture) -> int:
    return sum("list-type=2" in record.getMessage() for record in caplog.records)


def test_objects_become_the_answers_of_files(bucket: str, run: Segment, tmp_path: Path) -> None:
    files = {"a.png": PHOTO, "deep/b.jpg": OTHER, "deep/same.jpg": OTHER, "deep/same.png": PHOTO}
    fill(bucket, **{f"in/{name}": data for name, data in files.items()})
    write_files(tmp_path / "in", files)
    assert run(tmp_path / "in", "-o", tmp_path / "here") == 0
    assert run(f"{bucket}/in", "-o", tmp_path / "fetched") == 0
    assert run(tmp_path / "in", "-o", f"{bucket}/sent") == 0
    assert run(f"{bucket}/in", "-o", f"{bucket}/in/masks") == 0
    names = files_in(tmp_path / "here")
    assert names == ["a.png", "deep/b.png", "deep/same.png", "deep/same.png.png"]
    for name in names:
        data = (tmp_path / "here" / name).read_bytes()
        assert (tmp_path / "fetched" / name).read_bytes() == data
        assert read_object(f"{bucket}/sent/{name}")[0] == read_object(f"{bucket}/in/masks/{name}")[0] == data
    assert run(f"{bucket}/in/a.png", "-o", f"{bucket}/mask.png") == 0
    assert read_object(f"{bucket}/mask.png")[0] == (tmp_path / "here" / "a.png").read_bytes()


def test_objects_that_changed_are_done_again(bucket: str, run: Segment, capsys: pytest.CaptureFixture[str]) -> None:
    fill(bucket, **{f"in/{number}.png": PHOTO for number in range(3)})
    arguments = [f"{bucket}/in", "-o", f"{bucket}/out", "--results", f"{bucket}/results.jsonl", "--json", "--resume"]
    for count in (3, 0):
        assert run(*arguments) == 0
        assert statuses(capsys) == ["done"] * count + ["skipped"] * (3 - count)
    fill(bucket, **{"in/1.png": OTHER})
    assert run(*arguments) == 0
    assert statuses(capsys) == ["done", "skipped", "skipped"]
    parts = [read_object(f"{bucket}/results/{name}")[0] for name in folder_names(f"{bucket}/results")]
    assert sum(part.count(b"\n") for part in parts) == 4


def statuses(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return sorted(json.loads(line)["status"] for line in capsys.readouterr().out.splitlines())


def test_a_list_names_objects(bucket: str, run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(bucket, **{"in/same.jpg": OTHER, "in/same.png": PHOTO})
    names = tmp_path / "names"
    names.write_text(f"{bucket}/in/same.png\n{bucket}/in/none.jpg\n{bucket}/in/same.jpg\n")
    place = f"{bucket.removeprefix('s3://')}/in"
    assert [each.answer_stem for each in list_names(str(names), "out")] == [
        f"{place}/{name}" for name in ("same.png", "none", "same")
    ]
    assert run("--from-file", names, "-o", tmp_path / "out") == 3
    assert files_in(tmp_path / "out") == [f"{place}/same.png", f"{place}/same.png.png"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"fcn-segment: {bucket}/in/none.jpg: no object {bucket}/in/none.jpg"


def test_answers_among_the_images_are_refused(bucket: str, run: Segment, capsys: pytest.CaptureFixture[str]) -> None:
    fill(bucket, **{"in/a.png": PHOTO})
    for out in (f"{bucket}/in", bucket, f"{bucket}/in/"):
        assert run(f"{bucket}/in", "-o", out) == 2
        assert "could overwrite images" in capsys.readouterr().err
    assert read_object(f"{bucket}/in/a.png")[0] == PHOTO


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://no-such-bucket/in", "404"), ("s3://", "names no bucket"), ("{bucket}/none", "no images in"),
        ("{bucket}", "b//2.jpg"),
    ],
)  # fmt: skip
def test_what_cannot_be_listed_is_a_line(
    url: str, words: str, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = pytest.importorskip("boto3").client("s3", region_name="us-east-1")
    client.put_object(Bucket=bucket.removeprefix("s3://"), Key="b//2.jpg", Body=b"1")
    client.close()
    assert main([url.format(bucket=bucket), "-o", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_bucket_that_takes_no_answer_ends_the_run(
    bucket: str, run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path / "in", {f"{number}.png": PHOTO for number in range(50)})
    assert run(tmp_path / "in", "-o", "s3://no-such-bucket/out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no-such-bucket" in line


def test_rows_of_shards_are_told_apart_in_a_bucket(bucket: str) -> None:
    for index in range(2):
        table = open_table(f"{bucket}/results.jsonl", Shard(index, 2))
        table.write([{"name": f"{index}.jpg", "key": str(index) * 32}])
        table.close()
    assert open_table(f"{bucket}/results.jsonl", Shard(1, 2), resume=True).has("1" * 32)
    with pytest.raises(OSError, match="a run with 2 shards, and this run has 1"):
        open_table(f"{bucket}/results.jsonl")

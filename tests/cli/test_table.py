"""The table of results: lines and Parquet files, in parts that a killed run keeps."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cli.input import Shard
from cli.table import PART_ROWS, Row, open_table
from tests.support.cli.folders import files_in

CAT = Row("in/1.jpg", "out/1.png", 101, 70, {"cat": 0.25, "background": 0.75}, 0.9, 12.5, None, "0" * 32)
FAILURE = Row("in/caf\udce9.jpg", None, problem="the image is damaged")


def test_lines_are_written_at_once_and_added_when_a_run_resumes(tmp_path: Path) -> None:
    name = tmp_path / "deep" / "results.jsonl"
    table = open_table(str(name))
    assert table.add(CAT) == 1
    assert json.loads(name.read_text())["classes"] == {"cat": 0.25, "background": 0.75}
    table.add(FAILURE)
    table.close()
    table = open_table(str(name), resume=True)
    table.add(CAT)
    table.close()
    lines = [json.loads(line) for line in name.read_text().splitlines()]
    assert [line["name"] for line in lines] == ["in/1.jpg", "in/caf\udce9.jpg", "in/1.jpg"]
    assert open_table(str(name)).close() == 0
    assert files_in(tmp_path) == []


def test_a_line_that_was_torn_is_ended_before_others(tmp_path: Path) -> None:
    name = tmp_path / "results.jsonl"
    name.write_text('{"name": "in/0')
    table = open_table(str(name), resume=True)
    table.add(CAT)
    table.close()
    assert json.loads(name.read_text().splitlines()[1])["name"] == "in/1.jpg"


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("resume", [True, False])
def test_another_number_of_shards_is_refused(kind: str, resume: bool, tmp_path: Path) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="the extra table is not installed")
    name = str(tmp_path / f"results.{kind}")
    table = open_table(name, Shard(1, 4))
    table.add(CAT)
    table.close()
    for shard in (Shard(1, 8), None):
        with pytest.raises(OSError, match=f"a run with 4 shards, and this run has {shard.count if shard else 1}"):
            open_table(name, shard, resume=resume)
    assert open_table(name, Shard(0, 4), resume=resume).close() == 0


CUTOUT = replace(CAT, key="2" * 32, box=(3, 4, 50, 60))


def test_a_table_of_an_earlier_version_without_boxes_goes_on(tmp_path: Path) -> None:
    names = ("pyarrow.dataset", "pyarrow.parquet")
    dataset, parquet = (pytest.importorskip(name, reason="the extra table is not installed") for name in names)
    old = {name: value for name, value in asdict(CAT).items() if name != "box"}
    (tmp_path / "results.jsonl").write_text(json.dumps(old) + "\n")
    folder = tmp_path / "results.parquet"
    table = open_table(str(folder))
    table.add(CAT)
    table.close()
    (part,) = folder.iterdir()
    parquet.write_table(parquet.read_table(part).select(list(old)), part)
    for ending in ("jsonl", "parquet"):
        table = open_table(str(tmp_path / f"results.{ending}"), resume=True)
        assert CAT.key
        assert table.has(CAT.key)
        table.add(CUTOUT)
        table.close()
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line.get("box") for line in lines] == [None, [3, 4, 50, 60]]
    (new,) = set(folder.iterdir()) - {part}
    whole = dataset.dataset(folder, schema=parquet.read_schema(new)).to_table().to_pylist()
    assert {row["key"]: row["box"] for row in whole} == {CAT.key: None, CUTOUT.key: [3, 4, 50, 60]}
    assert len(dataset.dataset(folder).to_table()) == 2


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_table_knows_the_keys_of_its_rows(kind: str, tmp_path: Path) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="the extra table is not installed")
    name = str(tmp_path / f"results.{kind}")
    for row in (CAT, FAILURE):
        table = open_table(name, resume=True)
        table.add(row)
        table.close()
    table = open_table(name, resume=True)
    assert CAT.key
    assert (table.has(CAT.key), table.has("1" * 32)) == (True, False)
    assert not open_table(name).has(CAT.key), "without resume the rows are removed"


def test_shards_have_lines_of_their_own(tmp_path: Path) -> None:
    for index in range(2):
        table = open_table(str(tmp_path / "results.jsonl"), Shard(index, 2))
        table.add(CAT)
        table.close()
    assert files_in(tmp_path) == ["results-0-of-2.jsonl", "results-1-of-2.jsonl"]


@pytest.mark.parametrize("name", ["results", "results.csv", "results.json"])
def test_another_ending_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"\.jsonl or \.parquet"):
        open_table(str(tmp_path / name))


def test_parquet_files_of_shards_are_one_table(tmp_path: Path) -> None:
    dataset = pytest.importorskip("pyarrow.dataset", reason="the extra table is not installed")
    folder = tmp_path / "results.parquet"
    for index in range(2):
        table = open_table(str(folder), Shard(index, 2))
        assert table.add(CAT) == 0
        assert not [name for name in files_in(tmp_path) if f"part-{index:05}" in name]
        assert table.add(FAILURE) == 0
        assert table.close() == 2
    rows = dataset.dataset(folder).to_table().to_pylist()
    assert len(rows) == 4
    assert rows[0]["classes"] == [("cat", 0.25), ("background", 0.75)]
    assert (rows[0]["width"], rows[0]["height"], rows[0]["mean_confidence"]) == (101, 70, 0.9)
    assert rows[1]["problem"] == "the image is damaged"
    assert rows[1]["name"] == r"in/caf\udce9.jpg"


def test_a_parquet_file_is_written_each_some_thousand_rows_and_kept(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra table is not installed")
    folder = tmp_path / "results.parquet"
    table = open_table(str(folder))
    safe = [table.add(CAT) for _ in range(PART_ROWS + 1)]
    assert sum(safe) == safe[PART_ROWS - 1] == PART_ROWS
    assert len(files_in(folder)) == 1
    table = open_table(str(folder), resume=True)
    table.add(CAT)
    table.close()
    assert len(files_in(folder)) == 2

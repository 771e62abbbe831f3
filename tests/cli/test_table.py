"""The table of results: lines and Parquet files, in parts that a killed run keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.answers import Answers
from cli.input import Input, Shard
from cli.records import Records
from cli.report import Outcome, Result
from cli.table import Row, open_table
from imaging.object_facts import image_row
from tests.support.cli.folders import files_in

RESULT = Result(b"mask", image_row((70, 101), {"cat": 0.25, "background": 0.75}, 0.9))
CAT = Outcome(Input("in/1.jpg", "1.jpg", "1"), "out/1.png", "done", 0.0125, result=RESULT, key="0" * 32).row()
CUTOUT = CAT | {"key": "2" * 32, "box": (3, 4, 50, 60)}
FAILURE = Outcome(Input("in/caf\udce9.jpg", "caf\udce9.jpg", "a"), None, "failed", problem="the image is damaged").row()


@pytest.fixture(params=["jsonl", "parquet"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The name of a table of each kind."""
    if request.param == "parquet":
        pytest.importorskip("pyarrow", reason="the extra table is not installed")
    return str(tmp_path / "deep" / f"results.{request.param}")


def write(name: str, *rows: Row, shard: Shard | None = None, resume: bool = False) -> None:
    table = open_table(name, shard, resume=resume)
    if rows:
        table.write(rows)
    table.close()


def test_lines_are_written_at_once_and_added_when_a_run_resumes(tmp_path: Path) -> None:
    name = tmp_path / "deep" / "results.jsonl"
    table = open_table(str(name))
    assert table.at_once == 1
    table.write([CAT])
    assert json.loads(name.read_text())["classes"] == {"cat": 0.25, "background": 0.75}
    table.write([FAILURE])
    table.close()
    write(str(name), CAT, resume=True)
    lines = [json.loads(line) for line in name.read_text().splitlines()]
    assert [line["name"] for line in lines] == ["in/1.jpg", "in/caf\udce9.jpg", "in/1.jpg"]
    write(str(name))
    assert files_in(tmp_path) == []


def test_a_line_that_was_torn_is_ended_before_others(tmp_path: Path) -> None:
    name = tmp_path / "results.jsonl"
    name.write_text('{"name": "in/0')
    write(str(name), CAT, resume=True)
    assert json.loads(name.read_text().splitlines()[1])["name"] == "in/1.jpg"


@pytest.mark.parametrize("resume", [True, False])
def test_another_number_of_shards_is_refused(name: str, resume: bool) -> None:
    write(name, CAT, shard=Shard(1, 4))
    for shard in (Shard(1, 8), None):
        with pytest.raises(OSError, match=f"a run with 4 shards, and this run has {shard.count if shard else 1}"):
            open_table(name, shard, resume=resume)
    write(name, shard=Shard(0, 4), resume=resume)


def test_a_table_of_an_earlier_version_without_boxes_goes_on(tmp_path: Path) -> None:
    names = ("pyarrow.dataset", "pyarrow.parquet")
    dataset, parquet = (pytest.importorskip(name, reason="the extra table is not installed") for name in names)
    old = {name: value for name, value in CAT.items() if name != "box"}
    (tmp_path / "results.jsonl").write_text(json.dumps(old) + "\n")
    folder = tmp_path / "results.parquet"
    write(str(folder), CAT)
    (part,) = folder.iterdir()
    parquet.write_table(parquet.read_table(part).select(list(old)), part)
    for ending in ("jsonl", "parquet"):
        write(str(tmp_path / f"results.{ending}"), CUTOUT, resume=True)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line.get("box") for line in lines] == [None, [3, 4, 50, 60]]
    (new,) = set(folder.iterdir()) - {part}
    whole = dataset.dataset(folder, schema=parquet.read_schema(new)).to_table().to_pylist()
    assert {row["key"]: row["box"] for row in whole} == {CAT["key"]: None, CUTOUT["key"]: [3, 4, 50, 60]}
    assert len(dataset.dataset(folder).to_table()) == 2


def test_a_table_knows_the_keys_of_its_rows(name: str) -> None:
    for row in (CAT, FAILURE):
        write(name, row, resume=True)
    table = open_table(name, resume=True)
    assert (table.has(CAT["key"]), table.has("1" * 32)) == (True, False)
    assert not open_table(name).has(CAT["key"]), "without resume the rows are removed"


def test_shards_have_lines_of_their_own(tmp_path: Path) -> None:
    for index in range(2):
        write(str(tmp_path / "results.jsonl"), CAT, shard=Shard(index, 2))
    assert files_in(tmp_path) == ["results-0-of-2.jsonl", "results-1-of-2.jsonl"]


@pytest.mark.parametrize("name", ["results", "results.csv"])
def test_another_ending_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"\.jsonl or \.parquet"):
        open_table(str(tmp_path / name))


def test_parquet_files_of_shards_are_one_table(tmp_path: Path) -> None:
    dataset = pytest.importorskip("pyarrow.dataset", reason="the extra table is not installed")
    folder = tmp_path / "results.parquet"
    for index in range(2):
        write(str(folder), CAT, FAILURE, shard=Shard(index, 2))
    rows = dataset.dataset(folder).to_table().to_pylist()
    assert len(rows) == 4
    assert rows[0]["classes"] == [("cat", 0.25), ("background", 0.75)]
    assert (rows[0]["width"], rows[0]["height"], rows[0]["mean_confidence"]) == (101, 70, 0.9)
    assert (rows[1]["name"], rows[1]["problem"]) == (r"in/caf\udce9.jpg", "the image is damaged")


def test_a_parquet_file_is_written_each_some_thousand_rows_and_kept(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra table is not installed")
    folder = tmp_path / "results.parquet"
    for count in (1, 2):
        table = open_table(str(folder), resume=True)
        records = Records(Answers("out", ".png"), table, None)
        for _ in range(table.at_once + count - 1):
            records.add(Outcome(Input("a.jpg", "a.jpg", "a"), None, "failed", problem="damaged"))
        assert len(files_in(folder)) == count
        records.close()
    assert len(files_in(folder)) == 3

"""`--rank`: names in the order of confidence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cli.input import Input
from cli.inputs import list_inputs
from cli.main import main
from cli.records import Ranking
from cli.report import Outcome, Result
from imaging.object_facts import image_row
from tests.support.cli.folders import Segment, write_files
from tests.support.images import encode, make_photo

PHOTOS = {f"in/{number}.png": encode(make_photo(40 + 7 * number, 60, seed=number)) for number in range(5)}


def confidences(results: Path) -> dict[str, float]:
    return {row["name"]: row["mean_confidence"] for row in map(json.loads, results.read_text().splitlines())}


def test_the_least_certain_image_comes_first(run: Segment, tmp_path: Path) -> None:
    write_files(tmp_path, PHOTOS | {"in/broken.png": b"text"})
    ranking, results = tmp_path / "deep" / "ranking.txt", tmp_path / "results.jsonl"
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--rank", ranking, "--results", results) == 3
    scores = {name: value for name, value in confidences(results).items() if value is not None}
    assert ranking.read_text().splitlines() == sorted(scores, key=lambda name: scores[name])
    assert len(scores) == 5
    assert run("--from-file", ranking, "-o", tmp_path / "again") == 0


def test_the_other_order_begins_with_the_most_background(tmp_path: Path) -> None:
    ranking = Ranking(str(tmp_path / "rank.txt"), list_inputs(["-"], "out"), by="background")
    shares = {"a.png": {"background": 0.2, "sky": 0.8}, "b.png": {"_background_": 1.0}, "c.png": {"sky": 1.0}}
    outcomes = [
        Outcome(Input(name, name, name), None, "done", result=Result(b"", image_row(shares=own)))
        for name, own in shares.items()
    ]
    assert list(ranking.passing(outcomes)) == outcomes
    ranking.write()
    assert (tmp_path / "rank.txt").read_text().split() == ["b.png", "a.png", "c.png"]


def test_images_without_background_have_no_other_order(
    run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path, PHOTOS)
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--rank", tmp_path / "rank.txt", "--rank-by", "background") == 2
    assert "no image shows a class named background" in capsys.readouterr().err
    assert not (tmp_path / "rank.txt").exists()


@pytest.mark.parametrize("name", ["in/a.PNG", "https://host/a?size=2", "stdin", "s3://b/\udcff.jpg"])
def test_a_ranking_of_an_earlier_run_is_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / "rank.txt").write_bytes(os.fsencode(name) + b"\nin/b.png\n")
    Ranking(str(tmp_path / "rank.txt"), list_inputs(["-"], "out"))


@pytest.mark.parametrize("extra", [[], ["--format", "json", "--min-confidence", "0.5"]], ids=" ".join)
def test_a_service_gives_the_order_and_the_facts_of_the_command_line(
    extra: list[str], run: Segment, narrow_url: str, tmp_path: Path
) -> None:
    write_files(tmp_path, PHOTOS)
    arguments = [str(tmp_path / "in"), *extra]
    here = [*arguments, "-o", str(tmp_path / "here"), "--rank", str(tmp_path / "here.txt")]
    there = [*arguments, "-o", str(tmp_path / "there"), "--rank", str(tmp_path / "there.txt"), "--server", narrow_url]
    assert run(*here, "--results", tmp_path / "here.jsonl") == 0
    assert main([*there, "--results", str(tmp_path / "there.jsonl")]) == 0
    assert (tmp_path / "there.txt").read_text() == (tmp_path / "here.txt").read_text()
    for (name, value), (other_name, other) in zip(
        sorted(confidences(tmp_path / "here.jsonl").items()), sorted(confidences(tmp_path / "there.jsonl").items()), strict=True
    ):
        assert (name, value) == (other_name, pytest.approx(other, abs=2e-6))

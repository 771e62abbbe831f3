"""What a run says of the objects in its photos, the same here and with a service: a line at its end, and boxes in its table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.input import Input
from cli.main import main
from cli.report import Outcome, Result, Summary
from imaging.rendering import Rendering
from tests.support.cli.folders import PHOTO, Segment, files_in, write_files
from tests.support.images import encode, make_photo
from tests.support.variants import long

TINY = encode(make_photo(8, 8))  # the narrow network sees circles alone in it
CHOSEN, ALL = "photos show none of the chosen classes", "photos show none of the model's classes"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "cutout", "--classes", "circle"], []),
        (["--format", "overlay", "--classes", "triangle"], [f"1 of 2 {CHOSEN}"]),
        (["--format", "binary", "--min-confidence", "1"], [f"2 of 2 {ALL}"]),
        (["--format", "png", "--min-confidence", "1"], []),
        *long(
            (["--format", "cutout", "--classes", "square", "--crop"], [f"2 of 2 {CHOSEN}"]),
            (["--format", "json", "--mask", "polygons", "--classes", "square,triangle"], [f"1 of 2 {CHOSEN}"]),
        ),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_run_ends_with_a_line_about_photos_without_an_object(
    arguments: list[str], words: list[str], run: Segment, narrow_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path / "in", {"photo.png": PHOTO, "tiny.png": TINY, "text.png": b"text"})
    messages, tables = [], []
    for name, call, more in (("here", run, []), ("there", lambda *line: main(list(map(str, line))), ["--server", narrow_url])):
        table = tmp_path / f"{name}.jsonl"
        assert call(tmp_path / "in", "-o", tmp_path / name, "--results", table, *arguments, *more) == 3
        lines = capfd.readouterr().err.splitlines()
        messages.append([line.removeprefix("fcn-segment: ") for line in lines if "text.png" not in line])
        tables.append([(row["name"], row["box"]) for row in map(json.loads, table.read_text().splitlines())])
        assert len(files_in(tmp_path / name)) == 2  # also a cut-out without an object is written
    assert messages == [words, words]
    assert tables[0] == tables[1]
    is_cutout = "cutout" in arguments and "circle" in arguments
    assert [box is not None for _, box in tables[0]] == [is_cutout and not name.endswith("text.png") for name, _ in tables[0]]


def test_what_an_older_service_does_not_say_is_counted(capfd: pytest.CaptureFixture[str]) -> None:
    summary = Summary(rendering=Rendering("overlay"))
    for facts in ({}, {"object_pixels": 0}, {"object_pixels": 7}):
        summary.add(Outcome(Input("a.png", "a.png", "a"), "a", "done", result=Result(b"mask", facts=facts)))
    assert summary.finish(resumable=False) == 0
    assert capfd.readouterr().err.splitlines() == [
        f"fcn-segment: 1 of 3 {ALL}",
        "fcn-segment: of 1 of 3 photos, the service does not say whether they show the model's classes",
    ]

"""One COCO document of all images of a run: ids, names, resuming, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from cli.coco_file import CocoFile
from cli.input import Input
from cli.report import Outcome
from tests.support.cli.folders import Segment, write_files
from tests.support.images import encode, make_photo

NAMES = ["a.png", "b.png", "sub/a.png", "sub/c.png"]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_files(tmp_path / "in", {name: encode(make_photo(64, 96, seed)) for seed, name in enumerate(NAMES)})


def read(path: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(path).read_text())
    return document


def test_a_folder_becomes_one_document_of_the_images_own(photos: Path, run: Segment) -> None:
    assert run("in", "-o", "new/one.json", "--format", "coco", "--mask", "polygons") == 0
    assert run("in", "-o", "each/", "--format", "coco", "--mask", "polygons") == 0
    whole = read("new/one.json")
    assert list(whole) == ["info", "licenses", "annotations", "images", "categories"]
    assert {image["file_name"] for image in whole["images"]} == set(NAMES)
    assert [image["id"] for image in whole["images"]] == [1, 2, 3, 4]
    assert [entry["id"] for entry in whole["annotations"]] == list(range(1, len(whole["annotations"]) + 1))
    index = COCO("new/one.json")
    index.info()
    for image in whole["images"]:
        alone = read(f"each/{Path(image['file_name']).with_suffix('.json')}")
        assert whole["categories"] == alone["categories"]
        annotations = [entry | {"id": 0, "image_id": 0} for entry in alone["annotations"]]
        assert [entry | {"id": 0, "image_id": 0} for entry in index.imgToAnns[image["id"]]] == annotations
    assert os.listdir("new") == ["one.json"]


def test_an_image_that_fails_is_left_out_and_the_rest_is_kept_for_another_run(photos: Path, run: Segment) -> None:
    assert run("in", "-o", "whole.json", "--format", "coco") == 0
    good = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(b"no image")
    assert run("in", "-o", "one.json", "--format", "coco") == 3
    assert len(read("one.json")["images"]) == 3
    documents = sorted(Path(".fcn-segment/one.json/parts").rglob("*.json"))
    times = {path: path.stat().st_mtime_ns for path in documents}
    assert len(times) == 3
    (photos / "b.png").write_bytes(good)
    (photos / "sub" / "c.png").unlink()
    (photos / "z.png").write_bytes(b"no image")
    assert run("in", "-o", "one.json", "--format", "coco", "--resume") == 3
    assert [image["file_name"] for image in read("one.json")["images"]] == [
        image["file_name"] for image in read("whole.json")["images"] if image["file_name"] != "sub/c.png"
    ]
    assert {path: path.stat().st_mtime_ns for path in documents} == times


def test_lines_and_table_name_the_document(photos: Path, run: Segment, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("in", "-o", "one.json", "--format", "coco", "--json", "--results", "rows.jsonl") == 0
    assert {json.loads(line)["target"] for line in capfd.readouterr().out.splitlines()} == {"one.json"}
    assert {json.loads(line)["target"] for line in Path("rows.jsonl").read_text().splitlines()} == {"one.json"}


def test_a_document_that_is_no_coco_document_is_named(tmp_path: Path) -> None:
    document = CocoFile(str(tmp_path / "one.json"))
    image = Input("in/a.png", "a.png", "a")
    document.answers.write(document.answers.target(image), b"<html>")
    assert [outcome.target for outcome in document.passing([Outcome(image, "x", "done")])] == [document.out]
    with pytest.raises(OSError, match=r"a\.json: expected the COCO document of one image"):
        document.write(complete=True)
    assert not (tmp_path / "one.json").exists()

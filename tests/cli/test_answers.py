"""Where answers go: a file, a folder, stdout or a refusal; and how they are written."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cli.answers import STATE, Answers, open_answers
from cli.input import Input
from cli.places import version
from common.whole_file import STALE_S
from imaging.rendering import Rendering


@pytest.mark.parametrize(
    ("out", "rendering", "single", "file"),
    [
        ("-", Rendering(), True, True),
        ("mask.png", Rendering(), True, True),
        ("picture.jpeg", Rendering("color", image_format="jpeg"), True, True),
        ("s3://bucket/mask.png", Rendering(), True, True),
        ("masks", Rendering(), True, False),
        ("mask.png/", Rendering(), False, False),
        ("s3://bucket/masks", Rendering("json"), False, False),
        ("gs://photos.example.org", Rendering(), False, False),
        ("runs/2026.11", Rendering(), False, False),
    ],
)
def test_an_output_is_a_file_or_a_folder(out: str, rendering: Rendering, single: bool, file: bool) -> None:
    assert open_answers(out, rendering, single) == Answers(out, rendering.suffix, file)


def test_a_folder_that_is_named_as_a_file_is_a_folder(tmp_path: Path) -> None:
    for name in ("masks.png", "masks.v2"):
        (tmp_path / name).mkdir()
        assert not open_answers(str(tmp_path / name), Rendering(), single=True).file


@pytest.mark.parametrize(
    ("out", "rendering", "single", "words"),
    [
        ("-", Rendering(), False, "takes one image"),
        ("x.json", Rendering(), False, "takes one image"),
        (os.devnull, Rendering(), True, "is no folder"),
        ("s3://bucket/out.webp", Rendering(), True, "the answer is a .png file, .* --image-format webp$"),
        ("M.JPEG", Rendering("overlay"), True, "a .png file, .*; name it .png, give a folder, or add --image-format jpeg$"),
        ("m.png", Rendering("color", image_format="webp"), True, "the answer is a .webp file, .*add --image-format png$"),
        ("m.npz", Rendering("json"), True, "the answer is a .json file, .* or give --format npz$"),
        ("m.tif", Rendering("png"), True, "give a folder, or give --format geotiff, if the image has coordinates"),
        ("m.geojson", Rendering("png"), True, "or give --format geojson$"),
        ("m.bmp", Rendering("png"), True, "name it .png, give a folder, or ask for a picture: --format overlay"),
        ("c4.shp", Rendering(), True, r"-o c4.shp ends in .shp, .*; name it .geojson, .gpkg, .*, or c4.shp/ for a folder$"),
        ("a.tif.gz", Rendering(), True, "ends in .gz, which is no output"),
        ("s3://bucket/x.txt", Rendering(), False, "or s3://bucket/x.txt/ for a folder"),
    ],
    ids=str,
)
def test_an_output_that_does_not_fit_is_refused_with_the_options_that_would_make_it(
    out: str, rendering: Rendering, single: bool, words: str
) -> None:
    with pytest.raises(OSError, match=words):
        open_answers(out, rendering, single)


@pytest.mark.parametrize("answer", ["../a", "a/../../b", "a/../b"])
def test_no_name_leads_out_of_the_output_folder(answer: str) -> None:
    image = Input("s3://bucket/a.png", "a.png", answer)
    with pytest.raises(OSError, match="has no place below out"):
        Answers("out", ".png").target(image)


def test_a_killed_runs_partial_files_are_removed_after_a_day(tmp_path: Path) -> None:
    folder = tmp_path / STATE
    folder.mkdir()
    names = ["old.part", "new.part", "old.jsonl"]
    for name in names:
        (folder / name).write_bytes(b"part")
        if name.startswith("old"):
            os.utime(folder / name, (past := time.time() - STALE_S - 1, past))
    Answers(str(tmp_path), ".png").remove_partials()
    assert sorted(path.name for path in folder.iterdir()) == ["new.part", "old.jsonl"]


def test_an_answer_is_whole_or_not_there(tmp_path: Path) -> None:
    answers = Answers(str(tmp_path / "out"), ".png")
    target = answers.target(Input("in/a/1.jpg", "a/1.jpg", "a/1"))
    assert not Path(target).exists()
    assert answers.write(target, b"mask") == version(target)
    assert Path(target).read_bytes() == b"mask"
    assert not list((tmp_path / "out" / STATE).iterdir())

"""The pages in `docs/`: their commands and snippets run as they stand, their pictures are what programs make."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import numpy as np
import pytest
import rasterio
from PIL import Image
from pycocotools.coco import COCO

from docs import diagrams
from imaging.rendering import ANSWER_FORMATS
from tests.support.checkout import ROOT, run
from tests.support.environments.stores import NAMES, object_store
from tests.support.images import make_photo
from tests.support.imaging.scenes import scene_file, write_scene
from tests.support.pages import blocks, size_of
from tests.support.polling import HANG_S

ADDRESS = "http://127.0.0.1:8000"
SIZE = (451, 300)
OF_FORMAT = {"image_format": "overlay", "crop": "cutout"}  # a format of each parameter that does not go with the default one
DRAWN_ELSEWHERE = {"maps.jpg", "orthophoto.jpg", "x-anylabeling.jpg"}  # by docs/scene.py and docs/orthophoto.py; a window
RUN_HERE = {"http-api.md", "command-line.md"}
GRID_COMMAND = ".venv/bin/python -c 'from model.networks.timm_backbone import "
ELSEWHERE = {
    "index.md": ("make serve\n", "curl --fail-with-body -F file=@docs/photos/chelsea.jpg http"),  # the README has these
    "platforms.md": ("aws ", "gcloud ", "curl "),  # tests/app/interop speak the contracts; the last is run below
    "python.md": (),  # below, and in tests/client
    "label-tools.md": (),  # tests/client: a real Label Studio, CVAT's own driver; trainings take minutes to hours
    # trainings that took minutes to hours; tests/model builds an encoder of timm
    "models.md": (".venv/bin/fcn-train --data DATA --backbone timm/", GRID_COMMAND),
    "accuracy.md": ("fcn-evaluate --data data/",),
    "train-your-own.md": (),  # tests/test_train_your_own.py
    "training-reference.md": (".venv/bin/fcn-import --raster",),  # tests/test_maps_page.py runs those of the page about maps
    "your-own-network.md": (),  # tests/test_your_own_network.py
    "maps.md": (),  # tests/test_maps_page.py
    "jobs.md": (),  # tests/app/jobs/test_senders.py
    "browser.md": ("SEGMENT_CORS_ORIGINS=",),  # tests/browser/test_browser_page.py
}


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def run_page(name: str, folder: Path, url: str) -> None:
    for block in blocks(page(name)):
        run(block.replace(ADDRESS, url), folder)


def test_every_page_with_commands_is_run_by_a_test() -> None:
    paths = (ROOT / "docs").glob("*.md")
    assert {path.name for path in paths if re.search("^```(sh|python)$", path.read_text(), re.M)} <= RUN_HERE | set(ELSEWHERE)
    for name, beginnings in ELSEWHERE.items():
        if beginnings:
            assert all(block.startswith(beginnings) for block in blocks(page(name))), name


@pytest.mark.long
def test_the_place_of_an_encoder_s_cells_is_printed_as_the_models_page_says() -> None:
    (command,) = [block for block in blocks(page("models.md")) if block.startswith(GRID_COMMAND)]
    result = subprocess.run(["bash", "-euc", command], cwd=ROOT, capture_output=True, text=True, timeout=HANG_S)
    assert result.stdout == "corner\n", result.stderr
    assert "`resnet18`" in page("models.md").partition("| on the first pixel |")[2].partition("\n")[0]


@pytest.fixture
def answers(checkout: Path, live_url: str) -> Path:
    write_scene(checkout / "scene.tif", make_photo(60, 90))
    run_page("http-api.md", checkout, live_url)
    run(next(block for block in blocks(page("platforms.md")) if block.startswith("curl")).replace(ADDRESS, live_url), checkout)
    return checkout


def test_the_commands_of_the_http_page_bring_what_it_says(answers: Path, live_url: str) -> None:
    for name in ("same.png", "piped.png"):
        assert (answers / "mask.png").read_bytes() == (answers / name).read_bytes()
    assert (answers / "overlay.png").read_bytes() == (answers / "same-overlay.png").read_bytes()
    assert (answers / "answer.json").read_bytes() == (answers / "from-base64.json").read_bytes()
    for name in ("mask", "overlay", "confidence", "sure"):
        assert size_of(answers / f"{name}.png") == SIZE
    document = json.loads((answers / "answer.json").read_text())
    assert document["class_map"]["encoding"] == "rle"
    assert set(document["model"]) == {"name", "sha256", "runtime", "precision"}
    (shown,) = (json.loads(block) for block in blocks(page("http-api.md"), "json"))
    assert_shown(shown, document)
    polygons = json.loads((answers / "polygons.json").read_text())["class_map"]
    assert polygons["tolerance"] == 2
    with Image.open(answers / "sure.png") as sure, Image.open(answers / "confidence.png") as confidence:
        np.testing.assert_array_equal(np.asarray(sure) == 255, np.asarray(confidence) < round(0.9 * 255))
    for name in ("coco.json", "coco-masks.json"):
        index = COCO()
        index.dataset = json.loads((answers / name).read_text())
        index.createIndex()
        assert index.imgs[1]["file_name"] == "chelsea.jpg"
        assert {index.cats[entry["category_id"]]["name"] for entry in index.anns.values()} == {"cat"}
    with rasterio.open(answers / "classes.tif") as scene, rasterio.open(answers / "scene.tif") as source:
        assert (scene.crs, scene.transform, scene.shape) == (source.crs, source.transform, source.shape)
    assert json.loads((answers / "classes.geojson").read_text())["type"] == "FeatureCollection"
    check_batch(answers)
    run_python(answers, live_url)


def assert_shown(shown: object, real: object) -> None:
    """A page's JSON is the answer's: the same names in their order, the same values, and texts up to their `...`."""
    if isinstance(shown, dict) and isinstance(real, dict):
        assert list(shown) == list(real)
        for name in shown:
            assert_shown(shown[name], real[name])
    elif isinstance(shown, list) and isinstance(real, list):
        assert len(shown) == len(real)
        for pair in zip(shown, real, strict=True):
            assert_shown(*pair)
    elif isinstance(shown, str) and isinstance(real, str):
        assert shown.endswith("...") or shown in (real, "float32"), real
        assert real.startswith(shown.removesuffix("...")[:8]) or shown == "float32"
    else:
        assert shown == pytest.approx(real, rel=0.02), "precisions and processors differ a little"


@pytest.mark.long
def test_the_first_page_names_every_format_and_its_queries_are_answered(live_url: str) -> None:
    queries = re.findall(r"`([a-z_]+=[^`]+)`", page("index.md"))
    assert {parse_qs(query)["format"][0] for query in queries if "format" in parse_qs(query)} == set(ANSWER_FORMATS) - {"png"}
    photo = (ROOT / "docs" / "photos" / "chelsea.jpg").read_bytes()
    for query in queries:
        name = query.partition("=")[0]
        parameters = f"format={OF_FORMAT[name]}&{query}" if name in OF_FORMAT else query
        body = scene_file(make_photo(60, 90)) if re.search("format=geo", parameters) else photo
        response = httpx.post(f"{live_url}/segment?{parameters.replace('%', '%25')}", content=body, timeout=HANG_S)
        assert response.status_code == 200, (query, response.text)


def check_batch(answers: Path) -> None:
    lines = [json.loads(line) for line in (answers / "lines.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == [200, 200, 415]
    assert "problem" in lines[2]
    with zipfile.ZipFile(io.BytesIO((answers / "masks.zip").read_bytes())) as archive:
        assert archive.namelist() == ["000-chelsea.png", "001-coffee.png", "results.jsonl"]
        assert archive.read("000-chelsea.png") == (answers / "mask.png").read_bytes()


def run_python(answers: Path, url: str) -> None:
    code = "\n".join(blocks(page("http-api.md"), "python")).replace(ADDRESS, url)
    check = "assert class_map.shape == confidence.shape == probabilities.shape[1:] == (300, 451)"
    subprocess.run([sys.executable, "-c", f"{code}\n{check}"], cwd=answers, check=True, timeout=HANG_S)


def test_the_programs_of_the_python_page_run() -> None:
    program = "".join(blocks(page("python.md").split("## The client")[0], "python"))
    program += "\nassert segmentation.class_map.shape == confident.confidence.shape == (300, 451)\n"
    program += 'photos = [segmenter(f"docs/photos/{name}.jpg").class_map for name in ("chelsea", "coffee", "chelsea")]\n'
    program += "assert [(8 in class_map) for class_map in photos] == [True, False, True]\n"
    program += 'assert outer and cutout.mode == "RGBA" and cutout.width <= 451\n'
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^8 cat [1-9]\d%$", result.stdout, re.MULTILINE)
    assert re.search(r"^\d+ points \d+ holes$", result.stdout, re.MULTILINE)


@pytest.mark.long
def test_the_commands_of_the_command_line_page(checkout: Path, live_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store(checkout) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        run_page("command-line.md", checkout, live_url)
    assert {path.stem for path in (checkout / "s3-masks" / "2026").glob("*.png")} == set(NAMES)
    photos = sorted(path.stem for path in (checkout / "docs" / "photos").glob("*.jpg"))
    assert sorted(path.stem for path in (checkout / "out").glob("*.png")) == photos
    for path in (checkout / "out").glob("*.png"):
        assert path.read_bytes() == (checkout / "out-served" / path.name).read_bytes()
    assert (checkout / "out-json" / "photos" / "chelsea.json").exists()
    assert (checkout / "out-list" / "docs" / "photos" / "chelsea.png").exists()
    assert len((checkout / "results.jsonl").read_text().splitlines()) == len(photos)
    assert size_of(checkout / "overlay.png") == SIZE
    model = json.loads((checkout / "coffee.json").read_text())["model"]
    assert (model["runtime"], model["precision"]) == ("openvino", "float32")
    report = [json.loads(line) for line in (checkout / "report.jsonl").read_text().splitlines()]
    assert [line["status"] for line in report] == ["skipped"] * len(photos)
    assert "fcn-segment" in (checkout / "completion.bash").read_text()


@pytest.mark.long
def test_the_pictures_are_drawn_by_their_program(tmp_path: Path) -> None:
    diagrams.main(tmp_path)
    names = {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == names - DRAWN_ELSEWHERE
    for name in ("pipeline.svg", "family.svg"):
        assert (tmp_path / name).read_text() == (ROOT / "docs" / "pictures" / name).read_text(), "run python -m docs.diagrams"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    pages = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("index.html")}
    assert {"index.html", "http-api/index.html", "platforms/index.html"} <= pages
    text = (tmp_path / "index.html").read_text()
    assert not re.findall(r'<(?:script|link)[^>]+(?:src|href)="https?://(?!localhost)[^"]*\.(?:js|css)', text)

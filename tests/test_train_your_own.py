"""The tutorial, followed from what tools export to a served mask, on generated data."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from PIL import Image

from benchmarks.harness.serving import free_port, start_server
from model.inference.instructions import int8_sums
from model.manifest import INT8_SCORES, scored_in
from model.weights_file import load_weights
from tests.support.checkout import ROOT, run, without_setup
from tests.support.pages import blocks
from tests.support.polling import HANG_S
from tests.support.training.label_tools import write_labelme
from training.data.demo import write_demo_data

TUTORIAL, REFERENCE = ((ROOT / "docs" / name).read_text() for name in ("train-your-own.md", "training-reference.md"))
PHOTO = "train_003"  # a generated image, in place of the tutorial's leaf-001
# the tutorial's recipe, cut to what a test can wait for
QUICK = "training/recipes/finetune.toml --epochs 1 --batch 4 --set 'crop=[96,96]' --set 'side=[96,96]' --device cpu"


@pytest.fixture
def folder(checkout: Path) -> Path:
    """The checkout with the tutorial's PHOTOS, its EXPORT, as labelme writes it, and its DATA, which has the classes alone."""
    classes = blocks(TUTORIAL, "yaml")[0]
    write_demo_data(checkout / "demo", train=14, val=6)
    photos = sorted((checkout / "demo" / "JPEGImages").glob("*.jpg"))
    masks = {photo: np.asarray(Image.open(checkout / "demo" / "SegmentationClass" / f"{photo.stem}.png")) for photo in photos}
    write_labelme(checkout / "EXPORT", masks, [entry["name"] for entry in yaml.safe_load(classes)["classes"]])
    shutil.copytree(checkout / "demo" / "JPEGImages", checkout / "PHOTOS")
    (checkout / "DATA").mkdir()
    (checkout / "DATA" / "classes.yaml").write_text(classes)
    return checkout


@pytest.mark.long
def test_the_tutorial_leads_to_a_served_mask(folder: Path) -> None:
    convert, look, learn, evaluate, quantise, on_avx2, serve, ask, segment = blocks(TUTORIAL)
    run(convert, folder)
    run(look, folder)
    assert "data:image/jpeg" in (folder / "check.html").read_text()
    run(learn.replace("training/recipes/finetune.toml", QUICK), folder)
    weights = load_weights(folder / "runs/leaves/leaves.safetensors")
    assert weights.manifest.labels.names == ["background", "leaf", "stem", "soil"]
    assert weights.manifest.labels.classes[1].hex_color == "#3ca951"
    assert sum(split["frames"] for split in weights.manifest.training["splits"].values()) == 20
    run(evaluate, folder)
    run(quantise, folder)
    manifest = load_weights(folder / "runs/leaves/leaves.safetensors").manifest
    assert {"my leaves, val", scored_in("my leaves, val", INT8_SCORES[int8_sums() or "vnni"])} <= set(manifest.scores)
    assert set(manifest.temperatures) == {"float32", "int8"}
    run(on_avx2, folder)
    if int8_sums():
        assert "my leaves, val, int8 on AVX2" in load_weights(folder / "runs/leaves/leaves.safetensors").manifest.scores
    assert_answers(folder, serve.strip(), ask.replace("leaf-001", PHOTO))
    run(segment, folder)
    with Image.open(folder / "out" / f"{PHOTO}.png") as overlay:
        assert (overlay.mode, overlay.size) == ("RGB", (96, 96))
    assert len(list((folder / "out").glob("*.png"))) == 20


def assert_answers(folder: Path, service: str, ask: str) -> None:
    port, command = free_port(), ["bash", "-c", without_setup(service.replace("make serve", "exec make serve"))]
    with start_server(command, port, "/health/ready", {"SEGMENT_PORT": str(port)}, folder, folder / "log") as server:
        subprocess.check_call(["bash", "-c", ask.replace("http://127.0.0.1:8000", server.url)], cwd=folder)
        classes = yaml.safe_load(blocks(TUTORIAL, "yaml")[0])["classes"]
        shown = httpx.get(f"{server.url}/classes", timeout=HANG_S).json()
        assert [{name: entry[name] for name in ("id", "name", "color")} for entry in shown] == classes
    with Image.open(folder / "mask.png") as mask:
        assert (mask.mode, mask.size) == ("P", (96, 96))
        assert set(np.unique(mask).tolist()) <= {entry["id"] for entry in classes}


def test_what_the_tutorial_names_is_there() -> None:
    for name in re.findall(r"training/recipes/[\w.-]+\.toml", TUTORIAL + REFERENCE):
        assert (ROOT / name).is_file(), name


def test_each_change_that_it_advises_is_a_recipe_s() -> None:
    from training.learning.recipe import make_recipe, parse_changes

    changes = re.findall(r"--set (?:'([^']+)'|(\S+?)[`,;:\s])", TUTORIAL + REFERENCE)
    assert len(changes) >= 6
    for quoted, plain in changes:
        make_recipe(ROOT / "training/recipes/finetune.toml", parse_changes([quoted or plain]))

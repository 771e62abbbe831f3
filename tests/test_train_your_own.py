"""The tutorial, followed from its folder to a served mask on generated data."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml
from PIL import Image

from benchmarks.harness.serving import free_port, started
from model.inference.runtimes.processor import int8_sums
from model.manifest import INT8_SCORES, scored_in
from model.weights_file import load_weights
from tests.support.checkout import ROOT, run, without_setup
from tests.support.polling import HANG_S
from training.data.demo import write_demo_data

TUTORIAL = (ROOT / "docs" / "train-your-own.md").read_text()
# the tutorial's recipe, cut to what a test can wait for
QUICK = "training/recipes/finetune.toml --epochs 1 --batch 4 --set 'crop=[96,96]' --set 'side=[96,96]' --device cpu"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(checkout: Path) -> Path:
    """The checkout with the tutorial's DATA beside it, with its own classes.yaml and no lists, and its PHOTOS."""
    demo, data = checkout / "demo", checkout / "DATA"
    write_demo_data(demo, train=14, val=6)
    shutil.copytree(demo / "JPEGImages", data / "images")
    shutil.copytree(demo / "SegmentationClass", data / "masks")
    shutil.copytree(demo / "JPEGImages", checkout / "PHOTOS")
    (data / "classes.yaml").write_text(blocks("yaml")[0])
    return checkout


@pytest.mark.long
def test_the_tutorial_leads_to_a_served_mask(folder: Path) -> None:
    check, train, evaluate, quantise, on_avx2, serve, ask = blocks("sh")
    run(check, folder)
    assert "data:image/jpeg" in (folder / "check.html").read_text()
    run(train.replace("training/recipes/finetune.toml", QUICK), folder)
    weights = load_weights(folder / "runs/leaves/leaves.safetensors")
    assert weights.manifest.labels.names == ["background", "leaf", "stem", "soil"]
    assert weights.manifest.labels.classes[1].hex_color == "#3ca951"
    splits = weights.manifest.training["splits"]
    assert splits["train"]["frames"] + splits["val"]["frames"] == 20
    run(evaluate, folder)
    assert load_weights(folder / "runs/leaves/leaves.safetensors").manifest.temperatures
    run(quantise, folder)
    manifest = load_weights(folder / "runs/leaves/leaves.safetensors").manifest
    assert {"my leaves, val", scored_in("my leaves, val", INT8_SCORES[int8_sums() or "vnni"])} <= set(manifest.scores)
    assert set(manifest.temperatures) == {"float32", "int8"}
    run(on_avx2, folder)
    if int8_sums():
        assert "my leaves, val, int8 on AVX2" in load_weights(folder / "runs/leaves/leaves.safetensors").manifest.scores
    segment, service = serve.strip().splitlines()
    run(segment, folder)
    with Image.open(folder / "out" / "train_003.png") as overlay:
        assert (overlay.mode, overlay.size) == ("RGB", (96, 96))
    assert len(list((folder / "out").glob("*.png"))) == 20
    assert_answers(folder, service, ask)


def assert_answers(folder: Path, service: str, ask: str) -> None:
    port, command = free_port(), ["bash", "-c", without_setup(service.replace("make serve", "exec make serve"))]
    variables = {"SEGMENT_PORT": str(port)}
    with started(command, port, "/health/ready", variables, folder, folder / "log") as server:
        output = subprocess.check_output(["bash", "-c", ask.replace("http://127.0.0.1:8000", server.url)], cwd=folder)
        classes = yaml.safe_load(blocks("yaml")[0])["classes"]
        shown = json.loads(output)
        assert [{name: entry[name] for name in ("id", "name", "color")} for entry in shown] == classes
        image = (folder / "DATA/images/train_003.jpg").read_bytes()
        answer = httpx.post(f"{server.url}/segment?format=json", content=image, timeout=HANG_S).json()
        assert {entry["name"] for entry in answer["classes"]} <= {entry["name"] for entry in classes}
        assert (answer["image"]["width"], answer["image"]["height"]) == (96, 96)


def test_what_the_tutorial_names_is_there() -> None:
    for name in re.findall(r"training/recipes/[\w.-]+\.toml", TUTORIAL):
        assert (ROOT / name).is_file(), name
    for target in re.findall(r"\]\(([^)#:]+)\)", TUTORIAL):
        assert (ROOT / "docs" / target).is_file(), target


def test_each_change_that_it_advises_is_a_recipe_s() -> None:
    from training.learning.recipe import make_recipe, parse_changes

    changes = re.findall(r"--set (?:'([^']+)'|(\S+?)[`,;:\s])", TUTORIAL)
    assert len(changes) >= 6
    for quoted, plain in changes:
        make_recipe(ROOT / "training/recipes/finetune.toml", parse_changes([quoted or plain]))

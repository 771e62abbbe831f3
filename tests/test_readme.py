"""The README's commands and snippets, run as they stand against a live service."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.serving import free_port, start_server
from cli.answers import STATE
from model.weights_file import find_weights, load_weights
from tests.support.checkout import ROOT, run, without_setup
from tests.support.pages import blocks, size_of
from tests.support.polling import HANG_S
from training.data.demo import write_demo_data

README = (ROOT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8000"
SIZE = (451, 300)


def block_with(word: str, language: str = "sh") -> str:
    return next(block for block in blocks(README, language) if word in block)


def test_every_shell_block_is_run_by_a_test_here() -> None:
    run_here = ("make serve\n", "curl ", "fcn-segment docs/photos -o", "docker compose", "fcn-train --data")
    for block in blocks(README):
        assert any(word in block for word in run_here), block


def test_the_curl_commands_bring_masks_and_json(checkout: Path, live_url: str) -> None:
    run(block_with("curl ").replace(ADDRESS, live_url), checkout)
    with Image.open(checkout / "mask.png") as mask:
        assert (mask.mode, mask.size) == ("P", SIZE)
        assert (np.asarray(mask) == 8).mean() > 0.5
    answer = json.loads((checkout / "mask.json").read_text())
    (sentence,) = re.findall(r"^.*The JSON lists (.*), and has", README, re.MULTILINE)
    assert answer["classes"][0]["name"] == "cat"
    assert set(re.findall(r"`(\w+)`", sentence)) < set(answer["classes"][0])
    assert size_of(checkout / "overlay.png") == SIZE


def test_the_python_client_gets_a_class_map(checkout: Path, live_url: str) -> None:
    code = block_with("httpx", "python").replace(ADDRESS, live_url) + "\nassert (class_map == 8).mean() > 0.5, class_map"
    subprocess.run([sys.executable, "-c", code], cwd=checkout, check=True, timeout=HANG_S)


def test_the_command_line_gives_the_services_bytes(checkout: Path, live_url: str) -> None:
    run(block_with("fcn-segment docs/photos -o"), checkout)
    run(block_with("curl ").replace(ADDRESS, live_url), checkout)
    assert (checkout / "out/chelsea.png").read_bytes() == (checkout / "mask.png").read_bytes()
    photos = (checkout / "docs" / "photos").glob("*.jpg")
    assert {path.name for path in (checkout / "out").iterdir()} - {STATE} == {f"{photo.stem}.png" for photo in photos}


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_first_training_makes_weights_that_segment(checkout: Path) -> None:
    assert "`make train-demo`" in README
    run(without_setup("make train-demo"), checkout, seconds=3000)
    assert size_of(checkout / "runs/demo/shapes.png") == size_of(checkout / "runs/demo/shapes.jpg")
    assert "\n# demo\n" in (checkout / "runs/demo/demo.md").read_text()


@pytest.mark.long
def test_own_labels_are_trained_evaluated_and_served(checkout: Path) -> None:
    write_demo_data(checkout / "DATA", train=8, val=2)
    (checkout / "DATA/classes.json").write_text((checkout / "DATA/classes.json").read_text().replace('"circle"', '"disc"'))
    _, check, train, evaluate, serve = re.findall(r"(?:[^\\\n]|\\\n)+", block_with("fcn-train --data"))
    run(check, checkout)
    assert (checkout / "check.html").stat().st_size
    run(f"{train} --epochs 0", checkout)
    run(evaluate, checkout)
    port, command = free_port(), ["bash", "-c", without_setup(serve.replace("make serve", "exec make serve"))]
    variables = {"SEGMENT_PORT": str(port)}
    with start_server(command, port, "/health/ready", variables, checkout, checkout / "log") as server:
        names = json.loads(subprocess.check_output(["curl", "-s", f"{server.url}/classes"]))
        assert [entry["name"] for entry in names] == ["background", "disc", "square", "triangle"]


def test_the_json_of_classes_is_a_label_set(tmp_path: Path) -> None:
    from training.data.label_files import read_labels

    path = tmp_path / "classes.json"
    path.write_text(block_with('"classes"', "json"))
    assert read_labels(str(path)).names == ["background", "leaf"]


def test_the_limits_state_the_scores_of_the_weights() -> None:
    everyday = load_weights(find_weights("voc-fcn8s-mobilenet-v2")).manifest.scores["everyday life, val, int8"]
    people, chairs, bottles = (everyday["iou"][everyday["classes"].index(name)] for name in ("person", "chair", "bottle"))
    assert f"people {people:.3f}, chairs {chairs:.3f}, bottles {bottles:.3f}." in README


def test_the_scores_are_those_of_the_weights() -> None:
    rows = [line for line in README.splitlines() if re.match(r"\| (\*\*|the same )", line)]
    voc = load_weights(find_weights("voc-fcn8s-mobilenet-v2")).manifest.scores
    camvid = load_weights(find_weights("camvid-fcn8s-mobilenet-edgetpu")).manifest.scores
    measured = [
        voc["everyday life, val, int8"],
        voc["VOC 2012 animals, val, int8"],
        camvid["CamVid, val, int8"],
        camvid["CamVid, val, quality high, int8"],
    ]
    assert [line.replace("*", "").split(" | ", 1)[1] for line in rows] == [
        "{:.3f} | {:.3f} to {:.3f} | {:.3f} |".format(score["mean_iou"], *score["mean_iou_95"], score["pixel_accuracy"])
        for score in measured
    ]

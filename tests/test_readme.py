"""The README's commands and snippets, run as they stand against a live service."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.serving import free_port, start_server
from cli.answers import STATE
from model.weights_file import find_weights, load_weights
from tests.support.checkout import ROOT, run, without_setup
from tests.support.polling import HANG_S
from training.data.demo import write_demo_data

README = (ROOT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8000"
SIZE = (451, 300)


def blocks(language: str) -> list[str]:
    texts = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert texts
    return texts


def block_with(word: str, language: str = "sh") -> str:
    return next(block for block in blocks(language) if word in block)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_every_shell_block_is_run_by_a_test_here() -> None:
    run_here = ("make serve\n", "curl ", "fcn-segment docs/photos -o", "docker compose", "make train-demo", "fcn-train --data")
    for block in blocks("sh"):
        assert any(word in block for word in run_here), block


def test_the_curl_commands_bring_masks_and_json(checkout: Path, live_url: str) -> None:
    run(block_with("curl ").replace(ADDRESS, live_url), checkout)
    with Image.open(checkout / "mask.png") as mask:
        assert (mask.mode, mask.size) == ("P", SIZE)
        assert (np.asarray(mask) == 8).mean() > 0.5
    answer = json.loads((checkout / "mask.json").read_text())
    assert answer["classes"][0]["name"] == "cat"
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
    run(without_setup(block_with("make train-demo")), checkout, seconds=3000)
    assert size_of(checkout / "runs/demo/shapes.png") == size_of(checkout / "runs/demo/shapes.jpg")
    assert "\n# demo\n" in (checkout / "runs/demo/demo.md").read_text()


@pytest.mark.long
def test_own_labels_are_trained_evaluated_and_served(checkout: Path) -> None:
    write_demo_data(checkout / "DATA", train=8, val=2)
    (checkout / "DATA/classes.json").write_text((checkout / "DATA/classes.json").read_text().replace('"circle"', '"disc"'))
    check, train, evaluate, serve = re.findall(r"(?:[^\\\n]|\\\n)+", block_with("fcn-train --data"))
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


def test_links_and_pictures_of_the_readme_are_there() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def class_rows() -> list[str]:
    """The lines of the README's table of classes, by the facts in the weights file."""
    scores = load_weights(find_weights("voc-fcn8s-mobilenet-v2")).manifest.scores
    seven = [scores[f"VOC 2012 animals, val{precision}"] for precision in (", int8", "")]
    every = [scores[f"21 classes, val{precision}"] for precision in (", int8", "")]

    def row(name: str, frames: int, ious: list[float]) -> str:
        return f"| {name} | {frames} | {' | '.join(f'{iou:.3f}' for iou in ious)} |"

    def class_row(columns: list[dict[str, Any]], name: str) -> str:
        index = columns[0]["classes"].index(name)
        return row(name, columns[0]["frames"][index], [column["iou"][index] for column in columns])

    def sorted_rows(columns: list[dict[str, Any]], names: list[str]) -> list[str]:
        frames = dict(zip(columns[0]["classes"], columns[0]["frames"], strict=True))
        return [class_row(columns, name) for name in sorted(names, key=lambda name: -frames[name]) if frames[name]]

    own, total = list(seven[0]["classes"]), int(seven[0]["conditions"].split()[0])
    shown = sum(frames > 0 for frames in every[0]["frames"])
    return [
        *sorted_rows(seven, own),
        row("mean of these seven", total, [column["mean_iou"] for column in seven]),
        *sorted_rows(every, [name for name in every[0]["classes"] if name not in own]),
        row(f"mean of all {shown} classes that the frames show", total, [column["mean_iou"] for column in every]),
    ]


def test_the_classes_scores_and_frames_are_those_of_the_weights() -> None:
    table = README.partition("| class | frames that show it |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table == class_rows()
    (people,) = [line for line in table if line.startswith("| person |")]
    _, frames, int8, _ = people.strip("| ").split(" | ")
    assert f"People score {int8} on {frames} photos" in README
    scores = load_weights(find_weights("voc-fcn8s-mobilenet-v2")).manifest.scores["21 classes, val"]
    missing = [name for name, count in zip(scores["classes"], scores["frames"], strict=True) if not count]
    assert f"No photo shows {', '.join(missing[:-1])} or {missing[-1]}" in README


def test_the_scores_are_those_of_the_weights() -> None:
    rows = [line for line in README.splitlines() if re.match(r"\| (\*\*|the same )", line)]
    voc = load_weights(find_weights("voc-fcn8s-mobilenet-v2")).manifest.scores
    camvid = load_weights(find_weights("camvid-fcn8s-mobilenet-edgetpu")).manifest.scores
    measured = [
        voc["VOC 2012 animals, val, int8"],
        voc["VOC 2012 animals, val"],
        voc["VOC 2012 animals, val, quality high, int8"],
        camvid["CamVid, val, int8"],
        camvid["CamVid, val, quality high, int8"],
    ]
    assert [line.replace("*", "").split(" | ", 1)[1] for line in rows] == [
        "{:.3f} | {:.3f} to {:.3f} | {:.3f} |".format(score["mean_iou"], *score["mean_iou_95"], score["pixel_accuracy"])
        for score in measured
    ]

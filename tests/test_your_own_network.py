"""The page about networks of others, followed from the export to the classes over HTTP, beside the library's own inference.

Their own libraries make the networks. An environment with the extra `convert` alone, without PyTorch, converts and serves them.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from PIL import Image

from benchmarks.harness.serving import Server, service
from model.inference.segmenter import Segmenter
from tests.support.checkout import ROOT, run
from tests.support.environments.__main__ import install
from tests.support.environments.page_commands import Environment
from tests.support.images import Pixels, encode, make_photo
from tests.support.pages import blocks
from tests.support.polling import HANG_S
from tests.support.training.conversions import imagenet_pixels, original_output
from tests.support.training.foreign_networks import foreign_network
from tests.support.training.query_networks import SIDE, query_network
from tests.support.training.query_networks import library_classes as library_classes_of_masks

PAGE = (ROOT / "docs" / "your-own-network.md").read_text()
NAMES = ["background", "leaf", "stem", "soil", "weed"]
PHOTO = make_photo(384, 512)  # sides of a tile


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment with the extra `convert` alone. `PIP_ARGS` reaches pip, as in the Makefile."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install(folder, Environment(frozenset({"convert"})), os.environ.get("PIP_ARGS", "").split())
    return folder / "bin"


def torchvision_network() -> torch.nn.Module:
    from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

    return deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5)


def smp_network(name: str) -> Callable[[], torch.nn.Module]:
    def build() -> torch.nn.Module:
        import segmentation_models_pytorch as smp

        return getattr(smp, name)("resnet18", encoder_weights=None, classes=5)

    return build


def segformer() -> torch.nn.Module:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return SegformerForSemanticSegmentation(SegformerConfig(num_labels=5))


def section(heading: str) -> str:
    """A section's text. Its networks are seeded, so that the test can build the same."""
    return PAGE.split(f"### {heading}\n")[1].split("\n### ")[0].split("\n## ")[0]


def program_of(heading: str) -> str:
    """The page's program with the network of a section."""
    network, *_ = blocks(section(heading), "python")[0].split("\n\n\n")
    return "\n\n\n".join([network, *blocks(section("torchvision"), "python")[0].split("\n\n\n")[1:]])


def export(program: str, folder: Path) -> None:
    """Runs a program of the page where all libraries are. Its weights are seeded, so that the test can make the same."""
    program = program.replace("import torch\n", "import torch\n\ntorch.manual_seed(0)\n", 1)
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not result.returncode, result.stderr


def convert(command: str, environment: Path, folder: Path) -> None:
    (folder / "classes.yaml").write_text(json.dumps({"classes": NAMES}))
    run(command.replace("fcn-convert", str(environment / "fcn-convert")).strip(), folder)


def target_of(command: str) -> str:
    return command.split(" -o ")[1].split()[0]


def test_each_converted_network_has_a_name_of_its_own() -> None:
    targets = [target_of(line) for line in PAGE.splitlines() if line.startswith("fcn-convert ")]
    assert len(targets) == len({*targets}) >= 5


def served_classes(server: Server, photo: Pixels) -> Pixels:
    """The classes (height, width) of a photo over HTTP."""
    query = {"format": "grey", "side": "native"}
    answer = httpx.post(f"{server.url}/segment", params=query, content=encode(photo), timeout=HANG_S)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def library_classes(net: torch.nn.Module) -> npt.NDArray[Any]:
    """The library's own inference on the whole photo: its logits, at the photo's size."""
    with torch.inference_mode():
        output = net(torch.from_numpy(imagenet_pixels(PHOTO)))
    logits = output["out"] if isinstance(output, dict) and "out" in output else getattr(output, "logits", output)
    logits = torch.nn.functional.interpolate(logits, PHOTO.shape[:2], mode="bilinear", align_corners=False)
    return logits[0].argmax(0).numpy()


@pytest.mark.long
@pytest.mark.parametrize(
    ("heading", "former", "latter", "build", "options"),
    [
        ("torchvision", "", "", torchvision_network, ""),
        ("torchvision", "", "", torchvision_network, "--before-resize"),
        ("torchvision", "next(iter(output.values()))", 'output["out"].argmax(1, keepdim=True)', torchvision_network, ""),
        ("segmentation_models.pytorch", "", "", smp_network("Unet"), ""),
        ("Hugging Face", "", "", segformer, ""),
    ],
)
def test_a_network_of_another_library_gives_that_library_s_classes(
    checkout: Path,
    environment: Path,
    heading: str,
    former: str,
    latter: str,
    build: Callable[[], torch.nn.Module],
    options: str,
) -> None:
    export(program_of(heading).replace(former or "\0", latter), checkout)
    command = f"{blocks(section(heading) + section('torchvision'))[0].strip()} {options}"
    convert(command, environment, checkout)
    torch.manual_seed(0)
    theirs = library_classes(build().eval())
    with service(command=[str(environment / "fcn-serve")], weights=checkout / target_of(command), threads=1) as server:
        assert [each["name"] for each in httpx.get(f"{server.url}/classes").json()] == NAMES
        assert (served_classes(server, PHOTO) == theirs).mean() >= 0.999


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "has_config"),
    [("mask2former", True), ("maskformer", True), ("maskformer", False), ("oneformer", True), ("eomt", False)],
)
def test_a_network_that_classifies_masks_gives_its_library_s_classes(
    checkout: Path, environment: Path, name: str, has_config: bool
) -> None:
    """The page's program, with small networks of several kinds."""
    text = section("Mask classification")
    program = blocks(text, "python")[0].replace(
        "Mask2FormerForUniversalSegmentation(config).eval()", f'query_network("{name}")'
    )
    program = program.replace("config.save_pretrained", "net.config.save_pretrained" if has_config else "print")
    program = program.replace(
        "import torch\n", "import torch\nfrom tests.support.training.query_networks import query_network\n", 1
    )
    export(program, checkout)
    command = f"{blocks(text, 'sh')[0].strip()} --classes classes.yaml"
    convert(command, environment, checkout)
    network, classes = query_network(name), set[int]()
    with service(command=[str(environment / "fcn-serve")], weights=checkout / target_of(command), threads=1) as server:
        for seed in range(3):
            photo = make_photo(SIDE, SIDE, seed)
            theirs = library_classes_of_masks(name, network, photo)
            classes.update(np.unique(theirs).tolist())
            assert (served_classes(server, photo) == theirs).mean() >= 0.999
    assert len(classes) >= 3


FOREGROUND: dict[str, tuple[Sequence[int | str], Sequence[str], str]] = {
    "u2net.onnx": ((320, 320), [str(number) for number in range(1959, 1966)], "sigmoid"),
    "isnet-general-use.onnx": ((1024, 1024), ["output", "second", "third"], "sigmoid"),
    "BiRefNet-general-epoch_244.onnx": ((1024, 1024), ["output_image"], "logits"),
    "modnet.onnx": (("height", "width"), ["output"], "sigmoid"),
}
"""Of the page's networks: the sides of photos, the outputs, and how they end."""


def write_foreground(path: Path, sides: Sequence[int | str], names: Sequence[str], ending: str) -> None:
    """A small network in the form of that of the page: its first output is a map of the object, the others its opposite."""
    model = onnx.load(foreign_network(path, classes=1, sides=sides, ending=ending, width=2))
    (last,), graph = model.graph.output, model.graph
    for index, name in enumerate(names):
        inputs, operator = (["one", last.name], "Sub") if index else ([last.name], "Identity")
        graph.node.append(onnx.helper.make_node(operator, inputs, [name]))
    graph.initializer.extend([onnx.numpy_helper.from_array(np.array(1, np.float32), "one")][: len(names) - 1])
    graph.output.extend(onnx.ValueInfoProto(name=name, type=last.type) for name in names)
    graph.output.remove(last)
    onnx.save(model, path)


@pytest.mark.long
def test_networks_of_any_foreground_cut_out_their_own_objects(checkout: Path, environment: Path) -> None:
    """A photo of the network's sides has the network's own mask, from the page's commands as they are."""
    *conversions, cut = blocks(section("Any foreground"), "text")[0].splitlines()
    (checkout / "foreground.yaml").write_text(re.findall(r"`(classes: .*?)`", section("Any foreground"))[0])
    for line, (name, (sides, names, ending)) in zip(conversions, FOREGROUND.items(), strict=True):
        source, target = checkout / name, target_of(line)
        write_foreground(source, sides, names, ending)
        if len(names) > 1 and "--output" not in line:
            with pytest.raises(AssertionError, match=f"say which: --output {names[0]}"):
                run(f"{environment}/{line}", checkout)
            line += f" --output {names[0]}"
        run(f"{environment}/{line}", checkout)
        mean, std = (np.array(re.findall(rf"--{each} (\S+)", line)[0].split(","), float) for each in ("mean", "std"))
        side = int(re.findall(r"--side (\d+)", line)[0])
        photo = make_photo(side, side)
        values = original_output(source, ((photo / 255 - mean) / std).transpose(2, 0, 1)[None].astype(np.float32))
        own = values[0, 0] > (0 if ending == "logits" else 0.5)
        assert 0.05 < own.mean() < 0.95
        assert (Segmenter.from_weights(checkout / target, threads=1)(photo).class_map == own).mean() >= 0.999
        if target in cut:
            (checkout / "product.jpg").write_bytes(encode(photo))
            run(f"{environment}/{cut}", checkout)
            opacity = np.asarray(Image.open(checkout / "product.png"))[..., 3]
            assert ((opacity > 127) == own).mean() >= 0.9  # the edge lies on the photo's edges


@pytest.mark.long
def test_the_page_s_networks_are_all_in_the_test() -> None:
    assert re.findall(r"^### (.*)$", PAGE, re.MULTILINE) == [
        "torchvision",
        "segmentation_models.pytorch",
        "Hugging Face",
        "Mask classification",
        "Any foreground",
        "Others",
        "QGIS",
    ]

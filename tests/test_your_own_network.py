"""The page about networks of others, followed from the export to the served classes, beside the library's own inference."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from tests.support.checkout import ROOT, run
from tests.support.images import make_photo
from tests.support.pages import blocks
from tests.support.training.conversions import imagenet_pixels
from tests.support.training.query_networks import SIDE, query_network
from tests.support.training.query_networks import library_classes as library_classes_of_masks

PAGE = (ROOT / "docs" / "your-own-network.md").read_text()
NAMES = ["background", "leaf", "stem", "soil", "weed"]
PHOTO = make_photo(384, 512)  # sides of a tile


def torchvision_network() -> torch.nn.Module:
    from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

    return deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5)


def torchvision_fcn() -> torch.nn.Module:
    from torchvision.models.segmentation import fcn_resnet50

    return fcn_resnet50(weights=None, weights_backbone=None, num_classes=5)


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
        ("torchvision", "deeplabv3_mobilenet_v3_large", "fcn_resnet50", torchvision_fcn, "--before-resize"),
        ("segmentation_models.pytorch", "", "", smp_network("Unet"), ""),
        ("segmentation_models.pytorch", "smp.Unet", "smp.FPN", smp_network("FPN"), ""),
        ("segmentation_models.pytorch", "smp.Unet", "smp.Segformer", smp_network("Segformer"), ""),
        ("Hugging Face", "", "", segformer, ""),
    ],
)
def test_a_network_of_another_library_gives_that_library_s_classes(
    checkout: Path, heading: str, former: str, latter: str, build: Callable[[], torch.nn.Module], options: str
) -> None:
    (checkout / "classes.yaml").write_text(json.dumps({"classes": NAMES}))
    program = blocks(section(heading), "python")[0].replace(former or "\0", latter)
    program = program.replace("import torch\n", "import torch\n\ntorch.manual_seed(0)\n", 1)
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert not result.returncode, result.stderr
    run(blocks(section(heading))[0].replace("fcn-convert", ".venv/bin/fcn-convert").strip() + f" {options}", checkout)
    segmenter = Segmenter.from_weights(checkout / "served.onnx", threads=1)
    assert segmenter.manifest.labels.names == NAMES
    torch.manual_seed(0)
    theirs = library_classes(build().eval())
    ours = segmenter(PHOTO, Options(side="native")).class_map
    assert (ours == theirs).mean() >= 0.999


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "has_config"), [("mask2former", True), ("maskformer", True), ("maskformer", False), ("eomt", False)]
)
def test_a_network_that_classifies_masks_gives_its_library_s_classes(checkout: Path, name: str, has_config: bool) -> None:
    """The page's program, with small networks of several kinds."""
    (checkout / "classes.yaml").write_text(json.dumps({"classes": NAMES}))
    text = section("Mask classification")
    program = blocks(text, "python")[0].replace(
        "Mask2FormerForUniversalSegmentation(config).eval()", f'query_network("{name}")'
    )
    program = program.replace("config.save_pretrained", "net.config.save_pretrained" if has_config else "print")
    program = program.replace(
        "import torch\n", "import torch\nfrom tests.support.training.query_networks import query_network\n", 1
    )
    if name != "mask2former":
        program = program.replace("dynamo=True", "dynamo=False, opset_version=17").replace("    optimize=False,\n", "")
        program = program.replace("    external_data=False,\n", "")
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert not result.returncode, result.stderr
    command = blocks(text, "sh")[0].replace("fcn-convert", ".venv/bin/fcn-convert").strip()
    run(f"{command} --classes classes.yaml", checkout)
    segmenter = Segmenter.from_weights(checkout / "served.onnx", threads=1)
    classes: set[int] = set()
    for seed in range(3):
        photo = make_photo(SIDE, SIDE, seed)
        theirs = library_classes_of_masks(name, query_network(name), photo)
        classes.update(np.unique(theirs).tolist())
        assert (segmenter(photo).class_map == theirs).mean() >= 0.999
    assert len(classes) > 3


@pytest.mark.long
def test_the_page_s_networks_are_all_in_the_test() -> None:
    assert re.findall(r"^### (.*)$", PAGE, re.MULTILINE) == [
        "torchvision",
        "segmentation_models.pytorch",
        "Hugging Face",
        "Mask classification",
        "Others",
        "QGIS",
    ]

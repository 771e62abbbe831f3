"""The page about networks of others, followed from the export to the served classes, beside the library's own inference."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pytest
import torch

from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from tests.support.checkout import ROOT, run
from tests.support.images import make_photo
from tests.support.pages import blocks
from tests.support.training.conversions import imagenet_pixels

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
def test_the_page_s_networks_are_all_in_the_test() -> None:
    assert re.findall(r"^### (.*)$", PAGE, re.MULTILINE) == [
        "torchvision",
        "segmentation_models.pytorch",
        "Hugging Face",
        "Others",
    ]

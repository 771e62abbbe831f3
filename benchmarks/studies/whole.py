"""Measures which share of its own classes a converted network gives, in tiles and with `--tile whole`.

    PYTHONPATH=. python benchmarks/studies/whole.py OUT.json

The networks have random weights, and scores that are scaled so that each class is shown. It needs transformers, monai and
segmentation_models_pytorch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from imaging.decoding import Limits, decode
from model.inference.plan import Options
from model.inference.runtimes.openvino_runtime import OpenVINORuntime
from model.inference.segmenter import Segmenter
from model.inference.tiling import parse_tile
from model.labels import numbered_labels
from training.converting.conversion import convert
from training.converting.cost import whole_sides
from training.converting.pixels import Normalisation
from training.converting.request import ConversionRequest
from training.converting.whole_pictures import own_classes
from training.reporting.machine import commit, machine

NAMES = ["background", "leaf", "stem", "soil", "weed"]
SIZES = (480, 640), (483, 648), (960, 1280), (333, 500)
NORMALISATION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PHOTO = Path("docs/photos/chelsea.jpg").read_bytes()
RANDOM: dict[str, Any] = {"weights": None, "weights_backbone": None, "num_classes": len(NAMES)}
SIZE: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}


def of(module: str, name: str, *arguments: Any, **options: Any) -> Any:
    """The object that a library's function or class of this name makes."""
    return getattr(import_module(module), name)(*arguments, **options)


NETWORKS: dict[str, Callable[[], Any]] = {
    "torchvision LR-ASPP": lambda: of("torchvision.models.segmentation", "lraspp_mobilenet_v3_large", **RANDOM),
    "torchvision DeepLabv3": lambda: of("torchvision.models.segmentation", "deeplabv3_mobilenet_v3_large", **RANDOM),
    "smp Unet": lambda: of("segmentation_models_pytorch", "Unet", "resnet18", encoder_weights=None, classes=len(NAMES)),
    "smp FPN": lambda: of("segmentation_models_pytorch", "FPN", "resnet18", encoder_weights=None, classes=len(NAMES)),
    "SegFormer": lambda: of(
        "transformers", "SegformerForSemanticSegmentation", of("transformers", "SegformerConfig", num_labels=len(NAMES))
    ),
    "MONAI UNet": lambda: of("monai.networks.nets", "UNet", 2, 3, len(NAMES), (16, 32, 64, 128), (2, 2, 2), num_res_units=2),
    "DINOv2, patches of 14": lambda: of(
        "transformers", "Dinov2Model", of("transformers", "Dinov2Config", patch_size=14, **SIZE)
    ),
}


class Scores(torch.nn.Module):
    """A network's scores, whose mean of each class on a photo is 0, and whose deviation is 1."""

    def __init__(self, network: Any, image: torch.Tensor) -> None:
        super().__init__()
        self.network, self.mean, self.deviation = network.eval(), torch.zeros(1), torch.ones(1)
        with torch.no_grad():
            self.deviation, self.mean = torch.std_mean(self(image), (0, 2, 3), keepdim=True)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        scores = self.network(image)
        scores = scores["out"] if "out" in scores else getattr(scores, "logits", scores)
        if hasattr(scores, "last_hidden_state"):
            tokens = scores.last_hidden_state[:, 1:, : len(NAMES)].transpose(1, 2)
            scores = tokens.reshape(1, len(NAMES), image.shape[2] // 14, image.shape[3] // 14)
        return (scores - self.mean) / self.deviation


def measure(name: str, folder: Path) -> dict[str, dict[str, float]]:
    """The share of its own classes by tile and size of the photo."""
    torch.manual_seed(0)
    size, dynamic = (448, 672), {2: "height", 3: "width"}
    image = torch.from_numpy(NORMALISATION.apply(decode(PHOTO, Limits(), size))).permute(2, 0, 1)[None].float()
    source, shares = folder / "net.onnx", {}
    torch.onnx.export(
        Scores(NETWORKS[name](), image), (image,), str(source), dynamo=False, opset_version=17, input_names=["image"],
        output_names=["logits"], dynamic_axes={"image": dynamic, "logits": {2: "rows", 3: "columns"}},
    )  # fmt: skip
    for tile in ("auto", "whole"):
        request = ConversionRequest(source, folder / "t.onnx", numbered_labels(NAMES), NORMALISATION, tile=parse_tile(tile))
        try:
            _, ending = convert(request, print)
        except ValueError as error:
            print(error)
            continue
        segmenter, original, output = Segmenter(OpenVINORuntime(request.target)), ending.original, ending.whole or ending.output
        sides, shares[tile] = whole_sides(original, output), {}
        for height, width in SIZES:
            picture = decode(PHOTO, Limits(), (height, width))
            own = own_classes(original, output, picture, sides, len(NAMES))
            served = segmenter(picture, Options(side="native")).class_map
            shares[tile][f"{width}x{height}"] = round(float((served == own).mean()), 4)
        print(name, tile, shares[tile], flush=True)
    return shares


def main(out: str) -> None:
    with TemporaryDirectory() as folder:
        rows = {name: measure(name, Path(folder)) for name in NETWORKS}
    facts = {"command": "python benchmarks/studies/whole.py OUT.json", "machine": machine(1), "commit": commit(), "rows": rows}
    Path(out).write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

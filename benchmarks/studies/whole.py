"""Measures which share of its own classes a converted network gives, with `--tile whole` and in tiles.

    PYTHONPATH=. python benchmarks/studies/whole.py OUT.json [NETWORK...]

A network's own classes: those that ONNX Runtime gives for the bare photo. If it refuses the photo's sides, or gives a map of
another size: for the photo, extended by zeros to the multiple that `fcn-convert` has measured, and cut afterwards. Weights are
random, but PP-OCR's; random scores are scaled so that each class is shown, and each photo has a text. `told` are the lines of
`fcn-convert`; what photos cost is not measured. It needs transformers, monai, segmentation_models_pytorch and rapidocr.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from importlib.metadata import files
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import segmentation_models_pytorch as smp
import torch
from monai.networks.nets import UNet
from PIL import Image, ImageDraw
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large, lraspp_mobilenet_v3_large
from transformers import Dinov2Config, Dinov2Model, SegformerConfig, SegformerForSemanticSegmentation

from imaging.arrays import Pixels
from imaging.decoding import scale
from model.inference.plan import Options
from model.inference.runtimes.openvino_runtime import OpenVINORuntime
from model.inference.segmenter import Segmenter
from model.inference.tiling import WHOLE
from model.labels import numbered_labels
from training.converting.conversion import compare, convert
from training.converting.graph import ConversionError
from training.converting.pixels import Normalisation
from training.converting.request import ConversionRequest
from training.converting.samples import Original, photographs
from training.reporting.machine import commit, machine

NAMES = ["background", "leaf", "stem", "soil", "weed"]
SIZES = (480, 640), (483, 648), (960, 1280), (333, 500)
NORMALISATION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TEXT = "Fresh bread, cheese and eggs\nOpen from 8 to 18 o'clock\nTelephone 555 0123"
OCR, PATCH = "PP-OCR, trained", 14


def networks() -> dict[str, Any]:
    """Torch modules with random weights, and the ONNX file of PP-OCR."""
    torch.manual_seed(0)
    torchvision: dict[str, Any] = {"weights": None, "weights_backbone": None, "num_classes": len(NAMES)}
    return {
        "torchvision LR-ASPP": lraspp_mobilenet_v3_large(**torchvision),
        "torchvision DeepLabv3": deeplabv3_mobilenet_v3_large(**torchvision),
        "smp Unet": smp.Unet("resnet18", encoder_weights=None, classes=len(NAMES)),
        "smp FPN": smp.FPN("resnet18", encoder_weights=None, classes=len(NAMES)),
        "SegFormer": SegformerForSemanticSegmentation(SegformerConfig(id2label=dict(enumerate(NAMES)))),
        "MONAI UNet": UNet(2, 3, len(NAMES), (16, 32, 64, 128), (2, 2, 2), num_res_units=2),
        "DINOv2, patches of 14": Dinov2Model(Dinov2Config(patch_size=PATCH, hidden_size=64, num_hidden_layers=4)),
        OCR: next(Path(str(file.locate())) for file in files("rapidocr") or () if "_det_" in file.name),
    }


class Scores(torch.nn.Module):
    """A network's scores, whose mean of each class on images is 0, and deviation 1; batch norms have their statistics."""

    def __init__(self, network: Any, images: torch.Tensor) -> None:
        super().__init__()
        self.network, self.mean, self.deviation = network.train(), torch.zeros(1), torch.ones(1)
        for module in network.modules():
            module.momentum = None  # of a batch norm: its statistics are those of all images
        with torch.no_grad():
            network(images)
            self.deviation, self.mean = torch.std_mean(self.eval()(images), (0, 2, 3), keepdim=True)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        scores = self.network(image)
        scores = scores if isinstance(scores, torch.Tensor) else next(iter(scores.values()))
        if scores.ndim == 3:  # of tokens
            cells = image.shape[2] // PATCH, image.shape[3] // PATCH
            scores = scores[:, 1:, : len(NAMES)].transpose(1, 2).reshape(-1, len(NAMES), *cells)
        return (scores - self.mean) / self.deviation


def export(network: Any, photos: list[Pixels], path: Path) -> Path:
    images = torch.from_numpy(np.stack([NORMALISATION.apply(scale(photo, (448, 672))).transpose(2, 0, 1) for photo in photos]))
    torch.onnx.export(
        Scores(network, images), (images[:1],), path, dynamo=False, opset_version=17, input_names=["image"],
        output_names=["logits"], dynamic_axes={"image": {2: "height", 3: "width"}, "logits": {2: "rows", 3: "columns"}},
    )  # fmt: skip
    return path


def own_classes(original: Original, picture: Pixels, multiple: int) -> Pixels:
    """The ids (height, width) of the network itself."""
    height, width = picture.shape[:2]
    for sides in ((height, width), (height + -height % multiple, width + -width % multiple)):
        with suppress(ConversionError):
            (scores,) = map(torch.from_numpy, original(picture, sides).values())
            if tuple(side * (sides[0] // scores.shape[2]) for side in scores.shape[2:]) == sides:
                scores = torch.cat([1 - scores, scores], 1) if scores.shape[1] == 1 else scores
                return torch.nn.functional.interpolate(scores, sides, mode="bilinear")[0].argmax(0).numpy()[:height, :width]
    raise RuntimeError(f"the network gives no map of {width}x{height} pixels")


def measure(name: str, network: Any, photos: list[Pixels], folder: Path) -> dict[str, Any]:
    """The shares by way and size of the photo, and what `fcn-convert` tells. network: a torch module, or an ONNX file."""
    source = network if isinstance(network, Path) else export(network, photos, folder / "network.onnx")
    target = folder / "served.onnx"
    labels = numbered_labels(["background", "text"] if name == OCR else NAMES)
    tiled, whole = (ConversionRequest(source, target, labels, NORMALISATION, tile=tile) for tile in (None, WHOLE))
    with patch("training.converting.conversion.measured", lambda _, whole, memory_mb: whole):
        manifest, ending = convert(whole, print)
    assert manifest.whole
    pictures = [scale(photo, size) for photo, size in zip(cycle(photos), SIZES, strict=False)]
    own = [own_classes(ending.original, picture, manifest.whole.multiple) for picture in pictures]

    def shares(path: Path) -> dict[str, float]:
        segmenter, options = Segmenter(OpenVINORuntime(path)), Options(side="native")
        equal = [segmenter(picture, options).class_map == ids for picture, ids in zip(pictures, own, strict=True)]
        return {f"{each.shape[1]}x{each.shape[0]}": round(float(each.mean()), 5) for each in equal}

    row: dict[str, Any] = {"most_frequent": round(max(float(np.bincount(ids.ravel()).max() / ids.size) for ids in own), 3)}
    row["whole"] = shares(target)
    _, ending = convert(tiled, print)
    row |= {"tiles": shares(target), "told": list[str]()}
    compare(tiled, ending, row["told"].append)
    print(name, json.dumps(row), flush=True)
    return row


def main(out: str, *names: str) -> None:
    photos = [Image.fromarray(photo) for photo in photographs(None)]
    for photo in photos:
        ImageDraw.Draw(photo).text((20, 20), TEXT, "white", font_size=photo.height // 16)
    with TemporaryDirectory() as folder:
        chosen = {name: network for name, network in networks().items() if not names or name in names}
        rows = {name: measure(name, network, [*map(np.asarray, photos)], Path(folder)) for name, network in chosen.items()}
    facts = {"command": "python benchmarks/studies/whole.py OUT.json", "machine": machine(), "commit": commit(), "rows": rows}
    Path(out).write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

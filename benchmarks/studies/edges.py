"""How a photo's extension to multiples of 32 changes the classes of a network with global context.

    .venv/bin/python -m benchmarks.studies.edges DATA WEIGHTS > benchmarks/studies/edges.json

DATA: Pascal VOC 2012's frames with animals. WEIGHTS: the DeepLabv3 on MobileNetV2 of Coral's test models
(`deeplabv3_mnv2_pascal_quant.tflite`, sha256 879e94a5..., Apache-2.0), dequantised, as safetensors. Its head has the mean over
the whole photo, and its cells lie on the first of 16 pixels. Every second photo of val runs three times: as it is, extended by its edge, and scaled to the multiples.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from model.metrics import ConfusionMatrix
from training.reporting.machine import machine

UNIT, CELL, FAR, VOID = 32, 16, 64, 255
KEPT = (0, 8, 10, 12, 13, 15, 17)
"""The ids of VOC's classes that the data has."""
Array = npt.NDArray[np.uint8]


class DeepLab:
    """The network, from uint8 RGB pixels (height, width, 3) to logits (1, 21, rows, columns)."""

    def __init__(self, weights: Path) -> None:
        self.tensors = load_file(weights)
        self.features = torchvision.models.mobilenet_v2(weights=None).features[:18].eval()
        own = {name.removeprefix("features."): each for name, each in self.tensors.items() if name.startswith("features.")}
        self.features.load_state_dict(own, strict=False)  # num_batches_tracked alone is missing
        self.features[14].conv[1][0].stride = (1, 1)
        for index in (15, 16, 17):
            convolution = self.features[index].conv[1][0]
            convolution.dilation = convolution.padding = (2, 2)

    def __call__(self, pixels: Array) -> Tensor:
        values = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float() / 127.5 - 1
        values = self.features(values)
        pooled = self._head(values.mean((2, 3), keepdim=True), "image_pooling").relu()
        branches = [pooled.expand(-1, -1, *values.shape[2:]), self._head(values, "aspp0").relu()]
        return self._head(self._head(torch.cat(branches, 1), "concat_projection").relu(), "logits")

    def _head(self, values: Tensor, name: str) -> Tensor:
        return functional.conv2d(values, self.tensors[f"head.{name}.weight"], self.tensors[f"head.{name}.bias"])


def enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """The logits of each pixel, where a cell lies on the first of its pixels."""
    sides = zip(size, logits.shape[2:], strict=True)
    rows, columns = (2 * torch.arange(side) / CELL / (cells - 1) - 1 for side, cells in sides)
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], -1)[None]
    return functional.grid_sample(logits, places, align_corners=True, padding_mode="border")


def class_maps(net: DeepLab, photo: Image.Image) -> dict[str, Array]:
    """The class ids (height, width) of the photo as it is, extended and scaled."""
    pixels = np.asarray(photo)
    size = pixels.shape[0], pixels.shape[1]
    height, width = (-(-side // UNIT) * UNIT for side in size)
    padded = np.pad(pixels, ((0, height - size[0]), (0, width - size[1]), (0, 0)), mode="edge")
    scaled = np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR))
    logits = {
        "whole": enlarged(net(pixels), size),
        "extended": enlarged(net(padded), (height, width))[..., : size[0], : size[1]],
        "scaled": functional.interpolate(enlarged(net(scaled), (height, width)), size, mode="bilinear", align_corners=False),
    }
    return {name: each[0].argmax(0).numpy().astype(np.uint8) for name, each in logits.items()}


@torch.inference_mode()
def main(data: Path, weights: Path) -> None:
    torch.set_num_threads(1)
    net, table = DeepLab(weights), np.zeros(256, np.uint8)
    table[list(KEPT)], table[VOID] = range(len(KEPT)), VOID
    matrices = {name: ConfusionMatrix(len(KEPT)) for name in ("whole", "extended", "scaled")}
    shares: dict[str, list[tuple[float, float, float, float]]] = {"extended": [], "scaled": []}
    for name in (data / "ImageSets/Segmentation/val.txt").read_text().split()[::2]:
        photo = Image.open(data / "JPEGImages" / f"{name}.jpg").convert("RGB")
        if photo.width % UNIT == photo.height % UNIT == 0:
            continue
        truth = np.asarray(Image.open(data / "SegmentationClass" / f"{name}.png"))
        maps = class_maps(net, photo)
        for way, ids in maps.items():
            matrices[way].update(table[truth], table[ids])
        for way, values in shares.items():
            is_equal = maps[way] == maps["whole"]
            far = is_equal[: max(0, photo.height - FAR), : max(0, photo.width - FAR)]
            values.append((is_equal.sum(), is_equal.size, far.sum(), far.size))
    sums = {way: np.sum(values, 0) for way, values in shares.items()}
    report = {
        "command": "python -m benchmarks.studies.edges DATA WEIGHTS",
        "machine": machine(),
        "photos": len(shares["extended"]),
        "mean_iou": {way: round(matrix.mean_iou, 4) for way, matrix in matrices.items()},
        "equal": {way: round(each[0] / each[1], 4) for way, each in sums.items()},
        "equal_far_from_the_edges": {way: round(each[2] / each[3], 4) for way, each in sums.items()},
        "worst_photo": {way: round(min(each[0] / each[1] for each in values), 4) for way, values in shares.items()},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

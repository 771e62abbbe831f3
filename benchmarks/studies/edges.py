"""How a photo's extension to multiples of 32 changes the classes of a network with global context.

    .venv/bin/python benchmarks/studies/edges.py DATA WEIGHTS > benchmarks/studies/edges.json

DATA: Pascal VOC 2012's frames with animals. WEIGHTS: the DeepLabv3 on MobileNetV2 of Coral's test models
(`deeplabv3_mnv2_pascal_quant.tflite`, sha256 879e94a5..., Apache-2.0), dequantised, as safetensors. Its head has the mean over
the whole photo, and its cells lie on the first of 16 pixels. Every second photo of val runs three times in PyTorch: as it is,
extended by its edge, and scaled to the multiples. The network's ONNX file is converted and served, and the same photos go to it
over HTTP: with the default tile of 512, with one of 416, which is the next multiple of 32 above their longer side, and enlarged
to a longer side of 512.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
import numpy.typing as npt
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.harness.serving import ROOT, checkout_commit, service
from model.labels import numbered_labels
from model.metrics import ConfusionMatrix
from training.converting.conversion import convert
from training.converting.pixels import Normalisation
from training.converting.request import ConversionRequest
from training.reporting.machine import machine

UNIT, CELL, FAR, VOID = 32, 16, 64, 255
KEPT = (0, 8, 10, 12, 13, 15, 17)
"""The ids of VOC's classes that the data has."""
Array = npt.NDArray[np.uint8]


class DeepLab(torch.nn.Module):
    """The network, from uint8 RGB pixels (height, width, 3) to logits (1, 21, rows, columns)."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.tensors = load_file(weights)
        self.features = torchvision.models.mobilenet_v2(weights=None).features[:18].eval()
        own = {name.removeprefix("features."): each for name, each in self.tensors.items() if name.startswith("features.")}
        self.features.load_state_dict(own, strict=False)  # num_batches_tracked alone is missing
        self.features[14].conv[1][0].stride = (1, 1)
        for index in (15, 16, 17):
            convolution = self.features[index].conv[1][0]
            convolution.dilation = convolution.padding = (2, 2)

    def of_pixels(self, pixels: Array) -> Tensor:
        return self(torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float() / 127.5 - 1)

    def forward(self, values: Tensor) -> Tensor:
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
        "whole": enlarged(net.of_pixels(pixels), size),
        "extended": enlarged(net.of_pixels(padded), (height, width))[..., : size[0], : size[1]],
        "scaled": functional.interpolate(
            enlarged(net.of_pixels(scaled), (height, width)), size, mode="bilinear", align_corners=False
        ),
    }
    return {name: each[0].argmax(0).numpy().astype(np.uint8) for name, each in logits.items()}


def converted(net: DeepLab, folder: Path) -> Path:
    """The network's ONNX file, converted."""
    sizes = {"image": {2: "height", 3: "width"}, "logits": {2: "rows", 3: "columns"}}
    torch.onnx.export(
        net, (torch.rand(1, 3, 320, 416),), folder / "net.onnx", dynamo=False, opset_version=17, input_names=["image"],
        output_names=["logits"], dynamic_axes=sizes,
    )  # fmt: skip
    request = ConversionRequest(
        folder / "net.onnx", folder / "served.onnx", numbered_labels([f"class {id}" for id in range(21)]),
        Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), grid="corner",
    )  # fmt: skip
    convert(request, lambda line: print(line, file=sys.stderr))
    return request.target


def served_map(url: str, photo: Path, side: str) -> Array:
    """The class ids (height, width) that the service gives."""
    answer = httpx.post(f"{url}/segment", params={"format": "grey", "side": side}, content=photo.read_bytes(), timeout=60)
    return np.asarray(Image.open(io.BytesIO(answer.raise_for_status().content)))


@torch.inference_mode()
def measure(
    net: DeepLab, data: Path, served: dict[str, tuple[str, str]], table: Array, matrices: dict[str, ConfusionMatrix],
    shares: dict[str, list[tuple[float, float, float, float]]],
) -> None:  # fmt: skip
    """Adds each photo's counts to the matrices, and its equal pixels to the shares."""
    for name in (data / "ImageSets/Segmentation/val.txt").read_text().split()[::2]:
        photo = Image.open(data / "JPEGImages" / f"{name}.jpg").convert("RGB")
        if photo.width % UNIT == photo.height % UNIT == 0:
            continue
        truth = np.asarray(Image.open(data / "SegmentationClass" / f"{name}.png"))
        maps = class_maps(net, photo)
        file = data / "JPEGImages" / f"{name}.jpg"
        maps |= {way: served_map(url, file, side) for way, (url, side) in served.items()}
        for way, ids in maps.items():
            matrices[way].update(table[truth], table[ids])
        for way, values in shares.items():
            is_equal = maps[way] == maps["whole"]
            far = is_equal[: max(0, photo.height - FAR), : max(0, photo.width - FAR)]
            values.append((is_equal.sum(), is_equal.size, far.sum(), far.size))


@torch.inference_mode()
def main(data: Path, weights: Path) -> None:
    torch.set_num_threads(1)
    net, table = DeepLab(weights).eval(), np.zeros(256, np.uint8)
    table[list(KEPT)], table[VOID] = range(len(KEPT)), VOID
    with TemporaryDirectory() as folder, ExitStack() as stack:
        file = converted(net, Path(folder))
        urls = [stack.enter_context(service(weights=file, threads=1, tile=tile)).url for tile in (512, 416)]
        served = {"served": (urls[0], "native"), "served, tile 416": (urls[1], "native"), "served, side 512": (urls[0], "512")}
        ways = ["extended", "scaled", *served]
        matrices = {name: ConfusionMatrix(len(KEPT)) for name in ("whole", *ways)}
        shares: dict[str, list[tuple[float, float, float, float]]] = {way: [] for way in ways}
        measure(net, data, served, table, matrices, shares)
    sums = {way: np.sum(values, 0) for way, values in shares.items()}
    report = {
        "command": "python benchmarks/studies/edges.py DATA WEIGHTS",
        "machine": machine(),
        "commit": checkout_commit(ROOT),
        "photos": len(shares["extended"]),
        "mean_iou": {way: round(matrix.mean_iou, 4) for way, matrix in matrices.items()},
        "equal": {way: round(each[0] / each[1], 4) for way, each in sums.items()},
        "equal_far_from_the_edges": {way: round(each[2] / each[3], 4) for way, each in sums.items()},
        "worst_photo": {way: round(min(each[0] / each[1] for each in values), 4) for way, values in shares.items()},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Conversions of the small foreign networks, and what the original gives for pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from model.inference.runtimes.openvino_runtime import OpenVINORuntime
from model.labels import numbered_labels
from model.manifest import Manifest
from training.converting.conversion import convert
from training.converting.pixels import Normalisation
from training.converting.request import ConversionRequest

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORMALISATION = Normalisation(MEAN, STD)
NAMES = ("background", "leaf", "stem")


def converted(
    source: Path, *, classes: int = 3, lines: list[str] | None = None, **changes: Any
) -> tuple[Manifest, OpenVINORuntime]:
    """The converted file's document, and the file as it is served."""
    common: dict[str, Any] = {"labels": numbered_labels(NAMES[:classes]), "normalisation": NORMALISATION}
    target = source.with_name("converted.onnx")
    told: list[str] = [] if lines is None else lines
    manifest, _ = convert(ConversionRequest(source, target, **(common | changes)), told.append)
    return manifest, OpenVINORuntime(target, threads=1)


def original_output(source: Path, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The first output of the original for its own input."""
    session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    outputs: list[npt.NDArray[Any]] = session.run(None, {session.get_inputs()[0].name: values})
    return outputs[0]


def imagenet_pixels(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(1, 3, height, width) of RGB pixels (height, width, 3), normalised as torchvision does."""
    values = (pixels / 255 - np.array(MEAN)) / np.array(STD)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)

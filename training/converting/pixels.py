"""How a network of another program wants its pixels: told by hand, or read from a file that its library writes."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml

from common.arrays import Floats32, Pixels
from common.printable import printable
from training.converting.graph import ConversionError
from training.data.files import read_text
from training.data.strict_text import read_json

Triple = tuple[float, float, float]
UNIT = 1 / 255
HUGGING_FACE, HUGGING_FACE_CONFIG = "preprocessor_config.json", "config.json"
MMDEPLOY, PADDLE = "pipeline.json", "deploy.yaml"
NOT_NORMALISED = ("MobileViT",)  # beginnings of the types of image processors that normalise only if told to
OBJECT_MODELS = ("detr", "yolos", "sam")  # in Hugging Face's types of models
OBJECT_TASKS = ("detect", "segment", "classify", "pose", "obb")  # Ultralytics'
OF_OBJECTS = "networks that find objects or give masks of objects are not served, only semantic segmentation"
MOST_VALUE = 1e9  # of a mean, a deviation or a scale
# differences between the network's values for black and for white: 255 without normalisation, 2 to 5 with the usual ones.
# Beyond these, mean and std are of another scale
LEAST_SPAN, MOST_SPAN = 0.1, 300.0
# steps of Hugging Face's image processors that change a pixel's value; others change sizes alone
PIXEL_STEPS = ("do_rescale", "do_normalize", "do_flip_channel_order", "do_grayscale", "do_thumbnail", "do_equalize")
QUESTION = """\
nothing says how the network wants its pixels. Give what it was trained with:
  --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225     torchvision, segmentation_models.pytorch, SegFormer: ImageNet's
  --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5                 PaddleSeg, TensorFlow: from -1 to 1
  --mean 0,0,0 --std 1,1,1                             from 0 to 1: Ultralytics, Deepness
  --scale 1 --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375     MMSegmentation: in steps of 0 to 255
and --bgr, if it takes blue first. A preprocessor_config.json, pipeline.json or deploy.yaml beside the file says it too."""


@dataclass(frozen=True)
class Normalisation:
    """The network takes `(pixel * scale - mean) / std` of each channel, in the network's order: blue first if `bgr`.

    source: where it is from. Raises `ConversionError` for values that cannot be.
    """

    mean: Triple
    std: Triple
    scale: float = UNIT
    bgr: bool = False
    source: str = "told"

    def __post_init__(self) -> None:
        numbers = (*self.mean, *self.std, self.scale)
        if not all(map(isfinite, numbers)) or min(*self.std, self.scale) <= 0:
            raise ConversionError(
                f"{self.source}: mean and std need three numbers, std and scale above 0; got mean {list(self.mean)}, "
                f"std {list(self.std)}, scale {self.scale}"
            )
        for mean, std in zip(self.mean, self.std, strict=True):
            black, white = -mean / std, (255 * self.scale - mean) / std
            if white < 0 or not LEAST_SPAN <= white - black <= MOST_SPAN:
                raise ConversionError(
                    f"{self.source}: mean {mean:.6g} and std {std:.6g} do not fit pixels from 0 to {255 * self.scale:.6g}: the "
                    f"network would get {black:.6g} for black and {white:.6g} for white; for mean and std of pixels from 0 to "
                    "255: --scale 1, of pixels from 0 to 1: no --scale"
                )

    def apply(self, tile: Pixels) -> Floats32:
        """The network's values (height, width, 3) of a tile's RGB pixels (height, width, 3)."""
        pixels = tile[..., ::-1] if self.bgr else tile
        values = (pixels.astype(np.float64) * self.scale - self.mean) / self.std
        return np.ascontiguousarray(values, np.float32)

    def describe(self) -> str:
        order = "BGR" if self.bgr else "RGB"
        mean, std = ([float(f"{value:.6g}") for value in values] for values in (self.mean, self.std))
        return f"{order}, (pixel * {self.scale:.6g} - {mean}) / {std} ({self.source})"


def read_normalisation(path: Path, model: onnx.ModelProto) -> Normalisation | None:
    """What the file itself, or a file of its library beside it, says; None if nothing does.

    Reads Deepness' and Ultralytics' metadata in the model, `preprocessor_config.json` of Hugging Face, `pipeline.json` of
    MMDeploy and `deploy.yaml` of PaddleSeg. Raises `ConversionError` for one that is damaged, or says what is not supported.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    for reader in (_deepness, _ultralytics):
        if normalisation := reader(metadata):
            return normalisation
    for name in (HUGGING_FACE, MMDEPLOY, PADDLE):
        file, read_document = path.with_name(name), _hugging_face if name == HUGGING_FACE else _normalize_step
        if file.is_file() and (normalisation := read_document(name, _document(file))):
            return normalisation
    return None


def read_class_names(path: Path, model: onnx.ModelProto) -> list[str] | None:
    """Names of the classes in the order of their ids, as the file's metadata or `config.json` beside it says; None without any.

    Raises `ConversionError` for ids that are not 0 to n-1.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    for key in ("class_names", "names"):  # Deepness', Ultralytics'
        if key in metadata:
            return _names_by_id(f"the file's metadata {key}", _literal(metadata[key]))
    config = path.with_name(HUGGING_FACE_CONFIG)
    if config.is_file():
        document = _document(config)
        if isinstance(document, dict) and "id2label" in document:
            return _names_by_id(f"{config}, id2label", document["id2label"])
    return None


def refuse_other_tasks(path: Path, model: onnx.ModelProto) -> None:
    """Raises `ConversionError` if the file's metadata, or a `config.json` beside it, says that its network finds objects."""
    task = next((entry.value for entry in model.metadata_props if entry.key == "task"), "semantic")
    if task in OBJECT_TASKS:
        raise ConversionError(f"the file's metadata says that its task is {task}: {OF_OBJECTS}")
    type_name = model_type(path)
    if any(name in type_name for name in OBJECT_MODELS):
        raise ConversionError(f"{HUGGING_FACE_CONFIG} says that it is a {printable(type_name, 40)}: {OF_OBJECTS}")


def model_type(path: Path) -> str:
    """The type in a `config.json` of Hugging Face beside the file, in small letters; empty without one, or if it is damaged."""
    config = path.with_name(HUGGING_FACE_CONFIG)
    try:
        document = _document(config) if config.is_file() else None
    except ConversionError:  # whoever needs the names of the classes says so
        return ""
    return str(document.get("model_type", "")).lower() if isinstance(document, dict) else ""


def _names_by_id(source: str, names: object) -> list[str]:
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return list(names)
    if isinstance(names, dict) and all(isinstance(name, str) for name in names.values()):
        by_id = {int(key): name for key, name in names.items() if str(key).isdecimal() and len(str(key)) < 4}
        if by_id and len(by_id) == len(names) and sorted(by_id) == list(range(len(by_id))):
            return [by_id[index] for index in range(len(by_id))]
    text = printable(str(names), 60)
    raise ConversionError(f"{source} must name the classes of the ids 0 to n-1, got {text}; give --classes")


def _deepness(metadata: Mapping[str, str]) -> Normalisation | None:
    if "standardization_mean" not in metadata and "standardization_std" not in metadata:
        return None
    source = "the file's metadata, standardization_mean and standardization_std"
    mean = _literal(metadata.get("standardization_mean", "[0, 0, 0]"))
    std = _literal(metadata.get("standardization_std", "[1, 1, 1]"))
    return Normalisation(_triple(source, mean), _triple(source, std), source=source)


def _ultralytics(metadata: Mapping[str, str]) -> Normalisation | None:
    if not {"names", "stride", "imgsz", "task"} <= set(metadata):
        return None
    return Normalisation((0, 0, 0), (1, 1, 1), source=f"the file's metadata, of the task {printable(metadata['task'], 20)}")


def _hugging_face(name: str, document: object) -> Normalisation | None:
    if not isinstance(document, dict):
        raise ConversionError(f"{name} must hold an object")
    steps = {step: document[step] for step in PIXEL_STEPS if step in document}
    unknown = [step for step in ("do_grayscale", "do_thumbnail", "do_equalize") if steps.get(step)]
    if unknown:
        raise ConversionError(f"{name} asks for {', '.join(unknown)}, which is not supported")
    mean: object = (0, 0, 0)
    std: object = (1, 1, 1)
    type_name = str(document.get("image_processor_type", document.get("feature_extractor_type", "")))
    if steps.get("do_normalize", not type_name.startswith(NOT_NORMALISED)):
        if "image_mean" not in document or "image_std" not in document:
            return None
        mean, std = document["image_mean"], document["image_std"]
    factor = _number(document.get("rescale_factor", UNIT) if steps.get("do_rescale", True) else 1)
    if factor is None:
        text = printable(str(document["rescale_factor"]), 40)
        raise ConversionError(f"{name}: rescale_factor must be a number, got {text}")
    bgr = bool(steps.get("do_flip_channel_order", False))
    return Normalisation(_triple(name, mean), _triple(name, std), factor, bgr, name)


def _normalize_step(name: str, document: object) -> Normalisation | None:
    """`Normalize` of MMDeploy's pipeline, of 0 to 255, in BGR where `to_rgb` is false; of PaddleSeg's, of 0 to 1, else 0.5.

    Raises `ConversionError` for several steps.
    """
    is_paddle = name == PADDLE
    steps = [step for step in _objects(document) if step.get("type") == "Normalize" and (is_paddle or "mean" in step)]
    if len(steps) > 1:
        raise ConversionError(f"{name} normalises {len(steps)} times; give --mean, --std, --scale and --bgr")
    if not steps:
        return None
    mean, std = (_triple(name, steps[0].get(key, (0.5,) * 3 if is_paddle else None)) for key in ("mean", "std"))
    return Normalisation(mean, std, UNIT if is_paddle else 1.0, not steps[0].get("to_rgb", True), name)


def _objects(document: object) -> Iterator[dict[str, Any]]:
    """All objects of a document, at any depth."""
    if isinstance(document, dict):
        yield document
    for inner in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from _objects(inner)


def _document(file: Path) -> object:
    try:
        return yaml.safe_load(read_text(file)) if file.suffix == ".yaml" else read_json(file)
    except (ValueError, OSError, RecursionError, yaml.YAMLError) as error:
        raise ConversionError(f"{file} cannot be read: {error}; mend it, or remove it and give --mean and --std") from error


def _literal(text: str) -> object:
    """A value in JSON, or as Python writes it, which Ultralytics does."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ConversionError(f"the file's metadata holds a value that cannot be read: {printable(text, 60)}") from error


def _triple(source: str, value: object) -> Triple:
    values = [_number(each) for each in value] if isinstance(value, list | tuple) and len(value) == 3 else []
    numbers = [each for each in values if each is not None]
    if len(numbers) != 3:
        text = printable(repr(value)[:60] if not isinstance(value, list) else f"a list of {len(value)}", 60)
        raise ConversionError(f"{source}: three numbers are needed, one for each channel, got {text}")
    return numbers[0], numbers[1], numbers[2]


def _number(value: object) -> float | None:
    """A finite number, also one that is written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) and abs(number) <= MOST_VALUE else None

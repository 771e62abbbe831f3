"""The JSON document in every weights file: the network's architecture, classes, preprocessing, scores and licence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from model.architecture import Architecture
from model.imported_network import KIND, ImportedNetwork, Whole
from model.labels import LabelSet
from model.preprocessing import RGB, Preprocessing

FORMAT_VERSION = 1
METADATA_KEY = "fcn"
# largest losses with which int8 is still chosen automatically
MOST_IOU_LOST = 0.003
MOST_CLASS_IOU_LOST = 0.01
MOST_CALIBRATION_ERROR = 0.012
Int8Sums = Literal["vnni", "avx2"]
"""How a processor sums int8 products: in 32 bits (`vnni`: VNNI, AMX), or in 16 bits, which saturate (`avx2`: only AVX2)."""
INT8_SCORES: Mapping[Int8Sums, str] = {"vnni": "int8", "avx2": "int8 on AVX2"}


class WeightsError(ValueError):
    """A weights file that is missing, damaged, of another version, or contradicts itself."""


def scored_in(name: str, precision: str) -> str:
    """The manifest's name for a score in a precision. float32 keeps the plain name; for int8 pass a value of `INT8_SCORES`."""
    return name if precision == "float32" else f"{name}, {precision}"


@dataclass(frozen=True)
class Manifest:
    """The document in a weights file's header.

    training: facts about the training, for the model card.
    scores: results of `ConfusionMatrix.scores`, by name (`scored_in`).
    temperatures: divisors of logits before the softmax, by precision; `float32` holds for a precision without its own.
    exports: by precision, the `network_sha256` of the export that was scored. Records in that precision are valid only for it.
    """

    architecture: Architecture | ImportedNetwork
    labels: LabelSet
    preprocessing: Preprocessing
    license: str
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    temperatures: Mapping[str, float] = field(default_factory=dict)
    exports: Mapping[str, str] = field(default_factory=dict)

    @property
    def fcn(self) -> Architecture:
        """The architecture of a network that PyTorch can build. Raises `WeightsError` for an imported network."""
        if isinstance(self.architecture, ImportedNetwork):
            source = self.architecture.source
            raise WeightsError(
                f"this network was converted from {source}: it is an ONNX file alone, for OpenVINO, without tensors"
            )
        return self.architecture

    @property
    def whole(self) -> Whole | None:
        """How a photo is one tile of its own shape; None for networks that take tiles."""
        return self.architecture.whole if isinstance(self.architecture, ImportedNetwork) else None

    @property
    def largest_tile(self) -> tuple[int, int] | None:
        """The most (height, width) of a tile, for an imported network that takes one size alone; else None."""
        return self.architecture.largest_tile if isinstance(self.architecture, ImportedNetwork) else None

    @property
    def has_logits(self) -> bool:
        """Whether the network gives a score for each class. Without scores there is no confidence."""
        return not isinstance(self.architecture, ImportedNetwork) or self.architecture.has_logits

    def without(self, precision: str) -> Manifest:
        """A copy without the scores, temperature and calibration of this precision.

        Raises `ValueError` for float32, whose records belong to the master itself.
        """
        if precision == "float32":
            raise ValueError("records in float32 are of the master's own tensors, and stay")
        return replace(
            self,
            scores={name: score for name, score in self.scores.items() if f", {precision}" not in name},
            training={name: fact for name, fact in self.training.items() if name != f"calibration_{precision}"},
            temperatures={name: value for name, value in self.temperatures.items() if name != precision},
            exports={name: digest for name, digest in self.exports.items() if name != precision},
        )

    def of_export(self, precision: str, network_sha256: str) -> Manifest:
        """The manifest for the export with this network: drops records in this precision that belong to another network.

        Records in files from before `network_sha256` existed are dropped too, since they do not name their export.
        """
        if precision == "float32" or self.exports.get(precision) == network_sha256:
            return self
        others = self.without(precision)
        return replace(others, exports={**others.exports, precision: network_sha256})

    def temperature(self, precision: str = "float32") -> float | None:
        """The calibration temperature in this precision, else the one in float32; None if neither was fitted."""
        return self.temperatures.get(precision, self.temperatures.get("float32"))

    def allows_int8(self, sums: Int8Sums) -> bool:
        """Whether the scores show that int8 loses almost no accuracy on processors that sum products this way.

        Compares the first score that exists both in float32 and in this form of int8; it is the published one. Mean IoU may
        fall by at most 0.003, the IoU of a class by at most 0.01, and the expected calibration error with int8's own
        temperature may be at most 0.012.
        """
        name = next((name for name in self.scores if scored_in(name, INT8_SCORES[sums]) in self.scores), None)
        error = self.training.get("calibration_int8", {}).get("ece_after")
        if name is None or error is None or error > MOST_CALIBRATION_ERROR:
            return False
        float32, int8 = self.scores[name], self.scores[scored_in(name, INT8_SCORES[sums])]
        losses = [a - b for a, b in zip(float32["iou"], int8["iou"], strict=True) if a is not None and b is not None]
        return bool(float32["mean_iou"] - int8["mean_iou"] <= MOST_IOU_LOST and max(losses, default=0) <= MOST_CLASS_IOU_LOST)

    def to_json(self) -> str:
        document = {
            "format_version": FORMAT_VERSION,
            "architecture": self.architecture.to_dict(),
            "classes": self.labels.to_list(),
            "ignore_index": self.labels.ignore_index,
            "preprocessing": self.preprocessing.to_dict(),
            "license": self.license,
            "training": self.training,
            "scores": self.scores,
        }
        if self.temperatures:
            others = {name: value for name, value in self.temperatures.items() if name != "float32"}
            document["calibration"] = {"temperature": self.temperature()} | others
        if self.exports:
            document["exports"] = dict(self.exports)
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parses the document; raises `WeightsError`, which names the missing or wrong part."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise WeightsError(f"the header's {METADATA_KEY!r} is not JSON: {error}") from error
        version = document.get("format_version") if isinstance(document, dict) else None
        if version != FORMAT_VERSION:
            raise WeightsError(f"format_version must be {FORMAT_VERSION}, got {version!r}")
        try:
            manifest = cls(
                architecture=_architecture(document["architecture"]),
                labels=LabelSet.from_list(document["classes"], document["ignore_index"]),
                preprocessing=_preprocessing(document["preprocessing"]),
                license=document["license"],
                training=_facts("training", document["training"]),
                scores={name: _facts(f"the score {name!r}", one) for name, one in _facts("scores", document["scores"]).items()},
                temperatures=_temperatures(document.get("calibration", {})),
                exports={str(name): str(digest) for name, digest in document.get("exports", {}).items()},
            )
        except WeightsError:
            raise
        except KeyError as error:
            raise WeightsError(f"the header lacks {error}") from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise WeightsError(f"the header is wrong: {error}") from error
        if len(manifest.labels) != manifest.architecture.num_classes:
            counts = f"{manifest.architecture.num_classes} classes, its label set {len(manifest.labels)}"
            raise WeightsError(f"the header is wrong: the network has {counts}; both need one number")
        bands = manifest.architecture.bands if isinstance(manifest.architecture, Architecture) else len(RGB)
        if bands != manifest.preprocessing.channels:
            channels = f"{bands} bands, its preprocessing has {manifest.preprocessing.channels}"
            raise WeightsError(f"the header is wrong: the network sees {channels}; both need one number")
        return manifest


def _architecture(values: Mapping[str, Any]) -> Architecture | ImportedNetwork:
    kind = values.get("kind")
    if kind not in (None, KIND):
        raise WeightsError(f"the header is wrong: the architecture's kind must be {KIND!r}, or be left out, got {kind!r}")
    return ImportedNetwork.from_dict(values) if kind else Architecture.from_dict(values)


def _facts(name: str, value: Any) -> dict[str, Any]:
    """The value, if it is a JSON object; else raises `WeightsError`."""
    if not isinstance(value, dict):
        raise WeightsError(f"the header is wrong: {name} must be an object, got {str(value)[:60]}")
    return value


def _preprocessing(values: Mapping[str, Any]) -> Preprocessing:
    arguments: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return Preprocessing(**arguments)


def _temperatures(calibration: Mapping[str, Any]) -> dict[str, float]:
    temperatures = {("float32" if name == "temperature" else name): value for name, value in calibration.items()}
    for value in temperatures.values():
        if not isinstance(value, int | float) or not value > 0:
            raise WeightsError(f"a calibration temperature must be a number above 0, got {value!r}")
    return {name: float(value) for name, value in temperatures.items()}

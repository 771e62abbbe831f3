"""The JSON document that every weights file carries: what the network is, what it knows, how well, and under which licence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from model.architecture import Architecture
from model.labels import LabelSet
from model.preprocessing import Preprocessing

FORMAT_VERSION = 1
METADATA_KEY = "fcn"
# what int8 may cost to be chosen without being asked for
MOST_IOU_LOST = 0.003
MOST_CLASS_IOU_LOST = 0.01
MOST_CALIBRATION_ERROR = 0.012
Int8Sums = Literal["vnni", "avx2"]
"""How a processor sums int8's products: in 32 bits (VNNI, AMX), or in 16 (AVX2 alone), which saturate."""
INT8_SCORES: Mapping[Int8Sums, str] = {"vnni": "int8", "avx2": "int8 on AVX2"}


class WeightsError(ValueError):
    """A weights file that is missing, damaged, of another version, or that contradicts itself."""


def scored_in(name: str, precision: str) -> str:
    """The name of a score in the manifest, for a precision (of int8, one of `INT8_SCORES`): float32 has the plain one."""
    return name if precision == "float32" else f"{name}, {precision}"


@dataclass(frozen=True)
class Manifest:
    """The document in a weights file's header.

    temperatures: by precision, what logits are divided by before the softmax; float32 where only one was fitted.
    scores: by name (`scored_in`), as `ConfusionMatrix.scores` gives them. training: the facts that the model card tells.
    exports: by precision, the `network_sha256` of the export that was scored: records in that precision are of it alone.
    """

    architecture: Architecture
    labels: LabelSet
    preprocessing: Preprocessing
    license: str
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    temperatures: Mapping[str, float] = field(default_factory=dict)
    exports: Mapping[str, str] = field(default_factory=dict)

    def without(self, precision: str) -> Manifest:
        """The manifest without the scores, the temperature and the calibration that were recorded in this precision."""
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
        """The manifest whose records in this precision are of this export's network; those of another one are dropped.

        Files written before exports had a `network_sha256` do not say of which export their records are: they are dropped too.
        """
        if precision == "float32" or self.exports.get(precision) == network_sha256:
            return self
        kept = self.without(precision)
        return replace(kept, exports={**kept.exports, precision: network_sha256})

    def temperature(self, precision: str = "float32") -> float | None:
        """The calibration temperature of a network in this precision; None where none was fitted."""
        return self.temperatures.get(precision, self.temperatures.get("float32"))

    def allows_int8(self, sums: Int8Sums) -> bool:
        """Whether measured scores show that int8 costs next to nothing on processors that sum so.

        Judged by the first score that was taken in float32 and so, which is the published one: at most 0.003 of mean IoU and
        0.01 of a class's may be lost, and the expected calibration error with int8's own temperature is at most 0.012.
        """
        name = next((name for name in self.scores if scored_in(name, INT8_SCORES[sums]) in self.scores), None)
        error = self.training.get("calibration_int8", {}).get("ece_after")
        if name is None or error is None or error > MOST_CALIBRATION_ERROR:
            return False
        full, quantised = self.scores[name], self.scores[scored_in(name, INT8_SCORES[sums])]
        lost = [a - b for a, b in zip(full["iou"], quantised["iou"], strict=True) if a is not None and b is not None]
        return bool(full["mean_iou"] - quantised["mean_iou"] <= MOST_IOU_LOST and max(lost, default=0) <= MOST_CLASS_IOU_LOST)

    def to_json(self) -> str:
        document = {
            "format_version": FORMAT_VERSION,
            "architecture": self.architecture.to_dict(),
            "classes": self.labels.to_list(),
            "ignore_index": self.labels.ignore_index,
            "preprocessing": asdict(self.preprocessing),
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
        """Reads the document; raises `WeightsError` naming what is missing or wrong."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise WeightsError(f"the header's {METADATA_KEY!r} is not JSON: {error}") from error
        version = document.get("format_version") if isinstance(document, dict) else None
        if version != FORMAT_VERSION:
            raise WeightsError(f"format_version must be {FORMAT_VERSION}, got {version!r}")
        try:
            manifest = cls(
                architecture=Architecture.from_dict(document["architecture"]),
                labels=LabelSet.from_list(document["classes"], document["ignore_index"]),
                preprocessing=_preprocessing(document["preprocessing"]),
                license=document["license"],
                training=_facts("training", document["training"]),
                scores=_scores(document["scores"]),
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
        return manifest


def _facts(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WeightsError(f"the header is wrong: {name} must be an object, got {str(value)[:60]}")
    return value


def _scores(document: Any) -> dict[str, Any]:
    return {name: _facts(f"the score {name!r}", values) for name, values in _facts("scores", document).items()}


def _preprocessing(values: Mapping[str, Any]) -> Preprocessing:
    arguments: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return Preprocessing(**arguments)


def _temperatures(calibration: Mapping[str, Any]) -> dict[str, float]:
    found = {("float32" if name == "temperature" else name): value for name, value in calibration.items()}
    for value in found.values():
        if not isinstance(value, int | float) or not value > 0:
            raise WeightsError(f"a calibration temperature must be a number above 0, got {value!r}")
    return {name: float(value) for name, value in found.items()}

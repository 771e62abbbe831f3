"""The header of a model card for the Hugging Face Hub: YAML between two lines of `---`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from model.manifest import Manifest

# licences that the Hub knows by these names; others are stated as `other` with their own name
LICENSES = (
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "cc-by-nd-4.0", "gpl-3.0", "agpl-3.0", "openrail",
)  # fmt: skip
CARD = rb'(?s)---\n.*\nlibrary_name: "fcn-segment"\n'  # what every card begins with
METRICS = ("mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")


def hub_header(name: str, manifest: Manifest) -> str:
    """The header with licence, task, tags and the recorded scores; values are JSON, which YAML includes.

    name: of the weights.
    """
    architecture = manifest.fcn
    fields: dict[str, Any] = _license(manifest.license) | {
        "library_name": "fcn-segment",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", architecture.variant, architecture.backbone, "onnx", "openvino"],
    }
    results = [_result(score, values) for score, values in manifest.scores.items() if {"classes", "iou"} <= set(values)]
    if results := [result for result in results if result["metrics"]]:
        fields["model-index"] = [{"name": name, "results": results}]
    lines = (f"{field}: {json.dumps(value, ensure_ascii=False)}" for field, value in fields.items())
    return "\n".join(["---", *lines, "---"])


def _license(text: str) -> dict[str, str]:
    """The Hub's fields for a licence, by the first word of its text."""
    first = text.split()[0].lower() if text.split() else ""
    return {"license": first} if first in LICENSES else {"license": "other", "license_name": _slug(text) or "unknown"}


def _result(score: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded score in the form of the Hub's `model-index`; without metrics where none is known."""
    return {
        "task": {"type": "image-segmentation", "name": "Semantic segmentation"},
        "dataset": {"type": _slug(score.split(",")[0]) or "unknown", "name": score},
        "metrics": [{"type": name, "value": values[name]} for name in METRICS if values.get(name) is not None],
    }


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")

"""What Hugging Face's task `image-segmentation` answers: a mask for each class.

Source: Hugging Face, "Inference Providers: Image Segmentation", `ImageSegmentationOutput`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.classes import Label
from imaging.encoding import binary_png
from imaging.statistics import class_pixels


def class_masks(
    class_map: npt.NDArray[np.uint8], labels: Sequence[Label], mean_confidence: Sequence[float], threshold: float
) -> list[dict[str, Any]]:
    """The present classes, largest first, each with `label`, `score` (its mean confidence) and `mask`. Void is left out.

    class_map: uint8 (H, W). mean_confidence: by class id, 0 to 1; empty for a network without confidence, whose
    scores are null. threshold: 0 to 1; classes of a lower score are left out. A
    mask is an 8-bit grey PNG in base64, 255 where the class is.
    """
    pixels = class_pixels(class_map)
    scores = {label.id: round(mean_confidence[label.id], 6) for label in labels} if mean_confidence else {}
    present = [label for label in labels if pixels[label.id] and scores.get(label.id, 1.0) >= threshold]
    return [
        {
            "label": label.name,
            "score": scores.get(label.id),
            "mask": base64.b64encode(binary_png(class_map, {label.id})).decode(),
        }
        for label in sorted(present, key=lambda label: (-pixels[label.id], label.id))
    ]

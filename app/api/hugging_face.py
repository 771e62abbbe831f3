"""The parameters that only Hugging Face's `image-segmentation` task has. `parameters.own_values` says what they are here."""

from __future__ import annotations

from typing import Literal

from imaging.parameters import Parameter

HUGGING_FACE = {
    each.name: each
    for each in (
        Parameter(
            name="mask_threshold", type=float, default=0, least=0, most=1, formats=("hf",),
            help="with hf: pixels of less confidence are in no mask, as with `min_confidence`",
        ),
        Parameter(
            name="subtask", type=Literal["semantic"], default="semantic", formats=("hf",),
            help="with hf: the only task of these models",
        ),
    )
}  # fmt: skip
UNAVAILABLE = {"overlap_mask_area_threshold": "masks of different classes never overlap; leave it out"}
"""Parameters of the task that this service lacks, and why."""

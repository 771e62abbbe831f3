"""Pixels segmented without a file around them."""

from __future__ import annotations

from imaging.answer import Segmentation
from imaging.decoding import scale
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from tests.support.images import Pixels


def segment_pixels(segmenter: Segmenter, image: Pixels, options: Options) -> Segmentation:
    """What the network says of these pixels, at the working size that the options ask for."""
    plan = segmenter.plan_size((image.shape[0], image.shape[1]), options)
    return segmenter.infer(scale(image, plan.tile_plan.size), plan)

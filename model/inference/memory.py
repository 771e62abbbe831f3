"""The memory that the work on an image needs."""

from __future__ import annotations

from imaging.decoding_memory import scaling_bytes
from model.inference.plan import Plan
from model.inference.segmenter import Segmenter
from model.inference.small_regions import small_region_bytes
from model.inference.upsampling import band_bytes
from model.inference.views import average_bytes


def memory_bytes(segmenter: Segmenter, data: bytes, plan: Plan) -> int:
    """Upper bound of the memory that `Segmenter.segment` needs, in bytes, from the header alone.

    The file's own bytes and the memory of OpenVINO or PyTorch are not included.
    """
    rendering, (height, width), tiles = plan.options.rendering, plan.size, plan.tile_plan
    pixels, classes = height * width, len(segmenter.manifest.labels)
    image = segmenter.channels * tiles.size[0] * tiles.size[1]
    if segmenter.reads_scene(rendering):
        from imaging.georeferenced.whole import whole_bytes

        decoding = whole_bytes(data, segmenter.limits, segmenter.channels) + scaling_bytes(plan.size, tiles.size) + image
        results = pixels * (1 + 3 * rendering.needs_photo)
    else:
        decoding = segmenter.open(data, plan).decoding_bytes(tiles.size, with_photo=rendering.needs_photo)
        results = 3 * pixels if rendering.needs_photo and plan.size != tiles.size else 0
    results += pixels * (
        1 + rendering.needs_confidence_map + rendering.needs_foreground + 2 * classes * rendering.needs_probabilities
    )
    inference_bytes = band_bytes(plan.size, tiles, classes, segmenter.runtime.stride)
    if len(plan.views) > 1:
        inference_bytes += average_bytes(tiles, classes, segmenter.runtime.stride)
    if plan.options.replaces_regions:
        inference_bytes += small_region_bytes(plan.size, tiles, classes, segmenter.runtime.stride)
    return max(decoding, image + results + inference_bytes, results + rendering.memory_bytes(plan.size, classes))
